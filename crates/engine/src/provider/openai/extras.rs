//! Fields that a server sends with an answer and needs back with the next request: the name of the
//! field of its reasoning, and opaque values.
//!
//! They are stored as the value of a block of reasoning, and so as
//! [`Part::Reasoning`](crate::provider::Part::Reasoning). The value is an object with:
//!
//! - `field`: the name of the field in which the reasoning of this block arrived and is sent back. DeepSeek
//!   (<https://api-docs.deepseek.com/guides/thinking_mode>) and Kimi refuse a turn with calls without it;
//! - `reasoning_details`: the array of OpenRouter and MiniMax, unchanged
//!   (<https://openrouter.ai/docs/use-cases/reasoning-tokens#preserving-reasoning-blocks>);
//! - `thinking_blocks`: Anthropic's signed thinking, as LiteLLM passes it on
//!   (<https://docs.litellm.ai/docs/reasoning_content>);
//! - `extra_content` and the like: Google's signatures
//!   (<https://ai.google.dev/gemini-api/docs/thought-signatures>), of the call whose identifier is
//!   `call`, or of the whole message.

use super::words;
use crate::provider::{blocks::Blocks, exchange::Ready, json, pieces::Pieces};
use headwater_protocol::BlockKind;
use serde_json::{Map, Value};
use std::collections::HashMap;

/// The fields of a call or a message that are sent back unchanged.
const OPAQUE: [&str; 3] = [
    "extra_content",
    "provider_specific_fields",
    "thought_signature",
];

/// The fields of a detail that grow. Servers send deltas, or snapshots as MiniMax does.
const GROWING: [&str; 3] = ["text", "summary", "data"];

/// The values that arrived and were not yielded yet.
#[derive(Debug, Default)]
pub(super) struct Extras {
    field: Option<&'static str>,
    details: Vec<Value>,
    /// The texts of the details, by the number of the detail and the name of the field.
    texts: HashMap<(usize, String), Pieces>,
    /// Anthropic's signed thoughts.
    thinking: Vec<Value>,
    message: Map<String, Value>,
}

/// The arrays that are sent back unchanged.
const LISTS: [&str; 2] = ["reasoning_details", "thinking_blocks"];

impl Extras {
    /// Collects the values of a chunk of a message.
    pub(super) fn note(&mut self, delta: &Value) {
        let has_text = |name: &str| {
            let text = delta.get(name).and_then(Value::as_str);
            text.is_some_and(|text| !text.is_empty())
        };
        if let Some(field) = words::THOUGHTS.into_iter().find(|name| has_text(name)) {
            self.field = Some(field);
        }
        let details = delta.get("reasoning_details").and_then(Value::as_array);
        for detail in details.into_iter().flatten() {
            self.detail(detail);
        }
        let blocks = delta.get("thinking_blocks").and_then(Value::as_array);
        for block in blocks.into_iter().flatten() {
            self.block(block);
        }
        // Google also marks thoughts in this field, which need not be sent back.
        if let Some(extra) = delta.get("extra_content")
            && extra.pointer("/google/thought_signature").is_some()
        {
            self.message.insert("extra_content".into(), extra.clone());
        }
    }

    /// Takes a piece of a detail. Texts grow; for all other fields, the last value counts.
    fn detail(&mut self, piece: &Value) {
        let place = self.details.iter().position(|open| goes_on(open, piece));
        let (Some(place), Value::Object(fields)) = (place, piece) else {
            let place = self.details.len();
            for name in GROWING {
                if let Some(text) = piece.get(name).and_then(Value::as_str) {
                    let _ = self.text(place, name).take(text);
                }
            }
            self.details.push(piece.clone());
            return;
        };
        for (name, value) in fields {
            let is_same = || self.details[place].get(name) == Some(value);
            let new = match value {
                Value::Null => continue,
                // Encrypted data is no text: the same value is a repetition.
                _ if name == "data" && is_same() => continue,
                Value::String(more) if GROWING.contains(&name.as_str()) => {
                    Some(self.text(place, name).take(more))
                }
                _ => None,
            };
            let Some(Value::Object(open)) = self.details.get_mut(place) else {
                continue;
            };
            match (open.get_mut(name), new) {
                (Some(Value::String(text)), Some(new)) => text.push_str(&new),
                _ => {
                    open.insert(name.clone(), value.clone());
                }
            }
        }
    }

    /// Takes a piece of a block of signed thinking, which ends with its signature.
    fn block(&mut self, piece: &Value) {
        let is_open = |block: &Value| block.get("thinking").is_some();
        match self.thinking.last_mut() {
            Some(open)
                if is_open(open) && is_open(piece) && json::text(open, "signature").is_empty() =>
            {
                for name in ["thinking", "signature"] {
                    open[name] =
                        (json::text(open, name).to_owned() + json::text(piece, name)).into();
                }
            }
            _ if piece.is_object() => self.thinking.push(piece.clone()),
            _ => {}
        }
    }

    fn text(&mut self, place: usize, name: &str) -> &mut Pieces {
        self.texts.entry((place, name.to_owned())).or_default()
    }

    /// The value of the block of reasoning that ends here.
    pub(super) fn value(&mut self) -> Value {
        for ((place, name), mut pieces) in self.texts.drain() {
            if let Some(Value::String(text)) = self.details[place].get_mut(name) {
                text.push_str(&pieces.end());
            }
        }
        let mut value = std::mem::take(&mut self.message);
        if let Some(field) = self.field.take() {
            value.insert("field".into(), field.into());
        }
        if !self.details.is_empty() {
            let details = std::mem::take(&mut self.details);
            value.insert("reasoning_details".into(), details.into());
        }
        if !self.thinking.is_empty() {
            let blocks = std::mem::take(&mut self.thinking);
            value.insert("thinking_blocks".into(), blocks.into());
        }
        match value.is_empty() {
            true => Value::Null,
            false => Value::Object(value),
        }
    }

    /// Yields the values that belong to no shown block.
    pub(super) fn finish(&mut self, blocks: &mut Blocks, out: &mut Ready) {
        self.field = None;
        let value = self.value();
        if !value.is_null() {
            blocks.value(BlockKind::Reasoning, value, out);
        }
    }
}

/// The values of a chunk of a call that must be sent back.
pub(super) fn of_call(piece: &Value) -> Map<String, Value> {
    let found = OPAQUE.into_iter().filter_map(|name| {
        let value = piece.get(name).filter(|value| !value.is_null())?;
        Some((name.to_owned(), value.clone()))
    });
    found.collect()
}

/// Whether a detail is the next piece of one that came before.
fn goes_on(open: &Value, detail: &Value) -> bool {
    let same = |name: &str| open.get(name) == detail.get(name);
    // Later pieces of a detail may leave out its identifier.
    let id = |value: &Value| value.get("id").and_then(Value::as_str).map(str::to_owned);
    let one = match (id(open), id(detail)) {
        (Some(open), Some(detail)) => open == detail,
        _ => true,
    };
    same("type") && same("index") && (detail.get("index").is_some() || grown(open, detail)) && one
}

/// Whether a detail without a number is a longer version of an earlier one.
fn grown(open: &Value, detail: &Value) -> bool {
    let text = |value: &Value| Some(value.get("text")?.as_str()?.to_owned());
    match (text(open), text(detail)) {
        (Some(open), Some(detail)) => !open.is_empty() && detail.starts_with(&open),
        _ => false,
    }
}

/// The fields that these values restore: those of the assistant's message, and those of each call
/// by its identifier.
pub(super) fn given_back<'a>(
    thoughts: impl Iterator<Item = (&'a str, &'a Value)>,
) -> (Map<String, Value>, Vec<(&'a str, &'a Value)>) {
    let (mut message, mut calls) = (Map::new(), Vec::new());
    for (text, value) in thoughts {
        if let Some(id) = value.get("call").and_then(Value::as_str) {
            calls.push((id, value));
            continue;
        }
        if let Some(field) = value.get("field").and_then(Value::as_str) {
            match message.entry(field).or_insert_with(|| Value::from("")) {
                Value::String(whole) => whole.push_str(text),
                other => *other = text.into(),
            }
        }
        for name in LISTS {
            if let Some(Value::Array(list)) = value.get(name) {
                match message
                    .entry(name)
                    .or_insert_with(|| Value::Array(Vec::new()))
                {
                    Value::Array(all) => all.extend(list.iter().cloned()),
                    other => *other = list.clone().into(),
                }
            }
        }
        if let Some(extra) = value.get("extra_content") {
            message.insert("extra_content".into(), extra.clone());
        }
    }
    (message, calls)
}

/// Restores the fields of a call.
pub(super) fn restore(call: &mut Value, value: &Value) {
    for name in OPAQUE {
        if let Some(extra) = value.get(name) {
            call[name] = extra.clone();
        }
    }
}
