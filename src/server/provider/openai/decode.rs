//! Turns the pieces of a streamed answer into events, in all the dialects that are spoken.

use super::{calls::Calls, extras::Extras, words};
use crate::{
    protocol::{BlockKind, Error, ErrorCode, FinishReason, Usage},
    server::provider::{
        ProviderEvent,
        exchange::{Decode, Flow, Ready},
        fault::from_object,
        json, sse,
        think::Think,
        who::Who,
    },
};
use serde_json::Value;

/// The state of one answer.
#[derive(Debug)]
pub(super) struct Decoder {
    who: Who,
    think: Think,
    /// The open block of text, reasoning or refusal.
    prose: Option<(u32, BlockKind)>,
    calls: Calls,
    /// What is to be given back.
    extras: Extras,
    /// The number of the next block.
    blocks: u32,
    usage: Option<Usage>,
    /// Pieces until changed counts are told again.
    usage_pause: u32,
    usage_told: Option<Usage>,
    texted: bool,
    refused: bool,
    content: bool,
    finish: Option<(FinishReason, String)>,
}

impl Decoder {
    pub(super) fn new(who: Who) -> Self {
        Self {
            who,
            think: Think::default(),
            prose: None,
            calls: Calls::default(),
            extras: Extras::default(),
            blocks: 0,
            usage: None,
            usage_pause: 0,
            usage_told: None,
            texted: false,
            refused: false,
            content: false,
            finish: None,
        }
    }

    /// Takes one JSON object: a piece of an answer, a whole one, counts, or an error.
    fn chunk(&mut self, value: &mut Value, out: &mut Ready) -> Result<(), Error> {
        if value.get("error").is_some_and(|error| !error.is_null())
            || value.get("object").is_some_and(|object| object == "error")
        {
            return Err(from_object(&self.who, value));
        }
        let usage = value
            .get("usage")
            .filter(|usage| usage.is_object())
            .or_else(|| value.pointer("/x_groq/usage"))
            .and_then(words::usage);
        // Counts are cumulative wherever they stand: the last ones are true, and none are added.
        self.usage = usage.or(self.usage);
        // We ask for one answer; a server that gives more is not listened to twice.
        let choice = value
            .get_mut("choices")
            .and_then(Value::as_array_mut)
            .and_then(|choices| {
                choices
                    .iter_mut()
                    .find(|choice| choice.get("index").and_then(Value::as_u64).unwrap_or(0) == 0)
            });
        let Some(choice) = choice else {
            return Ok(());
        };
        let delta = if choice.get("delta").is_some_and(Value::is_object) {
            choice["delta"].take()
        } else if self.content {
            Value::Null
        } else {
            choice.get_mut("message").map_or(Value::Null, Value::take)
        };
        self.delta(&delta, out);
        if let Some(word) = choice.get("finish_reason").and_then(Value::as_str)
            && !word.is_empty()
        {
            let Some(reason) = words::finish(word) else {
                let mut error = Error::new(
                    ErrorCode::ProviderError,
                    format!("{} broke off its answer.", self.who.name),
                );
                if word == "insufficient_system_resource" {
                    error.code = ErrorCode::Overloaded;
                }
                return Err(error.at("reading the answer"));
            };
            self.finish = Some((reason, word.into()));
        }
        self.tell_usage(false, out);
        Ok(())
    }

    fn delta(&mut self, delta: &Value, out: &mut Ready) {
        self.extras.note(delta);
        let nonempty = |name: &str| {
            delta
                .get(name)
                .and_then(Value::as_str)
                .filter(|text| !text.is_empty())
        };
        // Servers that know both names send the same text under both.
        if let Some(text) = nonempty("reasoning_content").or(nonempty("reasoning")) {
            self.flush_text(out);
            self.say(BlockKind::Reasoning, text, out);
        }
        match delta.get("content") {
            Some(Value::String(text)) => self.text(text, out),
            Some(Value::Array(parts)) => {
                for part in parts {
                    if let Some(text) = part.get("text").and_then(Value::as_str) {
                        self.text(text, out);
                    }
                    for thought in part
                        .get("thinking")
                        .and_then(Value::as_array)
                        .into_iter()
                        .flatten()
                    {
                        if let Some(text) = thought.get("text").and_then(Value::as_str) {
                            self.flush_text(out);
                            self.say(BlockKind::Reasoning, text, out);
                        }
                    }
                }
            }
            _ => {}
        }
        if let Some(text) = nonempty("refusal") {
            self.flush_text(out);
            self.say(BlockKind::Refusal, text, out);
        }
        let legacy = delta.get("function_call").filter(|call| call.is_object());
        let calls = delta.get("tool_calls").and_then(Value::as_array);
        if legacy.is_some() || calls.is_some_and(|calls| !calls.is_empty()) {
            self.flush_text(out);
            self.close_prose(out);
            self.content = true;
            for call in calls.into_iter().flatten() {
                self.calls.piece(call, &mut self.blocks, out);
            }
            if let Some(call) = legacy {
                self.calls.legacy(call, &mut self.blocks, out);
            }
        }
    }

    fn text(&mut self, text: &str, out: &mut Ready) {
        if !text.is_empty() {
            let mut parts = Vec::new();
            self.think.push(text, &mut parts);
            self.say_all(parts, out);
        }
    }

    /// Gives out text that was held back as the possible start of a tag.
    fn flush_text(&mut self, out: &mut Ready) {
        let mut parts = Vec::new();
        self.think.flush(&mut parts);
        self.say_all(parts, out);
    }

    fn say_all(&mut self, parts: Vec<(BlockKind, String)>, out: &mut Ready) {
        for (kind, text) in parts {
            self.say(kind, &text, out);
        }
    }

    fn say(&mut self, kind: BlockKind, text: &str, out: &mut Ready) {
        if text.is_empty() {
            return;
        }
        self.content = true;
        self.texted |= kind == BlockKind::Text;
        self.refused |= kind == BlockKind::Refusal;
        let index = match self.prose {
            Some((index, open)) if open == kind => index,
            _ => {
                self.close_prose(out);
                let index = self.blocks;
                self.blocks += 1;
                self.prose = Some((index, kind));
                out.push_back(ProviderEvent::BlockStarted {
                    index,
                    kind,
                    tool: None,
                });
                index
            }
        };
        out.push_back(ProviderEvent::Delta {
            index,
            text: text.into(),
        });
    }

    fn close_prose(&mut self, out: &mut Ready) {
        if let Some((index, kind)) = self.prose.take() {
            let value = match kind {
                BlockKind::Reasoning => self.extras.value(),
                _ => Value::Null,
            };
            out.push_back(ProviderEvent::BlockFinished { index, value });
        }
    }

    /// Tells changed counts, but not with every token where a server repeats them so often.
    fn tell_usage(&mut self, now: bool, out: &mut Ready) {
        self.usage_pause = self.usage_pause.saturating_sub(1);
        if let Some(usage) = self.usage
            && (now || self.usage_pause == 0)
            && self.usage_told != self.usage
        {
            self.usage_told = self.usage;
            self.usage_pause = 64;
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
        if data == "[DONE]" {
            // Some servers say nothing but this at the end; after an answer it is clear enough.
            if self.finish.is_none() && self.content {
                self.finish = Some((FinishReason::Stop, data.into()));
            }
            return Ok(Flow::Done);
        }
        if data.is_empty() {
            return Ok(Flow::More);
        }
        let Ok(mut value) = json::parse(data) else {
            if event.event == "error" {
                return Err(from_object(
                    &self.who,
                    &serde_json::json!({ "error": data }),
                ));
            }
            return Err(self.who.malformed());
        };
        if event.event == "error" {
            return Err(from_object(&self.who, &value));
        }
        if !value.is_object() {
            return Err(self.who.malformed());
        }
        self.chunk(&mut value, out)?;
        Ok(Flow::More)
    }

    fn whole(&mut self, body: &[u8], out: &mut Ready) -> Result<(), Error> {
        let mut value: Value = match serde_json::from_slice(body) {
            Ok(value) => value,
            // Half an answer is an end without a finish, as in a stream.
            Err(error) if error.is_eof() => return Ok(()),
            Err(_) => return Err(self.who.malformed()),
        };
        self.chunk(&mut value, out)?;
        let answered = value.pointer("/choices/0").is_some();
        if self.finish.is_none() {
            if !answered {
                return Err(self.who.malformed());
            }
            // The document is whole, so the answer is.
            self.finish = Some((FinishReason::Stop, String::new()));
        }
        Ok(())
    }

    fn break_off(&mut self, out: &mut Ready) {
        // Half a tag that was held back is dropped: whether it was text or a tag is not known, and
        // the next attempt writes it again.
        self.tell_usage(true, out);
    }

    fn end(&mut self, out: &mut Ready) {
        // Without a reason for its end nothing is closed: the answer is cut, which the engine sees
        // by what is missing.
        let Some((mut reason, word)) = self.finish.take() else {
            return self.break_off(out);
        };
        self.flush_text(out);
        self.tell_usage(true, out);
        if reason == FinishReason::Stop {
            // Many servers say "stop" whatever the reason.
            if !self.calls.is_empty() {
                reason = FinishReason::ToolCalls;
            } else if self.refused && !self.texted {
                reason = FinishReason::Refusal;
            }
        }
        self.close_prose(out);
        self.extras.finish(&mut self.blocks, out);
        self.calls.finish(&mut self.blocks, out);
        out.push_back(ProviderEvent::Finished { reason, word });
    }
}
