//! Limits of a run, because a provider may send without end.
//!
//! A run is in memory while it is written (its log and its fold), and again in every page that shows
//! it.

use headwater_protocol::{Error, ErrorCode, Event, MAX_IMAGE_BYTES, ToolCall};
use serde_json::Value;

/// The most text of a run in bytes, including thoughts, arguments and output of tools. That is about
/// four million tokens, thirty times what the largest models write in one answer.
pub const MAX_TEXT: usize = 16_000_000;

/// The most blocks of a run: more than 25 rounds of 32 calls with their results. A call is a block, so
/// this also bounds the calls of an answer.
pub const MAX_BLOCKS: u32 = 2048;

/// The most entries of a run.
pub const MAX_ENTRIES: u64 = 1_000_000;

/// The most bytes of all images of a run: ten of the largest. They are in memory until they are
/// stored, and not in the log.
pub const MAX_RUN_IMAGE_BYTES: usize = 10 * MAX_IMAGE_BYTES;

/// The size of a run so far.
#[derive(Clone, Copy, Debug, Default)]
pub struct Held {
    text: usize,
    blocks: u32,
    entries: u64,
    images: usize,
}

impl Held {
    /// Adds an event.
    pub fn count(&mut self, event: &Event) {
        self.entries += 1;
        match event {
            Event::Delta { text, .. } => self.add(text.len()),
            Event::BlockStarted { tool, .. } => {
                self.blocks += 1;
                self.add(tool.as_ref().map_or(0, call_weight));
            }
            Event::BlockFinished { value, .. } => self.add(weight(value)),
            Event::SpanStarted { name, input, .. } => self.add(name.len() + weight(input)),
            Event::SpanFinished { output, .. } => self.add(weight(output)),
            Event::Custom { name, data, .. } => self.add(name.len() + weight(data)),
            _ => {}
        }
    }

    /// Adds an image of this many bytes.
    pub fn count_image(&mut self, bytes: usize) {
        self.images = self.images.saturating_add(bytes);
    }

    fn add(&mut self, bytes: usize) {
        self.text = self.text.saturating_add(bytes);
    }

    /// Why the run has to end, if it is too large. It exceeds a limit by one event at most, which is
    /// kept.
    pub fn excess(&self) -> Option<Error> {
        let what = if self.text > MAX_TEXT {
            format!("{} MB of text", MAX_TEXT / 1_000_000)
        } else if self.images > MAX_RUN_IMAGE_BYTES {
            format!("{} MB of images", MAX_RUN_IMAGE_BYTES / 1_000_000)
        } else if self.blocks > MAX_BLOCKS {
            format!("{MAX_BLOCKS} parts")
        } else if self.entries > MAX_ENTRIES {
            format!("{MAX_ENTRIES} events")
        } else {
            return None;
        };
        let sentence =
            format!("The answer is longer than {what}, so it was ended. What came is kept.");
        Some(Error::new(ErrorCode::TooLarge, sentence).at("writing"))
    }
}

/// The bytes of a call's identifier and name.
pub(super) fn call_weight(call: &ToolCall) -> usize {
    call.id.len() + call.name.len()
}

/// The approximate size of a value in bytes.
pub(super) fn weight(value: &Value) -> usize {
    match value {
        Value::Null => 0,
        Value::Bool(_) | Value::Number(_) => 8,
        Value::String(text) => text.len(),
        Value::Array(items) => items.iter().map(|item| 8 + weight(item)).sum(),
        Value::Object(fields) => {
            let fields = fields.iter();
            fields
                .map(|(name, item)| name.len() + 8 + weight(item))
                .sum()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn excess(events: impl IntoIterator<Item = Event>) -> Option<String> {
        let mut held = Held::default();
        for event in events {
            assert_eq!(held.excess(), None, "only the last one is too much");
            held.count(&event);
        }
        held.excess().map(|error| error.message)
    }

    fn delta(length: usize) -> Event {
        Event::Delta {
            span: 1,
            block: 1,
            text: "x".repeat(length),
            from: None,
        }
    }

    fn value(value: Value) -> Event {
        Event::BlockFinished {
            span: 1,
            block: 1,
            length: 0,
            value,
        }
    }

    #[test]
    fn every_kind_of_growth_has_an_end() {
        let says = |why: Option<String>, part: &str| {
            let why = why.expect("too much");
            assert!(why.contains(part), "{why}");
        };
        assert_eq!(excess([delta(MAX_TEXT)]), None);
        says(excess([delta(MAX_TEXT), delta(1)]), "16 MB");
        let long = "x".repeat(MAX_TEXT / 2);
        let list = serde_json::json!([{ "a": long }, long, 1]);
        says(excess([value(list)]), "16 MB");
        let mut held = Held::default();
        held.count_image(MAX_RUN_IMAGE_BYTES);
        assert_eq!(held.excess(), None);
        held.count_image(1);
        says(held.excess().map(|error| error.message), "50 MB of images");
        let block = || Event::BlockStarted {
            span: 1,
            block: 1,
            kind: headwater_protocol::BlockKind::Text,
            tool: None,
        };
        says(excess((0..=MAX_BLOCKS).map(|_| block())), "2048 parts");
        let usage = || Event::Usage {
            span: 1,
            usage: headwater_protocol::Usage::default(),
        };
        says(excess((0..=MAX_ENTRIES).map(|_| usage())), "1000000 events");
    }
}
