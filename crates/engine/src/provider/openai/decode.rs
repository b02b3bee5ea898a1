//! Turns the pieces of a streamed answer into events, in all the dialects that are spoken.

use super::{calls::Calls, extras::Extras, words};
use crate::provider::{
    ProviderEvent,
    endpoint::Endpoint,
    exchange::{Decode, Flow, Ready},
    fault, json,
    media::{self, Media},
    pieces::Pieces,
    sse,
};
use headwater_protocol::{BlockKind, Error, ErrorCode, FinishReason, Usage};
use serde_json::Value;

/// The state of one answer.
#[derive(Debug)]
pub(in crate::provider) struct Decoder {
    endpoint: Endpoint,
    choice: words::Choice,
    text: Pieces,
    thoughts: Pieces,
    /// Whether anything came in pieces: a whole message is a repetition then.
    has_deltas: bool,
    /// The pictures that came, as the server sent them.
    pictures: Vec<Value>,
    has_sound: bool,
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
    pub(super) fn new(endpoint: Endpoint) -> Self {
        Self {
            endpoint,
            choice: words::Choice::default(),
            text: Pieces::default(),
            thoughts: Pieces::default(),
            has_deltas: false,
            pictures: Vec::new(),
            has_sound: false,
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
        let speaks = ["choices", "usage", "delta"]
            .iter()
            .any(|name| value.get(name).is_some());
        let failure = fault::found(&self.endpoint, value, speaks);
        let usage = value
            .get("usage")
            .filter(|usage| usage.is_object())
            .or_else(|| value.pointer("/x_groq/usage"))
            .and_then(words::usage);
        // Counts are cumulative wherever they stand: the last ones are true, and none are added.
        self.usage = usage.or(self.usage);
        let choices = value.get_mut("choices").and_then(Value::as_array_mut);
        let Some(mut choice) = choices.and_then(|choices| self.choice.pick(choices)) else {
            return failure.map_or(Ok(()), Err);
        };
        self.chosen(&mut choice, failure, out)
    }

    /// Takes a piece of the choice that counts, and a failure that came beside it.
    fn chosen(
        &mut self,
        choice: &mut Value,
        failure: Option<Error>,
        out: &mut Ready,
    ) -> Result<(), Error> {
        // What failed may have come with the last words.
        let failure = failure.or_else(|| fault::found(&self.endpoint, choice, true));
        self.words(choice, out);
        if let Some(error) = failure {
            return Err(error);
        }
        if let Some(word) = choice.get("finish_reason").and_then(Value::as_str)
            && !word.is_empty()
        {
            let Some(reason) = words::finish(word) else {
                let mut error = Error::new(
                    ErrorCode::ProviderError,
                    format!("{} broke off its answer.", self.endpoint.name),
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

    /// Takes what came under other numbers than the answer began with, where that is its rest.
    fn rest(&mut self, out: &mut Ready) -> Result<(), Error> {
        if self.finish.is_none() {
            for mut choice in self.choice.rest() {
                self.chosen(&mut choice, None, out)?;
            }
        }
        Ok(())
    }

    /// Takes what a choice says: what is new, or all of it.
    fn words(&mut self, choice: &mut Value, out: &mut Ready) {
        let mut take = |name: &str| {
            let value = choice.get_mut(name).filter(|value| value.is_object());
            value.map(Value::take)
        };
        let (delta, message) = (take("delta"), take("message"));
        if let Some(delta) = delta {
            let before = self.content;
            self.delta(&delta, out);
            self.has_deltas |= self.content && !before;
        } else if let Some(text) = choice.get("text").and_then(Value::as_str) {
            self.text(text, out);
        }
        match message {
            // Beside pieces it is a repetition of all, of which the end may be news.
            Some(message) if self.has_deltas => {
                let text = message.get("content").and_then(Value::as_str);
                let new = self.text.whole(text.unwrap_or_default());
                self.say(BlockKind::Text, &new, out);
                if self.calls.is_empty() {
                    self.call_all(&message, out);
                }
                self.see_pictures(&message, out);
            }
            Some(message) => self.delta(&message, out),
            None => {}
        }
    }

    fn delta(&mut self, delta: &Value, out: &mut Ready) {
        let thoughts = words::thoughts(delta);
        let speaks = delta
            .get("content")
            .and_then(Value::as_str)
            .is_some_and(|text| !text.is_empty());
        // With each word of the answer some servers say again what was thought.
        if !speaks || !self.thoughts.is_all(&thoughts) {
            self.extras.note(delta);
            self.think(&thoughts, out);
        }
        match delta.get("content") {
            Some(Value::String(text)) => self.text(text, out),
            Some(Value::Array(parts)) => parts.iter().for_each(|part| self.part(part, out)),
            Some(part @ Value::Object(_)) => self.part(part, out),
            _ => {}
        }
        let refusal = delta.get("refusal").and_then(Value::as_str);
        if let Some(refusal) = refusal.filter(|text| !text.is_empty()) {
            self.flush(out);
            self.say(BlockKind::Refusal, refusal, out);
        }
        self.see_pictures(delta, out);
        if let Some(audio) = delta.get("audio").filter(|audio| audio.is_object()) {
            let words = audio.get("transcript").and_then(Value::as_str);
            self.text(words.unwrap_or_default(), out);
            self.has_sound |= audio.get("data").is_some_and(Value::is_string);
        }
        self.call_all(delta, out);
    }

    /// Takes a part of a content that is a list.
    fn part(&mut self, part: &Value, out: &mut Ready) {
        let text = |name: &str| part.get(name).and_then(Value::as_str);
        match text("type").unwrap_or_default() {
            "thinking" | "reasoning" | "reasoning_text" | "thought" => {
                self.think(&words::thought(part), out);
            }
            "refusal" => self.say(BlockKind::Refusal, text("refusal").unwrap_or_default(), out),
            "image_url" | "output_image" | "image" => self.see(part, out),
            "audio" | "output_audio" | "input_audio" => {
                self.text(text("transcript").unwrap_or_default(), out);
                self.has_sound = true;
            }
            _ => {
                if let Some(text) = text("text").or(text("content")).or(part.as_str()) {
                    self.text(text, out);
                }
                if let Some(thought) = part.get("thinking") {
                    self.think(&words::thought(thought), out);
                }
            }
        }
    }

    fn call_all(&mut self, delta: &Value, out: &mut Ready) {
        let legacy = delta.get("function_call").filter(|call| call.is_object());
        let calls = delta.get("tool_calls").and_then(Value::as_array);
        if legacy.is_some() || calls.is_some_and(|calls| !calls.is_empty()) {
            self.flush(out);
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

    fn see_pictures(&mut self, message: &Value, out: &mut Ready) {
        let pictures = message.get("images").and_then(Value::as_array);
        for picture in pictures.into_iter().flatten() {
            self.see(picture, out);
        }
    }

    /// Takes a picture, once.
    fn see(&mut self, picture: &Value, out: &mut Ready) {
        if self.pictures.contains(picture) {
            return;
        }
        self.pictures.push(picture.clone());
        self.flush(out);
        self.content = true;
        match Media::from_object(picture) {
            Some(Media::Picture(image)) => out.push_back(ProviderEvent::Picture(image)),
            Some(Media::Remark(remark)) => self.remark(&remark, out),
            None => {}
        }
    }

    fn remark(&mut self, remark: &str, out: &mut Ready) {
        let remark = media::paragraph(remark, !self.texted);
        self.say(BlockKind::Text, &remark, out);
    }

    fn text(&mut self, text: &str, out: &mut Ready) {
        let new = self.text.take(text);
        self.say(BlockKind::Text, &new, out);
    }

    fn think(&mut self, text: &str, out: &mut Ready) {
        let new = self.thoughts.take(text);
        if !new.is_empty() {
            let held = self.text.end();
            self.say(BlockKind::Text, &held, out);
        }
        self.say(BlockKind::Reasoning, &new, out);
    }

    /// Gives out text that was held back as a possible repetition.
    fn flush(&mut self, out: &mut Ready) {
        let held = self.thoughts.end();
        self.say(BlockKind::Reasoning, &held, out);
        let held = self.text.end();
        self.say(BlockKind::Text, &held, out);
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
        if data.eq_ignore_ascii_case("[DONE]") {
            self.rest(out)?;
            // Some servers say nothing but this at the end; after an answer it is clear enough.
            if self.finish.is_none() && self.content {
                self.finish = Some((FinishReason::Stop, data.into()));
            }
            return Ok(Flow::Done);
        }
        if data.is_empty() {
            return Ok(Flow::More);
        }
        match json::parse(data) {
            Err(_) => Err(fault::from_data(&self.endpoint, event)),
            Ok(value) if event.event == "error" => Err(fault::from_object(&self.endpoint, &value)),
            Ok(mut value @ Value::Object(_)) => {
                self.chunk(&mut value, out)?;
                Ok(Flow::More)
            }
            Ok(Value::Array(mut list)) if list.iter().all(Value::is_object) => {
                for value in &mut list {
                    self.chunk(value, out)?;
                }
                Ok(Flow::More)
            }
            Ok(Value::String(text)) => Err(fault::from_text(&self.endpoint, &text)),
            Ok(_) => Err(self.endpoint.malformed()),
        }
    }

    fn whole(&mut self, body: &[u8], out: &mut Ready) -> Result<(), Error> {
        let mut answered = false;
        // Most send one document; some send the pieces, without a word of events.
        for value in serde_json::Deserializer::from_slice(body).into_iter() {
            let mut value: Value = match value {
                Ok(value) => value,
                // Half an answer is an end without a finish, as in a stream.
                Err(error) if error.is_eof() => return Ok(()),
                Err(_) => return Err(self.endpoint.malformed()),
            };
            if let Value::Array(list) = &value
                && let Some(error) = list
                    .iter()
                    .find_map(|one| fault::found(&self.endpoint, one, false))
            {
                return Err(error);
            }
            // In a whole document the answer is whole, whether it says so or not.
            answered |= value.pointer("/choices/0/message").is_some();
            self.chunk(&mut value, out)?;
        }
        if self.finish.is_none() && answered {
            self.finish = Some((FinishReason::Stop, String::new()));
        }
        match self.finish.is_some() || self.has_deltas {
            true => Ok(()),
            false => Err(self.endpoint.malformed()),
        }
    }

    fn break_off(&mut self, out: &mut Ready) {
        // What was held back is dropped: whether it is new is not known, and the next attempt
        // writes it again.
        self.tell_usage(true, out);
    }

    fn end(&mut self, out: &mut Ready) {
        if self.choice.has_end() {
            let _ = self.rest(out);
        }
        // Without a reason for its end nothing is closed: the answer is cut, which the engine sees
        // by what is missing.
        let Some((mut reason, word)) = self.finish.take() else {
            return self.break_off(out);
        };
        self.flush(out);
        if self.has_sound {
            self.remark(media::SOUND, out);
        }
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
