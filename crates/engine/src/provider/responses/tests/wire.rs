//! The provider against a server that controls every byte.

use super::*;
use crate::provider::Effort;
use headwater_protocol::ErrorCode;
use tokio::io::AsyncWriteExt;

#[tokio::test]
async fn an_answer_streams_and_the_connection_is_used_again() {
    sockets::connection_is_kept(make, &format!("{HELLO}{FINISH}")).await;
    let server = Server::saying(whole(&format!("{HELLO}{FINISH}"))).await;
    let provider = make(server.url(""), http_client().unwrap());
    assert_eq!(fold(&all(&*provider).await).text, "Hello");
    let request = server.request(0);
    assert!(request.starts_with("POST /v1/responses HTTP/1.1"));
    assert!(request.contains(&format!("authorization: Bearer {KEY}\r\n")));
}

#[tokio::test]
async fn failures_before_the_answer() {
    sockets::statuses(make).await;
    sockets::nobody_there(make).await;
}

#[tokio::test]
async fn every_end_of_a_connection() {
    sockets::ends(make, HELLO, FINISH).await;
}

#[tokio::test]
async fn dropping_the_stream_closes_the_socket_at_once() {
    sockets::drop_closes(make, HELLO).await;
}

#[tokio::test]
async fn dropping_while_connecting_leaves_nothing_behind() {
    sockets::drop_while_connecting(make).await;
}

#[tokio::test]
async fn the_key_reaches_no_error_no_debug_and_no_log() {
    let config = ResponsesConfig {
        api_key: Some(Secret::new(KEY)),
        ..ResponsesConfig::default()
    };
    let acme = Responses::provider(config.clone(), reqwest::Client::new()).unwrap();
    sockets::key_is_kept(make, HELLO, format!("{acme:?} {config:?}")).await;
}

#[tokio::test]
async fn what_a_model_does_not_take_is_left_out_and_remembered() {
    let server = Server::start(|request, mut socket| async move {
        let refuse = |message: &str| {
            let body = serde_json::json!({"error": {"message": message}}).to_string();
            status("400 Bad Request", "", &body)
        };
        let answer = if request.contains("summary") {
            refuse("Unsupported parameter: 'reasoning.summary'")
        } else if request.contains("include") {
            refuse("Encrypted content is not supported with this model.")
        } else {
            whole(&format!("{HELLO}{FINISH}"))
        };
        socket.write_all(answer.as_bytes()).await.ok()?;
        None
    })
    .await;
    let provider = make(server.url(""), http_client().unwrap());
    let mut request = ask("m");
    request.sampling.effort = Some(Effort::High);
    for requests in [3, 4] {
        let folded = fold(&answer(&*provider, request.clone()).await);
        assert_eq!(folded.text, "Hello");
        assert_eq!(server.count(), requests);
    }
    assert_eq!(server.sent(3)["reasoning"]["effort"], "high");
    // A server that refuses everything is not asked for ever.
    let words = "value temperature summary reasoning effort encrypted";
    let server = Server::saying(status("400 Bad", "", words)).await;
    let provider = make(server.url(""), http_client().unwrap());
    request.sampling.effort = Some(Effort::None);
    let folded = fold(&answer(&*provider, request).await);
    assert_eq!(folded.error, Some(ErrorCode::InvalidRequest));
    assert_eq!(server.count(), 5);
}

#[tokio::test]
async fn models_are_listed_as_openai_does() {
    let list = r#"{"object":"list","data":[{"id":"old","created":1},{"id":"new","created":5}]}"#;
    let server = Server::saying(status("200 OK", "", list)).await;
    let provider = make(server.url(""), http_client().unwrap());
    let models = provider.models().await.unwrap();
    let ids: Vec<_> = models.iter().map(|model| model.id.as_str()).collect();
    assert_eq!(ids, ["new", "old"]);
    assert!(server.request(0).starts_with("GET /v1/models HTTP/1.1"));
    assert!(!provider.can_prefill("new"));
}

#[test]
fn settings_are_read_and_explained() {
    let config = ResponsesConfig::default();
    assert_eq!(config.base_url, "https://api.openai.com/v1");
    let wrong = ResponsesConfig {
        base_url: "openai".into(),
        ..ResponsesConfig::default()
    };
    let error = Responses::provider(wrong, reqwest::Client::new()).unwrap_err();
    assert!(error.message.contains("base URL of OpenAI"), "{error}");
}
