//! Turns the pieces of a streamed answer into events.
//!
//! Everything comes up to three times: in pieces, whole when it is done, and whole again at the
//! end. What came in pieces is told in pieces, and nothing is told twice.

use super::blocks::{Blocks, Place, Slot};
use crate::provider::{
    ProviderEvent,
    endpoint::Endpoint,
    exchange::{Decode, Flow, Ready},
    fault, json, made_up_id,
    media::{self, Media},
    sse,
};
use headwater_protocol::{BlockKind, Error, ErrorCode, FinishReason, ToolCall, Usage};
use serde_json::{Value, json};
use std::collections::HashMap;

/// The item of sentences of ours, behind all of the server's.
const REMARKS: u64 = u64::MAX;

/// The items of what came only with the end. Servers count from 0.
const LAST_WORDS: u64 = 1 << 40;

/// The state of one answer.
#[derive(Debug)]
pub(in crate::provider) struct Decoder {
    endpoint: Endpoint,
    blocks: Blocks,
    /// The item that was begun last, for servers that do not number them.
    item: Option<u64>,
    /// The numbers of the items by their identifiers.
    items: HashMap<String, u64>,
    /// Whether there was anything but words.
    has_media: bool,
    has_sound: bool,
    usage: Option<Usage>,
    finish: Option<(FinishReason, String)>,
    /// The number of the last event, where the server gives any.
    last: u64,
}

impl Decoder {
    pub(super) fn new(endpoint: Endpoint) -> Self {
        Self {
            endpoint,
            blocks: Blocks::default(),
            item: None,
            items: HashMap::new(),
            has_media: false,
            has_sound: false,
            usage: None,
            finish: None,
            last: 0,
        }
    }

    fn take(&mut self, value: &Value, out: &mut Ready) -> Result<Flow, Error> {
        let kind = text(value, "type");
        let item = self.item_of(value);
        let part = number(value, "content_index").unwrap_or(0);
        let summary = number(value, "summary_index").unwrap_or(part);
        let at = |slot| Place { item, slot };
        match kind {
            "response.output_item.added" => {
                let next = self.item.map_or(0, |item| item.saturating_add(1));
                let mut item = number(value, "output_index").unwrap_or(next);
                if let Some(value) = value.get("item") {
                    let id = text(value, "id");
                    if !id.is_empty() {
                        // Servers give several items one number.
                        let is_taken = self.items.values().any(|taken| *taken == item);
                        if is_taken && !self.items.contains_key(id) {
                            item = self
                                .items
                                .values()
                                .max()
                                .map_or(0, |most| most.saturating_add(1));
                        }
                        item = *self.items.entry(id.into()).or_insert(item);
                    }
                    self.call(item, value, out);
                }
                self.item = Some(item);
            }
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
            "response.completed"
            | "response.incomplete"
            | "response.failed"
            | "response.cancelled"
            | "response.done" => {
                let response = value.get("response").unwrap_or(&Value::Null);
                let status = match text(response, "status") {
                    // The event knows better than what was true when the response began.
                    "" | "in_progress" | "queued" => &kind["response.".len()..],
                    status => status,
                };
                self.finish(response, status, out)?;
                return Ok(Flow::Done);
            }
            "error" | "response.error" => return Err(self.failure(value, out)),
            // What is told elsewhere as well, or something of a later version; or a failure.
            kind => {
                if fault::found(&self.endpoint, value, !kind.is_empty()).is_some() {
                    return Err(self.failure(value, out));
                }
            }
        }
        Ok(Flow::More)
    }

    /// The number of the item that an event is about: by its identifier, because servers get the
    /// numbers wrong.
    fn item_of(&self, value: &Value) -> u64 {
        let inner = value.get("item").map_or("", |item| text(item, "id"));
        let mut ids = [text(value, "item_id"), inner].into_iter();
        let known = ids.find_map(|id| self.items.get(id).copied());
        known
            .or_else(|| number(value, "output_index"))
            .or(self.item)
            .unwrap_or(0)
    }

    fn see(&mut self, media: Option<Media>, out: &mut Ready) {
        match media {
            Some(Media::Picture(image)) => out.push_back(ProviderEvent::Picture(image)),
            Some(Media::Remark(remark)) => self.remark(&remark, out),
            None => {}
        }
        self.has_media = true;
    }

    fn remark(&mut self, remark: &str, out: &mut Ready) {
        let place = Place {
            item: REMARKS,
            slot: Slot::Text(0),
        };
        let first = !self.blocks.has(BlockKind::Text);
        self.blocks
            .more(place, &media::paragraph(remark, first), out);
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
        if !self.blocks.has_call(text(value, "call_id")) {
            self.blocks.begin(Place { item, slot }, Some(tool), out);
        }
    }

    /// Takes a whole item, of which most was told before.
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
        if let Some(error) = fault::found(&self.endpoint, response, true) {
            return Err(error);
        }
        self.last_words(response, out);
        if self.has_sound {
            self.remark(media::SOUND, out);
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
                let sentence = format!("{} broke off its answer.", self.endpoint.name);
                let error = Error::new(ErrorCode::ProviderError, sentence);
                return Err(error.at("reading the answer"));
            }
        };
        self.finish = Some((reason, word.into()));
        Ok(())
    }

    /// Tells what of the whole answer was not told before: some servers tell nothing before.
    fn last_words(&mut self, response: &Value, out: &mut Ready) {
        let items = list(response, "output");
        let told = self.blocks.told(BlockKind::Text);
        if told.is_empty() && !self.blocks.has(BlockKind::ToolInput) && !self.has_media {
            for (item, value) in (0..).zip(items) {
                let item = self.items.get(text(value, "id")).copied().unwrap_or(item);
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

    fn failure(&mut self, value: &Value, out: &mut Ready) -> Error {
        self.count(value.get("usage"), out);
        fault::from_object(&self.endpoint, value)
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
        let value = match json::parse(data) {
            Err(_) => return Err(fault::from_data(&self.endpoint, event)),
            Ok(value) if event.event == "error" => return Err(self.failure(&value, out)),
            Ok(value @ Value::Object(_)) => value,
            Ok(Value::String(text)) => return Err(fault::from_text(&self.endpoint, &text)),
            Ok(value) => {
                let one = value
                    .get(0)
                    .and_then(|one| fault::found(&self.endpoint, one, false));
                return Err(one.unwrap_or_else(|| self.endpoint.malformed()));
            }
        };
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
            Err(_) => return Err(self.endpoint.malformed()),
        };
        if value.get("output").is_none_or(|output| !output.is_array()) {
            let one = value.get(0).unwrap_or(&value);
            let error = fault::found(&self.endpoint, one, false);
            return Err(error.unwrap_or_else(|| self.endpoint.malformed()));
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
