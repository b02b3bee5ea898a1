//! What the methods of an observer are told.

use crate::log::Source;
use headwater_protocol::{
    BlockKind, BlockNo, ConversationId, Error, Finish, MessageId, RunId, Seq, SpanKind, SpanNo,
    Status, Timing, ToolCall, UnixMs, Usage, chat::Answer,
};
use serde_json::Value;
use std::time::Duration;

/// A run.
#[derive(Clone, Debug, PartialEq)]
pub struct Run {
    /// Its identifier.
    pub run: RunId,
    /// Its conversation.
    pub conversation: ConversationId,
    /// The message that it writes.
    pub message: MessageId,
    /// The message that it answers.
    pub parent: MessageId,
    /// `provider/model` as it was chosen.
    pub model: String,
    /// When it was accepted.
    pub at: UnixMs,
    /// The broken-off run that it continues.
    pub continues: Option<RunId>,
}

/// A unit of work: a call of a model or of a tool, or a group of such calls.
#[derive(Clone, Debug, PartialEq)]
pub struct Span {
    /// Its number in the run.
    pub number: SpanNo,
    /// The spans that contain it, the outermost first.
    pub path: Vec<SpanNo>,
    /// The kind of work.
    pub kind: SpanKind,
    /// A short name, such as that of the model or the tool.
    pub name: String,
    /// Its labels, behind those of the spans that contain it.
    pub tags: Vec<String>,
    /// Facts about it. An object has the fields of the spans that contain it as well, unless it has its
    /// own.
    pub metadata: Value,
    /// Its input.
    pub input: Value,
    /// The earlier span whose place it takes: a retry or a fallback.
    pub replaces: Option<SpanNo>,
    /// When it began, in milliseconds since the run was accepted.
    pub started: u64,
}

impl Span {
    /// Whether it is `span` or is contained in it.
    pub fn is_within(&self, span: SpanNo) -> bool {
        self.number == span || self.path.contains(&span)
    }

    /// The span that contains it directly.
    pub fn parent(&self) -> Option<SpanNo> {
        self.path.last().copied()
    }
}

/// Where something happened.
#[derive(Clone, Copy, Debug)]
pub struct At<'a> {
    /// The run.
    pub run: &'a Run,
    /// The span.
    pub span: &'a Span,
    /// The number of the entry in the run's log.
    pub seq: Seq,
    /// Milliseconds since the run was accepted.
    pub ms: u64,
}

/// Text at the end of a block.
#[derive(Clone, Copy, Debug)]
pub struct Token<'a> {
    /// The block that grows.
    pub block: BlockNo,
    /// The kind of text.
    pub kind: BlockKind,
    /// The call that the text belongs to, where it is arguments or output of a tool.
    pub tool: Option<&'a ToolCall>,
    /// The text, never empty.
    pub text: &'a str,
    /// How many entries of the log it is made of: 1, or more for an observer that was behind.
    pub entries: u32,
}

/// The end of a span.
#[derive(Clone, Copy, Debug)]
pub struct SpanFinished<'a> {
    /// How it ended.
    pub status: Status,
    /// Output that is not in its blocks.
    pub output: &'a Value,
    /// Why the model ended its answer.
    pub finish: Option<&'a Finish>,
    /// The tokens that it used.
    pub usage: Option<Usage>,
    /// When the parts of the run happened so far.
    pub timing: Option<Timing>,
    /// What went wrong.
    pub error: Option<&'a Error>,
    /// How long it took.
    pub took: Duration,
}

/// The end of a run.
#[derive(Clone, Copy, Debug)]
pub struct RunFinished<'a> {
    /// How it ended.
    pub status: Status,
    /// The tokens of all attempts together.
    pub usage: Usage,
    /// When its parts happened.
    pub timing: Timing,
    /// What went wrong. The text before it is kept.
    pub error: Option<&'a Error>,
    /// The log, for [`RunFinished::answer`] and for observers here that need all of it.
    pub(super) source: &'a Source,
}

impl RunFinished<'_> {
    /// Everything that the run wrote: the fold of its log.
    pub fn answer(&self) -> Answer {
        self.source.answer()
    }
}

/// Another attempt will follow one that failed.
#[derive(Clone, Copy, Debug)]
pub struct Retrying<'a> {
    /// The number of the next attempt, at least 2.
    pub attempt: u32,
    /// The pause before it.
    pub pause: Duration,
    /// Why the last one failed.
    pub error: &'a Error,
}

/// A span or a run ended with an error.
#[derive(Clone, Copy, Debug)]
pub struct Failed<'a> {
    /// The run.
    pub run: &'a Run,
    /// The span; `None` for the run itself.
    pub span: Option<&'a Span>,
    /// What went wrong.
    pub error: &'a Error,
}

/// What an observer was not told one by one, because it was too slow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Missed {
    /// Entries with tokens that came together with others, and whose text is complete.
    pub merged: u64,
    /// Entries that did not come at all.
    pub lost: u64,
}
