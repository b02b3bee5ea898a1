//! The provider against a server that controls every byte.

use super::{server::*, *};
use crate::server::provider::http::http_client;
use std::{
    io,
    sync::Mutex,
    time::{Duration, Instant},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::mpsc,
    time::{sleep, timeout},
};

async fn all(provider: &OpenAi) -> Vec<Item> {
    timeout(Duration::from_secs(10), provider.stream(ask("m")).collect())
        .await
        .unwrap()
}

async fn failure(provider: &OpenAi) -> Error {
    match all(provider).await.pop() {
        Some(Err(error)) => error,
        other => panic!("no error but {other:?}"),
    }
}

#[tokio::test]
async fn an_answer_streams_and_the_connection_is_used_again() {
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
    let provider = server.provider();
    for _ in 0..3 {
        let items = all(&provider).await;
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
async fn a_finish_counts_however_the_connection_ends() {
    // Cleanly without a mark, in the middle of a chunk, and not at all.
    for tail in ["0\r\n\r\n", "ff\r\n"] {
        let body = format!("{OK}{}{tail}", chunk(&format!("{HELLO}{STOP}")));
        let server = Server::saying(body).await;
        let folded = fold(&all(&server.provider()).await);
        assert_eq!(folded.finish, Some((FinishReason::Stop, "stop".into())));
    }
    let server = Server::start(|_, mut socket| async move {
        let body = format!("{OK}{}", chunk(&format!("{HELLO}{STOP}")));
        socket.write_all(body.as_bytes()).await.ok()?;
        sleep(Duration::from_secs(60)).await;
        None
    })
    .await;
    let start = Instant::now();
    let folded = fold(&all(&server.provider()).await);
    assert_eq!(folded.finish, Some((FinishReason::Stop, "stop".into())));
    assert!(start.elapsed() < Duration::from_secs(4));
}

#[tokio::test]
async fn an_end_without_a_finish_is_no_finish_and_a_broken_connection_is_an_error() {
    let server = Server::saying(whole(HELLO)).await;
    let folded = fold(&all(&server.provider()).await);
    assert_eq!((folded.finish, folded.error), (None, None));
    let server = Server::saying(format!("{OK}{}ff\r\nabc", chunk(HELLO))).await;
    let items = all(&server.provider()).await;
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
        failure(&server.provider()).await.code,
        ErrorCode::Connection
    );
    let server = Server::start(|_, socket| async move {
        reset(socket);
        None
    })
    .await;
    let error = failure(&server.provider()).await;
    assert_eq!(error.code, ErrorCode::Connection);
    assert!(error.message.contains("before it answered"), "{error}");
}

fn reset(socket: TcpStream) {
    #[allow(deprecated, reason = "a reset is what is wanted here")]
    socket.set_linger(Some(Duration::ZERO)).unwrap();
}

#[tokio::test]
async fn nobody_there_is_told_with_the_address() {
    let port = {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        listener.local_addr().unwrap().port()
    };
    let config = OpenAiConfig {
        name: "Acme".into(),
        base_url: format!("http://127.0.0.1:{port}/v1"),
        ..OpenAiConfig::default()
    };
    let provider = OpenAi::new(config, http_client().unwrap()).unwrap();
    let sentence = format!(
        "The provider at http://127.0.0.1:{port} cannot be reached: connection refused. Is it running?"
    );
    assert_eq!(failure(&provider).await.message, sentence);
    assert_eq!(provider.models().await.unwrap_err().message, sentence);
}

#[tokio::test]
async fn http_errors_are_typed_and_bounded() {
    let huge = format!(
        "{{\"error\":{{\"message\":\"{}\"}}}}",
        "x".repeat(1_000_000)
    );
    for (line, headers, body, code, wait) in [
        (
            "401 Unauthorized",
            "",
            "{}",
            ErrorCode::Authentication,
            None,
        ),
        (
            "429 Too Many Requests",
            "retry-after: 3\r\n",
            "{}",
            ErrorCode::RateLimited,
            Some(3000),
        ),
        (
            "503 Service Unavailable",
            "retry-after-ms: 250\r\n",
            "",
            ErrorCode::Overloaded,
            Some(250),
        ),
        (
            "500 Internal Server Error",
            "",
            &huge,
            ErrorCode::ProviderError,
            None,
        ),
        (
            "301 Moved",
            "location: https://127.0.0.1:1/\r\n",
            "",
            ErrorCode::InvalidRequest,
            None,
        ),
    ] {
        let server = Server::saying(status(line, headers, body)).await;
        let error = failure(&server.provider()).await;
        assert_eq!(error.code, code, "{line}");
        assert_eq!(error.retry_after_ms, wait, "{line}");
        assert_eq!(error.status, line[..3].parse().ok());
        assert!(error.message.len() < 500);
    }
}

#[tokio::test]
async fn what_a_server_does_not_know_is_left_out_and_remembered() {
    let server = Server::start(|request, mut socket| async move {
        let refuse = |what: &str| {
            status(
                "400 Bad Request",
                "",
                &format!("{{\"error\":{{\"message\":\"Unrecognized parameter: {what}\"}}}}"),
            )
        };
        let answer = if request.contains("stream_options") {
            refuse("stream_options")
        } else if request.contains("\"max_tokens\"") {
            refuse("max_tokens")
        } else {
            whole(&format!("{HELLO}{STOP}"))
        };
        socket.write_all(answer.as_bytes()).await.ok()?;
        None
    })
    .await;
    let provider = server.provider();
    let mut request = ask("m");
    request.sampling.max_tokens = Some(9);
    for requests in [3, 4] {
        let items: Vec<Item> = provider.stream(request.clone()).collect().await;
        assert_eq!(fold(&items).text, "Hello");
        assert_eq!(server.requests.lock().unwrap().len(), requests);
    }
    assert!(server.request(3).contains("\"max_completion_tokens\":9"));
    // A server that refuses everything is not asked for ever.
    let server = Server::saying(status(
        "400 Bad",
        "",
        "unknown: stream_options max_tokens max_completion_tokens",
    ))
    .await;
    let items: Vec<Item> = server.provider().stream(request).collect().await;
    assert_eq!(fold(&items).error, Some(ErrorCode::InvalidRequest));
    assert_eq!(server.requests.lock().unwrap().len(), 3);
}

#[tokio::test]
async fn a_prefill_is_sent_where_the_server_takes_it() {
    let server = Server::saying(whole(&format!("{HELLO}{STOP}"))).await;
    let mut config = server.config();
    for prefill in [false, true] {
        config.prefill = prefill;
        let provider = OpenAi::new(config.clone(), http_client().unwrap()).unwrap();
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
    let provider = server.provider();
    let models = provider.models().await.unwrap();
    let ids: Vec<_> = models.iter().map(|model| model.id.as_str()).collect();
    assert_eq!(ids, ["new", "old"]);
    assert_eq!(models[0].context, Some(8192));
    assert_eq!(models[0].provider, "Acme");
    assert_eq!(provider.models().await.unwrap(), models);
    assert_eq!(server.requests.lock().unwrap().len(), 1);
    assert!(server.request(0).starts_with("GET /v1/models HTTP/1.1"));

    let mut config = server.config();
    config.models = Some(vec!["mine".into()]);
    let fixed = OpenAi::new(config, http_client().unwrap()).unwrap();
    assert_eq!(fixed.models().await.unwrap()[0].id, "mine");
    assert_eq!(server.requests.lock().unwrap().len(), 1);

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
        assert_eq!(server.provider().models().await.unwrap_err().code, code);
    }
}

/// Drops the stream while the server is in a certain state, and measures until it sees the close.
async fn time_to_close(before: &'static str, events: usize) -> Duration {
    let (closed, mut wait) = mpsc::channel(1);
    let server = Server::start(move |_, mut socket| {
        let closed = closed.clone();
        async move {
            socket.write_all(before.as_bytes()).await.ok()?;
            let mut buffer = [0; 16];
            let read = socket.read(&mut buffer).await;
            assert!(!matches!(read, Ok(1..)));
            closed.send(Instant::now()).await.ok()?;
            None
        }
    })
    .await;
    let mut stream = server.provider().stream(ask("m"));
    for _ in 0..events {
        stream.next().await.unwrap().unwrap();
    }
    // It now waits for something that does not come.
    assert!(
        timeout(Duration::from_millis(100), stream.next())
            .await
            .is_err()
    );
    let start = Instant::now();
    drop(stream);
    let end = timeout(Duration::from_secs(5), wait.recv()).await.unwrap();
    end.unwrap() - start
}

#[tokio::test]
async fn dropping_the_stream_closes_the_socket_at_once() {
    let headers = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n";
    let text =
        "HTTP/1.1 200 OK\r\n\r\ndata: {\"choices\":[{\"delta\":{\"content\":\"Hello\"}}]}\n\n";
    let error = "HTTP/1.1 500 No\r\ncontent-length: 100\r\n\r\nhalf of it";
    for (state, before, events) in [
        ("waiting for headers", "", 0),
        ("in the headers", "HTTP/1.1 200 OK\r\n", 0),
        ("waiting for content", headers, 1),
        ("in the text", text, 3),
        ("in the body of an error", error, 0),
    ] {
        let took = time_to_close(before, events).await;
        assert!(took < Duration::from_millis(100), "{state}: {took:?}");
    }
}

#[tokio::test]
async fn dropping_while_connecting_leaves_nothing_behind() {
    // The backlog of this listener is full, so that a connection is not accepted.
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(1).unwrap();
    let address = listener.local_addr().unwrap();
    let mut fillers = Vec::new();
    while let Ok(Ok(filler)) =
        timeout(Duration::from_millis(200), TcpStream::connect(address)).await
    {
        fillers.push(filler);
        assert!(fillers.len() < 64);
    }
    let config = OpenAiConfig {
        name: "Acme".into(),
        base_url: format!("http://{address}/v1"),
        ..OpenAiConfig::default()
    };
    let provider = OpenAi::new(config, http_client().unwrap()).unwrap();
    let mut stream = provider.stream(ask("m"));
    assert!(
        timeout(Duration::from_millis(100), stream.next())
            .await
            .is_err()
    );
    let start = Instant::now();
    drop(stream);
    assert!(start.elapsed() < Duration::from_millis(100));
    // Once there is room, nobody connects who was dropped.
    for _ in 0..fillers.len() {
        listener.accept().await.unwrap();
    }
    drop(fillers);
    assert!(
        timeout(Duration::from_millis(1500), listener.accept())
            .await
            .is_err()
    );
}

/// Collects everything that is logged.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn the_key_reaches_no_error_no_debug_and_no_log() {
    let log = Log::default();
    let copy = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_writer(move || copy.clone())
        .finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    tracing::trace!("the log works");
    let mut seen = String::new();
    // The server repeats the whole request, key included, wherever it can.
    for answer in 0..5 {
        let server = Server::start(move |request, mut socket| async move {
            let quoted =
                serde_json::json!({"error": {"message": request, "code": KEY, "type": KEY}})
                    .to_string();
            let bytes = match answer {
                0 => status("401 No", "", &quoted),
                1 => status("500 No", &format!("x-key: {KEY}\r\n"), &request),
                2 => whole(&format!("{HELLO}data: {quoted}\n\n")),
                3 => whole(&format!("{HELLO}event: error\ndata: {KEY}\n\n")),
                _ => status("200 OK", "", &quoted),
            };
            socket.write_all(bytes.as_bytes()).await.ok()?;
            None
        })
        .await;
        let provider = server.provider();
        let items = all(&provider).await;
        assert!(items.last().unwrap().is_err(), "{items:?}");
        let models = provider.models().await;
        seen += &format!("{items:?} {models:?} {provider:?} {:?}", server.config());
        seen += &items.last().unwrap().as_ref().unwrap_err().to_string();
        assert!(server.request(0).contains(KEY));
    }
    seen += &String::from_utf8_lossy(&log.0.lock().unwrap());
    assert!(seen.contains("the log works") && seen.contains("***"));
    for part in [KEY, &KEY[..8], &KEY[12..]] {
        assert!(!seen.contains(part), "{part} is in {seen}");
    }
}

#[test]
fn wrong_settings_are_explained() {
    let make = |base_url: &str, key: &str| {
        let config = OpenAiConfig {
            name: "Acme".into(),
            base_url: base_url.into(),
            api_key: Some(Secret::new(key)),
            ..OpenAiConfig::default()
        };
        OpenAi::new(config, reqwest::Client::new())
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
    let url = |base: &str| make(base, "").unwrap().shared.url(&["models"]).to_string();
    assert_eq!(url("http://x/v1"), "http://x/v1/models");
    assert_eq!(url(" http://x/v1/ "), "http://x/v1/models");
    assert_eq!(
        url("http://x/a?api-version=1"),
        "http://x/a/models?api-version=1"
    );
}
