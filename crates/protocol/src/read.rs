//! Deserializes [`Event`] and [`Stage`], the two
//! [internally tagged](https://serde.rs/enum-representations.html#internally-tagged) enums.
//!
//! The code that serde derives for them first collects all fields in a buffer, so every type below
//! the enum is compiled a second time for reading from that buffer. In the browser's program that
//! was a tenth of all code. Here, the fields of all variants are one flat structure that is read
//! directly.

use super::{
    BlockKind, BlockNo, ConversationId, Error, Event, Finish, MessageId, RunId, Seq, SpanKind,
    SpanNo, Stage, Status, Timing, ToolCall, UnixMs, Usage,
};
use serde::{Deserialize, Deserializer, de};
use serde_json::Value;

/// The fields of every [`Event`].
#[derive(Deserialize)]
struct Fields {
    r#type: String,
    #[serde(default)]
    answer: Value,
    approved: Option<bool>,
    at: Option<u64>,
    block: Option<BlockNo>,
    continues: Option<RunId>,
    conversation: Option<ConversationId>,
    #[serde(default)]
    data: Value,
    error: Option<Error>,
    finish: Option<Finish>,
    from: Option<Seq>,
    hash: Option<String>,
    #[serde(default)]
    input: Value,
    kind: Option<String>,
    length: Option<u64>,
    message: Option<MessageId>,
    #[serde(default)]
    metadata: Value,
    model: Option<String>,
    name: Option<String>,
    notice: Option<String>,
    #[serde(default)]
    output: Value,
    parent: Option<Value>,
    protocol: Option<u32>,
    reason: Option<String>,
    replaces: Option<SpanNo>,
    retry_ms: Option<u64>,
    run: Option<RunId>,
    seq: Option<Seq>,
    span: Option<SpanNo>,
    stage: Option<Stage>,
    status: Option<Status>,
    #[serde(default)]
    tags: Vec<String>,
    text: Option<String>,
    timing: Option<Timing>,
    tool: Option<ToolCall>,
    usage: Option<Usage>,
    #[serde(default)]
    value: Value,
}

/// A field that its variant requires.
fn need<T, E: de::Error>(field: Option<T>, name: &'static str) -> Result<T, E> {
    field.ok_or_else(|| E::missing_field(name))
}

impl<'de> Deserialize<'de> for Event {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        Fields::deserialize(from)?.event()
    }
}

impl Fields {
    fn event<E: de::Error>(self) -> Result<Event, E> {
        let span = self.span;
        let span = || need(span, "span");
        let block = || need(self.block, "block");
        Ok(match self.r#type.as_str() {
            "run_started" => Event::RunStarted {
                protocol: need(self.protocol, "protocol")?,
                run: need(self.run, "run")?,
                conversation: need(self.conversation, "conversation")?,
                message: need(self.message, "message")?,
                parent: need(parent_message(self.parent), "parent")?,
                model: need(self.model, "model")?,
                at: need::<UnixMs, E>(self.at, "at")?,
                continues: self.continues,
            },
            "span_started" => Event::SpanStarted {
                span: span()?,
                parent: self
                    .parent
                    .and_then(|parent| parent.as_u64()?.try_into().ok()),
                kind: span_kind(&need(self.kind, "kind")?),
                name: need(self.name, "name")?,
                tags: self.tags,
                metadata: self.metadata,
                input: self.input,
                replaces: self.replaces,
            },
            "block_started" => Event::BlockStarted {
                span: span()?,
                block: block()?,
                kind: block_kind(&need(self.kind, "kind")?),
                tool: self.tool,
            },
            "delta" => Event::Delta {
                span: span()?,
                block: block()?,
                text: need(self.text, "text")?,
                from: self.from,
            },
            "block_finished" => Event::BlockFinished {
                span: span()?,
                block: block()?,
                length: need(self.length, "length")?,
                value: self.value,
            },
            "block_relabelled" => Event::BlockRelabelled {
                span: span()?,
                block: block()?,
                kind: block_kind(&need(self.kind, "kind")?),
            },
            "progress" => Event::Progress {
                span: span()?,
                at: need(self.at, "at")?,
                stage: need(self.stage, "stage")?,
            },
            "usage" => Event::Usage {
                span: span()?,
                usage: need(self.usage, "usage")?,
            },
            "custom" => Event::Custom {
                span: span()?,
                name: need(self.name, "name")?,
                data: self.data,
            },
            "approval_requested" => Event::ApprovalRequested {
                span: span()?,
                tool: need(self.tool, "tool")?,
            },
            "approval_given" => Event::ApprovalGiven {
                span: span()?,
                tool: need(self.tool, "tool")?,
                approved: need(self.approved, "approved")?,
            },
            "span_finished" => Event::SpanFinished {
                span: span()?,
                status: need(self.status, "status")?,
                output: self.output,
                finish: self.finish,
                usage: self.usage,
                timing: self.timing,
                error: self.error,
            },
            "run_finished" => Event::RunFinished {
                status: need(self.status, "status")?,
                usage: need(self.usage, "usage")?,
                timing: need(self.timing, "timing")?,
                error: self.error,
                length: need(self.length, "length")?,
                hash: need(self.hash, "hash")?,
            },
            "ping" => Event::Ping {
                notice: self.notice,
            },
            "snapshot" => Event::Snapshot {
                seq: need(self.seq, "seq")?,
                answer: self.answer,
            },
            "going_away" => Event::GoingAway {
                reason: need(self.reason, "reason")?,
                retry_ms: need(self.retry_ms, "retry_ms")?,
            },
            _ => Event::Unknown,
        })
    }
}

/// `parent` is a message where a run starts, and a span where a span starts.
fn parent_message(parent: Option<Value>) -> Option<MessageId> {
    parent?.as_str()?.parse().ok()
}

fn span_kind(word: &str) -> SpanKind {
    match word {
        "chain" => SpanKind::Chain,
        "agent" => SpanKind::Agent,
        "chat_model" => SpanKind::ChatModel,
        "tool" => SpanKind::Tool,
        "retriever" => SpanKind::Retriever,
        "prompt" => SpanKind::Prompt,
        "parser" => SpanKind::Parser,
        _ => SpanKind::Unknown,
    }
}

fn block_kind(word: &str) -> BlockKind {
    match word {
        "text" => BlockKind::Text,
        "reasoning" => BlockKind::Reasoning,
        "tool_input" => BlockKind::ToolInput,
        "tool_output" => BlockKind::ToolOutput,
        "refusal" => BlockKind::Refusal,
        "data" => BlockKind::Data,
        _ => BlockKind::Unknown,
    }
}

/// The fields of every [`Stage`].
#[derive(Deserialize)]
struct StageFields {
    stage: String,
    ahead: Option<u32>,
    attempt: Option<u32>,
    error: Option<Error>,
    in_ms: Option<u64>,
    messages: Option<u32>,
    name: Option<String>,
    percent: Option<u8>,
}

impl<'de> Deserialize<'de> for Stage {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let fields = StageFields::deserialize(from)?;
        Ok(match fields.stage.as_str() {
            "queued" => Self::Queued {
                ahead: need(fields.ahead, "ahead")?,
            },
            "connecting" => Self::Connecting,
            "reading_prompt" => Self::ReadingPrompt {
                percent: need(fields.percent, "percent")?,
            },
            "downloading" => Self::Downloading {
                percent: need(fields.percent, "percent")?,
            },
            "waiting" => Self::Waiting,
            "context_trimmed" => Self::ContextTrimmed {
                messages: need(fields.messages, "messages")?,
            },
            "running_tool" => Self::RunningTool {
                name: need(fields.name, "name")?,
            },
            "retrying" => Self::Retrying {
                in_ms: need(fields.in_ms, "in_ms")?,
                attempt: need(fields.attempt, "attempt")?,
                error: need(fields.error, "error")?,
            },
            _ => Self::Unknown,
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may fail by panic")]
mod tests {
    use super::*;
    use crate::ErrorCode;
    use serde_json::json;
    use uuid::Uuid;

    fn every_kind() -> Vec<Event> {
        let id = Uuid::from_u128;
        let tool = ToolCall {
            id: "c".into(),
            name: "t".into(),
        };
        let error = Error::new(ErrorCode::RateLimited, "Slow down.").at("asking");
        let usage = Usage {
            input: 1,
            output: 2,
            estimated: true,
            ..Usage::default()
        };
        let timing = Timing {
            accepted: 5,
            chunks: 2,
            ..Timing::default()
        };
        let mut events = vec![
            Event::RunStarted {
                protocol: 1,
                run: RunId(id(1)),
                conversation: ConversationId(id(2)),
                message: MessageId(id(3)),
                parent: MessageId(id(4)),
                model: "a/b".into(),
                at: 9,
                continues: Some(RunId(id(5))),
            },
            Event::Delta {
                span: 1,
                block: 2,
                text: "x".into(),
                from: Some(7),
            },
            Event::BlockFinished {
                span: 1,
                block: 2,
                length: 3,
                value: json!({"a": [1, null]}),
            },
            Event::BlockRelabelled {
                span: 1,
                block: 2,
                kind: BlockKind::Reasoning,
            },
            Event::Usage { span: 1, usage },
            Event::Custom {
                span: 1,
                name: "n".into(),
                data: json!([1]),
            },
            Event::ApprovalRequested {
                span: 1,
                tool: tool.clone(),
            },
            Event::ApprovalGiven {
                span: 1,
                tool: tool.clone(),
                approved: false,
            },
            Event::SpanFinished {
                span: 1,
                status: Status::Error,
                output: json!("o"),
                finish: Some(Finish {
                    reason: super::super::FinishReason::Length,
                    word: "w".into(),
                }),
                usage: Some(usage),
                timing: Some(timing),
                error: Some(error.clone()),
            },
            Event::RunFinished {
                status: Status::Superseded,
                usage,
                timing,
                error: None,
                length: 4,
                hash: "h".into(),
            },
            Event::Ping {
                notice: Some("n".into()),
            },
            Event::Snapshot {
                seq: 4,
                answer: json!({"seq": 4}),
            },
            Event::GoingAway {
                reason: "shutdown".into(),
                retry_ms: 5,
            },
        ];
        for kind in [
            SpanKind::Chain,
            SpanKind::Agent,
            SpanKind::ChatModel,
            SpanKind::Tool,
            SpanKind::Retriever,
            SpanKind::Prompt,
            SpanKind::Parser,
        ] {
            events.push(Event::SpanStarted {
                span: 2,
                parent: Some(1),
                kind,
                name: "n".into(),
                tags: vec!["t".into()],
                metadata: json!({"m": 1}),
                input: json!("i"),
                replaces: Some(1),
            });
        }
        for kind in [
            BlockKind::Text,
            BlockKind::Reasoning,
            BlockKind::ToolInput,
            BlockKind::ToolOutput,
            BlockKind::Refusal,
            BlockKind::Data,
        ] {
            events.push(Event::BlockStarted {
                span: 1,
                block: 1,
                kind,
                tool: Some(tool.clone()),
            });
        }
        for stage in [
            Stage::Queued { ahead: 2 },
            Stage::Connecting,
            Stage::ReadingPrompt { percent: 5 },
            Stage::Downloading { percent: 6 },
            Stage::Waiting,
            Stage::ContextTrimmed { messages: 3 },
            Stage::Retrying {
                in_ms: 1,
                attempt: 2,
                error,
            },
        ] {
            events.push(Event::Progress {
                span: 1,
                at: 3,
                stage,
            });
        }
        events
    }

    #[test]
    fn every_kind_is_read_as_it_was_written() {
        for event in every_kind() {
            let text = serde_json::to_string(&event).unwrap();
            assert_eq!(serde_json::from_str::<Event>(&text).unwrap(), event);
            let value = serde_json::to_value(&event).unwrap();
            assert_eq!(serde_json::from_value::<Event>(value).unwrap(), event);
        }
    }

    #[test]
    fn unknown_kinds_words_and_fields_are_passed_over() {
        let read = |text: &str| serde_json::from_str::<Event>(text).unwrap();
        assert_eq!(
            read(r#"{"type":"dance","span":"x"}"#.replace(r#""x""#, "1").as_str()),
            Event::Unknown
        );
        assert_eq!(
            read(r#"{"type":"ping","colour":7}"#),
            Event::Ping { notice: None }
        );
        let started = read(r#"{"type":"block_started","span":1,"block":1,"kind":"song"}"#);
        assert!(matches!(
            started,
            Event::BlockStarted {
                kind: BlockKind::Unknown,
                ..
            }
        ));
        let stage =
            read(r#"{"type":"progress","span":1,"at":1,"stage":{"stage":"asleep","deep":1}}"#);
        assert!(matches!(
            stage,
            Event::Progress {
                stage: Stage::Unknown,
                ..
            }
        ));
    }

    #[test]
    fn a_kind_without_its_fields_is_refused_by_name() {
        for (text, missing) in [
            (r#"{"span":1}"#, "type"),
            (r#"{"type":"delta","span":1,"text":"x"}"#, "block"),
            (r#"{"type":"delta","block":1,"text":"x"}"#, "span"),
            (r#"{"type":"run_finished","status":"ok"}"#, "usage"),
            (
                r#"{"type":"progress","span":1,"at":1,"stage":{"stage":"queued"}}"#,
                "ahead",
            ),
        ] {
            let error = serde_json::from_str::<Event>(text).unwrap_err().to_string();
            assert!(error.contains(&format!("`{missing}`")), "{text}: {error}");
        }
    }
}
