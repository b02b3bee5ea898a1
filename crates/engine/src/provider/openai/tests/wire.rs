//! The provider against a server that controls every byte.

use super::*;
use crate::provider::secret::Secret;
use futures::StreamExt;
use std::{sync::atomic::Ordering, time::Duration};
use tokio::{io::AsyncWriteExt, net::TcpStream, time::sleep};

sockets::all_socket_rules!(make, HELLO, STOP, DONE, keyed);

#[tokio::test]
async fn a_question_is_asked_as_openai_wants_it() {
    let server = Server::start(|_, mut socket| async move {
        // Each event is cut in two, and the terminating chunk comes late.
        socket.write_all(OK.as_bytes()).await.ok()?;
        for event in [HELLO, STOP, DONE] {
            let (a, b) = event.split_at(event.len() / 2);
            for part in [a, b] {
                socket.write_all(chunk(part).as_bytes()).await.ok()?;
                sleep(Duration::from_millis(5)).await;
            }
        }
        socket.write_all(b"0\r\n\r\n").await.ok()?;
        Some(socket)
    })
    .await;
    let acme = provider(&server);
    for _ in 0..3 {
        let items = all(&acme).await;
        assert_eq!(items[0], Ok(ProviderEvent::Connected));
        let folded = fold(&items);
        assert_eq!(folded.text, "Hello");
        assert_eq!(folded.finish, Some((FinishReason::Stop, "stop".into())));
        sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(server.accepted.load(Ordering::SeqCst), 1);
    let request = server.request(0);
    let head = request.to_lowercase();
    assert!(head.starts_with("post /v1/chat/completions http/1.1"));
    assert!(request.contains(&format!("authorization: Bearer {KEY}")));
    assert!(head.contains(concat!("user-agent: headwater/", env!("CARGO_PKG_VERSION"))));
    assert!(request.contains("\"stream\":true,\"stream_options\":{\"include_usage\":true}"));
}

#[tokio::test]
async fn an_end_without_a_finish_is_no_finish_and_a_broken_connection_is_an_error() {
    let server = Server::saying(whole(HELLO)).await;
    let folded = fold(&all(&provider(&server)).await);
    assert_eq!((folded.finish, folded.error), (None, None));
    let server = Server::saying(format!("{OK}{}ff\r\nabc", chunk(HELLO))).await;
    let items = all(&provider(&server)).await;
    let folded = fold(&items);
    assert_eq!(folded.text, "Hello");
    assert_eq!(folded.error, Some(ErrorCode::Connection));
    let error = items.last().unwrap().as_ref().unwrap_err();
    assert!(error.message.contains("broke in mid-answer"), "{error}");
    // A reset.
    let server = Server::start(|_, mut socket| async move {
        let body = format!("{OK}{}", chunk(HELLO));
        socket.write_all(body.as_bytes()).await.ok()?;
        sleep(Duration::from_millis(50)).await;
        reset(socket);
        None
    })
    .await;
    assert_eq!(
        failure(&provider(&server)).await.code,
        ErrorCode::Connection
    );
    let server = Server::start(|_, socket| async move {
        reset(socket);
        None
    })
    .await;
    let error = failure(&provider(&server)).await;
    assert_eq!(error.code, ErrorCode::Connection);
    assert!(error.message.contains("before it answered"), "{error}");
}

fn reset(socket: TcpStream) {
    #[allow(deprecated, reason = "a reset is what is wanted here")]
    socket.set_linger(Some(Duration::ZERO)).unwrap();
}

#[tokio::test]
async fn what_a_server_does_not_know_is_left_out_and_remembered() {
    let server = Server::deciding(|request| {
        let refuse = |what: &str| {
            status(
                "400 Bad Request",
                "",
                &format!("{{\"error\":{{\"message\":\"Unrecognized parameter: {what}\"}}}}"),
            )
        };
        if request.contains("stream_options") {
            refuse("stream_options")
        } else if request.contains("\"max_tokens\"") {
            refuse("max_tokens")
        } else {
            whole(&format!("{HELLO}{STOP}"))
        }
    })
    .await;
    let acme = provider(&server);
    let mut request = ask("m");
    request.sampling.max_tokens = Some(9);
    for requests in [3, 4] {
        let items: Vec<Item> = acme.stream(request.clone()).collect().await;
        assert_eq!(fold(&items).text, "Hello");
        assert_eq!(server.count(), requests);
    }
    assert!(server.request(3).contains("\"max_completion_tokens\":9"));
    // A server that refuses everything is not asked for ever.
    let server = Server::saying(status(
        "400 Bad",
        "",
        "unknown: stream_options max_tokens max_completion_tokens",
    ))
    .await;
    let items: Vec<Item> = provider(&server).stream(request).collect().await;
    assert_eq!(fold(&items).error, Some(ErrorCode::InvalidRequest));
    assert_eq!(server.count(), 3);
}

#[tokio::test]
async fn a_prefill_is_sent_where_the_server_takes_it() {
    let server = Server::saying(whole(&format!("{HELLO}{STOP}"))).await;
    for prefill in [false, true] {
        let config = config(server.url("/v1"));
        let provider = OpenAi::provider(config, prefill, http_client().unwrap()).unwrap();
        assert_eq!(provider.can_prefill("m"), prefill);
        let mut request = ask("m");
        request.prefill = Some("Half an".into());
        let _: Vec<Item> = provider.stream(request).collect().await;
        let sent = server.request(usize::from(prefill));
        assert_eq!(sent.contains("Half an"), prefill);
        assert_eq!(sent.contains("\"continue_final_message\":true"), prefill);
    }
}

#[tokio::test]
async fn models_are_listed_and_remembered() {
    let list = r#"{"object":"list","data":[
        {"id":"old","created":1},{"id":"text-embedding-3","created":9},
        {"id":"new","created":5,"max_model_len":8192},{"id":"x","type":"image"}]}"#;
    let server = Server::saying(status("200 OK", "", list)).await;
    let acme = provider(&server);
    let models = acme.models().await.unwrap();
    let ids: Vec<_> = models.iter().map(|model| model.id.as_str()).collect();
    assert_eq!(ids, ["new", "old"]);
    assert_eq!(models[0].context, Some(8192));
    assert_eq!(models[0].provider, "Acme");
    assert_eq!(acme.models().await.unwrap(), models);
    assert_eq!(server.count(), 1);
    assert!(server.request(0).starts_with("GET /v1/models HTTP/1.1"));

    let mut config = config(server.url("/v1"));
    config.models = Some(vec!["mine".into()]);
    let fixed = OpenAi::provider(config, false, http_client().unwrap()).unwrap();
    assert_eq!(fixed.models().await.unwrap()[0].id, "mine");
    assert_eq!(server.count(), 1);

    for (answer, code) in [
        (status("401 No", "", ""), ErrorCode::Authentication),
        (
            status("404 No", "", "404 page not found"),
            ErrorCode::NotFound,
        ),
        (status("200 OK", "", "<html>"), ErrorCode::Malformed),
        (status("200 OK", "", "{}"), ErrorCode::Malformed),
    ] {
        let server = Server::saying(answer).await;
        assert_eq!(provider(&server).models().await.unwrap_err().code, code);
    }
}

#[test]
fn wrong_settings_are_explained() {
    let make = |base_url: &str, key: &str| {
        let config = HttpProviderConfig {
            api_key: Some(Secret::new(key)),
            ..config(base_url)
        };
        OpenAi::provider(config, false, reqwest::Client::new())
    };
    for url in ["", "localhost:11434", "ftp://x/v1", "/v1"] {
        assert!(
            make(url, "")
                .unwrap_err()
                .message
                .contains("base URL of Acme"),
            "{url}"
        );
    }
    let error = make("http://x/v1", "two\nlines").unwrap_err();
    assert!(error.message.contains("key of Acme") && !error.message.contains("two"));
    let url = |base: &str| {
        make(base, "")
            .unwrap()
            .backend()
            .client
            .endpoint
            .at(&["models"])
            .to_string()
    };
    assert_eq!(url("http://x/v1"), "http://x/v1/models");
    assert_eq!(url(" http://x/v1/ "), "http://x/v1/models");
    assert_eq!(
        url("http://x/a?api-version=1"),
        "http://x/a/models?api-version=1"
    );
}
