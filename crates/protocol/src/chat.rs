//! What a conversation is, and the one fold that turns a run's log into what a person sees.
//!
//! The server (to store and to render), the browser (to show) and the tests (to judge) call the
//! same [`Answer::apply`], so that screen and disk cannot disagree. It is pure: no clock, no I/O.

mod arguments;
mod list;
mod settings;

pub use arguments::Arguments;
pub use list::{ListPlace, Summary};
pub use settings::{Effort, Settings};

use crate::{
    BlockKind, BlockNo, ConversationId, Error, Event, Finish, ImageId, MessageId, RunId, Seq,
    SpanKind, SpanNo, Stage, Status, Timing, ToolCall, UnixMs, Usage,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Who wrote a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// The person.
    User,
    /// The model.
    Assistant,
}

/// A conversation with messages of its current branch: the newest ones, or a page of earlier ones.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Conversation {
    /// Its identifier.
    pub id: ConversationId,
    /// Its name.
    pub title: String,
    /// `provider/model` of the last run, offered for the next.
    #[serde(default)]
    pub model: Option<String>,
    /// How its answers are asked for.
    #[serde(default, skip_serializing_if = "Settings::is_empty")]
    pub settings: Settings,
    /// Messages of the current branch one after the other. Where there are more before the first
    /// one, it has a parent.
    pub messages: Vec<Message>,
}

impl Conversation {
    /// The first message, if there are more before it: the cursor to the page before.
    pub fn earlier(&self) -> Option<MessageId> {
        let first = self.messages.first()?;
        first.parent.map(|_| first.id)
    }

    /// The last message of the current branch: what the next message answers.
    pub fn head(&self) -> Option<MessageId> {
        self.messages.last().map(|message| message.id)
    }
}

/// A message.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Message {
    /// Its identifier.
    pub id: MessageId,
    /// What it answers; `None` for the first.
    pub parent: Option<MessageId>,
    /// Who wrote it.
    pub role: Role,
    /// When it was begun.
    pub created: UnixMs,
    /// What a person wrote; empty for the assistant's, whose text is in `answers`.
    pub text: String,
    /// The images that a person sent with it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub images: Vec<ImageId>,
    /// The runs that wrote the assistant's message, in order: the first one, then one for each time
    /// it was continued.
    pub answers: Vec<Answer>,
    /// All messages that answer the same parent, this one included, in the order they were made.
    pub branches: Vec<MessageId>,
}

impl Message {
    /// Bytes of all text in it, also of what is folded away on the page.
    pub fn weight(&self) -> usize {
        let blocks = self.answers.iter().flat_map(|answer| &answer.blocks);
        self.text.len() + blocks.map(|block| block.text.len()).sum::<usize>()
    }

    /// The whole visible text: a person's words, or the texts of all runs one after the other.
    pub fn visible_text(&self) -> String {
        match self.role {
            Role::User => self.text.clone(),
            Role::Assistant => self.answers.iter().map(Answer::visible_text).collect(),
        }
    }
}

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

/// What came of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Applied {
    /// It was the next one.
    New,
    /// It had been applied before; nothing changed.
    Known,
    /// An entry before it is missing; nothing changed. Follow again from [`Answer::seq`].
    Gap,
    /// It belongs to the delivery and has no place in the log; nothing changed.
    Delivery,
}

impl Answer {
    /// The fold of a whole log.
    pub fn fold<'a>(entries: impl IntoIterator<Item = (Seq, &'a Event)>) -> Self {
        let mut answer = Self::default();
        for (seq, event) in entries {
            answer.apply(seq, event);
        }
        answer
    }

    /// Applies the next entry. An entry that was applied before changes nothing, and neither does
    /// one that comes too early: the result always is the fold of the first [`Answer::seq`] entries.
    pub fn apply(&mut self, seq: Seq, event: &Event) -> Applied {
        match event {
            Event::Ping { .. } | Event::GoingAway { .. } => return Applied::Delivery,
            Event::Snapshot { seq, answer } => return self.replace(*seq, answer),
            _ => {}
        }
        let first = match event {
            Event::Delta { from, .. } => from.unwrap_or(seq),
            _ => seq,
        };
        if seq <= self.seq {
            return Applied::Known;
        }
        if first != self.seq + 1 {
            return Applied::Gap;
        }
        self.seq = seq;
        self.advance(event);
        Applied::New
    }

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

    fn replace(&mut self, seq: Seq, answer: &serde_json::Value) -> Applied {
        if seq <= self.seq {
            return Applied::Known;
        }
        // By way of text, so that the browser's program holds one reader of these types and not two.
        match serde_json::from_str::<Self>(&answer.to_string()) {
            Ok(snapshot) if snapshot.seq == seq => {
                *self = snapshot;
                Applied::New
            }
            // A snapshot that cannot be read is as good as none: ask again.
            _ => Applied::Gap,
        }
    }

    fn advance(&mut self, event: &Event) {
        match event {
            Event::RunStarted {
                run,
                model,
                at,
                continues,
                ..
            } => {
                self.run = Some(*run);
                self.model.clone_from(model);
                self.accepted = *at;
                self.continues = *continues;
            }
            Event::SpanStarted {
                span,
                kind,
                name,
                replaces,
                ..
            } => {
                if let Some(old) = replaces.and_then(|number| self.span_mut(number)) {
                    old.status = Some(Status::Superseded);
                }
                self.spans.push(Span {
                    span: *span,
                    kind: *kind,
                    name: name.clone(),
                    status: None,
                    finish: None,
                    usage: Usage::default(),
                });
            }
            Event::BlockStarted {
                span,
                block,
                kind,
                tool,
            } => self.blocks.push(Block {
                block: *block,
                span: *span,
                kind: *kind,
                tool: tool.clone(),
                text: String::new(),
                open: true,
                value: Value::Null,
            }),
            Event::Delta { block, text, .. } => {
                let mut from_tool = false;
                if let Some(block) = self.block_mut(*block) {
                    block.text.push_str(text);
                    from_tool = block.kind == BlockKind::ToolOutput;
                }
                // A tool that writes is still at work; a model that writes has left its stage.
                if !from_tool {
                    self.stage = None;
                }
            }
            Event::BlockFinished { block, value, .. } => {
                if let Some(block) = self.block_mut(*block) {
                    block.open = false;
                    block.value.clone_from(value);
                }
            }
            Event::BlockRelabelled { block, kind, .. } => {
                if let Some(block) = self.block_mut(*block) {
                    block.kind = *kind;
                }
            }
            Event::Progress {
                stage: Stage::ContextTrimmed { messages },
                ..
            } => {
                self.trimmed = *messages;
            }
            Event::Progress { stage, at, .. } => {
                self.stage = Some(StageSince {
                    stage: stage.clone(),
                    at: *at,
                });
            }
            Event::Usage { span, usage } => self.count(*span, *usage),
            Event::SpanFinished {
                span,
                status,
                finish,
                usage,
                output,
                ..
            } => {
                if let Some(usage) = usage {
                    self.count(*span, *usage);
                }
                if let Some(ms) = output.get("provider_closed_ms").and_then(Value::as_u64) {
                    self.provider_closed_ms = Some(ms);
                }
                if let Some(known) = self.span_mut(*span) {
                    known.status = Some(*status);
                    known.finish.clone_from(finish);
                }
            }
            Event::RunFinished {
                status,
                usage,
                timing,
                error,
                length,
                hash,
            } => {
                self.stage = None;
                self.status = Some(*status);
                self.usage = *usage;
                self.timing = Some(*timing);
                self.error.clone_from(error);
                self.hash.clone_from(hash);
                self.cut(*length);
            }
            Event::Custom { .. }
            | Event::ApprovalRequested { .. }
            | Event::ApprovalGiven { .. }
            | Event::Unknown
            | Event::Ping { .. }
            | Event::Snapshot { .. }
            | Event::GoingAway { .. } => {}
        }
    }

    fn count(&mut self, span: SpanNo, usage: Usage) {
        if let Some(known) = self.span_mut(span) {
            known.usage = usage;
        }
        self.usage = self
            .spans
            .iter()
            .fold(Usage::default(), |sum, span| sum.plus(span.usage));
    }

    /// Keeps the first `length` bytes of the visible text and closes every block.
    fn cut(&mut self, length: u64) {
        let mut left = usize::try_from(length).unwrap_or(usize::MAX);
        let superseded: Vec<SpanNo> = self
            .spans
            .iter()
            .filter(|span| span.status == Some(Status::Superseded))
            .map(|span| span.span)
            .collect();
        for block in &mut self.blocks {
            block.open = false;
            let visible = matches!(block.kind, BlockKind::Text | BlockKind::Refusal)
                && !superseded.contains(&block.span);
            if visible {
                // The writer cuts between characters, so this only guards against a damaged log.
                let keep = beginning(&block.text, left).len();
                left -= left.min(block.text.len());
                block.text.truncate(keep);
            }
        }
    }

    fn span_mut(&mut self, number: SpanNo) -> Option<&mut Span> {
        match self.spans.get(place_of(number)) {
            Some(known) if known.span == number => self.spans.get_mut(place_of(number)),
            _ => self.spans.iter_mut().rfind(|span| span.span == number),
        }
    }

    fn block_mut(&mut self, number: BlockNo) -> Option<&mut Block> {
        match self.blocks.get(place_of(number)) {
            Some(known) if known.block == number => self.blocks.get_mut(place_of(number)),
            _ => self.blocks.iter_mut().rfind(|block| block.block == number),
        }
    }
}

/// The first `length` bytes of a text, or a little less where that would cut a character.
pub fn beginning(text: &str, length: usize) -> &str {
    let mut end = length.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// Where the writer's numbers put a span or a block: it counts from 1, without a gap.
fn place_of(number: u32) -> usize {
    (number as usize).wrapping_sub(1)
}

#[cfg(test)]
mod tests;
