//! Turns a streamed answer into events.

use super::parts::{Shown, shown};
use crate::provider::{
    blocks::Blocks,
    endpoint::Endpoint,
    exchange::{Decode, Flow, Ready, body_json, event_json},
    fault, http,
    pieces::Prose,
    sse,
};
use headwater_protocol::{BlockKind, Error, ErrorCode, FinishReason, Usage};
use serde_json::{Value, json};

/// The state of one answer.
#[derive(Debug)]
pub(in crate::provider) struct Decoder {
    endpoint: Endpoint,
    /// The number of the candidate that is used.
    candidate: Option<u64>,
    prose: Prose,
    blocks: Blocks,
    finish: Option<(FinishReason, String)>,
}

impl Decoder {
    pub(super) fn new(endpoint: Endpoint) -> Self {
        Self {
            endpoint,
            candidate: None,
            prose: Prose::default(),
            blocks: Blocks::default(),
            finish: None,
        }
    }

    /// Takes one response. A stream consists of many.
    fn response(&mut self, response: &Value, out: &mut Ready) -> Result<(), Error> {
        let known = ["candidates", "usageMetadata", "promptFeedback"];
        let speaks = known.iter().any(|name| response.get(name).is_some());
        let failure = fault::found(&self.endpoint, response, speaks);
        // The counts of every response are cumulative.
        self.blocks
            .count(response.get("usageMetadata").and_then(usage));
        let blocked = response
            .pointer("/promptFeedback/blockReason")
            .and_then(Value::as_str)
            .filter(|word| !word.ends_with("UNSPECIFIED"));
        if let Some(word) = blocked {
            return Err(self.blocked(word));
        }
        let candidates = response.get("candidates").and_then(Value::as_array);
        if let Some(candidate) = candidates.and_then(|candidates| self.pick(candidates)) {
            let parts = candidate.pointer("/content/parts");
            match parts {
                Some(Value::Array(parts)) => parts.iter().for_each(|part| self.part(part, out)),
                Some(part) => self.part(part, out),
                None => {}
            }
            let word = candidate.get("finishReason").and_then(Value::as_str);
            let word = word.filter(|word| !word.is_empty() && !word.ends_with("UNSPECIFIED"));
            if let Some(word) = word {
                self.end_with(word, candidate)?;
            }
        }
        if let Some(error) = failure {
            self.finish = None;
            return Err(error);
        }
        self.blocks.tell_usage(false, out);
        Ok(())
    }

    /// The candidate that is used. Only one is requested; if there are more, the first one that
    /// arrived counts.
    fn pick<'a>(&mut self, candidates: &'a [Value]) -> Option<&'a Value> {
        let index = |candidate: &Value| candidate.get("index").and_then(Value::as_u64);
        let first = candidates.iter().map(|one| index(one).unwrap_or(0)).min()?;
        let wanted = *self.candidate.get_or_insert(first);
        let is_wanted = |one: &&Value| index(one).is_none_or(|index| index == wanted);
        candidates.iter().find(is_wanted)
    }

    /// Takes the finish reason. Some reasons are failures that may not happen again.
    fn end_with(&mut self, word: &str, candidate: &Value) -> Result<(), Error> {
        let failed = matches!(
            word,
            "MALFORMED_FUNCTION_CALL"
                | "UNEXPECTED_TOOL_CALL"
                | "TOO_MANY_TOOL_CALLS"
                | "MALFORMED_RESPONSE"
                | "MISSING_THOUGHT_SIGNATURE"
                | "ERROR"
        );
        if !failed {
            self.finish = Some((reason(word), word.into()));
            return Ok(());
        }
        let said = candidate.get("finishMessage").and_then(Value::as_str);
        let quote = http::quote(said.unwrap_or(word), self.endpoint.key.as_ref());
        let sentence = format!(
            "{} broke off its answer. It says: “{quote}”",
            self.endpoint.name
        );
        Err(Error::new(ErrorCode::ProviderError, sentence).at("reading the answer"))
    }

    fn part(&mut self, part: &Value, out: &mut Ready) {
        let signed = |place: &str| {
            let signature = part.get("thoughtSignature")?.as_str()?;
            (!signature.is_empty()).then(|| json!({"thoughtSignature": signature, "part": place}))
        };
        if let Some(call) = part.get("functionCall").filter(|call| call.is_object()) {
            self.flush(out);
            self.blocks.close(out);
            let text = |name: &str| call.get(name).and_then(Value::as_str).unwrap_or_default();
            let id = text("id");
            // A repeated call with the same identifier is ignored.
            if self.blocks.has_call(id) {
                return;
            }
            if let Some(value) = signed("call") {
                self.blocks.value(BlockKind::Reasoning, value, out);
            }
            let arguments = match call.get("args") {
                None | Some(Value::Null) => json!({}),
                Some(arguments) => arguments.clone(),
            };
            self.blocks.call(id, text("name"), arguments, out);
            return;
        }
        if let Some(shown) = shown(part) {
            self.flush(out);
            match shown {
                Shown::Media(media) => self.blocks.media(media, out),
                Shown::Code(text) => self.blocks.say(BlockKind::Text, &text, out),
            }
        }
        let thought = part.get("thought");
        let text = part.get("text").or(thought).and_then(Value::as_str);
        let text = text.unwrap_or_default();
        if thought.is_some_and(|thought| thought.as_bool() == Some(true) || thought.is_string()) {
            for (kind, new) in self.prose.think(text) {
                self.blocks.say(kind, &new, out);
            }
            if let Some(value) = signed("thought")
                && !self.blocks.close_with(BlockKind::Reasoning, &value, out)
            {
                self.blocks.value(BlockKind::Reasoning, value, out);
            }
        } else {
            let (kind, new) = self.prose.text(text);
            self.blocks.say(kind, &new, out);
            if let Some(value) = signed("text") {
                self.flush(out);
                self.blocks.value(BlockKind::Reasoning, value, out);
            }
        }
    }

    /// Yields text that was held back as a possible repetition.
    fn flush(&mut self, out: &mut Ready) {
        for (kind, held) in self.prose.flush() {
            self.blocks.say(kind, &held, out);
        }
    }

    fn blocked(&self, word: &str) -> Error {
        Error::new(
            ErrorCode::ContentFiltered,
            format!(
                "A content filter of {} stopped the prompt. Its reason: {}.",
                self.endpoint.name,
                http::quote(word, self.endpoint.key.as_ref())
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
        match event.data.trim() {
            "" => return Ok(Flow::More),
            // The terminal event of proxies that also speak OpenAI's protocol.
            "[DONE]" => return Ok(Flow::Done),
            _ => {}
        }
        let value = event_json(&self.endpoint, event)?;
        for response in responses(&value) {
            if !response.is_object() {
                return Err(self.endpoint.malformed());
            }
            self.response(response, out)?;
        }
        Ok(Flow::More)
    }

    fn whole(&mut self, body: &[u8], out: &mut Ready) -> Result<(), Error> {
        let Some(value) = body_json(&self.endpoint, body)? else {
            return Ok(());
        };
        let responses = responses(&value);
        for response in responses {
            self.response(response, out)?;
        }
        if self.finish.is_none() && !responses.iter().any(|one| one.get("candidates").is_some()) {
            return Err(self.endpoint.malformed());
        }
        Ok(())
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

/// The responses of a document: one, or a list from a server without event streams.
fn responses(document: &Value) -> &[Value] {
    document
        .as_array()
        .map_or(std::slice::from_ref(document), Vec::as_slice)
}

/// Maps a finish reason.
fn reason(word: &str) -> FinishReason {
    match word {
        "STOP" => FinishReason::Stop,
        "MAX_TOKENS" => FinishReason::Length,
        // Google sends `STOP` after calls. Other servers that speak its protocol do not.
        "FUNCTION_CALL" | "TOOL_CALLS" => FinishReason::ToolCalls,
        "SAFETY"
        | "RECITATION"
        | "LANGUAGE"
        | "BLOCKLIST"
        | "PROHIBITED_CONTENT"
        | "SPII"
        | "IMAGE_SAFETY"
        | "IMAGE_PROHIBITED_CONTENT"
        | "IMAGE_RECITATION"
        | "MODEL_ARMOR" => FinishReason::ContentFilter,
        // `OTHER`, and reasons of later versions.
        _ => FinishReason::Other,
    }
}

/// The usage; `None` if nothing is counted. Tokens of thoughts are not included in those of the
/// candidates.
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
