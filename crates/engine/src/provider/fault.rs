//! Turns what a server says about a failure into one of our errors, whatever the vendor.
//!
//! The status says little: a vendor answers 400 for a wrong key, another 429 for an empty account.
//! So the words that servers use are looked for first, wherever in the answer they stand.

use super::{endpoint::Endpoint, http, sse};
use headwater_protocol::{Error, ErrorCode};
use serde_json::Value;

mod details;

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

/// The error for words in place of an answer, or behind half of one.
pub(super) fn from_text(endpoint: &Endpoint, text: &str) -> Error {
    match serde_json::from_str::<Value>(text) {
        Ok(value) => from_object(endpoint, &value),
        Err(_) => build(endpoint, None, &ErrorDetails::of_text(text)).at("reading the answer"),
    }
}

/// The longest sentence in place of JSON, in bytes. Nobody says so much.
const MOST_SAID: usize = 4096;

/// The error for an event whose data is no JSON: a sentence is quoted, damage is not.
pub(super) fn from_data(endpoint: &Endpoint, event: &sse::Event) -> Error {
    let data = event.data.trim();
    let is_list = |rest: &str| !rest.starts_with(|letter: char| letter.is_ascii_uppercase());
    let is_damage = data.starts_with(['{', '"'])
        || data.strip_prefix('[').is_some_and(is_list)
        || data.contains("\":")
        || data.len() > MOST_SAID;
    match is_damage && event.event != "error" {
        true => endpoint.malformed(),
        false => from_text(endpoint, data.strip_prefix("[ERROR]").unwrap_or(data)),
    }
}

/// The error that an object tells beside an answer, or in place of one. Where it `speaks` the
/// dialect, only what is plainly an error counts; otherwise any message does.
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

fn classify(status: Option<u16>, said: &ErrorDetails) -> ErrorCode {
    let message = said.message.to_lowercase();
    let says = |needles: &[&str]| {
        needles
            .iter()
            .any(|needle| said.words.contains(needle) || message.contains(needle))
    };
    let asks_for_less = matches!(status, None | Some(400 | 413 | 422 | 500));
    if asks_for_less
        && (exceeds_context(&message)
            || says(&[
                "context_length_exceeded",
                "exceed_context_size",
                "maximum context length",
                "max context length",
                "context length exceeded",
                "exceeds the context",
                "exceeds the available context",
                "larger than the context",
                "context window",
                "prompt is too long",
                "input is too long",
                "reduce the length of the messages",
                "maximum prompt length",
                "exceed context limit",
                "exceeds the maximum number of tokens",
                "maximum model length",
                "exceeded model token limit",
                "max_new_tokens` must be <=",
                "inputs` must have less than",
                "range of input length",
                "prompt exceeds max length",
                "tokens in the prompt cannot exceed",
                "input is too large to process",
                "string_above_max_length",
            ]))
    {
        return ErrorCode::ContextTooLong;
    }
    if says(&[
        "content_filter",
        "content_policy",
        "content management policy",
        "responsibleai",
    ]) {
        return ErrorCode::ContentFiltered;
    }
    // Google says "quota" for the limit of a minute as well; only the one of a day is used up.
    let resource = said.words.contains("resource_exhausted");
    if resource && said.words.contains("perday") {
        return ErrorCode::Quota;
    }
    if resource && said.retry_after_ms.is_some() {
        return ErrorCode::RateLimited;
    }
    if status == Some(402)
        || says(&[
            "billing_error",
            "billing hard limit",
            "out of credits",
            "exceeded_current_quota",
            "insufficient_quota",
            "insufficient quota",
            "exceeded your current quota",
            "billing_hard_limit",
            "billing_not_active",
            "insufficient_balance",
            "insufficient balance",
            "insufficient credits",
            "credit balance",
        ])
    {
        return ErrorCode::Quota;
    }
    if says(&[
        "invalid_api_key",
        "incorrect api key",
        "invalid api key",
        "api key not valid",
        "api key expired",
        "api_key_invalid",
        "unregistered callers",
    ]) {
        return ErrorCode::Authentication;
    }
    match status {
        Some(401) => ErrorCode::Authentication,
        Some(403) => ErrorCode::Permission,
        Some(404) => ErrorCode::NotFound,
        Some(413) if !says(&["rate_limit"]) => ErrorCode::TooLarge,
        Some(413 | 429) => ErrorCode::RateLimited,
        Some(503 | 529) => ErrorCode::Overloaded,
        // What a gateway says of itself is not what the provider behind it would say; but it may
        // tell what that one said.
        Some(502 | 504) => match without_status(&says) {
            ErrorCode::RateLimited => ErrorCode::RateLimited,
            _ => ErrorCode::ProviderError,
        },
        Some(408 | 409 | 425 | 500..) => match without_status(&says) {
            code @ (ErrorCode::RateLimited | ErrorCode::Overloaded) => code,
            _ => ErrorCode::ProviderError,
        },
        Some(_) => ErrorCode::InvalidRequest,
        None => without_status(&says),
    }
}

/// Whether a sentence says in its own words that the context is too small.
fn exceeds_context(message: &str) -> bool {
    let more = [
        "exceed",
        "longer than",
        "greater than",
        "overflow",
        "too long",
        "too large",
        "reached",
    ];
    (message.contains("context") || message.contains("token count"))
        && more.iter().any(|word| message.contains(word))
}

/// The code of a failure that came without a status, as in the middle of a stream.
fn without_status(says: &dyn Fn(&[&str]) -> bool) -> ErrorCode {
    const WORDS: [(&[&str], ErrorCode); 7] = [
        (
            &[
                "rate_limit",
                "rate limit",
                "rate-limit",
                "ratelimit",
                "too many requests",
                "too_many_requests",
                "throttl",
                "resource_exhausted",
            ],
            ErrorCode::RateLimited,
        ),
        (
            &[
                "overload",
                "unavailable",
                "server is busy",
                "server_busy",
                "at capacity",
                "insufficient_system_resource",
            ],
            ErrorCode::Overloaded,
        ),
        (
            &[
                "authentication_error",
                "unauthenticated",
                "unauthorized",
                "login fail",
            ],
            ErrorCode::Authentication,
        ),
        (
            &[
                "permission_error",
                "permission_denied",
                "forbidden",
                "accessdenied",
            ],
            ErrorCode::Permission,
        ),
        (
            &["model_not_found", "not_found_error", "model not found"],
            ErrorCode::NotFound,
        ),
        (&["request_too_large"], ErrorCode::TooLarge),
        (
            &[
                "invalid_request",
                "invalidparameter",
                "bad_request",
                "badrequest",
                "validation",
                "invalid_argument",
                "invalid_prompt",
                "invalid_image",
            ],
            ErrorCode::InvalidRequest,
        ),
    ];
    WORDS
        .iter()
        .find(|(words, _)| says(words))
        .map_or(ErrorCode::ProviderError, |(_, code)| *code)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may fail by panic")]
mod tests;
