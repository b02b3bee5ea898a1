//! The wire contract: identifiers, events, errors, usage and the bodies of the commands.
//!
//! A *run* is one attempt to answer. Its log is a list of [`Entry`]s numbered 1, 2, 3 … without a
//! gap; exactly one [`Event::RunFinished`] ends it. Whoever reads a run (a tab, the command line,
//! another program) reads these events and nothing else.
//!
//! Readers ignore event kinds, enum words and fields that they do not know, so that a newer server
//! may add some. [`PROTOCOL_VERSION`] changes only when an old reader would misread a new stream.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::{fmt, str::FromStr};
use uuid::Uuid;

mod read;

/// Version of this contract, carried by [`Event::RunStarted`].
pub const PROTOCOL_VERSION: u32 = 1;

/// The longest message a person can send, in bytes of UTF-8.
///
/// One megabyte of pasted text is refused with a sentence; anything below is the model's matter.
pub const MAX_TEXT_BYTES: usize = 512 * 1024;

/// The largest picture, in bytes: Anthropic's limit, the smallest of the vendors'. Where it is meant
/// for the base64 form, a third larger, the vendor's refusal is what the person reads.
pub const MAX_IMAGE_BYTES: usize = 5_000_000;

/// Place of an entry in its run's log. The first is 1; 0 as a cursor means "from the start".
pub type Seq = u64;

/// Number of a span within its run, from 1.
pub type SpanNo = u32;

/// Number of a block within its run, from 1.
pub type BlockNo = u32;

/// Milliseconds since 1970-01-01 UTC.
pub type UnixMs = u64;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub Uuid);

        #[cfg(feature = "ssr")]
        impl $name {
            /// A new identifier (UUID version 7, so that identifiers sort by the time they were made).
            #[expect(clippy::new_without_default, reason = "two defaults would differ")]
            pub fn new() -> Self {
                Self(Uuid::now_v7())
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl FromStr for $name {
            type Err = uuid::Error;
            fn from_str(text: &str) -> Result<Self, Self::Err> {
                text.parse().map(Self)
            }
        }
    };
}

id! {
    /// One attempt to answer. Never reused.
    RunId
}
id! {
    /// A conversation: a tree of messages with one current branch.
    ConversationId
}
id! {
    /// A message of a conversation, a person's or the assistant's.
    MessageId
}

/// A picture that was sent: the SHA-256 of its bytes in hexadecimal.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ImageId(pub String);

impl ImageId {
    /// Where the picture is. It is safe in an attribute: what is no part of a hash is left out.
    pub fn address(&self) -> String {
        let mut address = "/api/images/".to_owned();
        address.extend(self.0.chars().filter(char::is_ascii_hexdigit));
        address
    }
}

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
        /// What it made where that is not in its blocks, any JSON.
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

    /// Whether this belongs to one delivery and is never in a log.
    pub fn is_delivery_only(&self) -> bool {
        matches!(
            self,
            Self::Ping { .. } | Self::Snapshot { .. } | Self::GoingAway { .. }
        )
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

/// Tokens, cumulative over one span or summed over a run's spans.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Usage {
    /// Tokens of the prompt.
    pub input: u64,
    /// Tokens written, reasoning included.
    pub output: u64,
    /// Of the input, how many came from the provider's cache.
    #[serde(skip_serializing_if = "is_zero")]
    pub cache_read: u64,
    /// Of the input, how many were written to the provider's cache.
    #[serde(skip_serializing_if = "is_zero")]
    pub cache_write: u64,
    /// Of the output, how many were reasoning.
    #[serde(skip_serializing_if = "is_zero")]
    pub reasoning: u64,
    /// Whether we counted because the provider did not say.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub estimated: bool,
}

impl Usage {
    /// The counts of two spans together; estimated if one of them is. They are what providers say,
    /// which may be any number.
    pub fn plus(self, other: Self) -> Self {
        Self {
            input: self.input.saturating_add(other.input),
            output: self.output.saturating_add(other.output),
            cache_read: self.cache_read.saturating_add(other.cache_read),
            cache_write: self.cache_write.saturating_add(other.cache_write),
            reasoning: self.reasoning.saturating_add(other.reasoning),
            estimated: self.estimated || other.estimated,
        }
    }
}

fn is_zero(n: &u64) -> bool {
    *n == 0
}

/// When things happened: milliseconds since the run was accepted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Timing {
    /// When the run was accepted.
    pub accepted: UnixMs,
    /// When it left the queue.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub queued: Option<u64>,
    /// When the provider was reached.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connected: Option<u64>,
    /// The first sign of life.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_chunk: Option<u64>,
    /// The first token of content.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_token: Option<u64>,
    /// The last token of content.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_token: Option<u64>,
    /// Median pause between two pieces of content, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gap_p50: Option<u64>,
    /// The pause that one in a hundred exceeds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gap_p99: Option<u64>,
    /// Pieces of content.
    pub chunks: u64,
    /// The end.
    pub finished: u64,
}

/// Every failure there is, in a form for programs and for people.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Error {
    /// For programs.
    pub code: ErrorCode,
    /// For people: one or two plain sentences, no identifiers, no keys.
    pub message: String,
    /// What was being done.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub stage: String,
    /// Whether the same request may succeed later.
    #[serde(default)]
    pub retryable: bool,
    /// The provider's HTTP status where there was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// When it makes sense to try again, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<u64>,
}

impl Error {
    /// An error with the usual answer to "may it succeed later?" for its code.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            stage: String::new(),
            retryable: code.is_retryable(),
            status: None,
            retry_after_ms: None,
        }
    }

    /// Says what was being done.
    pub fn at(mut self, stage: impl Into<String>) -> Self {
        self.stage = stage.into();
        self
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}

/// Closed set of failures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorCode {
    /// The provider does not accept the key, or there is none.
    Authentication,
    /// The key may not do this.
    Permission,
    /// No such run, conversation, message or model.
    NotFound,
    /// The request makes no sense; the sentence says why.
    InvalidRequest,
    /// The request is too large.
    TooLarge,
    /// The conversation moved on while this was written.
    Conflict,
    /// The conversation does not fit into the model.
    ContextTooLong,
    /// A filter of the provider cut the answer.
    ContentFiltered,
    /// The model declined.
    Refused,
    /// Too many requests.
    RateLimited,
    /// The account is used up.
    Quota,
    /// The provider has too much to do.
    Overloaded,
    /// The provider failed.
    ProviderError,
    /// The provider cannot be reached, or the connection broke.
    Connection,
    /// No token came in time.
    FirstTokenTimeout,
    /// The provider fell silent in mid-answer.
    Stall,
    /// The stream ended without saying that it was the end.
    Truncated,
    /// The provider sent something that is not its protocol.
    Malformed,
    /// Stopped by the person.
    Stopped,
    /// The server went away while it ran.
    Interrupted,
    /// A tool failed.
    ToolFailed,
    /// The server is ending and takes nothing new.
    ShuttingDown,
    /// The disk or the database does not take what must be kept.
    Storage,
    /// A fault of ours.
    #[serde(other)]
    Internal,
}

impl ErrorCode {
    /// Whether the same request may succeed later without a change.
    pub fn is_retryable(self) -> bool {
        matches!(
            self,
            Self::RateLimited
                | Self::Overloaded
                | Self::ProviderError
                | Self::Connection
                | Self::FirstTokenTimeout
                | Self::Stall
                | Self::Truncated
                | Self::Malformed
                | Self::Interrupted
                | Self::ShuttingDown
                | Self::Storage
        )
    }

    /// The HTTP status under which a command answers with this error.
    pub fn http_status(self) -> u16 {
        match self {
            Self::Authentication => 401,
            Self::Permission => 403,
            Self::NotFound => 404,
            Self::InvalidRequest => 400,
            Self::TooLarge => 413,
            Self::Conflict | Self::Stopped => 409,
            Self::ContextTooLong | Self::ContentFiltered | Self::Refused => 422,
            Self::RateLimited | Self::Quota => 429,
            Self::Overloaded | Self::ShuttingDown | Self::Interrupted => 503,
            Self::Storage => 507,
            Self::FirstTokenTimeout | Self::Stall => 504,
            Self::ProviderError | Self::Connection | Self::Truncated | Self::Malformed => 502,
            Self::ToolFailed | Self::Internal => 500,
        }
    }
}

/// Answer of `start`, `continue` and `retry`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Started {
    /// The run to follow.
    pub run: RunId,
    /// Its conversation.
    pub conversation: ConversationId,
    /// The assistant's message that it writes.
    pub message: MessageId,
}

/// Answer of `stop`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stopped {
    /// Length of the kept text in bytes.
    pub length: u64,
    /// How long it took until the provider was closed, in milliseconds.
    pub provider_closed_ms: u64,
    /// Whether the run had already ended by itself.
    pub already_finished: bool,
}

/// A model that can be chosen in the page.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ModelInfo {
    /// `provider/model`, as `start` takes it.
    pub id: String,
    /// For people.
    pub name: String,
    /// The provider's name for people.
    pub provider: String,
    /// Tokens of context, where known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub context: Option<u32>,
    /// One line of advice, such as that the model is a toy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}
