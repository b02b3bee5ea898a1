//! Turns a streamed answer into events.
//!
//! All content arrives up to three times: in deltas, complete when its item is done, and complete
//! again at the end of the response. Nothing is yielded twice.

use super::items::{Items, number};
use crate::provider::{
    ProviderEvent,
    endpoint::Endpoint,
    exchange::{Decode, Flow, Ready, body_json, event_json, tell_usage},
    fault,
    json::{self, text},
    media, sse,
};
use headwater_protocol::{BlockKind, Error, FinishReason, Usage};
use serde_json::Value;

/// The state of one answer.
#[derive(Debug)]
pub(in crate::provider) struct Decoder {
    endpoint: Endpoint,
    items: Items,
    usage: Option<Usage>,
    finish: Option<(FinishReason, String)>,
    /// The `sequence_number` of the last event; 0 if the server sends none.
    last: u64,
}

impl Decoder {
    pub(super) fn new(endpoint: Endpoint) -> Self {
        Self {
            endpoint,
            items: Items::default(),
            usage: None,
            finish: None,
            last: 0,
        }
    }

    fn take(&mut self, value: &Value, out: &mut Ready) -> Result<Flow, Error> {
        let kind = text(value, "type");
        if self.items.event(kind, value, out) {
            return Ok(Flow::More);
        }
        match kind {
            "response.completed"
            | "response.incomplete"
            | "response.failed"
            | "response.cancelled"
            | "response.done" => {
                let response = value.get("response").unwrap_or(&Value::Null);
                let status = match text(response, "status") {
                    // The event is more recent than the status in the response.
                    "" | "in_progress" | "queued" => &kind["response.".len()..],
                    status => status,
                };
                self.finish(response, status, out)?;
                return Ok(Flow::Done);
            }
            "error" | "response.error" => return Err(self.failure(value, out)),
            // Redundant, from a later version of the API, or a failure.
            kind => {
                if fault::found(&self.endpoint, value, !kind.is_empty()).is_some() {
                    return Err(self.failure(value, out));
                }
            }
        }
        Ok(Flow::More)
    }

    /// Takes the complete answer and its status.
    fn finish(&mut self, response: &Value, status: &str, out: &mut Ready) -> Result<(), Error> {
        self.count(response.get("usage"), out);
        if let Some(error) = fault::found(&self.endpoint, response, true) {
            return Err(error);
        }
        self.items.last_words(response, out);
        if self.items.has_sound {
            self.items.remark(media::SOUND, out);
        }
        let has = |kind| self.items.blocks.has(kind);
        let declined = has(BlockKind::Refusal) && !has(BlockKind::Text);
        let (reason, word) = match status {
            "completed" if has(BlockKind::ToolInput) => (FinishReason::ToolCalls, status),
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
            _ => return Err(self.endpoint.broke_off()),
        };
        self.finish = Some((reason, word.into()));
        Ok(())
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
        tell_usage(&mut self.usage, usage, out);
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
        if event.event == "error"
            && let Ok(value) = json::parse(data)
        {
            return Err(self.failure(&value, out));
        }
        let value = event_json(&self.endpoint, event)?;
        if let Value::Array(list) = &value {
            let one = list.first();
            let error = one.and_then(|one| fault::found(&self.endpoint, one, false));
            return Err(error.unwrap_or_else(|| self.endpoint.malformed()));
        }
        // A repeated event is ignored. Servers that do not count send 0 or no number.
        let number = number(&value, "sequence_number").unwrap_or(0);
        if number > 0 && number == self.last {
            return Ok(Flow::More);
        }
        self.last = number;
        self.take(&value, out)
    }

    fn whole(&mut self, body: &[u8], out: &mut Ready) -> Result<(), Error> {
        let Some(value) = body_json(&self.endpoint, body)? else {
            return Ok(());
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
        self.items.blocks.close_all(None, out);
        out.push_back(ProviderEvent::Finished { reason, word });
    }
}
