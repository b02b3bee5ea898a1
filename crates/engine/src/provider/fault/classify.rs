//! Chooses the [`ErrorCode`] of a failure.

use super::details::ErrorDetails;
use headwater_protocol::ErrorCode;

/// The code of a failure, by the server's words and then by its HTTP status.
pub(super) fn classify(status: Option<u16>, said: &ErrorDetails) -> ErrorCode {
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
    // Google says "quota" for its limit per minute as well, which is only a rate limit.
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
        // A gateway speaks of itself, but may quote the provider behind it.
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

/// Whether a message says that the context is too small, in whatever words.
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

/// The code of a failure without a status, as in the middle of a stream.
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
