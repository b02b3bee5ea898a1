//! Turns the pieces of an answer into events.

use crate::{
    protocol::{BlockKind, Error, ErrorCode, FinishReason, Usage},
    server::provider::{
        blocks::Blocks,
        exchange::{Decode, Flow, Ready},
        fault, http, json, sse,
        who::Who,
    },
};
use serde_json::{Value, json};

/// The state of one answer.
#[derive(Debug)]
pub(super) struct Decoder {
    who: Who,
    blocks: Blocks,
    finish: Option<(FinishReason, String)>,
}

impl Decoder {
    pub(super) fn new(who: Who) -> Self {
        Self {
            who,
            blocks: Blocks::default(),
            finish: None,
        }
    }

    /// Takes one response; a stream is made of many.
    fn response(&mut self, response: &Value, out: &mut Ready) -> Result<(), Error> {
        if response.get("error").is_some_and(|error| !error.is_null()) {
            return Err(fault::from_object(&self.who, response));
        }
        // Every response counts anew from the start of the answer.
        self.blocks
            .count(response.get("usageMetadata").and_then(usage));
        let blocked = response
            .pointer("/promptFeedback/blockReason")
            .and_then(Value::as_str)
            .filter(|word| !word.ends_with("UNSPECIFIED"));
        if let Some(word) = blocked {
            return Err(self.blocked(word));
        }
        // We ask for one answer.
        let candidate = response
            .get("candidates")
            .and_then(Value::as_array)
            .and_then(|candidates| {
                candidates.iter().find(|candidate| {
                    candidate.get("index").and_then(Value::as_u64).unwrap_or(0) == 0
                })
            });
        if let Some(candidate) = candidate {
            let parts = candidate.pointer("/content/parts");
            for part in parts.and_then(Value::as_array).into_iter().flatten() {
                self.part(part, out);
            }
            let word = candidate.get("finishReason").and_then(Value::as_str);
            if let Some(word) = word.filter(|word| !word.is_empty()) {
                self.finish = Some((reason(word), word.into()));
            }
        }
        self.blocks.tell_usage(false, out);
        Ok(())
    }

    fn part(&mut self, part: &Value, out: &mut Ready) {
        let signed = |place: &str| {
            let signature = part.get("thoughtSignature")?.as_str()?;
            (!signature.is_empty()).then(|| json!({"thoughtSignature": signature, "part": place}))
        };
        if let Some(call) = part.get("functionCall").filter(|call| call.is_object()) {
            self.blocks.close(out);
            if let Some(value) = signed("call") {
                self.blocks.value(BlockKind::Reasoning, value, out);
            }
            let text = |name: &str| call.get(name).and_then(Value::as_str).unwrap_or_default();
            let arguments = match call.get("args") {
                None | Some(Value::Null) => json!({}),
                Some(arguments) => arguments.clone(),
            };
            self.blocks.call(text("id"), text("name"), arguments, out);
            return;
        }
        let text = part.get("text").and_then(Value::as_str).unwrap_or_default();
        if part.get("thought").and_then(Value::as_bool) == Some(true) {
            self.blocks.say(BlockKind::Reasoning, text, out);
            if let Some(value) = signed("thought")
                && !self.blocks.close_with(BlockKind::Reasoning, &value, out)
            {
                self.blocks.value(BlockKind::Reasoning, value, out);
            }
        } else {
            self.blocks.say(BlockKind::Text, text, out);
            if let Some(value) = signed("text") {
                self.blocks.value(BlockKind::Reasoning, value, out);
            }
        }
    }

    fn blocked(&self, word: &str) -> Error {
        Error::new(
            ErrorCode::ContentFiltered,
            format!(
                "A content filter of {} stopped the prompt. Its reason: {}.",
                self.who.name,
                http::quote(word, self.who.key.as_ref())
            ),
        )
        .at("reading the answer")
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
        let failed = event.event == "error";
        match json::parse(data) {
            Ok(value) if failed => Err(fault::from_object(&self.who, &value)),
            Err(_) if failed => {
                let value = json!({ "error": data });
                Err(fault::from_object(&self.who, &value))
            }
            Ok(value) if value.is_object() => {
                self.response(&value, out)?;
                Ok(Flow::More)
            }
            // What proxies that speak another protocol as well put at the end.
            _ if data == "[DONE]" => Ok(Flow::Done),
            _ => Err(self.who.malformed()),
        }
    }

    fn whole(&mut self, body: &[u8], out: &mut Ready) -> Result<(), Error> {
        let value: Value = match serde_json::from_slice(body) {
            Ok(value) => value,
            // Half an answer is an end without a finish, as in a stream.
            Err(error) if error.is_eof() => return Ok(()),
            Err(_) => return Err(self.who.malformed()),
        };
        // A server that does not know of events sends the responses as one list.
        let responses = value
            .as_array()
            .map_or(std::slice::from_ref(&value), Vec::as_slice);
        for response in responses {
            self.response(response, out)?;
        }
        if self.finish.is_none() && !responses.iter().any(|one| one.get("candidates").is_some()) {
            return Err(self.who.malformed());
        }
        Ok(())
    }

    fn break_off(&mut self, out: &mut Ready) {
        self.blocks.tell_usage(true, out);
    }

    fn end(&mut self, out: &mut Ready) {
        let Some((mut reason, word)) = self.finish.take() else {
            return self.break_off(out);
        };
        self.blocks.tell_usage(true, out);
        self.blocks.close(out);
        if reason == FinishReason::Stop && self.blocks.has_calls() {
            reason = FinishReason::ToolCalls;
        }
        out.push_back(crate::server::provider::ProviderEvent::Finished { reason, word });
    }
}

/// The closed word for a reason to end.
fn reason(word: &str) -> FinishReason {
    match word {
        "STOP" => FinishReason::Stop,
        "MAX_TOKENS" => FinishReason::Length,
        // Google says `STOP` after calls; servers that speak its protocol for others do not.
        "FUNCTION_CALL" | "TOOL_CALLS" => FinishReason::ToolCalls,
        "SAFETY" | "RECITATION" | "LANGUAGE" | "BLOCKLIST" | "PROHIBITED_CONTENT" | "SPII"
        | "IMAGE_SAFETY" | "MODEL_ARMOR" => FinishReason::ContentFilter,
        // `MALFORMED_FUNCTION_CALL`, `UNEXPECTED_TOOL_CALL` and whatever comes later.
        _ => FinishReason::Other,
    }
}

/// The counts; `None` if nothing is counted. What is thought is not among the candidates' tokens.
fn usage(value: &Value) -> Option<Usage> {
    let count = |name: &str| value.get(name).and_then(Value::as_u64).unwrap_or(0);
    let reasoning = count("thoughtsTokenCount");
    let usage = Usage {
        input: count("promptTokenCount").saturating_add(count("toolUsePromptTokenCount")),
        output: count("candidatesTokenCount").saturating_add(reasoning),
        cache_read: count("cachedContentTokenCount"),
        reasoning,
        ..Usage::default()
    };
    (usage.input > 0 || usage.output > 0).then_some(usage)
}
