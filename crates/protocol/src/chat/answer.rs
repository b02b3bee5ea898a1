//! What one run has written so far, and what is shown of it.

use super::fold::place_of;
use crate::{
    BlockKind, BlockNo, Error, Finish, ImageId, RunId, Seq, SpanKind, SpanNo, Stage, Status,
    Timing, ToolCall, UnixMs, Usage,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What one run has told so far: the fold of its log.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Answer {
    /// The run; `None` before its first entry.
    pub run: Option<RunId>,
    /// The run that this one goes on from.
    pub continues: Option<RunId>,
    /// The last entry applied: the reader's cursor.
    pub seq: Seq,
    /// `provider/model`.
    pub model: String,
    /// When it was accepted.
    pub accepted: UnixMs,
    /// The work done, in order of its start.
    pub spans: Vec<Span>,
    /// The output, in order of its start.
    pub blocks: Vec<Block>,
    /// Where it stands; `None` while text arrives and after the end.
    pub stage: Option<StageSince>,
    /// How many of the oldest messages did not fit into the model's context.
    pub trimmed: u32,
    /// Tokens of all attempts.
    pub usage: Usage,
    /// How it ended; `None` while it runs.
    pub status: Option<Status>,
    /// What went wrong.
    pub error: Option<Error>,
    /// When its parts happened; known at the end.
    pub timing: Option<Timing>,
    /// SHA-256 of the visible text, known at the end.
    pub hash: String,
    /// Milliseconds from the request to stop until the provider was closed. `None` where nobody
    /// stopped the run, or where no provider was answering at that moment.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub provider_closed_ms: Option<u64>,
}

/// A stage and its beginning.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StageSince {
    /// The stage.
    pub stage: Stage,
    /// Its beginning in milliseconds since the run was accepted.
    pub at: u64,
}

/// A unit of work.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Span {
    /// Its number.
    pub span: SpanNo,
    /// What sort of work.
    pub kind: SpanKind,
    /// A name for people.
    pub name: String,
    /// How it ended; `None` while it runs.
    pub status: Option<Status>,
    /// Why the model ended.
    pub finish: Option<Finish>,
    /// Its counts so far.
    pub usage: Usage,
}

/// A piece of output.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Block {
    /// Its number.
    pub block: BlockNo,
    /// The span that writes it.
    pub span: SpanNo,
    /// What it holds.
    pub kind: BlockKind,
    /// Which tool call it belongs to.
    pub tool: Option<ToolCall>,
    /// Its text so far.
    pub text: String,
    /// Whether more may come.
    pub open: bool,
    /// Its final value where that is more than its text, such as the signature of a thought.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub value: Value,
}

/// A call of a tool.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Call<'a> {
    /// What the model wrote.
    pub input: &'a Block,
    /// What the tool gave back so far; `None` if it was not begun.
    pub output: Option<&'a Block>,
    /// How the tool's work ended; `None` while it runs, and where nobody was left to see its end.
    pub status: Option<Status>,
}

impl Answer {
    /// Whether more may come.
    pub fn is_running(&self) -> bool {
        self.run.is_some() && self.status.is_none()
    }

    /// What a person reads as the answer: the text blocks of the attempts that were not replaced.
    pub fn visible_text(&self) -> String {
        self.visible().map(|block| block.text.as_str()).collect()
    }

    /// [`Answer::visible_text`] beyond its first `length` bytes, at the cost of what is returned;
    /// `None` if it is shorter than that, as after a stop.
    pub fn visible_text_after(&self, length: usize) -> Option<String> {
        let (mut skip, mut rest) = (length, String::new());
        for block in self.visible() {
            let start = skip.min(block.text.len());
            rest.push_str(block.text.get(start..)?);
            skip -= start;
        }
        (skip == 0).then_some(rest)
    }

    /// Length of [`Answer::visible_text`] in bytes.
    pub fn visible_length(&self) -> u64 {
        self.visible().map(|block| block.text.len() as u64).sum()
    }

    /// Whether a block is part of the answer's text.
    pub fn is_visible(&self, block: &Block) -> bool {
        matches!(block.kind, BlockKind::Text | BlockKind::Refusal)
            && !self.is_superseded(block.span)
    }

    /// The images that the model made, in the attempts that were not replaced.
    pub fn pictures(&self) -> impl Iterator<Item = ImageId> + '_ {
        let data = |block: &&Block| block.kind == BlockKind::Data;
        self.blocks.iter().filter(data).filter_map(|block| {
            let id = block.value.get("image")?.as_str()?;
            (!self.is_superseded(block.span)).then(|| ImageId(id.to_owned()))
        })
    }

    /// Whether another attempt took the span's place.
    pub fn is_superseded(&self, span: SpanNo) -> bool {
        self.status_of(span) == Some(Status::Superseded)
    }

    /// The calls of tools, in the order of their [`BlockKind::ToolInput`] blocks, one for each. A
    /// result is that of the nearest call of its identifier before it: identifiers repeat where a
    /// provider has none, and the calls of each of the model's turns are numbered from 1.
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
        let known = self.spans.get(place_of(span));
        let known = known.filter(|known| known.span == span);
        known
            .or_else(|| self.spans.iter().find(|known| known.span == span))?
            .status
    }

    /// The last reason that a model gave for its end.
    pub fn finish(&self) -> Option<&Finish> {
        self.spans
            .iter()
            .rev()
            .find_map(|span| span.finish.as_ref())
    }

    /// The model that writes, or wrote last: another one than [`Answer::model`] where that could not
    /// answer.
    pub fn answered_by(&self) -> &str {
        self.spans
            .iter()
            .rfind(|span| {
                span.kind == SpanKind::ChatModel && span.status != Some(Status::Superseded)
            })
            .map_or(&self.model, |span| &span.name)
    }

    /// Whether the `at`-th block goes on where an attempt broke off: a seam for the reader.
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
