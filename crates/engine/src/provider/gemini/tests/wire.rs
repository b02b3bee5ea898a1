//! The provider against a server that controls every byte.

use super::*;
use crate::provider::secret::Secret;
use serde_json::json;

sockets::all_socket_rules!(make, HELLO, STOP, "", keyed);

#[tokio::test]
async fn the_key_is_in_a_header_and_never_in_the_address() {
    let server = Server::saying(whole(&format!("{HELLO}{STOP}"))).await;
    for model in ["gemini-2.5-flash", "models/gemini-2.5-flash"] {
        let items = answer(&provider(&server), ask(model)).await;
        assert_eq!(fold(&items).text, "Hello");
    }
    for number in 0..2 {
        let request = server.request(number);
        let line = request.lines().next().unwrap();
        assert_eq!(
            line,
            "POST /v1beta/models/gemini-2.5-flash:streamGenerateContent?alt=sse HTTP/1.1"
        );
        assert!(request.contains(&format!("x-goog-api-key: {KEY}")));
    }
    assert_eq!(
        server.sent(0),
        json!({
            "contents": [{"role": "user", "parts": [{"text": "Hello"}]}],
            "generationConfig": {"thinkingConfig": {"includeThoughts": true}},
        })
    );
}

#[tokio::test]
async fn googles_own_errors_become_codes() {
    use ErrorCode::*;
    let error = |code: u16, status: &str, message: &str, details: serde_json::Value| {
        json!({"error": {"code": code, "status": status, "message": message, "details": details}})
            .to_string()
    };
    let minute = json!([
        {"violations": [{"quotaId": "GenerateRequestsPerMinutePerProjectPerModel"}]},
        {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "41.5s"},
    ]);
    let wrong_key = json!([{"reason": "API_KEY_INVALID", "domain": "googleapis.com"}]);
    for (line, body, code, wait) in [
        (
            "400 Bad Request",
            error(
                400,
                "INVALID_ARGUMENT",
                "API key not valid. Please pass a valid API key.",
                wrong_key,
            ),
            Authentication,
            None,
        ),
        (
            "400 Bad Request",
            error(
                400,
                "INVALID_ARGUMENT",
                "The input token count (9) exceeds the maximum number of tokens allowed (8).",
                json!([]),
            ),
            ContextTooLong,
            None,
        ),
        (
            "400 Bad Request",
            error(
                400,
                "INVALID_ARGUMENT",
                "contents is not specified",
                json!([]),
            ),
            InvalidRequest,
            None,
        ),
        (
            "404 Not Found",
            error(
                404,
                "NOT_FOUND",
                "models/m is not found for API version v1beta",
                json!([]),
            ),
            NotFound,
            None,
        ),
        (
            "429 Too Many Requests",
            error(
                429,
                "RESOURCE_EXHAUSTED",
                "You exceeded your current quota.",
                minute,
            ),
            RateLimited,
            Some(41_500),
        ),
        (
            "500 Internal Server Error",
            error(
                500,
                "INTERNAL",
                "An internal error has occurred.",
                json!([]),
            ),
            ProviderError,
            None,
        ),
        (
            "503 Service Unavailable",
            error(503, "UNAVAILABLE", "The model is overloaded.", json!([])),
            Overloaded,
            None,
        ),
    ] {
        // Without `alt=sse` an error comes in a list.
        for body in [body.clone(), format!("[{body}]")] {
            let server = Server::saying(status(line, "", &body)).await;
            let error = failure(&provider(&server)).await;
            assert_eq!((error.code, error.retry_after_ms), (code, wait), "{body}");
        }
    }
}

#[tokio::test]
async fn what_a_model_does_not_take_is_left_out_and_remembered() {
    let server = Server::deciding(|request| {
        let refuse = |what: &str| {
            let body =
                json!({"error": {"code": 400, "message": what, "status": "INVALID_ARGUMENT"}});
            status("400 Bad Request", "", &body.to_string())
        };
        if request.contains("thinkingBudget") {
            refuse("Invalid JSON payload: generation_config.thinking_config.thinking_budget")
        } else if request.contains("thinkingConfig") {
            refuse("Thinking is not supported by this model.")
        } else if request.contains("temperature") {
            refuse("temperature is deprecated for this model.")
        } else if request.contains("systemInstruction") {
            refuse("Developer instruction is not enabled for models/m")
        } else {
            whole(&format!("{HELLO}{STOP}"))
        }
    })
    .await;
    let acme = provider(&server);
    let mut request = ask("gemini-2.5-odd");
    request.system = Some("Be kind.".into());
    request.sampling.temperature = Some(0.5);
    request.sampling.max_tokens = Some(9);
    request.sampling.effort = Some(Effort::High);
    for requests in [5, 6] {
        let items = answer(&acme, request.clone()).await;
        assert_eq!(fold(&items).text, "Hello");
        assert_eq!(server.count(), requests);
    }
    assert_eq!(
        server.sent(5),
        json!({
            "contents": [{"role": "user", "parts": [{"text": "Be kind."}, {"text": "Hello"}]}],
            "generationConfig": {"maxOutputTokens": 9},
        })
    );
    // A server that refuses everything is not asked for ever.
    let server = Server::saying(status("400 Bad", "", "thinking temperature unsupported")).await;
    let items = answer(&provider(&server), request).await;
    assert_eq!(fold(&items).error, Some(ErrorCode::InvalidRequest));
    assert_eq!(server.count(), 4);
}

#[tokio::test]
async fn a_model_that_refuses_a_prefill_gets_none_again() {
    let refusal = json!({"error": {"code": 400, "status": "INVALID_ARGUMENT",
        "message": "Requests ending with a model turn are not supported."}});
    let server = Server::saying(status("400 Bad Request", "", &refusal.to_string())).await;
    let acme = provider(&server);
    let mut request = ask("gemini-2.5-flash");
    request.prefill = Some("Half an".into());
    assert!(acme.can_prefill("gemini-2.5-flash"));
    let items = answer(&acme, request.clone()).await;
    assert_eq!(fold(&items).error, Some(ErrorCode::InvalidRequest));
    assert_eq!(server.count(), 1);
    assert!(server.request(0).contains("Half an"));
    assert!(!acme.can_prefill("gemini-2.5-flash"));
    answer(&acme, request).await;
    assert!(!server.request(1).contains("Half an"));
    for (model, can) in [
        ("gemini-2.0-flash", true),
        ("models/gemini-2.5-pro", true),
        ("gemini-3-pro-preview", true),
        ("gemini-3.1-flash-lite", true),
        ("gemini-3.5-flash-lite", false),
        ("gemini-3.6-flash", false),
        ("gemini-flash-latest", false),
        ("gemma-3-27b-it", false),
    ] {
        assert_eq!(acme.can_prefill(model), can, "{model}");
    }
}

#[tokio::test]
async fn models_are_listed_page_by_page_and_remembered() {
    let server = Server::deciding(|request| {
        let model = |name: &str, methods: &[&str]| {
            json!({"name": format!("models/{name}"), "displayName": name.to_uppercase(),
                "inputTokenLimit": 1_048_576, "supportedGenerationMethods": methods})
        };
        let answers = ["generateContent", "countTokens"];
        let page = if request.contains("pageToken=two%2B") {
            json!({"models": [model("gemini-2.5-flash", &answers), model("gemini-2.5-flash-image", &answers)]})
        } else if request.contains("pageToken=one") {
            json!({"nextPageToken": "two+"})
        } else {
            json!({"nextPageToken": "one", "models": [
                model("gemini-2.5-pro", &answers), model("gemini-embedding-001", &["embedContent"]),
                model("gemini-2.5-flash-preview-tts", &answers), {"odd": 1},
                model("aqa", &["generateAnswer"]),
            ]})
        };
        status("200 OK", "", &page.to_string())
    })
    .await;
    let acme = provider(&server);
    let models = acme.models().await.unwrap();
    let ids: Vec<_> = models.iter().map(|model| model.id.as_str()).collect();
    assert_eq!(ids, ["gemini-2.5-pro", "gemini-2.5-flash"]);
    assert_eq!(models[0].name, "GEMINI-2.5-PRO");
    assert_eq!(models[0].context, Some(1_048_576));
    assert_eq!(models[0].provider, "Acme");
    assert_eq!(acme.models().await.unwrap(), models);
    assert_eq!(server.count(), 3);
    let request = server.request(0);
    assert!(request.starts_with("GET /v1beta/models?pageSize=1000 HTTP/1.1"));
    assert!(request.contains(&format!("x-goog-api-key: {KEY}")));

    // A server that always has a next page is not asked for ever.
    let server = Server::saying(status("200 OK", "", r#"{"nextPageToken":"x"}"#)).await;
    assert_eq!(provider(&server).models().await.unwrap(), []);
    assert_eq!(server.count(), 2);

    let mut config = config(server.url(""));
    config.models = Some(vec!["mine".into()]);
    let fixed = Gemini::provider(config, http_client().unwrap()).unwrap();
    assert_eq!(fixed.models().await.unwrap()[0].id, "mine");
    for (answer, code) in [
        (status("403 No", "", ""), ErrorCode::Permission),
        (status("200 OK", "", "<html>"), ErrorCode::Malformed),
        (status("200 OK", "", "{}"), ErrorCode::Malformed),
    ] {
        let server = Server::saying(answer).await;
        let error = provider(&server).models().await.unwrap_err();
        assert_eq!(error.code, code);
    }
}

#[test]
fn settings_are_read_and_wrong_ones_explained() {
    let make = |base_url: &str, key: &str| {
        let config = HttpProviderConfig {
            api_key: Some(Secret::new(key)),
            ..config(base_url)
        };
        Gemini::provider(config, reqwest::Client::new())
    };
    for url in ["localhost:11434", "ftp://x", "/v1beta"] {
        let error = make(url, "").unwrap_err();
        assert!(error.message.contains("base URL of Acme"), "{url}");
    }
    let error = make("", "two\nlines").unwrap_err();
    assert!(error.message.contains("key of Acme") && !error.message.contains("two"));
    let url = |base: &str| {
        super::super::url(
            &make(base, "").unwrap().backend().client.endpoint,
            &["models"],
        )
        .to_string()
    };
    assert_eq!(url(""), format!("{BASE_URL}/v1beta/models"));
    assert_eq!(url("http://x/"), "http://x/v1beta/models");
    assert_eq!(url("http://x/v1beta/"), "http://x/v1beta/models");
    assert_eq!(url("http://x/google/v1"), "http://x/google/v1/models");
}
