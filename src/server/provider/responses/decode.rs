//! Turns the pieces of a streamed answer into events.
//!
//! Everything comes up to three times: in pieces, whole when it is done, and whole again at the
//! end. What came in pieces is told in pieces, and nothing is told twice.

use super::blocks::{Blocks, Place, Slot};
use crate::{
    protocol::{BlockKind, Error, ErrorCode, FinishReason, ToolCall, Usage},
    server::provider::{
        ProviderEvent,
        exchange::{Decode, Flow, Ready},
        fault::from_object,
        json, made_up_id, sse,
        who::Who,
    },
};
use serde_json::{Value, json};

/// The state of one answer.
#[derive(Debug)]
pub(super) struct Decoder {
    who: Who,
    blocks: Blocks,
    /// The item that was begun last, for servers that do not number them.
    item: Option<u64>,
    usage: Option<Usage>,
    finish: Option<(FinishReason, String)>,
    /// The number of the last event, where the server gives any.
    last: u64,
}

impl Decoder {
    pub(super) fn new(who: Who) -> Self {
        Self {
            who,
            blocks: Blocks::default(),
            item: None,
            usage: None,
            finish: None,
            last: 0,
        }
    }

    fn take(&mut self, value: &Value, out: &mut Ready) -> Result<Flow, Error> {
        let kind = text(value, "type");
        let item = number(value, "output_index").or(self.item).unwrap_or(0);
        let part = number(value, "content_index").unwrap_or(0);
        let summary = number(value, "summary_index").unwrap_or(part);
        let at = |slot| Place { item, slot };
        match kind {
            "response.output_item.added" => {
                let next = self.item.map_or(0, |item| item.saturating_add(1));
                let item = number(value, "output_index").unwrap_or(next);
                self.item = Some(item);
                if let Some(value) = value.get("item") {
                    self.call(item, value, out);
                }
            }
            "response.output_item.done" => {
                if let Some(value) = value.get("item") {
                    self.done(item, value, out);
                }
            }
            "response.output_text.delta" => {
                self.blocks
                    .more(at(Slot::Text(part)), text(value, "delta"), out);
            }
            "response.output_text.done" => {
                self.blocks
                    .whole(at(Slot::Text(part)), text(value, "text"), out);
            }
            "response.refusal.delta" => {
                self.blocks
                    .more(at(Slot::Refusal(part)), text(value, "delta"), out);
            }
            "response.refusal.done" => {
                self.blocks
                    .whole(at(Slot::Refusal(part)), text(value, "refusal"), out);
            }
            "response.reasoning_summary_text.delta" | "response.reasoning_text.delta" => {
                let piece = text(value, "delta");
                self.blocks.think(at(Slot::Reasoning), summary, piece, out);
            }
            "response.reasoning_summary_text.done" | "response.reasoning_text.done" => {
                let whole = text(value, "text");
                self.blocks
                    .whole_thought(at(Slot::Reasoning), summary, whole, out);
            }
            "response.function_call_arguments.delta" => {
                self.blocks.more(at(Slot::Call), text(value, "delta"), out);
            }
            "response.function_call_arguments.done" => {
                self.blocks
                    .whole(at(Slot::Call), text(value, "arguments"), out);
            }
            "response.completed"
            | "response.incomplete"
            | "response.failed"
            | "response.cancelled" => {
                let response = value.get("response").unwrap_or(&Value::Null);
                self.finish(response, &kind["response.".len()..], out)?;
                return Ok(Flow::Done);
            }
            "error" => return Err(self.failure(value, out)),
            _ if value.get("error").is_some_and(|error| !error.is_null()) => {
                return Err(self.failure(value, out));
            }
            // What is told elsewhere as well, or something of a later version.
            _ => {}
        }
        Ok(Flow::More)
    }

    /// Begins a call, unless it began before or the item is none.
    fn call(&mut self, item: u64, value: &Value, out: &mut Ready) {
        if text(value, "type") != "function_call" {
            return;
        }
        let id = [text(value, "call_id"), text(value, "id")];
        let tool = ToolCall {
            // The next turn must name the call, so it gets an identifier of ours if it has none.
            id: id
                .into_iter()
                .find(|id| !id.is_empty())
                .map_or_else(|| made_up(item), String::from),
            name: text(value, "name").into(),
        };
        let slot = Slot::Call;
        self.blocks.begin(Place { item, slot }, Some(tool), out);
    }

    /// Takes a whole item, of which most was told before.
    fn done(&mut self, item: u64, value: &Value, out: &mut Ready) {
        let at = |slot| Place { item, slot };
        match text(value, "type") {
            "message" => {
                for (part, content) in (0..).zip(list(value, "content")) {
                    match text(content, "type") {
                        "output_text" | "text" => {
                            let whole = text(content, "text");
                            self.blocks.whole(at(Slot::Text(part)), whole, out);
                        }
                        "refusal" => {
                            let whole = text(content, "refusal");
                            self.blocks.whole(at(Slot::Refusal(part)), whole, out);
                        }
                        _ => {}
                    }
                }
                self.blocks.close_all(Some(item), out);
            }
            "reasoning" => {
                let place = at(Slot::Reasoning);
                if !self.blocks.knows(place) {
                    let parts = match list(value, "summary") {
                        [] => list(value, "content"),
                        parts => parts,
                    };
                    for (number, part) in (0..).zip(parts) {
                        self.blocks.think(place, number, text(part, "text"), out);
                    }
                }
                let kept = kept(value);
                if kept.get("encrypted_content").is_some() {
                    // Thoughts that are not shown are wanted back nevertheless.
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

    /// Takes the whole answer and how it ended.
    fn finish(&mut self, response: &Value, status: &str, out: &mut Ready) -> Result<(), Error> {
        self.count(response.get("usage"), out);
        let error = response.get("error").filter(|error| error.is_object());
        if let Some(error) = error {
            return Err(from_object(&self.who, &json!({"error": error})));
        }
        // Some servers tell nothing before.
        if self.blocks.is_empty() {
            for (item, value) in (0..).zip(list(response, "output")) {
                self.done(item, value, out);
            }
        }
        let declined = self.blocks.has(BlockKind::Refusal) && !self.blocks.has(BlockKind::Text);
        let (reason, word) = match status {
            "completed" if self.blocks.has(BlockKind::ToolInput) => {
                (FinishReason::ToolCalls, status)
            }
            "completed" if declined => (FinishReason::Refusal, status),
            "completed" => (FinishReason::Stop, status),
            "incomplete" => {
                let why = response.pointer("/incomplete_details/reason");
                let word = why.and_then(Value::as_str).unwrap_or(status);
                let reason = match word {
                    "max_output_tokens" | "max_tokens" => FinishReason::Length,
                    "content_filter" => FinishReason::ContentFilter,
                    _ => FinishReason::Other,
                };
                (reason, word)
            }
            _ => {
                let sentence = format!("{} broke off its answer.", self.who.name);
                let error = Error::new(ErrorCode::ProviderError, sentence);
                return Err(error.at("reading the answer"));
            }
        };
        self.finish = Some((reason, word.into()));
        Ok(())
    }

    fn failure(&mut self, value: &Value, out: &mut Ready) -> Error {
        self.count(value.get("usage"), out);
        from_object(&self.who, value)
    }

    fn count(&mut self, usage: Option<&Value>, out: &mut Ready) {
        let Some(usage) = usage.filter(|usage| usage.is_object()) else {
            return;
        };
        let count = |path: &str| usage.pointer(path).and_then(Value::as_u64).unwrap_or(0);
        let usage = Usage {
            input: count("/input_tokens"),
            output: count("/output_tokens"),
            cache_read: count("/input_tokens_details/cached_tokens"),
            cache_write: count("/input_tokens_details/cache_write_tokens"),
            reasoning: count("/output_tokens_details/reasoning_tokens"),
            estimated: false,
        };
        if (usage.input > 0 || usage.output > 0) && self.usage != Some(usage) {
            self.usage = Some(usage);
            out.push_back(ProviderEvent::Usage(usage));
        }
    }
}

impl Decode for Decoder {
    fn has_finish(&self) -> bool {
        self.finish.is_some()
    }

    fn event(&mut self, event: &sse::Event, out: &mut Ready) -> Result<Flow, Error> {
        let data = event.data.trim();
        if data.is_empty() {
            return Ok(Flow::More);
        }
        if data == "[DONE]" {
            return Ok(Flow::Done);
        }
        let Ok(value) = json::parse(data) else {
            return Err(match event.event == "error" {
                true => from_object(&self.who, &json!({"error": data})),
                false => self.who.malformed(),
            });
        };
        if event.event == "error" {
            return Err(self.failure(&value, out));
        }
        if !value.is_object() {
            return Err(self.who.malformed());
        }
        // An event that comes twice in a row is told once. Servers that do not count send 0 or none.
        let number = number(&value, "sequence_number").unwrap_or(0);
        if number > 0 && number == self.last {
            return Ok(Flow::More);
        }
        self.last = number;
        self.take(&value, out)
    }

    fn whole(&mut self, body: &[u8], out: &mut Ready) -> Result<(), Error> {
        let value: Value = match serde_json::from_slice(body) {
            Ok(value) => value,
            Err(error) if error.is_eof() => return Ok(()),
            Err(_) => return Err(self.who.malformed()),
        };
        if value.get("output").is_none_or(|output| !output.is_array()) {
            return Err(match value.get("error") {
                Some(error) if !error.is_null() => from_object(&self.who, &value),
                _ => self.who.malformed(),
            });
        }
        self.finish(&value, text(&value, "status"), out)
    }

    fn break_off(&mut self, _: &mut Ready) {}

    fn end(&mut self, out: &mut Ready) {
        let Some((reason, word)) = self.finish.take() else {
            return;
        };
        self.blocks.close_all(None, out);
        out.push_back(ProviderEvent::Finished { reason, word });
    }
}

/// What is wanted back of a thought, beside its text: all of it in encrypted form; or, of a server
/// that shows what its model thought, that this is the text of the thought and not of a summary. Of
/// a summary with several parts, which are one text for whoever reads them, the parts themselves.
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

/// The identifier of a call that has none.
fn made_up(item: u64) -> String {
    made_up_id(u32::try_from(item.saturating_add(1)).unwrap_or(u32::MAX))
}

/// A text of an object, or none.
fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value.get(name).and_then(Value::as_str).unwrap_or_default()
}

fn number(value: &Value, name: &str) -> Option<u64> {
    value.get(name).and_then(Value::as_u64)
}

fn list<'a>(value: &'a Value, name: &str) -> &'a [Value] {
    let list = value.get(name).and_then(Value::as_array);
    list.map(Vec::as_slice).unwrap_or_default()
}
