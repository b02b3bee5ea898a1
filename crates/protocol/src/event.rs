//! The entries of a run's log, and the events of its delivery to a reader.

use crate::{BlockNo, ConversationId, Error, MessageId, RunId, Seq, SpanNo, Timing, UnixMs, Usage};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// One entry of a run's log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// The number in the log, from 1 without a gap.
    pub seq: Seq,
    /// Milliseconds since the run was accepted. Never decreases.
    pub at: u64,
    /// What happened.
    pub event: Event,
}

/// Everything that a reader can learn of a run, in the order in which it happens.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Event {
    /// Always the first entry.
    RunStarted {
        /// [`PROTOCOL_VERSION`](crate::PROTOCOL_VERSION) of the server that wrote the log.
        protocol: u32,
        /// The run itself, so that a recorded stream names its run.
        run: RunId,
        /// The conversation of the run.
        conversation: ConversationId,
        /// The assistant's message that the run writes.
        message: MessageId,
        /// The message that is answered.
        parent: MessageId,
        /// `provider/model` as the person chose it.
        model: String,
        /// When the run was accepted.
        at: UnixMs,
        /// The earlier run of the same message that this run continues.
        #[serde(skip_serializing_if = "Option::is_none")]
        continues: Option<RunId>,
    },
    /// A unit of work began: a call of a model or of a tool, or a group of such calls.
    SpanStarted {
        /// The number of the span: from 1 without a gap.
        span: SpanNo,
        /// The span that contains this one.
        #[serde(skip_serializing_if = "Option::is_none")]
        parent: Option<SpanNo>,
        /// The kind of work.
        kind: SpanKind,
        /// A short name for people, such as that of the model or the tool.
        name: String,
        /// Labels for filters.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        tags: Vec<String>,
        /// Facts about the work, any JSON.
        #[serde(skip_serializing_if = "Value::is_null")]
        metadata: Value,
        /// The input of the work, any JSON.
        #[serde(skip_serializing_if = "Value::is_null")]
        input: Value,
        /// The earlier span whose place this one takes. The text of that span is not shown any more.
        #[serde(skip_serializing_if = "Option::is_none")]
        replaces: Option<SpanNo>,
    },
    /// A piece of output began. Its text follows in [`Event::Delta`]s.
    BlockStarted {
        /// The span that writes the block.
        span: SpanNo,
        /// The number of the block: from 1 without a gap. Blocks are shown in this order.
        block: BlockNo,
        /// The kind of text.
        kind: BlockKind,
        /// The call of a tool that the block belongs to.
        #[serde(skip_serializing_if = "Option::is_none")]
        tool: Option<ToolCall>,
    },
    /// More text at the end of a block. The most frequent event: it takes at most 60 bytes on the wire
    /// beside its text.
    Delta {
        /// The span that wrote the text.
        span: SpanNo,
        /// The block that grows.
        block: BlockNo,
        /// The text, never empty.
        text: String,
        /// In delivery only: the number of the first of several entries that this frame merges, for a
        /// reader that is behind. The number of the frame is that of the last entry.
        #[serde(skip_serializing_if = "Option::is_none")]
        from: Option<Seq>,
    },
    /// A block is complete.
    BlockFinished {
        /// The span that wrote the block.
        span: SpanNo,
        /// The number of the block.
        block: BlockNo,
        /// The length of the text in bytes of UTF-8.
        length: u64,
        /// The final value where it is more than the text, such as parsed arguments or citations.
        #[serde(skip_serializing_if = "Value::is_null")]
        value: Value,
    },
    /// A block turned out to be of another kind, from its first character on: text that was
    /// reasoning, because the beginning of the reasoning was not marked.
    BlockRelabelled {
        /// The span that wrote the block.
        span: SpanNo,
        /// The number of the block.
        block: BlockNo,
        /// The actual kind.
        kind: BlockKind,
    },
    /// The work has entered another stage, which only the server can know.
    Progress {
        /// The span of the work.
        span: SpanNo,
        /// When the stage began, in milliseconds since the run was accepted.
        at: u64,
        /// The stage.
        stage: Stage,
    },
    /// The tokens that a span used so far. The counts are cumulative, so the last ones are valid.
    Usage {
        /// The span that used them.
        span: SpanNo,
        /// The counts so far.
        usage: Usage,
    },
    /// Any other message of a tool or an observer.
    Custom {
        /// The span that the message is about.
        span: SpanNo,
        /// The kind of message.
        name: String,
        /// Any JSON.
        data: Value,
    },
    /// A tool waits for the person's consent.
    ApprovalRequested {
        /// The tool's span.
        span: SpanNo,
        /// The waiting call.
        tool: ToolCall,
    },
    /// The person decided.
    ApprovalGiven {
        /// The tool's span.
        span: SpanNo,
        /// The call in question.
        tool: ToolCall,
        /// Whether the call may run.
        approved: bool,
    },
    /// A unit of work ended.
    SpanFinished {
        /// The number of the span.
        span: SpanNo,
        /// How the span ended.
        status: Status,
        /// Output that is not in the span's blocks, any JSON. Where a stop ended the span, the field
        /// `provider_closed_ms` says how many milliseconds after the stop the provider (or the tool)
        /// was closed.
        #[serde(skip_serializing_if = "Value::is_null")]
        output: Value,
        /// Why the model ended its answer.
        #[serde(skip_serializing_if = "Option::is_none")]
        finish: Option<Finish>,
        /// The tokens that the span used in all.
        #[serde(skip_serializing_if = "Option::is_none")]
        usage: Option<Usage>,
        /// When the parts of the run happened, up to the end of this span.
        #[serde(skip_serializing_if = "Option::is_none")]
        timing: Option<Timing>,
        /// What went wrong.
        #[serde(skip_serializing_if = "Option::is_none")]
        error: Option<Error>,
    },
    /// Always the last entry. Every log has exactly one.
    RunFinished {
        /// How the run ended.
        status: Status,
        /// The tokens of all attempts together.
        usage: Usage,
        /// When the parts of the run happened.
        timing: Timing,
        /// What went wrong. The text before it is kept.
        #[serde(skip_serializing_if = "Option::is_none")]
        error: Option<Error>,
        /// The length of the visible text in bytes. Text beyond it is dropped: a stop keeps what the
        /// person had seen, although the log may have gone on for a moment.
        length: u64,
        /// SHA-256 of the visible text in hexadecimal, so that every reader can check its text.
        hash: String,
    },
    /// Delivery only: the stream is alive.
    Ping {
        /// A sentence to be shown while the server is in trouble, such as with a full disk.
        #[serde(skip_serializing_if = "Option::is_none")]
        notice: Option<String>,
    },
    /// Delivery only: the fold of the first entries, in place of those entries.
    Snapshot {
        /// The number of the last of these entries.
        seq: Seq,
        /// The fold: a [`crate::chat::Answer`] as JSON.
        answer: Value,
    },
    /// Delivery only: the connection ends, and the run does not. Reconnect with the cursor.
    GoingAway {
        /// `lifetime` (the connection is old) or `shutdown` (the server ends).
        reason: String,
        /// When to reconnect, in milliseconds from now.
        retry_ms: u64,
    },
    /// An event of a kind that this reader does not know. It counts as an entry and is ignored.
    Unknown,
}

impl Event {
    /// The span that it is about. Beginnings and ends of runs, and what belongs to the delivery, are about
    /// none.
    pub fn span(&self) -> Option<SpanNo> {
        match self {
            Self::SpanStarted { span, .. }
            | Self::BlockStarted { span, .. }
            | Self::Delta { span, .. }
            | Self::BlockFinished { span, .. }
            | Self::BlockRelabelled { span, .. }
            | Self::Progress { span, .. }
            | Self::Usage { span, .. }
            | Self::Custom { span, .. }
            | Self::ApprovalRequested { span, .. }
            | Self::ApprovalGiven { span, .. }
            | Self::SpanFinished { span, .. } => Some(*span),
            Self::RunStarted { .. }
            | Self::RunFinished { .. }
            | Self::Ping { .. }
            | Self::Snapshot { .. }
            | Self::GoingAway { .. }
            | Self::Unknown => None,
        }
    }

    /// Whether this is the last entry of a log.
    pub fn is_terminal(&self) -> bool {
        matches!(self, Self::RunFinished { .. })
    }
}

/// The kind of work of a span, in the words of LangChain's
/// [`astream_events`](https://reference.langchain.com/python/langchain_core/runnables/).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SpanKind {
    /// A sequence of other spans.
    Chain,
    /// A loop of a model and its tools.
    Agent,
    /// One call of a model.
    ChatModel,
    /// One call of a tool.
    Tool,
    /// A search for documents.
    Retriever,
    /// The making of a prompt.
    Prompt,
    /// The reading of an output.
    Parser,
    /// A kind this reader does not know.
    #[serde(other)]
    Unknown,
}

/// The kind of text in a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BlockKind {
    /// The answer as Markdown.
    Text,
    /// The model's thinking.
    Reasoning,
    /// The arguments of a tool call, as the model writes them: JSON, if it makes no mistake.
    ToolInput,
    /// The output of a tool.
    ToolOutput,
    /// The words with which a model declines.
    Refusal,
    /// Anything else; the value says what. An image is `{"image": id, "media_type": type}`, and is
    /// served at [`ImageId::address`](crate::ImageId::address).
    Data,
    /// A kind this reader does not know.
    #[serde(other)]
    Unknown,
}

/// A call of a tool.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ToolCall {
    /// The provider's identifier of the call.
    pub id: String,
    /// The tool's name.
    pub name: String,
}

/// What a run is doing before and between its tokens.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "stage", rename_all = "snake_case")]
pub enum Stage {
    /// The run waits in a queue.
    Queued {
        /// How many others come first.
        ahead: u32,
    },
    /// Opening a connection to the provider, or loading the model.
    Connecting,
    /// The model reads the prompt.
    ReadingPrompt {
        /// The progress, 0 to 100.
        percent: u8,
    },
    /// The provider fetches the model.
    Downloading {
        /// The progress, 0 to 100.
        percent: u8,
    },
    /// The provider has the request, and no token came yet.
    Waiting,
    /// The oldest messages did not fit into the model's context and were left out.
    ContextTrimmed {
        /// The number of these messages.
        messages: u32,
    },
    /// A tool is at work for the model.
    RunningTool {
        /// The name of the tool.
        name: String,
    },
    /// An attempt failed, and the next one follows.
    Retrying {
        /// The pause before it, in milliseconds.
        in_ms: u64,
        /// The number of the next attempt, at least 2.
        attempt: u32,
        /// Why the last attempt failed.
        error: Error,
    },
    /// A stage this reader does not know.
    Unknown,
}

/// How a span or a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Completed.
    Ok,
    /// Failed. What was written is kept.
    Error,
    /// Stopped by the person.
    Cancelled,
    /// The server went away while it ran.
    Interrupted,
    /// Another attempt took its place.
    Superseded,
}

/// Why a model ended its answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finish {
    /// The reason, as one of a closed set.
    pub reason: FinishReason,
    /// The provider's own word for it.
    pub word: String,
}

/// The reasons for which a model ends its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FinishReason {
    /// The answer was complete.
    Stop,
    /// The limit of tokens was reached.
    Length,
    /// The model waits for the results of tools.
    ToolCalls,
    /// A filter of the provider ended the answer.
    ContentFilter,
    /// The model declined.
    Refusal,
    /// Another reason; see [`Finish::word`].
    #[serde(other)]
    Other,
}
