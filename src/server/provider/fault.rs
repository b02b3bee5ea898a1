//! Turns what a server says about a failure into one of our errors, whatever the vendor.
//!
//! The status says little: a vendor answers 400 for a wrong key, another 429 for an empty account.
//! So the words that servers use are looked for first, wherever in the answer they stand.

use super::{http, who::Who};
use crate::protocol::{Error, ErrorCode};
use serde_json::Value;
use std::time::Duration;

/// What a server said, wherever in its answer it stood.
#[derive(Debug, Default)]
struct Said {
    message: String,
    /// The code and the type, in lower case.
    words: String,
    /// A code that is a number is an HTTP status.
    status: Option<u16>,
    /// When to come back, in milliseconds.
    retry_after_ms: Option<u64>,
}

impl Said {
    fn mentions(&self, word: &str) -> bool {
        self.words.contains(word) || self.message.to_lowercase().contains(word)
    }
}

/// The error for an answer with an HTTP status that is not a success.
pub(super) fn from_response(
    who: &Who,
    status: u16,
    body: &[u8],
    retry_after_ms: Option<u64>,
) -> Error {
    let text = String::from_utf8_lossy(body);
    let said = match serde_json::from_slice::<Value>(body) {
        Ok(value) => said(&value),
        // A page for people is worth no quotation.
        Err(_) if text.trim_start().starts_with('<') => Said::default(),
        Err(_) => Said {
            message: text.into_owned(),
            ..Said::default()
        },
    };
    let mut error = build(who, Some(status), &said);
    error.status = Some(status);
    error.retry_after_ms = retry_after_ms.or(said.retry_after_ms);
    error.at("asking the provider")
}

/// The error for an error object in the middle of a stream.
pub(super) fn from_object(who: &Who, value: &Value) -> Error {
    let said = said(value);
    let mut error = build(who, said.status, &said);
    error.status = said.status;
    error.retry_after_ms = said.retry_after_ms;
    error.at("reading the answer")
}

/// Finds the words in the forms that servers use.
fn said(value: &Value) -> Said {
    let value = value.get(0).unwrap_or(value);
    let inner = match value.get("error") {
        Some(Value::String(text)) => {
            return Said {
                message: text.clone(),
                words: word(value.get("error_type").or(value.get("code"))),
                status: number(value.get("code").or(value.get("status"))),
                retry_after_ms: None,
            };
        }
        Some(inner @ Value::Object(_)) => inner,
        _ => value,
    };
    let message = match (inner.get("message"), inner.get("detail")) {
        (Some(Value::String(text)), _) | (None, Some(Value::String(text))) => text.clone(),
        (None, Some(Value::Array(list))) => list
            .iter()
            .filter_map(|item| item.get("msg")?.as_str())
            .collect::<Vec<_>>()
            .join("; "),
        (Some(other), _) if !other.is_null() => other.to_string(),
        _ => String::new(),
    };
    let mut words = [
        word(inner.get("code")),
        word(inner.get("type")),
        word(inner.get("status")),
    ]
    .join(" ");
    let mut retry_after_ms = None;
    for detail in inner
        .get("details")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
    {
        retry_after_ms = retry_after_ms.or(delay_ms(detail.get("retryDelay")));
        let limits = detail.get("violations").and_then(Value::as_array);
        let limits = limits.into_iter().flatten();
        for found in limits
            .map(|limit| limit.get("quotaId"))
            .chain([detail.get("reason")])
        {
            words.push(' ');
            words.push_str(&word(found));
        }
    }
    Said {
        message,
        words,
        status: number(inner.get("code")).or(number(inner.get("status"))),
        retry_after_ms,
    }
}

/// A delay such as `3s` or `1.5s`, in milliseconds.
fn delay_ms(value: Option<&Value>) -> Option<u64> {
    let seconds: f64 = value?.as_str()?.strip_suffix('s')?.parse().ok()?;
    let delay = Duration::try_from_secs_f64(seconds).ok()?;
    u64::try_from(delay.as_millis()).ok()
}

fn word(value: Option<&Value>) -> String {
    value
        .and_then(Value::as_str)
        .unwrap_or_default()
        .to_lowercase()
}

fn number(value: Option<&Value>) -> Option<u16> {
    let value = value?;
    value
        .as_u64()
        .or_else(|| value.as_str()?.parse().ok())
        .and_then(|number| u16::try_from(number).ok())
        .filter(|number| (400..=599).contains(number))
}

fn build(who: &Who, status: Option<u16>, said: &Said) -> Error {
    let code = classify(status, said);
    let name = &who.name;
    let sentence = match code {
        ErrorCode::Authentication if who.key.is_none() => {
            format!("{name} wants a key, and none is set.")
        }
        ErrorCode::Authentication => format!("{name} does not accept the key."),
        ErrorCode::Permission => format!("The key may not do this at {name}."),
        ErrorCode::NotFound if !said.mentions("model") => format!(
            "The provider at {} has no such address. Is its base URL right? {}",
            http::place(&who.url),
            who.hint
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
            http::place(&who.url)
        ),
        ErrorCode::InvalidRequest => format!("{name} does not accept the request."),
        _ => format!("{name} failed."),
    };
    let quote = http::quote(&said.message, who.key.as_ref());
    Error::new(
        code,
        if quote.is_empty() {
            sentence
        } else {
            format!("{sentence} It says: “{quote}”")
        },
    )
}

fn classify(status: Option<u16>, said: &Said) -> ErrorCode {
    let message = said.message.to_lowercase();
    let says = |needles: &[&str]| {
        needles
            .iter()
            .any(|needle| said.words.contains(needle) || message.contains(needle))
    };
    let asks_for_less = matches!(status, None | Some(400 | 413 | 422 | 500));
    if asks_for_less
        && says(&[
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
        ])
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
        Some(408 | 409 | 425 | 500..) => ErrorCode::ProviderError,
        Some(_) => ErrorCode::InvalidRequest,
        None => without_status(&says),
    }
}

/// The code of a failure that came without a status, as in the middle of a stream.
fn without_status(says: &dyn Fn(&[&str]) -> bool) -> ErrorCode {
    const WORDS: [(&[&str], ErrorCode); 7] = [
        (
            &[
                "rate_limit",
                "rate limit",
                "too many requests",
                "resource_exhausted",
            ],
            ErrorCode::RateLimited,
        ),
        (&["overloaded", "unavailable"], ErrorCode::Overloaded),
        (
            &["authentication_error", "unauthenticated"],
            ErrorCode::Authentication,
        ),
        (
            &["permission_error", "permission_denied"],
            ErrorCode::Permission,
        ),
        (&["model_not_found", "not_found_error"], ErrorCode::NotFound),
        (&["request_too_large"], ErrorCode::TooLarge),
        (
            &[
                "invalid_request",
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
