//! The blocks of one answer, with the text that was yielded of each.

use crate::provider::{ProviderEvent, exchange::Ready, json as read, pieces::Pieces};
use headwater_protocol::{BlockKind, ToolCall};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// The place of a block in the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    /// The number of the output item.
    pub(super) item: u64,
    /// The part of the item.
    pub(super) slot: Slot,
}

/// A part of an item that is a block of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Slot {
    /// All shown reasoning of the item.
    Reasoning,
    /// The content part with this number: text.
    Text(u64),
    /// The content part with this number: a refusal.
    Refusal(u64),
    /// The arguments of a tool call.
    Call,
}

/// The separator of two parts of the reasoning.
const PARAGRAPH: &str = "\n\n";

impl Slot {
    /// The slot for text that follows after the block here is closed.
    fn next(self) -> Option<Self> {
        match self {
            Self::Text(part) => part.checked_add(1 << 32).map(Self::Text),
            Self::Refusal(part) => part.checked_add(1 << 32).map(Self::Refusal),
            Self::Reasoning | Self::Call => None,
        }
    }

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
    /// The text that was yielded.
    text: String,
    /// The pieces of the text, or of the current part of the reasoning.
    pieces: Pieces,
    /// The start of the last piece of a call's arguments.
    last: usize,
    /// The complete arguments of a call, which the server repeats at its end.
    whole: String,
    /// The identifier of the call; empty for other blocks.
    id: String,
    /// The number of the last part of the reasoning.
    part: u64,
    /// Whether the server has also sent the complete text.
    is_known_whole: bool,
    closed: bool,
}

/// All blocks of one answer.
#[derive(Debug, Default)]
pub(super) struct Blocks(BTreeMap<Place, Block>);

impl Blocks {
    /// Whether there is a block of this kind.
    pub(super) fn has(&self, kind: BlockKind) -> bool {
        self.0.keys().any(|place| place.slot.kind() == kind)
    }

    /// Whether the call with this identifier has begun.
    pub(super) fn has_call(&self, id: &str) -> bool {
        !id.is_empty() && self.0.values().any(|block| block.id == id)
    }

    /// Begins a block, unless it has begun already.
    pub(super) fn begin(&mut self, place: Place, tool: Option<ToolCall>, out: &mut Ready) {
        let index = u32::try_from(self.0.len()).unwrap_or(u32::MAX);
        self.0.entry(place).or_insert_with(|| {
            let id = tool.as_ref().map(|tool| tool.id.clone());
            out.push_back(ProviderEvent::BlockStarted {
                index,
                kind: place.slot.kind(),
                tool,
            });
            Block {
                index,
                text: String::new(),
                pieces: Pieces::default(),
                last: 0,
                whole: String::new(),
                id: id.unwrap_or_default(),
                part: 0,
                is_known_whole: false,
                closed: false,
            }
        });
    }

    /// Yields more text of a block, and begins the block if needed, unless it is a call. Text for a
    /// closed block begins another one.
    pub(super) fn more(&mut self, place: Place, text: &str, out: &mut Ready) {
        if text.is_empty() {
            return;
        }
        let mut place = place;
        if place.slot != Slot::Call {
            while let Some(next) = place.slot.next()
                && self.0.get(&place).is_some_and(|block| block.closed)
            {
                place.slot = next;
            }
            self.begin(place, None, out);
        }
        let Some(block) = self.0.get_mut(&place).filter(|block| !block.closed) else {
            return;
        };
        block.text.push_str(text);
        out.push_back(ProviderEvent::Delta {
            index: block.index,
            text: text.into(),
        });
    }

    /// Takes a piece of a block's text (a delta or a snapshot) and yields what is new.
    pub(super) fn piece(&mut self, place: Place, text: &str, out: &mut Ready) {
        match self.0.get_mut(&place).filter(|block| !block.closed) {
            Some(block) if place.slot == Slot::Call => {
                block.last = block.text.len();
                self.more(place, text, out);
            }
            Some(block) => {
                let new = block.pieces.take(text);
                self.more(place, &new, out);
            }
            None => {
                self.more(place, text, out);
                if let Some(block) = self.0.get_mut(&place).filter(|block| !block.closed) {
                    let _ = block.pieces.take(text);
                }
            }
        }
    }

    /// Takes a piece of the reasoning. Its parts become paragraphs.
    pub(super) fn think(&mut self, place: Place, part: u64, text: &str, out: &mut Ready) {
        let follows = self
            .0
            .get(&place)
            .is_some_and(|block| !block.text.is_empty() && block.part != part);
        if follows && !text.is_empty() {
            let held = self.0.get_mut(&place).map(|block| {
                let mut before = std::mem::take(&mut block.pieces);
                before.end()
            });
            self.more(place, &held.unwrap_or_default(), out);
            self.more(place, PARAGRAPH, out);
        }
        self.piece(place, text, out);
        if let Some(block) = self.0.get_mut(&place) {
            block.part = part;
        }
    }

    /// Takes the complete text of a block, and yields only what no block has yielded yet.
    pub(super) fn whole(&mut self, place: Place, text: &str, out: &mut Ready) {
        if text.is_empty() {
            return;
        }
        if let Some(block) = self
            .0
            .get_mut(&place)
            .filter(|block| !block.text.is_empty())
        {
            block.is_known_whole = true;
            if place.slot == Slot::Call {
                block.whole = text.into();
            }
            self.rest(place, text, out);
            return;
        }
        // Servers get the numbers of parts and items wrong.
        let kind = place.slot.kind();
        let is_same = |(at, block): &(&Place, &mut Block)| {
            at.slot.kind() == kind && !block.is_known_whole && block.text == text
        };
        match self.0.iter_mut().find(is_same) {
            Some((_, block)) if kind != BlockKind::ToolInput => block.is_known_whole = true,
            _ => {
                self.more(place, text, out);
                if let Some(block) = self.0.get_mut(&place) {
                    block.is_known_whole = true;
                }
            }
        }
    }

    /// Takes the complete text of one kind of an item, and yields only what is new.
    pub(super) fn whole_item(&mut self, item: u64, parts: &[(Slot, &str)], out: &mut Ready) {
        let Some(kind) = parts.first().map(|(slot, _)| slot.kind()) else {
            return;
        };
        let of_item = |at: &Place| at.item == item && at.slot.kind() == kind;
        let blocks = self.0.iter().filter(|(at, _)| of_item(at));
        let told: String = blocks.map(|(_, block)| block.text.as_str()).collect();
        let whole: String = parts.iter().map(|(_, text)| *text).collect();
        if told.is_empty() {
            for (slot, text) in parts {
                self.whole(Place { item, slot: *slot }, text, out);
            }
            return;
        }
        if let Some(rest) = whole.strip_prefix(&told)
            && let Some((place, block)) = self.0.iter_mut().rfind(|(at, _)| of_item(at))
        {
            block.pieces = Pieces::default();
            let place = *place;
            self.more(place, rest, out);
        }
    }

    /// Likewise for one part of the reasoning.
    pub(super) fn whole_thought(&mut self, place: Place, part: u64, text: &str, out: &mut Ready) {
        let known = |block: &Block| !block.text.is_empty() && block.part >= part;
        if !self.0.get(&place).is_some_and(known) {
            self.think(place, part, text, out);
        }
    }

    /// Likewise for all reasoning of an item.
    pub(super) fn whole_thoughts(&mut self, place: Place, parts: &[&str], out: &mut Ready) {
        let told = self.0.get(&place).map_or("", |block| &block.text);
        if told.is_empty() {
            for (number, part) in (0..).zip(parts) {
                self.think(place, number, part, out);
            }
        } else {
            self.rest(place, &parts.join(PARAGRAPH), out);
        }
    }

    /// Yields the part of a complete text that was not yielded before.
    fn rest(&mut self, place: Place, text: &str, out: &mut Ready) {
        let told = self.0.get(&place).map_or("", |block| &block.text);
        if let Some(rest) = text.strip_prefix(told) {
            self.more(place, rest, out);
            if let Some(block) = self.0.get_mut(&place) {
                // The complete text contains what was held back.
                block.pieces = Pieces::default();
            }
        }
    }

    /// All text of one kind that was yielded.
    pub(super) fn told(&self, kind: BlockKind) -> String {
        let blocks = self.0.iter().filter(|(at, _)| at.slot.kind() == kind);
        blocks.map(|(_, block)| block.text.as_str()).collect()
    }

    /// Ends a block.
    pub(super) fn close(&mut self, place: Place, value: Value, out: &mut Ready) {
        if let Some(block) = self.0.get_mut(&place) {
            block.close(place.slot, value, out);
        }
    }

    /// Ends the blocks of an item, or all blocks.
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
        let held = self.pieces.end();
        if !held.is_empty() {
            self.text.push_str(&held);
            let index = self.index;
            out.push_back(ProviderEvent::Delta { index, text: held });
        }
        // Arguments that cannot be parsed stay as text.
        let value = match (slot, self.text.trim()) {
            (Slot::Call, "") => json!({}),
            (Slot::Call, _) => serde_json::from_str(&self.whole)
                .ok()
                .filter(Value::is_object)
                .unwrap_or_else(|| read::arguments(&self.text, self.last)),
            _ => value,
        };
        out.push_back(ProviderEvent::BlockFinished {
            index: self.index,
            value,
        });
    }
}
