//! Turns a streamed answer into events, in all known dialects.

use super::{content::Content, plain, words};
use crate::provider::{
    ProviderEvent,
    endpoint::Endpoint,
    exchange::{Decode, Flow, Ready, event_json},
    fault, sse,
};
use headwater_protocol::{Error, ErrorCode, FinishReason};
use serde_json::Value;

/// The state of one answer.
#[derive(Debug)]
pub(in crate::provider) struct Decoder {
    endpoint: Endpoint,
    choice: words::Choice,
    content: Content,
    finish: Option<(FinishReason, String)>,
}

impl Decoder {
    pub(super) fn new(endpoint: Endpoint) -> Self {
        Self {
            endpoint,
            choice: words::Choice::default(),
            content: Content::default(),
            finish: None,
        }
    }

    /// Takes one JSON object: a chunk of an answer, a complete answer, the usage, or an error.
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
        // Usage is cumulative wherever it is: the last counts are valid, and none are added up.
        self.content.count(usage);
        let choices = value.get_mut("choices").and_then(Value::as_array_mut);
        let Some(mut choice) = choices.and_then(|choices| self.choice.pick(choices)) else {
            return failure.map_or(Ok(()), Err);
        };
        self.chosen(&mut choice, failure, out)
    }

    /// Takes a chunk of the used choice, and an error that came with it.
    fn chosen(
        &mut self,
        choice: &mut Value,
        failure: Option<Error>,
        out: &mut Ready,
    ) -> Result<(), Error> {
        // The error may come together with the last text.
        let failure = failure.or_else(|| fault::found(&self.endpoint, choice, true));
        self.content.choice(choice, out);
        if let Some(error) = failure {
            return Err(error);
        }
        if let Some(word) = choice.get("finish_reason").and_then(Value::as_str)
            && !word.is_empty()
        {
            let Some(reason) = words::finish(word) else {
                let mut error = self.endpoint.broke_off();
                if word == "insufficient_system_resource" {
                    error.code = ErrorCode::Overloaded;
                }
                return Err(error);
            };
            self.finish = Some((reason, word.into()));
        }
        self.content.tell_usage(false, out);
        Ok(())
    }

    /// Takes the chunks with other numbers than the first one, if they are the rest of the answer.
    fn rest(&mut self, out: &mut Ready) -> Result<(), Error> {
        if self.finish.is_none() {
            for mut choice in self.choice.rest() {
                self.chosen(&mut choice, None, out)?;
            }
        }
        Ok(())
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
            // Some servers send only this at the end. After an answer, it is clear enough.
            if self.finish.is_none() && self.content.is_any {
                self.finish = Some((FinishReason::Stop, data.into()));
            }
            return Ok(Flow::Done);
        }
        if data.is_empty() {
            return Ok(Flow::More);
        }
        if event.event != "error"
            && let Some((text, index)) = plain::read(data)
            && self.choice.is_next(index)
        {
            self.content.plain(&text, out);
            return Ok(Flow::More);
        }
        match event_json(&self.endpoint, event)? {
            Value::Array(mut list) if list.iter().all(Value::is_object) => {
                for value in &mut list {
                    self.chunk(value, out)?;
                }
            }
            Value::Array(_) => return Err(self.endpoint.malformed()),
            mut value => self.chunk(&mut value, out)?,
        }
        Ok(Flow::More)
    }

    fn whole(&mut self, body: &[u8], out: &mut Ready) -> Result<(), Error> {
        let mut answered = false;
        // Most servers send one document. Some send the chunks as JSON, without events.
        for value in serde_json::Deserializer::from_slice(body).into_iter() {
            let mut value: Value = match value {
                Ok(value) => value,
                // An incomplete document is an end without a finish reason, as in a stream.
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
            // A complete document has a complete answer, even without a finish reason.
            answered |= value.pointer("/choices/0/message").is_some();
            self.chunk(&mut value, out)?;
        }
        if self.finish.is_none() && answered {
            self.finish = Some((FinishReason::Stop, String::new()));
        }
        match self.finish.is_some() || self.content.has_deltas {
            true => Ok(()),
            false => Err(self.endpoint.malformed()),
        }
    }

    fn break_off(&mut self, out: &mut Ready) {
        // Held-back text is dropped: it may be a repetition, and the next attempt writes it again.
        self.content.tell_usage(true, out);
    }

    fn end(&mut self, out: &mut Ready) {
        if self.choice.has_end() {
            let _ = self.rest(out);
        }
        // Without a finish reason, nothing is closed: the answer is truncated, which the engine
        // sees by the missing end.
        let Some((reason, word)) = self.finish.take() else {
            return self.break_off(out);
        };
        let reason = self.content.finish(reason, out);
        out.push_back(ProviderEvent::Finished { reason, word });
    }
}
