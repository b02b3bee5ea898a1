//! The one fold: how each entry of a log changes an [`Answer`].

use super::{
    Answer,
    answer::{Block, HIDDEN, Span, StageSince},
};
use crate::{BlockKind, BlockNo, Event, Seq, SpanNo, Stage, Status, Usage};
use serde_json::Value;

/// What [`Answer::apply`] did with an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Applied {
    /// It was the next entry, and is applied.
    New,
    /// The entry had been applied before. Nothing changed.
    Known,
    /// An earlier entry is missing. Nothing changed; follow again from [`Answer::seq`].
    Gap,
    /// The event belongs to the delivery and not to the log. Nothing changed.
    Delivery,
}

impl Answer {
    /// Folds a whole log.
    pub fn fold<'a>(entries: impl IntoIterator<Item = (Seq, &'a Event)>) -> Self {
        let mut answer = Self::default();
        for (seq, event) in entries {
            answer.apply(seq, event);
        }
        answer
    }

    /// Applies the next entry. Entries that were applied before or that come too early change
    /// nothing, so the result is always the fold of the first [`Answer::seq`] entries.
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

    fn replace(&mut self, seq: Seq, answer: &serde_json::Value) -> Applied {
        let rewound = answer.get("rewound") == Some(&Value::Bool(true));
        if seq <= self.seq && !rewound {
            return Applied::Known;
        }
        // By way of text, so that the browser's program contains only one deserializer of these
        // types.
        match serde_json::from_str::<Self>(&answer.to_string()) {
            Ok(snapshot) if snapshot.seq == seq => {
                *self = snapshot;
                Applied::New
            }
            // An unreadable snapshot is treated as a missing one: the reader asks again.
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
                parent,
                kind,
                name,
                tags,
                replaces,
                ..
            } => {
                if let Some(old) = replaces.and_then(|number| self.span_mut(number)) {
                    old.status = Some(Status::Superseded);
                }
                let hidden = tags.iter().any(|tag| tag == HIDDEN)
                    || parent.is_some_and(|parent| self.is_hidden(parent));
                self.spans.push(Span {
                    span: *span,
                    hidden,
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
                // A model that writes no longer waits. A tool that writes is still running.
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
        let unseen: Vec<SpanNo> = self
            .spans
            .iter()
            .filter(|span| span.hidden || span.status == Some(Status::Superseded))
            .map(|span| span.span)
            .collect();
        for block in &mut self.blocks {
            block.open = false;
            let visible = matches!(block.kind, BlockKind::Text | BlockKind::Refusal)
                && !unseen.contains(&block.span);
            if visible {
                // The server cuts between characters. Only a damaged log says otherwise.
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

/// The first `length` bytes of a text, or up to three fewer if that would split a character.
pub fn beginning(text: &str, length: usize) -> &str {
    let mut end = length.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// The index of a span or a block: the server numbers them from 1 without a gap.
pub(super) fn place_of(number: u32) -> usize {
    (number as usize).wrapping_sub(1)
}
