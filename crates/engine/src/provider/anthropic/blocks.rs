//! The blocks of one answer. Servers that imitate Anthropic's API get their numbers wrong.

use super::open_block::OpenBlock;
use crate::provider::{
    ProviderEvent,
    exchange::Ready,
    json::text,
    media::{self, Media},
};
use headwater_protocol::{BlockKind, ToolCall};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// The blocks so far.
#[derive(Debug)]
pub(super) struct Blocks {
    /// The open blocks by the server's numbers.
    open: BTreeMap<u64, OpenBlock>,
    /// Wrong numbers, with the numbers of the blocks that their deltas belong to.
    moved: BTreeMap<u64, u64>,
    /// The numbers of open blocks that are not shown.
    ignored: BTreeSet<u64>,
    /// The server's number of the last block that began.
    last: Option<u64>,
    /// Our number of the next block.
    next: u32,
    /// Whether the answer has any content.
    pub(super) is_any: bool,
    /// White space that was removed from the end of the prefill. If the model writes it again, it
    /// is skipped.
    spaces: String,
}

impl Blocks {
    /// No blocks. `spaces` was removed from the end of the prefill.
    pub(super) fn new(spaces: String) -> Self {
        Self {
            open: BTreeMap::new(),
            moved: BTreeMap::new(),
            ignored: BTreeSet::new(),
            last: None,
            next: 0,
            is_any: false,
            spaces,
        }
    }

    /// Yields complete blocks.
    pub(super) fn all(&mut self, blocks: &[Value], out: &mut Ready) {
        for (number, block) in (0..).zip(blocks) {
            self.start(number, block, out);
            if let Some(open) = self.open.remove(&number) {
                open.close(out);
            }
        }
    }

    /// Begins a block. Without a number it is the one after the last.
    pub(super) fn start_next(&mut self, number: Option<u64>, block: &Value, out: &mut Ready) {
        let next = self.last.map_or(0, |last| last.saturating_add(1));
        self.start(number.unwrap_or(next), block, out);
    }

    fn start(&mut self, number: u64, block: &Value, out: &mut Ready) {
        self.last = Some(number);
        self.moved.remove(&number);
        let kind = match text(block, "type") {
            "text" => BlockKind::Text,
            "thinking" | "redacted_thinking" => BlockKind::Reasoning,
            "tool_use" => BlockKind::ToolInput,
            "image" => {
                match Media::from_object(block) {
                    Some(Media::Image(image)) => out.push_back(ProviderEvent::Image(image)),
                    Some(Media::Remark(remark)) => {
                        self.begin(number, BlockKind::Text, None, out);
                        self.write(number, &media::paragraph(&remark, false), out);
                    }
                    None => {}
                }
                self.is_any = true;
                return;
            }
            // The server's own tools are not shown.
            _ => {
                self.ignored.insert(number);
                return;
            }
        };
        self.ignored.remove(&number);
        let tool = (kind == BlockKind::ToolInput).then(|| ToolCall {
            id: text(block, "id").into(),
            name: text(block, "name").into(),
        });
        let known = |open: &OpenBlock| open.tool.is_some() && open.tool == tool;
        if self.open.get(&number).is_some_and(known) {
            // The same call was begun before.
            return;
        }
        self.begin(number, kind, tool, out);
        match text(block, "type") {
            "redacted_thinking" => {
                if let Some(open) = self.open.get_mut(&number) {
                    open.hidden = json!({"type": "redacted_thinking", "data": text(block, "data")});
                }
            }
            "thinking" => {
                self.say(number, text(block, "thinking"), out);
                self.sign(number, text(block, "signature"));
            }
            "text" => self.write(number, text(block, "text"), out),
            _ => {
                let input = block.get("input").filter(|input| match input {
                    Value::Object(map) => !map.is_empty(),
                    _ => false,
                });
                if let Some(input) = input {
                    self.argue(number, &input.to_string(), out);
                }
            }
        }
    }

    fn begin(&mut self, number: u64, kind: BlockKind, tool: Option<ToolCall>, out: &mut Ready) {
        self.is_any = true;
        let index = self.next;
        self.next += 1;
        out.push_back(ProviderEvent::BlockStarted {
            index,
            kind,
            tool: tool.clone(),
        });
        let open = OpenBlock::new(index, kind, tool);
        if let Some(before) = self.open.insert(number, open) {
            before.close(out);
        }
    }

    /// Takes a delta of a block. Without a number it belongs to the last block that began.
    pub(super) fn delta(&mut self, number: Option<u64>, delta: &Value, out: &mut Ready) {
        let number = number.or(self.last).unwrap_or(0);
        let has = |name: &str| delta.get(name).is_some();
        let kind = match text(delta, "type") {
            "text_delta" => BlockKind::Text,
            "thinking_delta" | "signature_delta" => BlockKind::Reasoning,
            "input_json_delta" => BlockKind::ToolInput,
            "" if has("text") => BlockKind::Text,
            "" if has("thinking") => BlockKind::Reasoning,
            "" if has("partial_json") => BlockKind::ToolInput,
            // Citations, or a delta from a later version of the API.
            _ => return,
        };
        let Some(number) = self.place(number, kind, out) else {
            return;
        };
        match kind {
            BlockKind::Text => self.write(number, text(delta, "text"), out),
            BlockKind::ToolInput => self.argue(number, text(delta, "partial_json"), out),
            _ => {
                self.say(number, text(delta, "thinking"), out);
                self.sign(number, text(delta, "signature"));
            }
        }
    }

    /// Ends a block. Without a number it is the last one that began.
    pub(super) fn stop(&mut self, number: Option<u64>, out: &mut Ready) {
        let number = number.or(self.last).unwrap_or(0);
        self.ignored.remove(&number);
        let number = self.moved.remove(&number).unwrap_or(number);
        if let Some(open) = self.open.remove(&number) {
            open.close(out);
        }
    }

    /// Ends all blocks.
    pub(super) fn close_all(&mut self, out: &mut Ready) {
        for open in std::mem::take(&mut self.open).into_values() {
            open.close(out);
        }
    }

    /// The number of the block that a delta of this kind belongs to. A delta with a wrong number
    /// (that of no block, or of a block of another kind) belongs to the last open block of its
    /// kind, or begins one.
    fn place(&mut self, number: u64, kind: BlockKind, out: &mut Ready) -> Option<u64> {
        if kind == BlockKind::ToolInput && self.ignored.contains(&number) {
            return None;
        }
        let moved = self.moved.get(&number).copied();
        if let Some(number) = [Some(number), moved]
            .into_iter()
            .flatten()
            .find(|at| self.is(*at, kind))
        {
            return Some(number);
        }
        let mut open = self.open.iter().rev();
        if let Some((place, _)) = open.find(|(_, open)| open.kind == kind) {
            let place = *place;
            self.moved.insert(number, place);
            return Some(place);
        }
        if kind == BlockKind::ToolInput {
            // The name of the tool is unknown.
            return None;
        }
        // Another block may already have this number.
        let free = match self.open.contains_key(&number) {
            true => self
                .open
                .keys()
                .max()
                .map_or(0, |most| most.saturating_add(1)),
            false => number,
        };
        if free != number {
            self.moved.insert(number, free);
        }
        self.begin(free, kind, None, out);
        Some(free)
    }

    fn is(&self, number: u64, kind: BlockKind) -> bool {
        self.open.get(&number).is_some_and(|open| open.kind == kind)
    }

    /// Takes a delta of text.
    fn write(&mut self, number: u64, text: &str, out: &mut Ready) {
        if !self.is(number, BlockKind::Text) {
            return;
        }
        let mut text = text;
        while let Some(space) = self.spaces.chars().next()
            && let Some(first) = text.chars().next()
        {
            if first != space {
                self.spaces.clear();
                break;
            }
            self.spaces.drain(..space.len_utf8());
            text = &text[first.len_utf8()..];
        }
        self.say(number, text, out);
    }

    fn say(&mut self, number: u64, text: &str, out: &mut Ready) {
        if let Some(open) = self.open.get_mut(&number) {
            open.say(text, out);
        }
    }

    fn argue(&mut self, number: u64, text: &str, out: &mut Ready) {
        if !self.is(number, BlockKind::ToolInput) {
            return;
        }
        if let Some(open) = self.open.get_mut(&number) {
            open.argue(text, out);
        }
    }

    /// Takes a delta of the signature of a block of thinking.
    fn sign(&mut self, number: u64, piece: &str) {
        if let Some(open) = self.open.get_mut(&number)
            && open.kind == BlockKind::Reasoning
        {
            open.signature.push_str(piece);
        }
    }
}
