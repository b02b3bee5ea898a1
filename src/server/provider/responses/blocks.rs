//! The blocks of one answer: what was told of each, and what is left to tell.

use crate::{
    protocol::{BlockKind, ToolCall},
    server::provider::{ProviderEvent, exchange::Ready},
};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Where a block stands in the answer: the number of its item, and its place in the item.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    /// The item.
    pub(super) item: u64,
    /// What of the item.
    pub(super) slot: Slot,
}

/// A part of an item that is a block of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Slot {
    /// All that is shown of the thinking.
    Reasoning,
    /// A part of the text.
    Text(u64),
    /// A part of the text in which the model declines.
    Refusal(u64),
    /// The arguments of a call.
    Call,
}

impl Slot {
    fn kind(self) -> BlockKind {
        match self {
            Self::Reasoning => BlockKind::Reasoning,
            Self::Text(_) => BlockKind::Text,
            Self::Refusal(_) => BlockKind::Refusal,
            Self::Call => BlockKind::ToolInput,
        }
    }
}

#[derive(Debug)]
struct Block {
    index: u32,
    /// The arguments of a call.
    arguments: String,
    /// Whether there is text in it.
    told: bool,
    /// The part of the thinking that was told last.
    part: u64,
    closed: bool,
}

/// All blocks of one answer.
#[derive(Debug, Default)]
pub(super) struct Blocks(BTreeMap<Place, Block>);

impl Blocks {
    /// Whether nothing came at all.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether there is a block of this kind.
    pub(super) fn has(&self, kind: BlockKind) -> bool {
        self.0.keys().any(|place| place.slot.kind() == kind)
    }

    /// Whether there is a block here already.
    pub(super) fn knows(&self, place: Place) -> bool {
        self.0.contains_key(&place)
    }

    /// Begins a block, unless it is there already.
    pub(super) fn begin(&mut self, place: Place, tool: Option<ToolCall>, out: &mut Ready) {
        let index = u32::try_from(self.0.len()).unwrap_or(u32::MAX);
        self.0.entry(place).or_insert_with(|| {
            out.push_back(ProviderEvent::BlockStarted {
                index,
                kind: place.slot.kind(),
                tool,
            });
            Block {
                index,
                arguments: String::new(),
                told: false,
                part: 0,
                closed: false,
            }
        });
    }

    /// More text of a block, which begins with it unless it is a call's.
    pub(super) fn more(&mut self, place: Place, text: &str, out: &mut Ready) {
        if text.is_empty() {
            return;
        }
        if place.slot != Slot::Call {
            self.begin(place, None, out);
        }
        let Some(block) = self.0.get_mut(&place).filter(|block| !block.closed) else {
            return;
        };
        block.told = true;
        if place.slot == Slot::Call {
            block.arguments.push_str(text);
        }
        out.push_back(ProviderEvent::Delta {
            index: block.index,
            text: text.into(),
        });
    }

    /// More of the thinking. Its parts are paragraphs.
    pub(super) fn think(&mut self, place: Place, part: u64, text: &str, out: &mut Ready) {
        let follows = self
            .0
            .get(&place)
            .is_some_and(|block| block.told && block.part != part);
        if follows && !text.is_empty() {
            self.more(place, "\n\n", out);
        }
        self.more(place, text, out);
        if let Some(block) = self.0.get_mut(&place) {
            block.part = part;
        }
    }

    /// The whole text of a block, of which nothing is told if pieces of it came before.
    pub(super) fn whole(&mut self, place: Place, text: &str, out: &mut Ready) {
        if !self.0.get(&place).is_some_and(|block| block.told) {
            self.more(place, text, out);
        }
    }

    /// A whole part of the thinking, likewise.
    pub(super) fn whole_thought(&mut self, place: Place, part: u64, text: &str, out: &mut Ready) {
        let known = |block: &Block| block.told && block.part >= part;
        if !self.0.get(&place).is_some_and(known) {
            self.think(place, part, text, out);
        }
    }

    /// Ends a block.
    pub(super) fn close(&mut self, place: Place, value: Value, out: &mut Ready) {
        if let Some(block) = self.0.get_mut(&place) {
            block.close(place.slot, value, out);
        }
    }

    /// Ends the blocks of an item, or all.
    pub(super) fn close_all(&mut self, item: Option<u64>, out: &mut Ready) {
        for (place, block) in &mut self.0 {
            if item.is_none_or(|item| item == place.item) {
                block.close(place.slot, Value::Null, out);
            }
        }
    }
}

impl Block {
    fn close(&mut self, slot: Slot, value: Value, out: &mut Ready) {
        if std::mem::replace(&mut self.closed, true) {
            return;
        }
        // Arguments that cannot be parsed stay as text.
        let value = match (slot, self.arguments.trim()) {
            (Slot::Call, "") => json!({}),
            (Slot::Call, text) => serde_json::from_str(text).unwrap_or_default(),
            _ => value,
        };
        out.push_back(ProviderEvent::BlockFinished {
            index: self.index,
            value,
        });
    }
}
