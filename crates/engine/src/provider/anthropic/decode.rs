//! Turns the pieces of a streamed answer into events.

use crate::provider::{
    ProviderEvent,
    endpoint::Endpoint,
    exchange::{Decode, Flow, Ready},
    fault, json,
    media::{self, Media},
    pieces::Pieces,
    sse,
};
use headwater_protocol::{BlockKind, Error, ErrorCode, FinishReason, ToolCall, Usage};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// The state of one answer.
#[derive(Debug)]
pub(in crate::provider) struct Decoder {
    endpoint: Endpoint,
    /// The open blocks by the server's number.
    open: BTreeMap<u64, Open>,
    /// Numbers under which pieces of other blocks come, with the blocks they belong to.
    moved: BTreeMap<u64, u64>,
    /// The numbers of open blocks that are not shown.
    ignored: BTreeSet<u64>,
    /// The number of the block that began last.
    last: Option<u64>,
    /// The blocks that came with the message's beginning.
    opening: Vec<Value>,
    /// The number of the next block.
    blocks: u32,
    counts: Counts,
    told: Option<Usage>,
    content: bool,
    finish: Option<(FinishReason, String)>,
    /// White space that was cut from the end of the half-written answer. If the model writes it
    /// again, it is there already.
    spaces: String,
}

/// A block that is being written.
#[derive(Debug)]
struct Open {
    index: u32,
    kind: BlockKind,
    tool: Option<ToolCall>,
    /// Its text, of which servers send what is new or all there is so far.
    pieces: Pieces,
    /// The arguments of a call.
    arguments: String,
    /// Where the last piece of the arguments begins.
    last: usize,
    /// What proves a thought to be the model's own.
    signature: String,
    /// A thought that is not shown, in the form in which it is wanted back.
    hidden: Value,
}

/// The counts that came, each for itself: later ones leave out what did not change.
#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    input: Option<u64>,
    output: Option<u64>,
    cache_read: Option<u64>,
    cache_write: Option<u64>,
    reasoning: Option<u64>,
}

impl Decoder {
    pub(super) fn new(endpoint: Endpoint, spaces: String) -> Self {
        Self {
            endpoint,
            open: BTreeMap::new(),
            moved: BTreeMap::new(),
            ignored: BTreeSet::new(),
            last: None,
            opening: Vec::new(),
            blocks: 0,
            counts: Counts::default(),
            told: None,
            content: false,
            finish: None,
            spaces,
        }
    }

    fn take(&mut self, value: &Value, out: &mut Ready) -> Result<Flow, Error> {
        let number = value.get("index").and_then(Value::as_u64);
        match text(value, "type") {
            "message_start" => {
                self.count(value.pointer("/message/usage"), out);
                // Servers that do not stream put all of it in here.
                let content = value.pointer("/message/content").and_then(Value::as_array);
                self.opening = content.cloned().unwrap_or_default();
            }
            "content_block_start" => {
                if let Some(block) = value.get("content_block") {
                    let next = self.last.map_or(0, |last| last.saturating_add(1));
                    self.start(number.unwrap_or(next), block, out);
                }
            }
            "content_block_delta" => {
                if let Some(delta) = value.get("delta") {
                    let last = self.last.unwrap_or(0);
                    self.delta(number.unwrap_or(last), delta, out);
                }
            }
            "content_block_stop" => {
                let number = number.or(self.last).unwrap_or(0);
                self.ignored.remove(&number);
                let number = self.moved.remove(&number).unwrap_or(number);
                if let Some(open) = self.open.remove(&number) {
                    open.close(out);
                }
            }
            "message_delta" => {
                self.count(value.get("usage"), out);
                let word = value.pointer("/delta/stop_reason").and_then(Value::as_str);
                self.stop(word)?;
            }
            "message_stop" => {
                self.tell_opening(out);
                if self.finish.is_none() && self.content {
                    self.finish = Some((FinishReason::Stop, "message_stop".into()));
                }
                return Ok(Flow::Done);
            }
            // A ping, or something of a later version.
            kind => {
                if let Some(error) = fault::found(&self.endpoint, value, !kind.is_empty()) {
                    return Err(error);
                }
            }
        }
        Ok(Flow::More)
    }

    /// Tells the blocks that came with the beginning, unless they came in pieces as well.
    fn tell_opening(&mut self, out: &mut Ready) {
        let opening = std::mem::take(&mut self.opening);
        if !self.content {
            self.all(&opening, out);
        }
    }

    /// Tells blocks that came whole.
    fn all(&mut self, blocks: &[Value], out: &mut Ready) {
        for (number, block) in (0..).zip(blocks) {
            self.start(number, block, out);
            if let Some(open) = self.open.remove(&number) {
                open.close(out);
            }
        }
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
                    Some(Media::Picture(image)) => out.push_back(ProviderEvent::Picture(image)),
                    Some(Media::Remark(remark)) => {
                        self.begin(number, BlockKind::Text, None, out);
                        self.write(number, &media::paragraph(&remark, false), out);
                    }
                    None => {}
                }
                self.content = true;
                return;
            }
            // What tools of the server do is not shown.
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
        let known = |open: &Open| open.tool.is_some() && open.tool == tool;
        if self.open.get(&number).is_some_and(known) {
            // The same call begins a second time.
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
        self.content = true;
        let index = self.blocks;
        self.blocks += 1;
        out.push_back(ProviderEvent::BlockStarted {
            index,
            kind,
            tool: tool.clone(),
        });
        let open = Open {
            index,
            kind,
            tool,
            pieces: Pieces::default(),
            arguments: String::new(),
            last: 0,
            signature: String::new(),
            hidden: Value::Null,
        };
        if let Some(before) = self.open.insert(number, open) {
            before.close(out);
        }
    }

    fn delta(&mut self, number: u64, delta: &Value, out: &mut Ready) {
        let has = |name: &str| delta.get(name).is_some();
        let kind = match text(delta, "type") {
            "text_delta" => BlockKind::Text,
            "thinking_delta" | "signature_delta" => BlockKind::Reasoning,
            "input_json_delta" => BlockKind::ToolInput,
            "" if has("text") => BlockKind::Text,
            "" if has("thinking") => BlockKind::Reasoning,
            "" if has("partial_json") => BlockKind::ToolInput,
            // Citations, or something of a later version.
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

    /// The block that a piece of this kind belongs to. Servers get the numbers wrong: a piece whose
    /// number is another block's, or nobody's, belongs to the last open block of its kind, or begins
    /// one.
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
            // Nobody knows what is called.
            return None;
        }
        // Another block may have this number.
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

    /// Takes a piece of the answer's text.
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
            let new = open.pieces.take(text);
            open.tell(new, out);
        }
    }

    fn argue(&mut self, number: u64, text: &str, out: &mut Ready) {
        if !self.is(number, BlockKind::ToolInput) {
            return;
        }
        if let Some(open) = self.open.get_mut(&number) {
            if !text.trim().is_empty() {
                open.last = open.arguments.len();
            }
            open.arguments.push_str(text);
            open.tell(text.into(), out);
        }
    }

    /// Takes a piece of the signature of a thought.
    fn sign(&mut self, number: u64, piece: &str) {
        if let Some(open) = self.open.get_mut(&number)
            && open.kind == BlockKind::Reasoning
        {
            open.signature.push_str(piece);
        }
    }

    /// Takes the provider's reason to end, where it gave one.
    fn stop(&mut self, word: Option<&str>) -> Result<(), Error> {
        let Some(word) = word.filter(|word| !word.is_empty()) else {
            return Ok(());
        };
        let reason = match word {
            "end_turn" | "stop_sequence" => FinishReason::Stop,
            "max_tokens" | "model_context_window_exceeded" => FinishReason::Length,
            "tool_use" => FinishReason::ToolCalls,
            "refusal" => FinishReason::Refusal,
            "content_filter" | "content_filtered" | "guardrail_intervened" => {
                FinishReason::ContentFilter
            }
            "error" => {
                let sentence = format!("{} broke off its answer.", self.endpoint.name);
                let error = Error::new(ErrorCode::ProviderError, sentence);
                return Err(error.at("reading the answer"));
            }
            _ => FinishReason::Other,
        };
        self.finish = Some((reason, word.into()));
        Ok(())
    }

    /// Takes counts, and tells them if they are others than before.
    fn count(&mut self, usage: Option<&Value>, out: &mut Ready) {
        let Some(usage) = usage.filter(|usage| usage.is_object()) else {
            return;
        };
        let count = |path: &str| usage.pointer(path).and_then(Value::as_u64);
        let counts = &mut self.counts;
        counts.input = count("/input_tokens").or(counts.input);
        counts.output = count("/output_tokens").or(counts.output);
        counts.cache_read = count("/cache_read_input_tokens").or(counts.cache_read);
        counts.cache_write = count("/cache_creation_input_tokens").or(counts.cache_write);
        counts.reasoning = count("/output_tokens_details/thinking_tokens")
            .or(count("/output_tokens_details/reasoning_tokens"))
            .or(counts.reasoning);
        let (read, write) = (
            counts.cache_read.unwrap_or(0),
            counts.cache_write.unwrap_or(0),
        );
        let usage = Usage {
            // The server counts only what came neither from the cache nor went there.
            input: counts
                .input
                .unwrap_or(0)
                .saturating_add(read)
                .saturating_add(write),
            output: counts.output.unwrap_or(0),
            cache_read: read,
            cache_write: write,
            reasoning: counts.reasoning.unwrap_or(0),
            estimated: false,
        };
        if (usage.input > 0 || usage.output > 0) && self.told != Some(usage) {
            self.told = Some(usage);
            out.push_back(ProviderEvent::Usage(usage));
        }
    }
}

impl Open {
    fn tell(&self, text: String, out: &mut Ready) {
        if !text.is_empty() {
            let index = self.index;
            out.push_back(ProviderEvent::Delta { index, text });
        }
    }

    /// Ends the block. Arguments that cannot be parsed stay as text.
    fn close(mut self, out: &mut Ready) {
        let held = self.pieces.end();
        self.tell(held, out);
        let value = match self.kind {
            BlockKind::ToolInput => match self.arguments.trim() {
                "" => json!({}),
                _ => json::arguments(&self.arguments, self.last),
            },
            _ if !self.signature.is_empty() => {
                json!({"type": "thinking", "signature": self.signature})
            }
            // A server of another vendor that speaks the format signs nothing, and wants its thoughts
            // back nevertheless.
            BlockKind::Reasoning if self.hidden.is_null() => json!({"type": "thinking"}),
            _ => self.hidden,
        };
        out.push_back(ProviderEvent::BlockFinished {
            index: self.index,
            value,
        });
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
        // Servers that only speak the format do not all end as it says.
        if data == "[DONE]" {
            return Ok(Flow::Done);
        }
        match json::parse(data) {
            Err(_) => Err(fault::from_data(&self.endpoint, event)),
            Ok(value) if event.event == "error" => Err(fault::from_object(&self.endpoint, &value)),
            Ok(value @ Value::Object(_)) => self.take(&value, out),
            Ok(Value::Array(list)) if list.iter().all(Value::is_object) => {
                for value in &list {
                    if self.take(value, out)? == Flow::Done {
                        return Ok(Flow::Done);
                    }
                }
                Ok(Flow::More)
            }
            Ok(Value::String(text)) => Err(fault::from_text(&self.endpoint, &text)),
            Ok(_) => Err(self.endpoint.malformed()),
        }
    }

    fn whole(&mut self, body: &[u8], out: &mut Ready) -> Result<(), Error> {
        let value: Value = match serde_json::from_slice(body) {
            Ok(value) => value,
            Err(error) if error.is_eof() => return Ok(()),
            Err(_) => return Err(self.endpoint.malformed()),
        };
        let blocks = value.get("content").and_then(Value::as_array);
        let one = value.get(0).unwrap_or(&value);
        if let Some(error) = fault::found(&self.endpoint, one, blocks.is_some()) {
            return Err(error);
        }
        let Some(blocks) = blocks else {
            return Err(self.endpoint.malformed());
        };
        self.all(blocks, out);
        self.count(value.get("usage"), out);
        // The document is whole, so the answer is.
        let word = value.get("stop_reason").and_then(Value::as_str);
        self.stop(word.or(Some("end_turn")))
    }

    fn break_off(&mut self, _: &mut Ready) {}

    fn end(&mut self, out: &mut Ready) {
        let Some((reason, word)) = self.finish.take() else {
            return;
        };
        self.tell_opening(out);
        for open in std::mem::take(&mut self.open).into_values() {
            open.close(out);
        }
        out.push_back(ProviderEvent::Finished { reason, word });
    }
}

/// A text of an object, or none.
fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value.get(name).and_then(Value::as_str).unwrap_or_default()
}
