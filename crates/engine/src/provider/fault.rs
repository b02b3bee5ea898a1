//! Turns a server's report of a failure into one of our errors, for every vendor.
//!
//! The status is not enough: one vendor answers 400 for a wrong key, another 429 for an empty
//! account. So the words of the answer are checked first, wherever in it they are.

use super::{endpoint::Endpoint, http, sse};
use headwater_protocol::{Error, ErrorCode};
use serde_json::Value;

mod classify;
mod details;

use classify::classify;
use details::ErrorDetails;

/// The error for an answer with an HTTP status that is not a success.
pub(super) fn from_response(
    endpoint: &Endpoint,
    status: u16,
    body: &[u8],
    retry_after_ms: Option<u64>,
) -> Error {
    let said = match serde_json::from_slice::<Value>(body) {
        Ok(value) => ErrorDetails::of(&value),
        Err(_) => ErrorDetails::of_text(&String::from_utf8_lossy(body)),
    };
    let mut error = build(endpoint, Some(status), &said);
    error.status = Some(status);
    error.retry_after_ms = retry_after_ms.or(said.retry_after_ms);
    error.at("asking the provider")
}

/// The error for an error object in the middle of a stream.
pub(super) fn from_object(endpoint: &Endpoint, value: &Value) -> Error {
    let said = ErrorDetails::of(value);
    let mut error = build(endpoint, said.status, &said);
    error.status = said.status;
    error.retry_after_ms = said.retry_after_ms;
    error.at("reading the answer")
}

/// The error for a sentence in place of an answer, or after an incomplete one.
pub(super) fn from_text(endpoint: &Endpoint, text: &str) -> Error {
    match serde_json::from_str::<Value>(text) {
        Ok(value) => from_object(endpoint, &value),
        Err(_) => build(endpoint, None, &ErrorDetails::of_text(text)).at("reading the answer"),
    }
}

/// The longest sentence in place of JSON, in bytes. Longer texts are broken data.
const MAX_SENTENCE: usize = 4096;

/// The error for an event whose data is not JSON. A sentence is quoted, broken data is not.
pub(super) fn from_data(endpoint: &Endpoint, event: &sse::Event) -> Error {
    let data = event.data.trim();
    let is_list = |rest: &str| !rest.starts_with(|letter: char| letter.is_ascii_uppercase());
    let is_damage = data.starts_with(['{', '"'])
        || data.strip_prefix('[').is_some_and(is_list)
        || data.contains("\":")
        || data.len() > MAX_SENTENCE;
    match is_damage && event.event != "error" {
        true => endpoint.malformed(),
        false => from_text(endpoint, data.strip_prefix("[ERROR]").unwrap_or(data)),
    }
}

/// The error in an object that comes with an answer or in place of one. If the object `speaks` the
/// dialect, only an explicit error counts; otherwise any message does.
pub(super) fn found(endpoint: &Endpoint, value: &Value, speaks: bool) -> Option<Error> {
    (details::is_error(value) || !speaks && details::is_message(value))
        .then(|| from_object(endpoint, value))
}

fn build(endpoint: &Endpoint, status: Option<u16>, said: &ErrorDetails) -> Error {
    let code = classify(status, said);
    let name = &endpoint.name;
    let sentence = match code {
        ErrorCode::Authentication if endpoint.key.is_none() => {
            format!("{name} wants a key, and none is set.")
        }
        ErrorCode::Authentication => format!("{name} does not accept the key."),
        ErrorCode::Permission => format!("The key may not do this at {name}."),
        ErrorCode::NotFound if !said.mentions("model") => format!(
            "The provider at {} has no such address. Is its base URL right? {}",
            http::place(&endpoint.url),
            endpoint.hint
        ),
        ErrorCode::NotFound => format!("{name} does not have this model."),
        ErrorCode::ContextTooLong => {
            format!("The conversation is too long for this model at {name}.")
        }
        ErrorCode::TooLarge => format!("The request is too large for {name}."),
        ErrorCode::ContentFiltered => format!("A content filter of {name} stopped this."),
        ErrorCode::Quota => format!("The account at {name} is used up."),
        ErrorCode::RateLimited => format!("{name} gets too many requests at the moment."),
        ErrorCode::Overloaded => format!("{name} has too much to do at the moment."),
        ErrorCode::InvalidRequest if status.is_some_and(|status| status < 400) => format!(
            "The provider at {} has moved to another address. Please set its new base URL.",
            http::place(&endpoint.url)
        ),
        ErrorCode::InvalidRequest => format!("{name} does not accept the request."),
        _ => format!("{name} failed."),
    };
    let quote = http::quote(&said.message, endpoint.key.as_ref());
    let mut sentence = match quote.is_empty() {
        true => sentence,
        false => format!("{sentence} It says: “{quote}”"),
    };
    if let Some((asked, most)) = said.tokens
        && ![asked, most]
            .iter()
            .all(|count| quote.contains(&count.to_string()))
    {
        sentence.push_str(&format!(
            " The request has {asked} tokens, and {most} are possible."
        ));
    }
    Error::new(code, sentence)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may fail by panic")]
mod tests;
