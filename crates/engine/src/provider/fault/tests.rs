use super::*;
use crate::provider::secret::Secret;
use serde_json::json;

fn endpoint(key: Option<&str>) -> Endpoint {
    Endpoint {
        name: "Acme".into(),
        url: "http://user:pass@acme.example:8000/v1".parse().unwrap(),
        key: key.map(Secret::new),
        hint: "Most end in /v1.",
    }
}

const KEY: &str = "Zq7-live-0123456789abcdef";

#[test]
fn statuses_become_codes() {
    use ErrorCode::*;
    for (status, body, code) in [
        (307, json!(null), InvalidRequest),
        (
            400,
            json!({"error": {"message": "Bad", "type": "invalid_request_error"}}),
            InvalidRequest,
        ),
        (
            400,
            json!({"error": {"message": "x", "code": "context_length_exceeded"}}),
            ContextTooLong,
        ),
        (
            400,
            json!({"object": "error", "code": 400, "message": "This model's maximum context length is 4096 tokens."}),
            ContextTooLong,
        ),
        (
            400,
            json!({"error": {"code": 400, "type": "exceed_context_size_error", "message": "the request exceeds the available context size"}}),
            ContextTooLong,
        ),
        (
            400,
            json!({"error": {"message": "x", "code": "content_filter"}}),
            ContentFiltered,
        ),
        (
            400,
            json!([{"error": {"code": 400, "message": "API key not valid.", "status": "INVALID_ARGUMENT"}}]),
            Authentication,
        ),
        (401, json!({"error": {"message": "no"}}), Authentication),
        (402, json!({"error": "Payment required"}), Quota),
        (403, json!({"detail": "Forbidden"}), Permission),
        (
            404,
            json!({"error": {"message": "no such model", "code": "model_not_found"}}),
            NotFound,
        ),
        (404, json!(null), NotFound),
        (408, json!(null), ProviderError),
        (409, json!(null), ProviderError),
        (413, json!(null), TooLarge),
        (
            413,
            json!({"error": {"message": "x", "code": "rate_limit_exceeded"}}),
            RateLimited,
        ),
        (418, json!(null), InvalidRequest),
        (
            422,
            json!({"detail": [{"loc": ["body", "x"], "msg": "field required"}]}),
            InvalidRequest,
        ),
        (
            429,
            json!({"error": {"message": "slow down", "code": "rate_limit_exceeded"}}),
            RateLimited,
        ),
        (
            429,
            json!({"error": {"message": "The context window is busy"}}),
            RateLimited,
        ),
        (
            429,
            json!({"error": {"message": "x", "type": "insufficient_quota"}}),
            Quota,
        ),
        (500, json!({"error": {"message": "oh"}}), ProviderError),
        (502, json!(null), ProviderError),
        (
            503,
            json!({"error": {"code": 503, "message": "Loading model", "type": "unavailable_error"}}),
            Overloaded,
        ),
        (504, json!(null), ProviderError),
        (524, json!(null), ProviderError),
        (
            529,
            json!({"error": {"type": "overloaded_error"}}),
            Overloaded,
        ),
    ] {
        let bytes = if body.is_null() {
            vec![]
        } else {
            body.to_string().into_bytes()
        };
        let error = from_response(&endpoint(Some(KEY)), status, &bytes, Some(7));
        assert_eq!(error.code, code, "{status} {body}");
        assert_eq!(error.status, Some(status));
        assert_eq!(error.retry_after_ms, Some(7));
        assert_eq!(error.retryable, code.is_retryable());
        assert!(!error.message.contains("pass"), "{}", error.message);
    }
}

#[test]
fn sentences_quote_the_provider_shortly_and_without_the_key() {
    let error = |status, body: &str| {
        from_response(&endpoint(Some(KEY)), status, body.as_bytes(), None).message
    };
    assert_eq!(
        error(
            401,
            &format!("{{\"error\":{{\"message\":\"Incorrect API key provided: {KEY}.\\nBye\"}}}}")
        ),
        "Acme does not accept the key. It says: “Incorrect API key provided: ***. Bye”"
    );
    assert_eq!(error(502, "<html><h1>502</h1>"), "Acme failed.");
    assert_eq!(
        error(500, "out of memory\n"),
        "Acme failed. It says: “out of memory”"
    );
    assert_eq!(
        error(
            422,
            r#"{"detail":[{"msg":"field required"},{"msg":"not a number"}]}"#
        ),
        "Acme does not accept the request. It says: “field required; not a number”"
    );
    assert!(error(404, "").contains("http://acme.example:8000 has no such address"));
    assert_eq!(
        error(
            404,
            r#"{"error":{"message":"The model `m` does not exist"}}"#
        ),
        "Acme does not have this model. It says: “The model `m` does not exist”"
    );
    assert!(error(404, "404 page not found").contains("has no such address"));
    assert!(error(500, &"x ".repeat(5000)).len() < 400);
    assert!(!error(500, &format!("{KEY} {}", &KEY[..12])).contains("Zq7"));
    assert_eq!(
        from_response(&endpoint(None), 401, b"", None).message,
        "Acme wants a key, and none is set."
    );
}

#[test]
fn errors_in_the_stream_are_told_by_their_words() {
    use ErrorCode::*;
    for (value, code) in [
        (
            json!({"error": {"message": "x", "type": "server_error"}}),
            ProviderError,
        ),
        (json!({"error": {"message": "x", "code": 429}}), RateLimited),
        (
            json!({"error": {"message": "x", "code": "502"}}),
            ProviderError,
        ),
        (json!({"error": "overloaded"}), Overloaded),
        (json!({"message": "Rate limit reached"}), RateLimited),
        (
            json!({"error": {"message": "x", "code": "context_length_exceeded"}}),
            ContextTooLong,
        ),
        (
            json!({"error": {"message": "x", "type": "invalid_request_error"}}),
            InvalidRequest,
        ),
        (json!({"error": {"message": {"odd": 1}}}), ProviderError),
        (json!("text"), ProviderError),
        (json!(null), ProviderError),
    ] {
        assert_eq!(from_object(&endpoint(None), &value).code, code, "{value}");
    }
}

#[test]
fn every_vendor_is_understood() {
    use ErrorCode::*;
    let google = |code: u16, status: &str, message: &str, details: Value| json!({"error": {"code": code, "status": status, "message": message, "details": details}});
    let minute = json!([
        {"@type": "type.googleapis.com/google.rpc.QuotaFailure",
         "violations": [{"quotaId": "GenerateRequestsPerMinutePerProject"}]},
        {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "3.5s"},
    ]);
    let day = json!([{"violations": [{"quotaId": "GenerateRequestsPerDayPerProject"}]}, {"retryDelay": "9s"}]);
    let used_up = "You exceeded your current quota.";
    let anthropic = |kind: &str, message: &str| json!({"type": "error", "error": {"type": kind, "message": message}});
    for (status, body, code, wait) in [
        (
            429,
            google(429, "RESOURCE_EXHAUSTED", used_up, minute.clone()),
            RateLimited,
            Some(3500),
        ),
        (
            429,
            json!([google(429, "RESOURCE_EXHAUSTED", used_up, minute)]),
            RateLimited,
            Some(3500),
        ),
        (
            429,
            google(429, "RESOURCE_EXHAUSTED", used_up, day),
            Quota,
            Some(9000),
        ),
        (
            429,
            google(429, "RESOURCE_EXHAUSTED", "Slow down", json!([])),
            RateLimited,
            None,
        ),
        (
            400,
            google(
                400,
                "INVALID_ARGUMENT",
                "x",
                json!([{"reason": "API_KEY_INVALID"}]),
            ),
            Authentication,
            None,
        ),
        (
            400,
            google(
                400,
                "INVALID_ARGUMENT",
                "The input token count (9) exceeds the maximum number of tokens allowed (8).",
                Value::Null,
            ),
            ContextTooLong,
            None,
        ),
        (
            403,
            google(
                403,
                "PERMISSION_DENIED",
                "Method doesn't allow unregistered callers",
                Value::Null,
            ),
            Authentication,
            None,
        ),
        (
            403,
            google(403, "PERMISSION_DENIED", "Not you", Value::Null),
            Permission,
            None,
        ),
        (
            503,
            google(503, "UNAVAILABLE", "The model is overloaded.", Value::Null),
            Overloaded,
            None,
        ),
        (
            400,
            anthropic(
                "invalid_request_error",
                "prompt is too long: 9 tokens > 8 maximum",
            ),
            ContextTooLong,
            None,
        ),
        (
            400,
            anthropic(
                "invalid_request_error",
                "input length and `max_tokens` exceed context limit: 9 + 2 > 10",
            ),
            ContextTooLong,
            None,
        ),
        (
            400,
            anthropic("invalid_request_error", "Your credit balance is too low"),
            Quota,
            None,
        ),
        (
            401,
            anthropic("authentication_error", "invalid x-api-key"),
            Authentication,
            None,
        ),
        (403, anthropic("permission_error", "no"), Permission, None),
        (
            404,
            anthropic("not_found_error", "model: m"),
            NotFound,
            None,
        ),
        (
            413,
            anthropic("request_too_large", "Request exceeds the maximum size"),
            TooLarge,
            None,
        ),
        (
            429,
            anthropic("rate_limit_error", "Slow down"),
            RateLimited,
            None,
        ),
        (
            500,
            anthropic("api_error", "Internal server error"),
            ProviderError,
            None,
        ),
        (
            529,
            anthropic("overloaded_error", "Overloaded"),
            Overloaded,
            None,
        ),
        (404, json!({"error": "model 'm' not found"}), NotFound, None),
        (
            500,
            json!({"error": "model requires more system memory than is available"}),
            ProviderError,
            None,
        ),
    ] {
        let error = from_response(&endpoint(None), status, body.to_string().as_bytes(), None);
        assert_eq!((error.code, error.retry_after_ms), (code, wait), "{body}");
    }
    for (value, code) in [
        (anthropic("overloaded_error", "Overloaded"), Overloaded),
        (anthropic("rate_limit_error", "x"), RateLimited),
        (
            anthropic("api_error", "Internal server error"),
            ProviderError,
        ),
        (anthropic("billing_error", "x"), Quota),
        (anthropic("request_too_large", "x"), TooLarge),
        (anthropic("authentication_error", "x"), Authentication),
        (json!({"error": {"code": "invalid_prompt"}}), InvalidRequest),
        (google(503, "UNAVAILABLE", "x", Value::Null), Overloaded),
        (
            json!({"error": {"status": "UNAUTHENTICATED"}}),
            Authentication,
        ),
    ] {
        assert_eq!(from_object(&endpoint(None), &value).code, code, "{value}");
    }
    // A delay that makes no sense is none.
    for delay in ["-1s", "s", "infs", "3m"] {
        let body = google(
            429,
            "RESOURCE_EXHAUSTED",
            "x",
            json!([{"retryDelay": delay}]),
        );
        assert_eq!(from_object(&endpoint(None), &body).retry_after_ms, None);
    }
}
