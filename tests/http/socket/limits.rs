//! What a connection may do, and how it ends.

use super::client::{Client, ok};
use crate::harness::{InProcess, PATIENCE};
use headwater::server::connections::Limits;
use headwater_protocol::{MAX_TEXT_BYTES, Started, Status, chat::Answer};
use serde_json::json;
use std::time::Duration;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_tungstenite::tungstenite::Message;

#[tokio::test]
async fn what_is_no_command_closes_the_connection_with_its_code() {
    let server = InProcess::start().await;
    let cases = [
        (Message::text("hello"), 4400),
        (Message::text("{\"command\":\"ping\"}"), 4400),
        (Message::text("{\"id\":1}"), 4400),
        (Message::text("{\"id\":-1,\"command\":\"ping\"}"), 4400),
        (Message::text("[]"), 4400),
        (Message::binary(vec![0, 159, 146, 150]), 4400),
        (Message::text("x".repeat(7 * MAX_TEXT_BYTES)), 1009),
    ];
    for (message, code) in cases {
        let mut client = Client::connect(&server.api).await;
        client.send_message(message.clone()).await;
        assert_eq!(
            client.close_code().await,
            Some(code),
            "{:.40}",
            message.to_string()
        );
    }
}

#[tokio::test]
async fn a_flood_of_commands_is_refused_and_then_closed() {
    let server = InProcess::start().await;
    let mut client = Client::connect(&server.api).await;
    for _ in 0..400 {
        client.send(json!({"command": "ping"})).await;
    }
    let mut refused = 0;
    for id in 1..=400 {
        let reply = client.reply(id).await;
        if reply["error"]["code"] == "rate_limited" {
            assert!(reply["error"]["retry_after_ms"].is_number(), "{reply}");
            refused += 1;
        }
    }
    assert!((1..=200).contains(&refused), "{refused} of 400");
    for _ in 0..20_000 {
        client.send(json!({"command": "ping"})).await;
    }
    assert_eq!(client.close_code().await, Some(4429));
    let mut other = Client::connect(&server.api).await;
    assert_eq!(other.ask(json!({"command": "ping"})).await["ok"], json!({}));
}

#[tokio::test]
async fn pages_of_others_cannot_open_it_and_a_plain_request_is_told_what_it_is() {
    let server = InProcess::start().await;
    let upgrade = |origin: &'static str| {
        let key = "dGhlIHNhbXBsZSBub25jZQ==";
        let request = server.api.http.get(format!("{}/api/ws", server.api.base));
        let headers = [
            ("connection", "upgrade"),
            ("upgrade", "websocket"),
            ("sec-websocket-version", "13"),
            ("sec-websocket-key", key),
            ("origin", origin),
        ];
        headers
            .iter()
            .fold(request, |request, (name, value)| {
                request.header(*name, *value)
            })
            .send()
    };
    let foreign = upgrade("https://example.org").await.expect("an answer");
    assert_eq!(foreign.status(), 403);
    let problem: serde_json::Value = foreign.json().await.expect("JSON");
    assert_eq!(problem["code"], "permission");
    let plain = server.api.get("/api/ws").await;
    assert_eq!(plain.status(), 426);
    let problem: serde_json::Value = plain.json().await.expect("JSON");
    let sentence = problem["message"].as_str().expect("a sentence");
    assert!(sentence.contains("WebSocket"), "{sentence}");
}

/// A WebSocket whose other end reads nothing by itself.
async fn raw(server: &InProcess) -> TcpStream {
    let address = server.api.base.trim_start_matches("http://");
    let mut socket = TcpStream::connect(address).await.expect("connected");
    let request = format!(
        "GET /api/ws HTTP/1.1\r\nhost: {address}\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
         sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    socket.write_all(request.as_bytes()).await.expect("sent");
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(socket.read_u8().await.expect("a head"));
    }
    assert!(head.starts_with(b"HTTP/1.1 101"));
    socket
}

/// A command as a client frames it, masked with zeros.
fn framed(text: &str) -> Vec<u8> {
    let length = u16::try_from(text.len()).expect("short");
    let mut frame = vec![0x81, 0x80 | 126];
    frame.extend_from_slice(&length.to_be_bytes());
    frame.extend_from_slice(&[0; 4]);
    frame.extend_from_slice(text.as_bytes());
    frame
}

#[tokio::test]
async fn a_client_without_a_sign_of_life_is_closed_as_too_slow() {
    let server = InProcess::with(|config| config.delivery.ping = Duration::from_millis(50)).await;
    // It reads, and never answers a ping.
    let mut silent = raw(&server).await;
    let mut heard = Vec::new();
    let read = tokio::time::timeout(PATIENCE, silent.read_to_end(&mut heard));
    read.await
        .expect("the server closes")
        .expect("an orderly end");
    let close = [0x88, 4408_u16.to_be_bytes()[0], 4408_u16.to_be_bytes()[1]];
    let at = heard
        .windows(4)
        .position(|part| part[0] == close[0] && part[2..4] == close[1..]);
    assert!(at.is_some(), "{heard:?}");
    // One that answers stays.
    let mut alive = Client::connect(&server.api).await;
    for _ in 0..10 {
        tokio::time::sleep(Duration::from_millis(60)).await;
        assert_eq!(alive.ask(json!({"command": "ping"})).await["ok"], json!({}));
    }
}

#[tokio::test]
async fn a_frozen_socket_is_cut_and_slows_nobody_down() {
    let limits = Limits {
        send: Duration::from_secs(1),
        connections: 3,
        ..Limits::default()
    };
    let server = InProcess::within(limits, |config| {
        let script = format!(
            "[[scenario]]\nname = \"much\"\nsteps = [{}]\n",
            format!("{{ text = \"{}\" }},", "many words ".repeat(3_000)).repeat(120)
        );
        config.script = Some(headwater_engine::config::Script::Text(script));
    })
    .await;
    let started = server.api.start("much", "Go").await;
    // Both stop reading at once; each would hold one of three places.
    let mut frozen = raw(&server).await;
    let subscribe = json!({"id": 1, "command": "subscribe", "run": started.run});
    frozen
        .write_all(&framed(&subscribe.to_string()))
        .await
        .expect("sent");
    let address = server.api.base.trim_start_matches("http://");
    let mut stream = TcpStream::connect(address).await.expect("connected");
    let request = format!(
        "GET /api/runs/events?run={} HTTP/1.1\r\nhost: {address}\r\n\r\n",
        started.run
    );
    stream.write_all(request.as_bytes()).await.expect("sent");
    let fast = server.api.fold(started.run).await;
    assert_eq!(fast.status, Some(Status::Ok));
    // Three further connections at once find their places only when those two are gone.
    let mut clients = Vec::new();
    for _ in 0..2 {
        let connected = tokio::time::timeout(PATIENCE, Client::connect(&server.api));
        clients.push(connected.await.expect("a place"));
    }
    let name = clients[0]
        .send(json!({"command": "subscribe", "run": started.run}))
        .await;
    let mut answer = Answer::default();
    for part in clients[0].rest_of(name).await {
        part.apply(&mut answer);
    }
    assert_eq!(answer, fast);
}

#[tokio::test]
async fn a_server_that_ends_says_farewell_on_every_subscription_and_closes() {
    let server = InProcess::start().await;
    let mut client = Client::connect(&server.api).await;
    let start = json!({"command": "start", "text": "Go", "model": "scripted/long"});
    let started: Started = ok(&client.ask(start).await);
    let name = client
        .send(json!({"command": "subscribe", "run": started.run}))
        .await;
    client.part(name).await.expect("a frame");
    server.engine.shutdown.run(Duration::ZERO).await;
    let all = client.rest_of(name).await;
    let last = &all.last().expect("frames").data;
    // The run is interrupted, or the stream sends the reader to the next process.
    assert!(
        last.contains("run_finished") || last.contains("going_away"),
        "{last}"
    );
    assert_eq!(client.close_code().await, Some(1001));
}
