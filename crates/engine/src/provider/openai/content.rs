//! Turns the content of a message (text, reasoning, tool calls and images) into blocks.

use super::{calls::Calls, extras::Extras, words};
use crate::provider::{
    ProviderEvent,
    blocks::Blocks,
    exchange::Ready,
    json,
    media::{self, Media},
    pieces::Prose,
};
use headwater_protocol::{BlockKind, FinishReason, Usage};
use serde_json::Value;

/// The content of one answer so far.
#[derive(Debug, Default)]
pub(super) struct Content {
    prose: Prose,
    blocks: Blocks,
    calls: Calls,
    /// The fields to send back.
    extras: Extras,
    /// The images so far, as the server sent them.
    images: Vec<Value>,
    has_sound: bool,
    has_refusal: bool,
    /// Whether deltas have arrived: a complete message is a repetition then.
    pub(super) has_deltas: bool,
    /// Whether the answer has any content.
    pub(super) is_any: bool,
}

impl Content {
    /// Takes the content of a choice: a delta or a complete message.
    pub(super) fn choice(&mut self, choice: &mut Value, out: &mut Ready) {
        let mut take = |name: &str| {
            let value = choice.get_mut(name).filter(|value| value.is_object());
            value.map(Value::take)
        };
        let (delta, message) = (take("delta"), take("message"));
        if let Some(delta) = delta {
            let before = self.is_any;
            self.delta(&delta, out);
            self.has_deltas |= self.is_any && !before;
        } else if let Some(text) = choice.get("text").and_then(Value::as_str) {
            self.text(text, out);
        }
        match message {
            // After deltas, it repeats everything, but its end may be new.
            Some(message) if self.has_deltas => {
                let new = self.prose.text.whole(json::text(&message, "content"));
                self.say(BlockKind::Text, &new, out);
                if self.calls.is_empty() {
                    self.call_all(&message, out);
                }
                self.see_all(&message, out);
            }
            Some(message) => self.delta(&message, out),
            None => {}
        }
    }

    /// Takes a delta that has text and nothing else.
    pub(super) fn plain(&mut self, text: &str, out: &mut Ready) {
        let before = self.is_any;
        if !self.prose.thoughts.is_all("") {
            self.think("", out);
        }
        self.text(text, out);
        self.has_deltas |= self.is_any && !before;
        self.tell_usage(false, out);
    }

    fn delta(&mut self, delta: &Value, out: &mut Ready) {
        let thoughts = words::thoughts(delta);
        let speaks = !json::text(delta, "content").is_empty();
        // Some servers repeat the reasoning with every delta of text.
        if !speaks || !self.prose.thoughts.is_all(&thoughts) {
            self.extras.note(delta);
            self.think(&thoughts, out);
        }
        match delta.get("content") {
            Some(Value::String(text)) => self.text(text, out),
            Some(Value::Array(parts)) => parts.iter().for_each(|part| self.part(part, out)),
            Some(part @ Value::Object(_)) => self.part(part, out),
            _ => {}
        }
        let refusal = json::text(delta, "refusal");
        if !refusal.is_empty() {
            self.flush(out);
            self.say(BlockKind::Refusal, refusal, out);
        }
        self.see_all(delta, out);
        if let Some(audio) = delta.get("audio").filter(|audio| audio.is_object()) {
            self.text(json::text(audio, "transcript"), out);
            self.has_sound |= audio.get("data").is_some_and(Value::is_string);
        }
        self.call_all(delta, out);
    }

    /// Takes a part of a content array.
    fn part(&mut self, part: &Value, out: &mut Ready) {
        match json::text(part, "type") {
            "thinking" | "reasoning" | "reasoning_text" | "thought" => {
                self.think(&words::thought(part), out);
            }
            "refusal" => self.say(BlockKind::Refusal, json::text(part, "refusal"), out),
            "image_url" | "output_image" | "image" => self.see(part, out),
            "audio" | "output_audio" | "input_audio" => {
                self.text(json::text(part, "transcript"), out);
                self.has_sound = true;
            }
            _ => {
                let text = |name: &str| part.get(name).and_then(Value::as_str);
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
        let calls = json::list(delta, "tool_calls");
        if legacy.is_some() || !calls.is_empty() {
            self.flush(out);
            self.end_thought();
            self.blocks.close(out);
            self.is_any = true;
            for call in calls {
                self.calls.piece(call, &mut self.blocks, out);
            }
            if let Some(call) = legacy {
                self.calls.legacy(call, &mut self.blocks, out);
            }
        }
    }

    fn see_all(&mut self, message: &Value, out: &mut Ready) {
        for image in json::list(message, "images") {
            self.see(image, out);
        }
    }

    /// Takes an image, once.
    fn see(&mut self, image: &Value, out: &mut Ready) {
        if self.images.contains(image) {
            return;
        }
        self.images.push(image.clone());
        self.flush(out);
        self.is_any = true;
        match Media::from_object(image) {
            Some(Media::Image(image)) => out.push_back(ProviderEvent::Image(image)),
            Some(Media::Remark(remark)) => self.remark(&remark, out),
            None => {}
        }
    }

    fn remark(&mut self, remark: &str, out: &mut Ready) {
        let remark = media::paragraph(remark, !self.blocks.has_text());
        self.say(BlockKind::Text, &remark, out);
    }

    fn text(&mut self, text: &str, out: &mut Ready) {
        let (kind, new) = self.prose.text(text);
        self.say(kind, &new, out);
    }

    fn think(&mut self, text: &str, out: &mut Ready) {
        for (kind, new) in self.prose.think(text) {
            self.say(kind, &new, out);
        }
    }

    /// Yields text that was held back as a possible repetition.
    fn flush(&mut self, out: &mut Ready) {
        for (kind, held) in self.prose.flush() {
            self.say(kind, &held, out);
        }
    }

    fn say(&mut self, kind: BlockKind, text: &str, out: &mut Ready) {
        if text.is_empty() {
            return;
        }
        self.is_any = true;
        self.has_refusal |= kind == BlockKind::Refusal;
        if kind != BlockKind::Reasoning {
            self.end_thought();
        }
        self.blocks.say(kind, text, out);
    }

    /// Sets the value of the open block of reasoning, which is closed next.
    fn end_thought(&mut self) {
        if self.blocks.is_open(BlockKind::Reasoning) {
            let value = self.extras.value();
            self.blocks.set_value(BlockKind::Reasoning, value);
        }
    }

    /// Takes usage counts.
    pub(super) fn count(&mut self, usage: Option<Usage>) {
        self.blocks.count(usage);
    }

    /// Yields changed counts, at once if `now`, otherwise at intervals.
    pub(super) fn tell_usage(&mut self, now: bool, out: &mut Ready) {
        self.blocks.tell_usage(now, out);
    }

    /// Ends the answer. Returns the finish reason, corrected by the content.
    pub(super) fn finish(&mut self, reason: FinishReason, out: &mut Ready) -> FinishReason {
        self.flush(out);
        if self.has_sound {
            self.remark(media::SOUND, out);
        }
        self.tell_usage(true, out);
        self.end_thought();
        self.blocks.close(out);
        self.extras.finish(&mut self.blocks, out);
        self.calls.finish(&mut self.blocks, out);
        match reason {
            // Many servers always send "stop".
            FinishReason::Stop if !self.calls.is_empty() => FinishReason::ToolCalls,
            FinishReason::Stop if self.has_refusal && !self.blocks.has_text() => {
                FinishReason::Refusal
            }
            reason => reason,
        }
    }
}
