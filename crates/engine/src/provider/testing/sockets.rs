//! The rules that every provider must keep on a real socket.

use super::{Item, KEY, all, ask, config, failure, fold, log::Log, server::*};
use crate::provider::{HttpProvider, Provider, exchange::Vendor};
use futures::StreamExt;
use headwater_protocol::ErrorCode;
use std::time::{Duration, Instant};
use tokio::{
    io::AsyncWriteExt,
    net::{TcpListener, TcpStream},
    sync::mpsc,
    time::timeout,
};

/// Makes a provider for an address such as `http://127.0.0.1:1234`, with [`KEY`].
pub(in crate::provider) type Make<V> = fn(String) -> HttpProvider<V>;

/// All of the rules, as tests of the module where this stands. `$make` is a [`Make`]. `$text` begins
/// an answer with the text `Hello` and leaves it open, `$finish` finishes it, and `$end` is what may
/// follow. With `keyed`, the provider sends its key.
macro_rules! all_socket_rules {
    ($make:expr, $text:expr, $finish:expr, $end:expr, keyed) => {
        $crate::provider::testing::sockets::all_socket_rules!($make, $text, $finish, $end);

        #[tokio::test]
        async fn the_key_reaches_no_error_no_debug_and_no_log() {
            $crate::provider::testing::sockets::key_is_kept($make, $text).await;
        }
    };
    ($make:expr, $text:expr, $finish:expr, $end:expr) => {
        #[tokio::test]
        async fn an_answer_streams_and_the_connection_is_used_again() {
            let body = format!("{}{}{}", $text, $finish, $end);
            $crate::provider::testing::sockets::connection_is_kept($make, &body).await;
        }

        #[tokio::test]
        async fn failures_before_the_answer() {
            $crate::provider::testing::sockets::statuses($make).await;
            $crate::provider::testing::sockets::nobody_there($make).await;
        }

        #[tokio::test]
        async fn every_end_of_a_connection() {
            $crate::provider::testing::sockets::ends($make, $text, $finish).await;
        }

        #[tokio::test]
        async fn dropping_the_stream_closes_the_socket_at_once() {
            $crate::provider::testing::sockets::drop_closes($make, $text).await;
        }

        #[tokio::test]
        async fn dropping_while_connecting_leaves_nothing_behind() {
            $crate::provider::testing::sockets::drop_while_connecting($make).await;
        }
    };
}
pub(in crate::provider) use all_socket_rules;

/// The statuses that all vendors share become codes, with the wait that was asked for.
pub(in crate::provider) async fn statuses<V: Vendor>(make: Make<V>) {
    let huge = format!(
        "{{\"error\":{{\"message\":\"{}\"}}}}",
        "x".repeat(1_000_000)
    );
    use ErrorCode::*;
    for (line, headers, body, code, wait) in [
        ("401 Unauthorized", "", "{}", Authentication, None),
        ("403 Forbidden", "", "{}", Permission, None),
        ("404 Not Found", "", "404 page not found", NotFound, None),
        ("413 Too Large", "", "", TooLarge, None),
        (
            "429 Slow",
            "retry-after: 3\r\n",
            "{}",
            RateLimited,
            Some(3000),
        ),
        ("500 Internal Server Error", "", &huge, ProviderError, None),
        (
            "503 Unavailable",
            "retry-after-ms: 250\r\n",
            "",
            Overloaded,
            Some(250),
        ),
        ("529 Overloaded", "", "{}", Overloaded, None),
        (
            "301 Moved",
            "location: https://127.0.0.1:1/\r\n",
            "",
            InvalidRequest,
            None,
        ),
    ] {
        let server = Server::saying(status(line, headers, body)).await;
        let error = failure(&make(server.url(""))).await;
        assert_eq!(error.code, code, "{line}");
        assert_eq!(error.retry_after_ms, wait, "{line}");
        assert_eq!(error.retryable, code.is_retryable(), "{line}");
        assert_eq!(error.status, line[..3].parse().ok());
        assert_eq!(error.stage, "asking the provider");
        assert!(error.message.len() < 500);
    }
}

/// An answer counts once it was finished, however the connection ends; without a finish a clean
/// end is a cut and a broken connection is an error. `text` begins an answer with the text
/// `Hello`, and `finish` finishes it.
pub(in crate::provider) async fn ends<V: Vendor>(make: Make<V>, text: &str, finish: &str) {
    for tail in ["0\r\n\r\n", "ff\r\n"] {
        let body = format!("{OK}{}{tail}", chunk(&format!("{text}{finish}")));
        let folded = fold(&all(&make(Server::saying(body).await.url(""))).await);
        assert_eq!((folded.text.as_str(), folded.error), ("Hello", None));
        assert!(folded.finish.is_some());
    }
    // A server that never closes holds nobody up.
    let body = format!("{OK}{}", chunk(&format!("{text}{finish}")));
    let server = Server::start(move |_, mut socket| {
        let body = body.clone();
        async move {
            socket.write_all(body.as_bytes()).await.ok()?;
            tokio::time::sleep(Duration::from_secs(60)).await;
            None
        }
    })
    .await;
    let start = Instant::now();
    assert!(fold(&all(&make(server.url(""))).await).finish.is_some());
    assert!(start.elapsed() < Duration::from_secs(4));

    let server = Server::saying(whole(text)).await;
    let folded = fold(&all(&make(server.url(""))).await);
    assert_eq!((folded.finish, folded.error), (None, None));
    let server = Server::saying(format!("{OK}{}ff\r\nabc", chunk(text))).await;
    let folded = fold(&all(&make(server.url(""))).await);
    assert_eq!(folded.text, "Hello");
    assert_eq!(folded.error, Some(ErrorCode::Connection));
}

/// Three answers on one connection. The bytes of each come in small pieces.
pub(in crate::provider) async fn connection_is_kept<V: Vendor>(make: Make<V>, body: &str) {
    let body = body.to_owned();
    let server = Server::start(move |_, mut socket| {
        let body = body.clone();
        async move {
            socket.write_all(OK.as_bytes()).await.ok()?;
            for part in body.as_bytes().chunks(97) {
                let head = format!("{:x}\r\n", part.len());
                socket.write_all(head.as_bytes()).await.ok()?;
                socket.write_all(part).await.ok()?;
                socket.write_all(b"\r\n").await.ok()?;
                socket.flush().await.ok()?;
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
            socket.write_all(b"0\r\n\r\n").await.ok()?;
            Some(socket)
        }
    })
    .await;
    let provider = make(server.url(""));
    for _ in 0..3 {
        let items = all(&provider).await;
        assert_eq!(items[0], Ok(crate::provider::ProviderEvent::Connected));
        let folded = fold(&items);
        assert_eq!(folded.text, "Hello");
        assert!(folded.finish.is_some());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let accepted = &server.accepted;
    assert_eq!(accepted.load(std::sync::atomic::Ordering::SeqCst), 1);
}

/// Drops the stream while the server is in a certain state, and measures until it sees the close.
pub(in crate::provider) async fn time_to_close<V: Vendor>(
    make: Make<V>,
    before: String,
    events: usize,
) -> Duration {
    let (closed, mut wait) = mpsc::channel(1);
    let server = Server::start(move |_, mut socket| {
        let (closed, before) = (closed.clone(), before.clone());
        async move {
            socket.write_all(before.as_bytes()).await.ok()?;
            until_closed(&mut socket).await;
            closed.send(Instant::now()).await.ok()?;
            None
        }
    })
    .await;
    let mut stream = make(server.url("")).stream(ask("m"));
    for _ in 0..events {
        stream.next().await.unwrap().unwrap();
    }
    // It now waits for something that does not come, perhaps after a few events more.
    while let Ok(event) = timeout(Duration::from_millis(100), stream.next()).await {
        event.unwrap().unwrap();
    }
    let start = Instant::now();
    drop(stream);
    let end = timeout(Duration::from_secs(5), wait.recv()).await.unwrap();
    end.unwrap() - start
}

/// Dropping closes the socket in every state. `text` begins an answer and leaves it open.
pub(in crate::provider) async fn drop_closes<V: Vendor>(make: Make<V>, text: &str) {
    let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n";
    let half = &text[..text.len() - 7];
    for (state, before, events) in [
        ("waiting for headers", String::new(), 0),
        ("in the headers", "HTTP/1.1 200 OK\r\n".into(), 0),
        ("waiting for content", head.into(), 1),
        ("in the text", format!("{head}{text}"), 3),
        ("in mid-token", format!("{head}{half}"), 1),
        (
            "in the body of an error",
            "HTTP/1.1 500 No\r\ncontent-length: 100\r\n\r\nhalf of it".into(),
            0,
        ),
    ] {
        let took = time_to_close(make, before, events).await;
        assert!(took < Duration::from_millis(100), "{state}: {took:?}");
    }
}

/// Dropping while the connection is not there yet leaves nothing behind.
pub(in crate::provider) async fn drop_while_connecting<V: Vendor>(make: Make<V>) {
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
    let provider = make(format!("http://{address}"));
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

/// Nobody there is told with the address.
pub(in crate::provider) async fn nobody_there<V: Vendor>(make: Make<V>) {
    let port = {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        listener.local_addr().unwrap().port()
    };
    let provider = make(format!("http://127.0.0.1:{port}"));
    let sentence = format!(
        "The provider at http://127.0.0.1:{port} cannot be reached: connection refused. Is it running?"
    );
    assert_eq!(failure(&provider).await.message, sentence);
    assert_eq!(provider.models().await.unwrap_err().message, sentence);
}

/// The key reaches no error, no log and no `Debug`. `text` begins an answer.
pub(in crate::provider) async fn key_is_kept<V: Vendor>(make: Make<V>, text: &str) {
    let log = Log::capture();
    tracing::trace!("the log works");
    let base_url = "http://acme.example";
    let mut seen = format!("{:?} {:?}", make(base_url.into()), config(base_url));
    // The server repeats the whole request, key included, wherever it can.
    for answer in 0..5 {
        let text = text.to_owned();
        let server = Server::start(move |request, mut socket| {
            let text = text.clone();
            async move {
                let quoted =
                    serde_json::json!({"type": "error", "error": {"message": request, "code": KEY, "type": KEY}})
                        .to_string();
                let bytes = match answer {
                    0 => status("401 No", "", &quoted),
                    1 => status("500 No", &format!("x-key: {KEY}\r\n"), &request),
                    2 => whole(&format!("{text}data: {quoted}\n\n")),
                    3 => whole(&format!("{text}event: error\ndata: {KEY}\n\n")),
                    _ => status("200 OK", "", &quoted),
                };
                socket.write_all(bytes.as_bytes()).await.ok()?;
                None
            }
        })
        .await;
        let provider = make(server.url(""));
        let items: Vec<Item> = all(&provider).await;
        assert!(items.last().unwrap().is_err(), "{answer} {items:?}");
        let models = provider.models().await;
        seen += &format!("{items:?} {models:?}");
        seen += &items.last().unwrap().as_ref().unwrap_err().to_string();
        assert!(server.request(0).contains(KEY));
    }
    seen += &log.text();
    assert!(seen.contains("the log works") && seen.contains("***"));
    for part in [KEY, &KEY[..8], &KEY[12..]] {
        assert!(!seen.contains(part), "{part} is in {seen}");
    }
}
