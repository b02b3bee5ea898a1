//! What a run can tell a reader: the entries of its log.

use crate::{BlockNo, ConversationId, Error, MessageId, RunId, Seq, SpanNo, Timing, UnixMs, Usage};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// One line of a run's log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// Place in the log, from 1 without a gap.
    pub seq: Seq,
    /// Milliseconds since the run was accepted; never goes back.
    pub at: u64,
    /// What happened.
    pub event: Event,
}

/// Everything a run can tell a reader, in the order it happened.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Event {
    /// Always the first entry.
    RunStarted {
        /// [`PROTOCOL_VERSION`] of the server that wrote the log.
        protocol: u32,
        /// The run itself, so that a recorded stream names its run.
        run: RunId,
        /// The conversation it belongs to.
        conversation: ConversationId,
        /// The assistant's message that this run writes.
        message: MessageId,
        /// The message that is answered.
        parent: MessageId,
        /// `provider/model` as the person chose it.
        model: String,
        /// When the run was accepted.
        at: UnixMs,
        /// The earlier run of the same message that this one goes on from.
        #[serde(skip_serializing_if = "Option::is_none")]
        continues: Option<RunId>,
    },
    /// A unit of work began: a call of a model, a tool, a chain of them.
    SpanStarted {
        /// Its number.
        span: SpanNo,
        /// The span it is part of.
        #[serde(skip_serializing_if = "Option::is_none")]
        parent: Option<SpanNo>,
        /// What sort of work.
        kind: SpanKind,
        /// A short name for people: the model, the tool.
        name: String,
        /// Labels to filter by.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        tags: Vec<String>,
        /// Facts about it, any JSON.
        #[serde(skip_serializing_if = "Value::is_null")]
        metadata: Value,
        /// What it was given, any JSON.
        #[serde(skip_serializing_if = "Value::is_null")]
        input: Value,
        /// The earlier span whose place it takes; that one's text is no longer shown.
        #[serde(skip_serializing_if = "Option::is_none")]
        replaces: Option<SpanNo>,
    },
    /// A piece of output began. Its text follows in [`Event::Delta`]s.
    BlockStarted {
        /// The span that writes it.
        span: SpanNo,
        /// Its number; blocks are shown in this order.
        block: BlockNo,
        /// What sort of text it is.
        kind: BlockKind,
        /// Which tool call it belongs to.
        #[serde(skip_serializing_if = "Option::is_none")]
        tool: Option<ToolCall>,
    },
    /// More text at the end of a block. The hot one: at most 60 bytes on the wire beside its text.
    Delta {
        /// The span that wrote it.
        span: SpanNo,
        /// The block it extends.
        block: BlockNo,
        /// The text, never empty.
        text: String,
        /// In delivery only: the first of several log entries that this frame carries as one. The
        /// frame's own number is that of the last. A reader that is behind gets merged deltas.
        #[serde(skip_serializing_if = "Option::is_none")]
        from: Option<Seq>,
    },
    /// A block is whole.
    BlockFinished {
        /// The span that wrote it.
        span: SpanNo,
        /// The block.
        block: BlockNo,
        /// Its length in bytes of UTF-8.
        length: u64,
        /// Its final value where it is more than its text: parsed arguments, citations.
        #[serde(skip_serializing_if = "Value::is_null")]
        value: Value,
    },
    /// What a block holds turned out to be of another kind: text that was thinking, because its
    /// beginning was not marked. It is that from its first letter on.
    BlockRelabelled {
        /// The span that wrote it.
        span: SpanNo,
        /// The block.
        block: BlockNo,
        /// What it holds.
        kind: BlockKind,
    },
    /// Where the work stands; the facts that only the server knows.
    Progress {
        /// The span concerned.
        span: SpanNo,
        /// Since when, in milliseconds since the run was accepted.
        at: u64,
        /// Where it stands now.
        stage: Stage,
    },
    /// Tokens counted so far by a span: cumulative, so that the last one counts.
    Usage {
        /// The span concerned.
        span: SpanNo,
        /// The counts.
        usage: Usage,
    },
    /// Anything a tool or an observer wants to tell.
    Custom {
        /// The span concerned.
        span: SpanNo,
        /// What it is.
        name: String,
        /// Any JSON.
        data: Value,
    },
    /// A tool waits for the person's consent.
    ApprovalRequested {
        /// The tool's span.
        span: SpanNo,
        /// The call that waits.
        tool: ToolCall,
    },
    /// The person decided.
    ApprovalGiven {
        /// The tool's span.
        span: SpanNo,
        /// The call decided on.
        tool: ToolCall,
        /// Whether it may run.
        approved: bool,
    },
    /// A unit of work ended.
    SpanFinished {
        /// The span.
        span: SpanNo,
        /// How it ended.
        status: Status,
        /// Output that is not in the span's blocks, any JSON. Where a stop ended the span, the field
        /// `provider_closed_ms` says how many milliseconds after the stop the provider (or the tool)
        /// was closed.
        #[serde(skip_serializing_if = "Value::is_null")]
        output: Value,
        /// Why the model ended.
        #[serde(skip_serializing_if = "Option::is_none")]
        finish: Option<Finish>,
        /// Its final counts.
        #[serde(skip_serializing_if = "Option::is_none")]
        usage: Option<Usage>,
        /// When its parts happened.
        #[serde(skip_serializing_if = "Option::is_none")]
        timing: Option<Timing>,
        /// What went wrong.
        #[serde(skip_serializing_if = "Option::is_none")]
        error: Option<Error>,
    },
    /// Always the last entry, and there is exactly one.
    RunFinished {
        /// How the run ended.
        status: Status,
        /// Tokens of all attempts together.
        usage: Usage,
        /// When its parts happened.
        timing: Timing,
        /// What went wrong; the text before it is kept.
        #[serde(skip_serializing_if = "Option::is_none")]
        error: Option<Error>,
        /// Length of the visible text in bytes. Text beyond it is dropped: a stop keeps what the
        /// reader had seen, although the log may have gone on for a moment.
        length: u64,
        /// SHA-256 of the visible text in hexadecimal, so that every reader can check itself.
        hash: String,
    },
    /// Delivery only: the stream is alive. Carries a sentence when the server is in trouble.
    Ping {
        /// Trouble that a reader should show, such as a full disk.
        #[serde(skip_serializing_if = "Option::is_none")]
        notice: Option<String>,
    },
    /// Delivery only: the state after `seq` entries, in place of those entries.
    Snapshot {
        /// The last entry that is contained.
        seq: Seq,
        /// The folded state: a [`crate::chat::Answer`] as JSON.
        answer: Value,
    },
    /// Delivery only: this connection ends, the run does not. Come back with the cursor.
    GoingAway {
        /// Why: `lifetime` (the connection's age) or `shutdown` (the server's).
        reason: String,
        /// When to come back, in milliseconds from now.
        retry_ms: u64,
    },
    /// A kind that this reader does not know; it is counted and passed over.
    Unknown,
}

impl Event {
    /// Whether this is the last entry of a log.
    pub fn is_terminal(&self) -> bool {
        matches!(self, Self::RunFinished { .. })
    }
}

/// What sort of work a span is. The words of LangChain's `astream_events`.
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

/// What sort of text a block holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BlockKind {
    /// The answer, Markdown.
    Text,
    /// The model's thinking.
    Reasoning,
    /// Arguments of a tool call, JSON as it comes.
    ToolInput,
    /// What a tool gave back.
    ToolOutput,
    /// The model declines.
    Refusal,
    /// Anything else. Its value says what: a picture is `{"image": id, "media_type": type}`, to be
    /// had at [`ImageId::address`].
    Data,
    /// A kind this reader does not know.
    #[serde(other)]
    Unknown,
}

/// Which call of which tool.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ToolCall {
    /// The provider's identifier of the call.
    pub id: String,
    /// The tool's name.
    pub name: String,
}

/// Where a run stands before and between its tokens.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "stage", rename_all = "snake_case")]
pub enum Stage {
    /// Waiting for a free place; `ahead` others come first.
    Queued {
        /// How many come first.
        ahead: u32,
    },
    /// Opening a connection to the provider, or loading the model.
    Connecting,
    /// The model reads the prompt.
    ReadingPrompt {
        /// How far it is, 0 to 100.
        percent: u8,
    },
    /// The provider fetches the model.
    Downloading {
        /// How far it is, 0 to 100.
        percent: u8,
    },
    /// Everything is sent; no token yet.
    Waiting,
    /// The oldest turns did not fit into the model's context and were left out.
    ContextTrimmed {
        /// How many messages were left out.
        messages: u32,
    },
    /// A tool is at work for the model.
    RunningTool {
        /// Its name.
        name: String,
    },
    /// An attempt failed and the next one comes by itself.
    Retrying {
        /// When, in milliseconds from this entry.
        in_ms: u64,
        /// Which attempt comes, from 2.
        attempt: u32,
        /// Why the last one failed.
        error: Error,
    },
    /// A stage this reader does not know.
    Unknown,
}

/// How a span or a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Whole.
    Ok,
    /// Failed; what was written is kept.
    Error,
    /// Stopped by the person.
    Cancelled,
    /// The server went away while it ran.
    Interrupted,
    /// Another attempt took its place.
    Superseded,
}

/// Why a model ended: a closed word, and the provider's own beside it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finish {
    /// The closed word.
    pub reason: FinishReason,
    /// What the provider said, verbatim.
    pub word: String,
}

/// Closed set of reasons for a model's end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FinishReason {
    /// It was done.
    Stop,
    /// The limit of tokens was reached.
    Length,
    /// It wants tools to run.
    ToolCalls,
    /// A filter of the provider cut it.
    ContentFilter,
    /// It declined.
    Refusal,
    /// Something else; see the provider's word.
    #[serde(other)]
    Other,
}
