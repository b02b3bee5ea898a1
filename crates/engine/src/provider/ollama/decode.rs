//! Turns the lines of an answer into events.

use crate::provider::{
    blocks::Blocks,
    endpoint::Endpoint,
    exchange::{Decode, Flow, Ready, event_json, memory::Memory},
    fault, json,
    media::Media,
    pieces::Prose,
    sse,
};
use headwater_protocol::{BlockKind, Error, FinishReason, Usage};
use serde_json::{Value, json};
use std::sync::Arc;

/// The models that are known to think, from the server's list or from their answers.
#[derive(Debug, Default)]
pub(super) struct Thinkers(Memory<()>);

impl Thinkers {
    pub(super) fn has(&self, model: &str) -> bool {
        self.0.get(model).is_some()
    }

    pub(super) fn add(&self, model: &str) {
        self.0.set(model.into(), ());
    }
}

/// The state of one answer.
#[derive(Debug)]
pub(in crate::provider) struct Decoder {
    endpoint: Endpoint,
    model: String,
    thinkers: Arc<Thinkers>,
    /// Whether this model was added to the thinkers.
    noted: bool,
    prose: Prose,
    blocks: Blocks,
    finish: Option<(FinishReason, String)>,
}

impl Decoder {
    pub(super) fn new(endpoint: Endpoint, model: String, thinkers: Arc<Thinkers>) -> Self {
        Self {
            endpoint,
            model,
            thinkers,
            noted: false,
            prose: Prose::default(),
            blocks: Blocks::default(),
            finish: None,
        }
    }

    fn line(&mut self, line: &Value, out: &mut Ready) -> Result<Flow, Error> {
        let message = line.get("message").filter(|message| message.is_object());
        let speaks = message.is_some() || line.get("done").is_some();
        let failure = fault::found(&self.endpoint, line, speaks);
        // The error may come together with the last text.
        self.message(message.unwrap_or(line), out);
        if let Some(error) = failure {
            return Err(error);
        }
        if line.get("done").and_then(Value::as_bool) != Some(true) {
            return Ok(Flow::More);
        }
        if line.get("done_reason").and_then(Value::as_str) == Some("error") {
            return Err(self.endpoint.broke_off());
        }
        self.blocks.count(usage(line));
        let word = line.get("done_reason").and_then(Value::as_str);
        self.finish = Some(match word {
            // Servers before spring 2024 send no reason.
            None | Some("") => (FinishReason::Stop, "done".into()),
            Some(word) => (reason(word), word.into()),
        });
        Ok(Flow::Done)
    }

    /// Takes the content of a line, in the form of `/api/chat` or of `/api/generate`.
    fn message(&mut self, message: &Value, out: &mut Ready) {
        let names = ["thinking", "reasoning", "reasoning_content"];
        let text = |name: &&str| message.get(name)?.as_str().filter(|text| !text.is_empty());
        if let Some(thinking) = names.iter().find_map(text) {
            for (kind, new) in self.prose.think(thinking) {
                self.say(kind, &new, out);
            }
            self.blocks
                .set_value(BlockKind::Reasoning, json!({"field": "thinking"}));
        }
        if let Some(content) = ["content", "response"].iter().find_map(text) {
            let (kind, new) = self.prose.text(content);
            self.say(kind, &new, out);
        }
        let images = json::list(message, "images").iter();
        let images = images.chain(message.get("image"));
        for image in images.filter_map(Value::as_str) {
            self.flush(out);
            self.blocks.media(Media::from_base64(image, ""), out);
        }
        for call in json::list(message, "tool_calls") {
            self.flush(out);
            self.call(call, out);
        }
    }

    fn call(&mut self, call: &Value, out: &mut Ready) {
        let function = call.get("function").unwrap_or(&Value::Null);
        let arguments = match function.get("arguments") {
            None | Some(Value::Null) => json!({}),
            // Some models' templates write the object as text.
            Some(Value::String(text)) => {
                json::parse(text).unwrap_or_else(|_| Value::String(text.clone()))
            }
            Some(arguments) => arguments.clone(),
        };
        let (id, name) = (json::text(call, "id"), json::text(function, "name"));
        // A repeated call with the same identifier is ignored.
        if !self.blocks.has_call(id) {
            self.blocks.call(id, name, arguments, out);
        }
    }

    fn say(&mut self, kind: BlockKind, text: &str, out: &mut Ready) {
        if kind == BlockKind::Reasoning && !text.is_empty() {
            self.note();
        }
        self.blocks.say(kind, text, out);
    }

    fn note(&mut self) {
        if !std::mem::replace(&mut self.noted, true) {
            self.thinkers.add(&self.model);
        }
    }

    /// Yields text that was held back as a possible repetition.
    fn flush(&mut self, out: &mut Ready) {
        for (kind, held) in self.prose.flush() {
            self.say(kind, &held, out);
        }
    }
}

impl Decode for Decoder {
    const LINES: bool = true;

    fn has_finish(&self) -> bool {
        self.finish.is_some()
    }

    fn event(&mut self, event: &sse::Event, out: &mut Ready) -> Result<Flow, Error> {
        if event.data.trim() == "[DONE]" {
            return Ok(Flow::Done);
        }
        match event_json(&self.endpoint, event)? {
            line @ Value::Object(_) => self.line(&line, out),
            _ => Err(self.endpoint.malformed()),
        }
    }

    fn whole(&mut self, body: &[u8], _: &mut Ready) -> Result<(), Error> {
        // A body that begins with a brace is lines, so this one is a list.
        let list: Vec<Value> = serde_json::from_slice(body).unwrap_or_default();
        let mut errors = list
            .iter()
            .filter_map(|one| fault::found(&self.endpoint, one, false));
        Err(errors.next().unwrap_or_else(|| self.endpoint.malformed()))
    }

    fn thinks(&mut self) {
        self.note();
    }

    fn break_off(&mut self, out: &mut Ready) {
        // Held-back text is dropped: it may be a repetition, and the next attempt writes it again.
        self.blocks.tell_usage(true, out);
    }

    fn end(&mut self, out: &mut Ready) {
        let Some((reason, word)) = self.finish.take() else {
            return self.break_off(out);
        };
        self.flush(out);
        self.blocks.finish(reason, word, out);
    }
}

/// Maps a `done_reason`.
fn reason(word: &str) -> FinishReason {
    match word {
        "stop" => FinishReason::Stop,
        "length" => FinishReason::Length,
        // `load` and `unload` mean that the request had no messages.
        _ => FinishReason::Other,
    }
}

/// The usage in the last line; `None` if nothing is counted. Cached tokens of the prompt are not
/// reported separately.
fn usage(line: &Value) -> Option<Usage> {
    let count = |name: &str| line.get(name).and_then(Value::as_u64).unwrap_or(0);
    let usage = Usage {
        input: count("prompt_eval_count"),
        output: count("eval_count"),
        ..Usage::default()
    };
    (usage.input > 0 || usage.output > 0).then_some(usage)
}
