//! What one run has written so far, and what is shown of it.

use super::fold::place_of;
use crate::{
    BlockKind, BlockNo, Error, Finish, FinishReason, ImageId, RunId, Seq, SpanKind, SpanNo, Stage,
    Status, Timing, ToolCall, UnixMs, Usage, is_chain,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The tag of spans whose output is no part of the answer, such as those of steps of a chain whose results
/// others read. All spans within are hidden as well.
pub const HIDDEN: &str = "hidden";

/// What one run has written so far: the fold of its log.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Answer {
    /// The run; `None` before its first entry.
    pub run: Option<RunId>,
    /// The earlier run of the same message that this run continues.
    pub continues: Option<RunId>,
    /// The number of the last applied entry: the reader's cursor.
    pub seq: Seq,
    /// The chosen model as `provider/model`. Another one may have answered: see
    /// [`Answer::answered_by`].
    pub model: String,
    /// When the server accepted the run.
    pub accepted: UnixMs,
    /// The units of work, in the order in which they began.
    pub spans: Vec<Span>,
    /// The pieces of output, in the order in which they began.
    pub blocks: Vec<Block>,
    /// What the run waits for; `None` while text arrives and after the end.
    pub stage: Option<StageSince>,
    /// The number of the oldest messages that did not fit into the model's context.
    pub trimmed: u32,
    /// The tokens of all attempts together, including superseded ones.
    pub usage: Usage,
    /// How the run ended; `None` while it runs.
    pub status: Option<Status>,
    /// Why the run failed, if it did.
    pub error: Option<Error>,
    /// When the parts of the run happened. `None` until the end.
    pub timing: Option<Timing>,
    /// SHA-256 of the visible text in hexadecimal. Empty until the end.
    pub hash: String,
    /// Milliseconds from the request to stop until the connection to the provider was closed.
    /// `None` if nobody stopped the run, or if no provider was answering at that moment.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub provider_closed_ms: Option<u64>,
    /// A power cut took back the end of the log after this reader had seen it. Only a snapshot says so,
    /// and may then replace a fold that has more entries.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub rewound: bool,
}

/// A stage and when it began.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StageSince {
    /// What the run waits for.
    pub stage: Stage,
    /// When the stage began, in milliseconds since the run was accepted.
    pub at: u64,
}

/// A unit of work: one call of a model or of a tool, or a group of such calls.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Span {
    /// The number within the run.
    pub span: SpanNo,
    /// The kind of work.
    pub kind: SpanKind,
    /// A name for people: `provider/model`, or the name of the tool.
    pub name: String,
    /// How the span ended; `None` while it runs.
    pub status: Option<Status>,
    /// Why the model ended its answer.
    pub finish: Option<Finish>,
    /// The tokens that the span has used so far.
    pub usage: Usage,
    /// See [`Answer::is_hidden`].
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub hidden: bool,
}

/// A piece of output of one kind.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Block {
    /// The number within the run.
    pub block: BlockNo,
    /// The span that writes the block.
    pub span: SpanNo,
    /// The kind of text.
    pub kind: BlockKind,
    /// The tool call that the block belongs to.
    pub tool: Option<ToolCall>,
    /// The text so far.
    pub text: String,
    /// Whether more text may follow.
    pub open: bool,
    /// The final value where it is more than the text, such as the signature of a block of
    /// reasoning.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub value: Value,
}

/// A tool call with its result.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Call<'a> {
    /// The arguments that the model wrote.
    pub input: &'a Block,
    /// The output of the tool so far; `None` if the tool was not started.
    pub output: Option<&'a Block>,
    /// How the tool ended; `None` while it runs, or if the run ended before it did.
    pub status: Option<Status>,
}

impl Answer {
    /// Whether more entries may follow.
    pub fn is_running(&self) -> bool {
        self.run.is_some() && self.status.is_none()
    }

    /// The answer as a person reads it: the text of all attempts that were not superseded.
    pub fn visible_text(&self) -> String {
        self.visible().map(|block| block.text.as_str()).collect()
    }

    /// [`Answer::visible_text`] after its first `length` bytes. It costs no more than what it
    /// returns. `None` if the text is shorter than `length`, as it may be after a stop.
    pub fn visible_text_after(&self, length: usize) -> Option<String> {
        let (mut skip, mut rest) = (length, String::new());
        for block in self.visible() {
            let start = skip.min(block.text.len());
            rest.push_str(block.text.get(start..)?);
            skip -= start;
        }
        (skip == 0).then_some(rest)
    }

    /// The length of [`Answer::visible_text`] in bytes.
    pub fn visible_length(&self) -> u64 {
        self.visible().map(|block| block.text.len() as u64).sum()
    }

    /// Whether a block is part of the answer's text.
    pub fn is_visible(&self, block: &Block) -> bool {
        self.is_text(block) && !self.is_hidden(block.span)
    }

    /// Whether some of these spans have written text that is part of the answer.
    pub fn has_text_of(&self, spans: impl Fn(SpanNo) -> bool) -> bool {
        self.visible()
            .any(|block| spans(block.span) && !block.text.is_empty())
    }

    /// Whether a block is text that stands, be it part of the answer or of a hidden step of a chain.
    pub fn is_text(&self, block: &Block) -> bool {
        matches!(block.kind, BlockKind::Text | BlockKind::Refusal)
            && !self.is_superseded(block.span)
    }

    /// The images that the model made in attempts that were not superseded, and not in hidden steps.
    pub fn images(&self) -> impl Iterator<Item = ImageId> + '_ {
        let data = |block: &&Block| block.kind == BlockKind::Data;
        self.blocks.iter().filter(data).filter_map(|block| {
            let id = block.value.get("image")?.as_str()?;
            self.is_shown(block.span).then(|| ImageId(id.to_owned()))
        })
    }

    /// Whether another attempt took the place of the span.
    pub fn is_superseded(&self, span: SpanNo) -> bool {
        self.status_of(span) == Some(Status::Superseded)
    }

    /// Whether a person sees what the span writes: no other attempt took its place, and it is not hidden.
    pub fn is_shown(&self, span: SpanNo) -> bool {
        !self.is_superseded(span) && !self.is_hidden(span)
    }

    /// Whether the span, or one that contains it, has the tag [`HIDDEN`]. What it writes is in the log and is
    /// no part of the answer.
    pub fn is_hidden(&self, span: SpanNo) -> bool {
        self.span(span).is_some_and(|span| span.hidden)
    }

    /// The tool calls, one for each [`BlockKind::ToolInput`] block and in that order. A result
    /// belongs to the nearest earlier call with its identifier. Identifiers can repeat: for a
    /// provider that sends none, the calls of every turn are numbered from 1.
    pub fn calls(&self) -> Vec<Call<'_>> {
        let mut calls: Vec<Call<'_>> = Vec::new();
        let mut waiting = Vec::new();
        for block in &self.blocks {
            match block.kind {
                BlockKind::ToolInput => {
                    waiting.push(calls.len());
                    calls.push(Call {
                        input: block,
                        output: None,
                        status: None,
                    });
                }
                BlockKind::ToolOutput => {
                    let place = waiting
                        .iter()
                        .rposition(|call| calls[*call].input.tool == block.tool);
                    if let Some(place) = place {
                        let call = &mut calls[waiting.remove(place)];
                        call.output = Some(block);
                        call.status = self.status_of(block.span);
                    }
                }
                _ => {}
            }
        }
        calls
    }

    fn status_of(&self, span: SpanNo) -> Option<Status> {
        self.span(span)?.status
    }

    fn span(&self, number: SpanNo) -> Option<&Span> {
        let known = self.spans.get(place_of(number));
        let known = known.filter(|known| known.span == number);
        known.or_else(|| self.spans.iter().find(|known| known.span == number))
    }

    /// The last reason that a model gave for ending its answer.
    pub fn finish(&self) -> Option<&Finish> {
        self.spans
            .iter()
            .rev()
            .find_map(|span| span.finish.as_ref())
    }

    /// Whether it ended before all was said: it was stopped, it failed, or the model was not done. At its limit of
    /// tokens, for example, it was not.
    pub fn broke_off(&self) -> bool {
        match self.status {
            None => false,
            Some(Status::Ok) => self.finish().is_some_and(|end| {
                !matches!(end.reason, FinishReason::Stop | FinishReason::Refusal)
            }),
            Some(_) => true,
        }
    }

    /// Whether its model can be asked to go on with it: it [broke off](Self::broke_off), and it is not that of a
    /// chain, which has no place in its steps to go on from.
    pub fn can_continue(&self) -> bool {
        self.broke_off() && !is_chain(&self.model)
    }

    /// The model that writes, or that wrote last. It differs from [`Answer::model`] after a
    /// fallback.
    pub fn answered_by(&self) -> &str {
        self.spans
            .iter()
            .rfind(|span| {
                span.kind == SpanKind::ChatModel
                    && span.status != Some(Status::Superseded)
                    && !span.hidden
            })
            .map_or(&self.model, |span| &span.name)
    }

    /// Whether the block at index `at` continues the text of an attempt that failed. The page marks
    /// such a seam.
    pub fn is_seam(&self, at: usize) -> bool {
        let Some(block) = self.blocks.get(at).filter(|block| self.is_visible(block)) else {
            return false;
        };
        self.blocks[..at]
            .iter()
            .rfind(|before| self.is_visible(before) && !before.text.is_empty())
            .filter(|before| before.span != block.span)
            .and_then(|before| self.spans.iter().rfind(|span| span.span == before.span))
            .is_some_and(|span| span.status == Some(Status::Error))
    }

    fn visible(&self) -> impl Iterator<Item = &Block> {
        self.blocks.iter().filter(|block| self.is_visible(block))
    }
}
