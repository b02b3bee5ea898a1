//! Sockets that are silent, slow, or too many.

use crate::harness::{InProcess, PATIENCE};
use futures::StreamExt;
use headwater::server::connections::Limits;
use std::time::Duration;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

const SHORT: Limits = Limits {
    head: Duration::from_millis(300),
    send: Duration::from_secs(30),
    connections: 4,
};

async fn connect(server: &InProcess) -> TcpStream {
    let address = server.api.base.trim_start_matches("http://");
    TcpStream::connect(address).await.expect("connected")
}

/// Reads until the server closes.
async fn to_the_end(socket: &mut TcpStream) -> String {
    let mut heard = Vec::new();
    let read = tokio::time::timeout(PATIENCE, socket.read_to_end(&mut heard)).await;
    // A reset is an end too.
    let _ = read.expect("the server closes");
    String::from_utf8_lossy(&heard).into_owned()
}

#[tokio::test]
async fn a_socket_that_says_nothing_or_half_a_head_is_closed() {
    let server = InProcess::within(SHORT, |_| {}).await;
    for said in ["", "G", "GET / HTTP/1.1\r\nHost: localhost\r\n", "PRI * HT"] {
        let mut socket = connect(&server).await;
        socket.write_all(said.as_bytes()).await.expect("sent");
        let heard = to_the_end(&mut socket).await;
        assert!(!heard.contains("200 OK"), "{said:?}: {heard}");
    }
    // One that was answered waits for its next request no longer.
    let mut socket = connect(&server).await;
    let request = b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n";
    socket.write_all(request).await.expect("sent");
    let heard = to_the_end(&mut socket).await;
    assert!(heard.contains("200 OK"), "{heard}");
}

#[tokio::test]
async fn silent_sockets_cannot_shut_others_out() {
    let server = InProcess::within(SHORT, |_| {}).await;
    let mut silent = Vec::new();
    for _ in 0..20 {
        silent.push(connect(&server).await);
    }
    let answer = tokio::time::timeout(PATIENCE, server.api.get("/health")).await;
    assert_eq!(answer.expect("there is room again").status(), 200);
}

#[tokio::test]
async fn an_event_stream_lasts_longer_than_a_head_may_take() {
    let server = InProcess::within(SHORT, |config| {
        config.delivery.ping = Duration::from_millis(100);
    })
    .await;
    let started = server.api.start("slow", "Slowly").await;
    let begun = tokio::time::Instant::now();
    let mut frames = server.api.follow(started.run, 0).await;
    while begun.elapsed() < 4 * SHORT.head {
        frames.next().await.expect("it goes on");
    }
    server.api.stop(started.run, None).await;
    let last = frames.collect::<Vec<_>>().await.pop().expect("frames");
    assert!(last.1.is_terminal(), "{last:?}");
}

#[tokio::test]
async fn a_server_that_ends_lets_answers_finish_and_takes_no_more() {
    let server = InProcess::start().await;
    let started = server.api.start("slow", "Slowly").await;
    let mut frames = server.api.follow(started.run, 0).await;
    frames.next().await.expect("begins");
    let ending = server.engine.clone();
    let ended = tokio::spawn(async move { ending.shutdown.run(Duration::ZERO).await });
    let last = frames.collect::<Vec<_>>().await.pop().expect("frames");
    assert!(last.1.is_terminal(), "{last:?}");
    ended.await.expect("ended");
    let url = format!("{}/health", server.api.base);
    let fresh = crate::harness::Api::new(&server.api.base);
    assert!(fresh.http.get(url).send().await.is_err());
}
