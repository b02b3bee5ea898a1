//! The provider against a server that controls every byte.

use super::*;
use crate::provider::Effort;
use headwater_protocol::ErrorCode;

sockets::all_socket_rules!(make, HELLO, FINISH, "", keyed);

#[tokio::test]
async fn a_question_is_asked_as_openai_wants_it() {
    let server = Server::saying(whole(&format!("{HELLO}{FINISH}"))).await;
    let provider = make(server.url(""));
    assert_eq!(fold(&all(&provider).await).text, "Hello");
    let request = server.request(0);
    assert!(request.starts_with("POST /v1/responses HTTP/1.1"));
    assert!(request.contains(&format!("authorization: Bearer {KEY}\r\n")));
}

#[tokio::test]
async fn what_a_model_does_not_take_is_left_out_and_remembered() {
    let server = Server::deciding(|request| {
        let refuse = |message: &str| {
            let body = serde_json::json!({"error": {"message": message}}).to_string();
            status("400 Bad Request", "", &body)
        };
        if request.contains("summary") {
            refuse("Unsupported parameter: 'reasoning.summary'")
        } else if request.contains("include") {
            refuse("Encrypted content is not supported with this model.")
        } else {
            whole(&format!("{HELLO}{FINISH}"))
        }
    })
    .await;
    let provider = make(server.url(""));
    let mut request = ask("m");
    request.sampling.effort = Some(Effort::High);
    for requests in [3, 4] {
        let folded = fold(&answer(&provider, request.clone()).await);
        assert_eq!(folded.text, "Hello");
        assert_eq!(server.count(), requests);
    }
    assert_eq!(server.sent(3)["reasoning"]["effort"], "high");
    // A server that refuses everything is not asked for ever.
    let words = "value temperature summary reasoning effort encrypted";
    let server = Server::saying(status("400 Bad", "", words)).await;
    let provider = make(server.url(""));
    request.sampling.effort = Some(Effort::None);
    let folded = fold(&answer(&provider, request).await);
    assert_eq!(folded.error, Some(ErrorCode::InvalidRequest));
    assert_eq!(server.count(), 5);
}

#[tokio::test]
async fn models_are_listed_as_openai_does() {
    let list = r#"{"object":"list","data":[{"id":"old","created":1},{"id":"new","created":5}]}"#;
    let server = Server::saying(status("200 OK", "", list)).await;
    let provider = make(server.url(""));
    let models = provider.models().await.unwrap();
    let ids: Vec<_> = models.iter().map(|model| model.id.as_str()).collect();
    assert_eq!(ids, ["new", "old"]);
    assert!(server.request(0).starts_with("GET /v1/models HTTP/1.1"));
    assert!(!provider.can_prefill("new"));
}

#[test]
fn settings_are_read_and_explained() {
    let usual = HttpProviderConfig::default();
    let acme = Responses::provider(usual, reqwest::Client::new()).unwrap();
    let endpoint = &acme.backend().client.endpoint;
    assert_eq!(endpoint.url.as_str(), "https://api.openai.com/v1");
    let error = Responses::provider(config("openai"), reqwest::Client::new()).unwrap_err();
    assert!(error.message.contains("base URL of Acme"), "{error}");
}
