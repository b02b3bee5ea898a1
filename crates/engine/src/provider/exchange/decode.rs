//! The interface of a vendor's decoder.

use crate::provider::{ProviderEvent, endpoint::Endpoint, fault, json, sse};
use headwater_protocol::{Error, Usage};
use serde_json::Value;
use std::collections::VecDeque;

/// Events that are ready to be yielded.
pub(in crate::provider) type Ready = VecDeque<ProviderEvent>;

/// Whether a stream goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::provider) enum Flow {
    /// More may follow.
    More,
    /// The provider said that the stream is complete.
    Done,
}

/// Turns the chunks of one answer into events, without I/O.
pub(in crate::provider) trait Decode: Send + 'static {
    /// Whether a body that begins with `{` is newline-delimited JSON and not one document. Each
    /// line is then passed to [`Decode::event`] as the data of an event without a type.
    const LINES: bool = false;

    /// Whether the provider sent its finish reason. Only the usage may still follow.
    fn has_finish(&self) -> bool;

    /// Takes one event.
    fn event(&mut self, event: &sse::Event, out: &mut Ready) -> Result<Flow, Error>;

    /// Takes the complete answer of a server that does not stream. An incomplete document is not an
    /// error here, but an end without a finish reason.
    fn whole(&mut self, body: &[u8], out: &mut Ready) -> Result<(), Error>;

    /// Called when reasoning was found in the text, for decoders that remember which models reason.
    fn thinks(&mut self) {}

    /// Yields what is known so far, such as the usage, because the stream broke off.
    fn break_off(&mut self, out: &mut Ready);

    /// Ends the answer: with [`ProviderEvent::Finished`] if the provider sent its finish reason,
    /// otherwise like [`Decode::break_off`]. Called at most once.
    fn end(&mut self, out: &mut Ready);
}

/// Yields counts that are others than the last ones, `told`. Counts of nothing are no counts.
pub(in crate::provider) fn tell_usage(told: &mut Option<Usage>, usage: Usage, out: &mut Ready) {
    if (usage.input > 0 || usage.output > 0) && *told != Some(usage) {
        *told = Some(usage);
        out.push_back(ProviderEvent::Usage(usage));
    }
}

/// The JSON object or array of an event.
///
/// # Errors
/// The provider's error for an event of type `error` or a sentence, `malformed` for broken data.
pub(in crate::provider) fn event_json(
    endpoint: &Endpoint,
    event: &sse::Event,
) -> Result<Value, Error> {
    match json::parse(event.data.trim()) {
        Err(_) => Err(fault::from_data(endpoint, event)),
        Ok(value) if event.event == "error" => Err(fault::from_object(endpoint, &value)),
        Ok(value @ (Value::Object(_) | Value::Array(_))) => Ok(value),
        Ok(Value::String(text)) => Err(fault::from_text(endpoint, &text)),
        Ok(_) => Err(endpoint.malformed()),
    }
}

/// The JSON document of a complete answer. `None` for an incomplete one, which is an end without a
/// finish reason, as in a stream.
pub(in crate::provider) fn body_json(
    endpoint: &Endpoint,
    body: &[u8],
) -> Result<Option<Value>, Error> {
    match serde_json::from_slice(body) {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.is_eof() => Ok(None),
        Err(_) => Err(endpoint.malformed()),
    }
}
