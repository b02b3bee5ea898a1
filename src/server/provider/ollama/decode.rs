//! Turns the lines of an answer into events.

use crate::{
    protocol::{BlockKind, Error, FinishReason, Usage},
    server::provider::{
        ProviderEvent,
        blocks::Blocks,
        exchange::{Decode, Flow, Ready, memory::Memory},
        fault, json, sse,
        think::Think,
        who::Who,
    },
};
use serde_json::{Value, json};
use std::sync::Arc;

/// The models that think, as they were seen to or as the server says.
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
pub(super) struct Decoder {
    who: Who,
    model: String,
    thinkers: Arc<Thinkers>,
    /// Whether this answer was noted among the thinkers.
    noted: bool,
    think: Think,
    blocks: Blocks,
    finish: Option<(FinishReason, String)>,
}

impl Decoder {
    pub(super) fn new(who: Who, model: String, thinkers: Arc<Thinkers>) -> Self {
        Self {
            who,
            model,
            thinkers,
            noted: false,
            think: Think::default(),
            blocks: Blocks::default(),
            finish: None,
        }
    }

    fn line(&mut self, line: &Value, out: &mut Ready) -> Result<Flow, Error> {
        if line.get("error").is_some_and(|error| !error.is_null()) {
            return Err(fault::from_object(&self.who, line));
        }
        let message = line.get("message").unwrap_or(&Value::Null);
        let text = |name: &str| {
            message
                .get(name)
                .and_then(Value::as_str)
                .unwrap_or_default()
        };
        let thinking = text("thinking");
        if !thinking.is_empty() {
            self.flush(out);
            self.say(BlockKind::Reasoning, thinking, out);
            self.blocks
                .set_value(BlockKind::Reasoning, json!({"field": "thinking"}));
        }
        // A model of which Ollama does not know that it thinks leaves its thoughts in the text.
        let mut parts = Vec::new();
        self.think.push(text("content"), &mut parts);
        for (kind, text) in parts {
            self.say(kind, &text, out);
        }
        let calls = message.get("tool_calls").and_then(Value::as_array);
        for call in calls.into_iter().flatten() {
            self.flush(out);
            self.call(call, out);
        }
        if line.get("done").and_then(Value::as_bool) != Some(true) {
            return Ok(Flow::More);
        }
        self.blocks.count(usage(line));
        let word = line.get("done_reason").and_then(Value::as_str);
        self.finish = Some(match word {
            // Servers before the spring of 2024 give no reason.
            None | Some("") => (FinishReason::Stop, "done".into()),
            Some(word) => (reason(word), word.into()),
        });
        Ok(Flow::Done)
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
        let text = |value: &Value, name: &str| {
            let text = value.get(name).and_then(Value::as_str);
            text.unwrap_or_default().to_owned()
        };
        self.blocks
            .call(&text(call, "id"), &text(function, "name"), arguments, out);
    }

    fn say(&mut self, kind: BlockKind, text: &str, out: &mut Ready) {
        if kind == BlockKind::Reasoning && !self.noted && !text.is_empty() {
            self.noted = true;
            self.thinkers.add(&self.model);
        }
        self.blocks.say(kind, text, out);
    }

    /// Gives out text that was held back as the possible start of a tag.
    fn flush(&mut self, out: &mut Ready) {
        let mut parts = Vec::new();
        self.think.flush(&mut parts);
        for (kind, text) in parts {
            self.say(kind, &text, out);
        }
    }
}

impl Decode for Decoder {
    const LINES: bool = true;

    fn has_finish(&self) -> bool {
        self.finish.is_some()
    }

    fn event(&mut self, event: &sse::Event, out: &mut Ready) -> Result<Flow, Error> {
        match json::parse(event.data.trim()) {
            Ok(line) if line.is_object() => self.line(&line, out),
            _ => Err(self.who.malformed()),
        }
    }

    fn whole(&mut self, _: &[u8], _: &mut Ready) -> Result<(), Error> {
        // A body that begins with a brace is lines, so this one is a list.
        Err(self.who.malformed())
    }

    fn break_off(&mut self, out: &mut Ready) {
        // Half a tag that was held back is dropped: whether it was text or a tag is not known, and
        // the next attempt writes it again.
        self.blocks.tell_usage(true, out);
    }

    fn end(&mut self, out: &mut Ready) {
        let Some((mut reason, word)) = self.finish.take() else {
            return self.break_off(out);
        };
        self.flush(out);
        self.blocks.tell_usage(true, out);
        self.blocks.close(out);
        if reason == FinishReason::Stop && self.blocks.has_calls() {
            reason = FinishReason::ToolCalls;
        }
        out.push_back(ProviderEvent::Finished { reason, word });
    }
}

/// The closed word for a reason to end.
fn reason(word: &str) -> FinishReason {
    match word {
        "stop" => FinishReason::Stop,
        "length" => FinishReason::Length,
        // `load` and `unload` mean that nothing was asked.
        _ => FinishReason::Other,
    }
}

/// The counts of the last line; `None` if nothing is counted. Tokens of the prompt that were in
/// memory already are not told apart.
fn usage(line: &Value) -> Option<Usage> {
    let count = |name: &str| line.get(name).and_then(Value::as_u64).unwrap_or(0);
    let usage = Usage {
        input: count("prompt_eval_count"),
        output: count("eval_count"),
        ..Usage::default()
    };
    (usage.input > 0 || usage.output > 0).then_some(usage)
}
