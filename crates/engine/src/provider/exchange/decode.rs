//! What a vendor's decoder does.

use crate::provider::{ProviderEvent, endpoint::Endpoint, fault, json, sse};
use headwater_protocol::{Error, Usage};
use serde_json::Value;
use std::collections::VecDeque;

/// Events that are ready to be yielded.
pub(in crate::provider) type Ready = VecDeque<ProviderEvent>;

/// Whether a stream goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::provider) enum Flow {
    /// More may come.
    More,
    /// The provider said that this was all.
    Done,
}

/// Turns the pieces of one answer into events. It knows nothing of sockets.
pub(in crate::provider) trait Decode: Send + 'static {
    /// Whether a body that begins with a brace is newline-delimited JSON, not one document. Each
    /// line is then passed to [`Decode::event`] as the data of an event without a type.
    const LINES: bool = false;

    /// Whether the provider said why it ended. Only the usage may still come.
    fn has_finish(&self) -> bool;

    /// Takes one event.
    fn event(&mut self, event: &sse::Event, out: &mut Ready) -> Result<Flow, Error>;

    /// Takes a whole answer from a server that does not stream. Half a document is not an error: it
    /// is an end without a finish.
    fn whole(&mut self, body: &[u8], out: &mut Ready) -> Result<(), Error>;

    /// Called when thinking was found in the text, for decoders that remember which models think.
    fn thinks(&mut self) {}

    /// Yields what is known so far, such as the counts, because the stream breaks off here.
    fn break_off(&mut self, out: &mut Ready);

    /// Ends the answer as the provider meant it: with [`ProviderEvent::Finished`] if it said why it
    /// ended, otherwise as [`Decode::break_off`] does. It is called at most once.
    fn end(&mut self, out: &mut Ready);
}

/// Yields counts that are others than the last ones, `told`. Counts of nothing are no counts.
pub(in crate::provider) fn tell_usage(told: &mut Option<Usage>, usage: Usage, out: &mut Ready) {
    if (usage.input > 0 || usage.output > 0) && *told != Some(usage) {
        *told = Some(usage);
        out.push_back(ProviderEvent::Usage(usage));
    }
}

/// The JSON object or array of an event. An event of type `error`, a sentence and broken data are
/// errors.
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

/// The JSON document of a whole answer; `None` for half of one, which is an end without a finish, as
/// in a stream.
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
