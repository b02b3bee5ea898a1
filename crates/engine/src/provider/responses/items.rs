//! The output items of one answer: messages, reasoning, tool calls and images.

use super::blocks::{Blocks, Place, Slot};
use crate::provider::{
    ProviderEvent,
    exchange::Ready,
    json::{list, text},
    made_up_id,
    media::{self, Media},
};
use headwater_protocol::{BlockKind, ToolCall};
use serde_json::{Value, json};
use std::collections::HashMap;

/// The item number of our own sentences, after all of the server's.
const REMARKS: u64 = u64::MAX;

/// The first item number for content that arrives only with the end. Servers count from 0.
const LAST_WORDS: u64 = 1 << 40;

/// The items so far.
#[derive(Debug, Default)]
pub(super) struct Items {
    pub(super) blocks: Blocks,
    /// The last item that began, for servers that do not number them.
    current: Option<u64>,
    /// The numbers of the items by their identifiers.
    numbers: HashMap<String, u64>,
    /// Whether the answer has media.
    has_media: bool,
    pub(super) has_sound: bool,
}

impl Items {
    /// Takes an event if it is about an item. Returns whether it was.
    pub(super) fn event(&mut self, kind: &str, value: &Value, out: &mut Ready) -> bool {
        let item = self.number_of(value);
        let part = number(value, "content_index").unwrap_or(0);
        let summary = number(value, "summary_index").unwrap_or(part);
        let at = |slot| Place { item, slot };
        match kind {
            "response.output_item.added" => self.added(value, out),
            "response.output_item.done" => {
                if let Some(value) = value.get("item") {
                    self.done(item, value, out);
                }
            }
            "response.output_text.delta" => {
                self.blocks
                    .piece(at(Slot::Text(part)), text(value, "delta"), out);
            }
            "response.output_text.done" => {
                self.blocks
                    .whole(at(Slot::Text(part)), text(value, "text"), out);
            }
            "response.refusal.delta" => {
                self.blocks
                    .piece(at(Slot::Refusal(part)), text(value, "delta"), out);
            }
            "response.refusal.done" => {
                self.blocks
                    .whole(at(Slot::Refusal(part)), text(value, "refusal"), out);
            }
            "response.reasoning_summary_text.delta"
            | "response.reasoning_text.delta"
            | "response.reasoning_summary.delta"
            | "response.reasoning.delta" => {
                let piece = text(value, "delta");
                self.blocks.think(at(Slot::Reasoning), summary, piece, out);
            }
            "response.output_audio_transcript.delta" | "response.audio.transcript.delta" => {
                let piece = text(value, "delta");
                self.blocks.more(at(Slot::Text(part)), piece, out);
            }
            "response.output_audio.delta" | "response.audio.delta" => self.has_sound = true,
            "response.reasoning_summary_text.done" | "response.reasoning_text.done" => {
                let whole = text(value, "text");
                self.blocks
                    .whole_thought(at(Slot::Reasoning), summary, whole, out);
            }
            "response.function_call_arguments.delta" => {
                self.blocks.piece(at(Slot::Call), text(value, "delta"), out);
            }
            "response.function_call_arguments.done" => {
                self.blocks
                    .whole(at(Slot::Call), text(value, "arguments"), out);
            }
            _ => return false,
        }
        true
    }

    /// Begins the item of this event.
    fn added(&mut self, event: &Value, out: &mut Ready) {
        let next = self.current.map_or(0, |item| item.saturating_add(1));
        let mut item = number(event, "output_index").unwrap_or(next);
        if let Some(value) = event.get("item") {
            let id = text(value, "id");
            if !id.is_empty() {
                // Some servers give several items the same number.
                let is_taken = self.numbers.values().any(|taken| *taken == item);
                if is_taken && !self.numbers.contains_key(id) {
                    let most = self.numbers.values().max();
                    item = most.map_or(0, |most| most.saturating_add(1));
                }
                item = *self.numbers.entry(id.into()).or_insert(item);
            }
            self.call(item, value, out);
        }
        self.current = Some(item);
    }

    /// The number of the item that an event is about. It is found by its identifier, because some
    /// servers get the numbers wrong.
    fn number_of(&self, value: &Value) -> u64 {
        let inner = value.get("item").map_or("", |item| text(item, "id"));
        let mut ids = [text(value, "item_id"), inner].into_iter();
        let known = ids.find_map(|id| self.numbers.get(id).copied());
        known
            .or_else(|| number(value, "output_index"))
            .or(self.current)
            .unwrap_or(0)
    }

    fn see(&mut self, media: Option<Media>, out: &mut Ready) {
        match media {
            Some(Media::Image(image)) => out.push_back(ProviderEvent::Image(image)),
            Some(Media::Remark(remark)) => self.remark(&remark, out),
            None => {}
        }
        self.has_media = true;
    }

    /// Adds one of our own sentences.
    pub(super) fn remark(&mut self, remark: &str, out: &mut Ready) {
        let place = Place {
            item: REMARKS,
            slot: Slot::Text(0),
        };
        let first = !self.blocks.has(BlockKind::Text);
        self.blocks
            .more(place, &media::paragraph(remark, first), out);
    }

    /// Begins a tool call, unless it has begun already or the item is not a call.
    fn call(&mut self, item: u64, value: &Value, out: &mut Ready) {
        if text(value, "type") != "function_call" {
            return;
        }
        let id = [text(value, "call_id"), text(value, "id")];
        let tool = ToolCall {
            // The next turn must name the call, so a call without an identifier gets one of ours.
            id: id
                .into_iter()
                .find(|id| !id.is_empty())
                .map_or_else(|| made_up(item), String::from),
            name: text(value, "name").into(),
        };
        let slot = Slot::Call;
        if !self.blocks.has_call(text(value, "call_id")) {
            self.blocks.begin(Place { item, slot }, Some(tool), out);
        }
    }

    /// Takes a complete item, and yields only what is new.
    fn done(&mut self, item: u64, value: &Value, out: &mut Ready) {
        let at = |slot| Place { item, slot };
        match text(value, "type") {
            "message" => {
                let (mut words, mut refusals) = (Vec::new(), Vec::new());
                for (part, content) in (0..).zip(list(value, "content")) {
                    match text(content, "type") {
                        "output_text" | "text" => {
                            words.push((Slot::Text(part), text(content, "text")));
                        }
                        "refusal" => {
                            refusals.push((Slot::Refusal(part), text(content, "refusal")));
                        }
                        "output_image" | "image_url" | "image" => {
                            self.see(Media::from_object(content), out);
                        }
                        "output_audio" | "audio" => {
                            words.push((Slot::Text(part), text(content, "transcript")));
                            self.has_sound = true;
                        }
                        _ => {}
                    }
                }
                self.blocks.whole_item(item, &words, out);
                self.blocks.whole_item(item, &refusals, out);
                self.blocks.close_all(Some(item), out);
            }
            "image_generation_call" => {
                let result = value.get("result").and_then(Value::as_str);
                self.see(result.map(|data| Media::from_base64(data, "image")), out);
            }
            "reasoning" => {
                let place = at(Slot::Reasoning);
                let parts = match list(value, "summary") {
                    [] => list(value, "content"),
                    parts => parts,
                };
                let parts: Vec<_> = parts.iter().map(|part| text(part, "text")).collect();
                self.blocks.whole_thoughts(place, &parts, out);
                let kept = kept(value);
                if kept.get("encrypted_content").is_some() {
                    // Hidden reasoning must be sent back as well.
                    self.blocks.begin(place, None, out);
                }
                self.blocks.close(place, kept, out);
            }
            "function_call" => {
                self.call(item, value, out);
                self.blocks
                    .whole(at(Slot::Call), text(value, "arguments"), out);
                self.blocks.close_all(Some(item), out);
            }
            _ => {}
        }
    }

    /// Takes the complete answer, and yields only what is new. Some servers send nothing before it.
    pub(super) fn last_words(&mut self, response: &Value, out: &mut Ready) {
        let items = list(response, "output");
        let told = self.blocks.told(BlockKind::Text);
        if told.is_empty() && !self.blocks.has(BlockKind::ToolInput) && !self.has_media {
            for (item, value) in (0..).zip(items) {
                let item = self.numbers.get(text(value, "id")).copied().unwrap_or(item);
                self.done(item, value, out);
            }
            return;
        }
        let words = items.iter().filter(|item| text(item, "type") == "message");
        let words = words.flat_map(|item| list(item, "content"));
        let words = words.filter(|part| matches!(text(part, "type"), "output_text" | "text"));
        let words: String = words.map(|part| text(part, "text")).collect();
        if let Some(rest) = words.strip_prefix(&told) {
            let place = Place {
                item: LAST_WORDS,
                slot: Slot::Text(0),
            };
            self.blocks.more(place, rest, out);
        }
        for (item, value) in (LAST_WORDS..).zip(items) {
            let id = [text(value, "call_id"), text(value, "id")];
            let id = id.into_iter().find(|id| !id.is_empty()).unwrap_or_default();
            if text(value, "type") == "function_call" && !id.is_empty() && !self.blocks.has_call(id)
            {
                self.done(item, value, out);
            }
        }
    }
}

/// The part of a reasoning item that must be sent back besides its text: the encrypted form; or,
/// for a server that shows the reasoning itself, a note that the text is no summary. A summary with
/// several parts, which are joined for the reader, is kept in parts.
fn kept(item: &Value) -> Value {
    let encrypted = item.get("encrypted_content").filter(|it| it.is_string());
    let shown = encrypted.is_none() && !list(item, "content").is_empty();
    if encrypted.is_none() && !shown {
        return Value::Null;
    }
    let mut kept = json!({"type": "reasoning", "id": item.get("id")});
    if let Some(encrypted) = encrypted {
        kept["encrypted_content"] = encrypted.clone();
    }
    if shown {
        kept["shown"] = true.into();
    }
    if list(item, "summary").len() > 1 {
        kept["summary"] = item["summary"].clone();
    }
    kept
}

/// An identifier for a call without one.
fn made_up(item: u64) -> String {
    made_up_id(u32::try_from(item.saturating_add(1)).unwrap_or(u32::MAX))
}

/// A number in the field `name`.
pub(super) fn number(value: &Value, name: &str) -> Option<u64> {
    value.get(name).and_then(Value::as_u64)
}
