//! The provider against a server that controls every byte.

use super::*;
use crate::provider::Effort;
use headwater_protocol::ErrorCode;

sockets::all_socket_rules!(make, HELLO, FINISH, STOP, keyed);

#[tokio::test]
async fn a_question_is_asked_as_anthropic_wants_it() {
    let server = Server::saying(whole(&format!("{HELLO}{FINISH}{STOP}"))).await;
    for path in ["", "/", "/v1", "/v1/"] {
        let provider = make(server.url(path));
        assert_eq!(fold(&all(&provider).await).text, "Hello");
        let request = server.request(server.count() - 1).to_lowercase();
        assert!(request.starts_with("post /v1/messages http/1.1"), "{path}");
        assert!(request.contains("anthropic-version: 2023-06-01\r\n"));
        assert!(request.contains(&format!("x-api-key: {}\r\n", KEY.to_lowercase())));
        assert!(!request.contains("authorization"));
    }
}

#[tokio::test]
async fn a_refused_shape_is_left_and_the_other_one_remembered() {
    let server = Server::deciding(|request| {
        let refuse = |message: &str| {
            let error = serde_json::json!({"type": "invalid_request_error", "message": message});
            let body = serde_json::json!({"type": "error", "error": error}).to_string();
            status("400 Bad Request", "", &body)
        };
        if request.contains("\"enabled\"") {
            refuse("\"thinking.type.enabled\" is not supported for this model.")
        } else if request.contains("display") {
            refuse("thinking.adaptive.display: Extra inputs are not permitted")
        } else {
            whole(&format!("{HELLO}{FINISH}"))
        }
    })
    .await;
    let provider = make(server.url(""));
    let mut request = ask("acme-1");
    request.sampling.effort = Some(Effort::Medium);
    for requests in [3, 4] {
        assert_eq!(
            fold(&answer(&provider, request.clone()).await).text,
            "Hello"
        );
        assert_eq!(server.count(), requests);
    }
    assert_eq!(server.sent(0)["thinking"]["budget_tokens"], 4096);
    let last = server.sent(3);
    assert_eq!(last["thinking"], serde_json::json!({"type": "adaptive"}));
    assert_eq!(last["output_config"]["effort"], "medium");
    // Another wish is another matter.
    request.sampling.effort = None;
    answer(&provider, request).await;
    assert_eq!(server.count(), 5);
    // A server that refuses everything is not asked for ever.
    let server = Server::saying(status(
        "400 Bad",
        "",
        "thinking effort temperature signature",
    ))
    .await;
    let provider = make(server.url(""));
    let mut request = ask("claude-sonnet-5");
    request.sampling.effort = Some(Effort::None);
    let folded = fold(&answer(&provider, request).await);
    assert_eq!(folded.error, Some(ErrorCode::InvalidRequest));
    assert!(server.count() <= 5);
}

#[tokio::test]
async fn models_are_listed_page_by_page() {
    let server = Server::deciding(|request| {
        let page = if request.contains("after_id=b") {
            r#"{"data":[{"id":"c","display_name":""}],"has_more":false,"last_id":"c"}"#
        } else {
            r#"{"data":[{"id":"a","display_name":"Model A","max_input_tokens":200000},{"id":"b"}],"has_more":true,"last_id":"b"}"#
        };
        status("200 OK", "", page)
    })
    .await;
    let acme = make(server.url("/v1"));
    let models = acme.models().await.unwrap();
    let names: Vec<_> = models.iter().map(|model| model.name.as_str()).collect();
    assert_eq!(names, ["Model A", "b", "c"]);
    assert_eq!(models[0].context, Some(200_000));
    assert!(
        server
            .request(0)
            .starts_with("GET /v1/models?limit=1000 HTTP/1.1")
    );
    assert_eq!(acme.models().await.unwrap(), models);
    assert_eq!(server.count(), 2);
    // A server that goes round in circles is left.
    let page = r#"{"data":[{"id":"a"}],"has_more":true,"last_id":"a"}"#;
    let server = Server::saying(status("200 OK", "", page)).await;
    let acme = make(server.url(""));
    assert_eq!(acme.models().await.unwrap().len(), 2);
    for (answer, code) in [
        (status("401 No", "", ""), ErrorCode::Authentication),
        (status("200 OK", "", "{}"), ErrorCode::Malformed),
    ] {
        let server = Server::saying(answer).await;
        let acme = make(server.url(""));
        assert_eq!(acme.models().await.unwrap_err().code, code);
    }
}

#[test]
fn settings_are_read_and_explained() {
    let usual = HttpProviderConfig::default();
    let acme = Anthropic::provider(usual, reqwest::Client::new()).unwrap();
    let endpoint = &acme.backend().client.endpoint;
    assert_eq!(endpoint.url.as_str(), "https://api.anthropic.com/");
    assert!(acme.can_prefill("claude-sonnet-4-5") && !acme.can_prefill("claude-opus-4-7"));
    let error = Anthropic::provider(config("anthropic"), reqwest::Client::new()).unwrap_err();
    assert!(error.message.contains("base URL of Acme"), "{error}");
}
