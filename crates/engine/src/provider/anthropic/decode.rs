//! Turns a streamed answer into events.

use super::blocks::Blocks;
use crate::provider::{
    ProviderEvent,
    endpoint::Endpoint,
    exchange::{Decode, Flow, Ready, body_json, event_json, tell_usage},
    fault,
    json::text,
    sse,
};
use headwater_protocol::{Error, FinishReason, Usage};
use serde_json::Value;

/// The state of one answer.
#[derive(Debug)]
pub(in crate::provider) struct Decoder {
    endpoint: Endpoint,
    blocks: Blocks,
    /// The blocks in `message_start`.
    opening: Vec<Value>,
    counts: Counts,
    told: Option<Usage>,
    finish: Option<(FinishReason, String)>,
}

/// The token counts, each of them separately: later events leave out those that did not change.
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
            blocks: Blocks::new(spaces),
            opening: Vec::new(),
            counts: Counts::default(),
            told: None,
            finish: None,
        }
    }

    fn take(&mut self, value: &Value, out: &mut Ready) -> Result<Flow, Error> {
        let number = value.get("index").and_then(Value::as_u64);
        match text(value, "type") {
            "message_start" => {
                self.count(value.pointer("/message/usage"), out);
                // Servers that do not stream put the whole answer here.
                let content = value.pointer("/message/content").and_then(Value::as_array);
                self.opening = content.cloned().unwrap_or_default();
            }
            "content_block_start" => {
                if let Some(block) = value.get("content_block") {
                    self.blocks.start_next(number, block, out);
                }
            }
            "content_block_delta" => {
                if let Some(delta) = value.get("delta") {
                    self.blocks.delta(number, delta, out);
                }
            }
            "content_block_stop" => self.blocks.stop(number, out),
            "message_delta" => {
                self.count(value.get("usage"), out);
                let word = value.pointer("/delta/stop_reason").and_then(Value::as_str);
                self.stop(word)?;
            }
            "message_stop" => {
                self.tell_opening(out);
                if self.finish.is_none() && self.blocks.is_any {
                    self.finish = Some((FinishReason::Stop, "message_stop".into()));
                }
                return Ok(Flow::Done);
            }
            // A ping, or an event from a later version of the API.
            kind => {
                if let Some(error) = fault::found(&self.endpoint, value, !kind.is_empty()) {
                    return Err(error);
                }
            }
        }
        Ok(Flow::More)
    }

    /// Yields the blocks in `message_start`, unless they were streamed as well.
    fn tell_opening(&mut self, out: &mut Ready) {
        let opening = std::mem::take(&mut self.opening);
        if !self.blocks.is_any {
            self.blocks.all(&opening, out);
        }
    }

    /// Takes the stop reason, if there is one.
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
            "error" => return Err(self.endpoint.broke_off()),
            _ => FinishReason::Other,
        };
        self.finish = Some((reason, word.into()));
        Ok(())
    }

    /// Takes token counts, and yields them if they changed.
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
        tell_usage(&mut self.told, usage, out);
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
        // Some servers that imitate the API end in this way.
        if data == "[DONE]" {
            return Ok(Flow::Done);
        }
        match event_json(&self.endpoint, event)? {
            Value::Array(list) if list.iter().all(Value::is_object) => {
                for value in &list {
                    if self.take(value, out)? == Flow::Done {
                        return Ok(Flow::Done);
                    }
                }
                Ok(Flow::More)
            }
            Value::Array(_) => Err(self.endpoint.malformed()),
            value => self.take(&value, out),
        }
    }

    fn whole(&mut self, body: &[u8], out: &mut Ready) -> Result<(), Error> {
        let Some(value) = body_json(&self.endpoint, body)? else {
            return Ok(());
        };
        let blocks = value.get("content").and_then(Value::as_array);
        let one = value.get(0).unwrap_or(&value);
        if let Some(error) = fault::found(&self.endpoint, one, blocks.is_some()) {
            return Err(error);
        }
        let Some(blocks) = blocks else {
            return Err(self.endpoint.malformed());
        };
        self.blocks.all(blocks, out);
        self.count(value.get("usage"), out);
        // The document is complete, so the answer is.
        let word = value.get("stop_reason").and_then(Value::as_str);
        self.stop(word.or(Some("end_turn")))
    }

    fn break_off(&mut self, _: &mut Ready) {}

    fn end(&mut self, out: &mut Ready) {
        let Some((reason, word)) = self.finish.take() else {
            return;
        };
        self.tell_opening(out);
        self.blocks.close_all(out);
        out.push_back(ProviderEvent::Finished { reason, word });
    }
}
