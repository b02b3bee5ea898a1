//! TLS and HTTP/2.

use crate::harness::{Api, InProcess, Outside, PATIENCE, Process};
use futures::{StreamExt, future::join_all};
use headwater::server::connections::Tls;
use headwater_protocol::{Status, chat::Answer};
use reqwest::Version;
use std::time::Duration;
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

async fn server() -> (InProcess, TempDir) {
    let folder = tempfile::tempdir().expect("folder");
    let names = ["localhost", "127.0.0.1"];
    let tls = Tls::SelfSigned {
        folder: folder.path().to_owned(),
        names: names.map(str::to_owned).into(),
    };
    let outside = Outside {
        tls: Some(tls),
        ..Outside::default()
    };
    (InProcess::reached(outside).await, folder)
}

#[tokio::test]
async fn forty_streams_share_one_connection_of_http_2() {
    let (server, _folder) = server().await;
    let api = &server.api;
    let response = api.get("/health").await;
    assert_eq!(response.version(), Version::HTTP_2);
    // All of them go over the client's one connection.
    let streams = (0..40).map(|_| async {
        let started = api.start("hello", "Go").await;
        let mut frames = api.follow(started.run, 0).await;
        let mut answer = Answer::default();
        while let Some((seq, event)) = frames.next().await {
            answer.apply(seq.unwrap_or(0), &event);
        }
        (answer.status, answer == api.fold(started.run).await)
    });
    for whole in join_all(streams).await {
        assert_eq!(whole, (Some(Status::Ok), true));
    }
}

#[tokio::test]
async fn clients_of_http_1_are_served_as_well_and_pages_know_their_origin() {
    let (server, _folder) = server().await;
    let old = reqwest::Client::builder()
        .no_proxy()
        .http1_only()
        .danger_accept_invalid_certs(true)
        .build()
        .expect("client");
    let base = &server.api.base;
    for http in [&old, &server.api.http] {
        let ask = |origin: &str| {
            let form = [("text", "Go"), ("model", "scripted/hello")];
            let request = http.post(format!("{base}/api/runs/start")).form(&form);
            request.header("origin", origin).send()
        };
        let own = ask(base).await.expect("an answer");
        assert_eq!(own.status(), 200, "{:?}", own.version());
        let plain = base.replace("https", "http");
        for foreign in ["https://example.org", "https://127.0.0.1:1", &plain] {
            let refused = ask(foreign).await.expect("an answer");
            let expected = if foreign == plain { 200 } else { 403 };
            assert_eq!(refused.status(), expected, "{foreign}");
        }
    }
}

#[tokio::test]
async fn plain_http_is_told_the_right_scheme_and_noise_is_closed() {
    let (server, _folder) = server().await;
    let address = server.api.base.trim_start_matches("https://");
    for (said, heard) in [
        ("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", "https://"),
        ("\u{16}\u{3}\u{1}nothing of TLS", ""),
    ] {
        let mut socket = TcpStream::connect(address).await.expect("connected");
        socket.write_all(said.as_bytes()).await.expect("sent");
        socket.shutdown().await.expect("half-closed");
        let mut all = Vec::new();
        let read = tokio::time::timeout(PATIENCE, socket.read_to_end(&mut all)).await;
        let _ = read.expect("the server closes");
        assert!(String::from_utf8_lossy(&all).contains(heard), "{all:?}");
    }
}

#[tokio::test]
async fn a_server_that_ends_finishes_the_streams_of_http_2() {
    let (server, _folder) = server().await;
    let started = server.api.start("long", "Go").await;
    let mut frames = server.api.follow(started.run, 0).await;
    frames.next().await.expect("a frame");
    server.engine.shutdown.run(Duration::ZERO).await;
    let rest: Vec<_> = frames.collect().await;
    assert!(rest.last().expect("frames").1.is_terminal());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_program_serves_and_asks_over_tls_and_keeps_its_certificate() {
    let data = tempfile::tempdir().expect("folder");
    let mut certificates = Vec::new();
    for _ in 0..2 {
        let process = Process::start(data.path(), &["--tls-self-signed"]);
        assert!(
            process.api.base.starts_with("https://"),
            "{}",
            process.api.base
        );
        let api = Api::new(&process.api.base);
        let started = api.start("hello", "Go").await;
        assert_eq!(api.fold(started.run).await.status, Some(Status::Ok));
        let pem = data.path().join("tls/certificate.pem");
        certificates.push(std::fs::read_to_string(pem).expect("a certificate"));
        let mut ask = crate::harness::program(data.path());
        ask.args(["ask", "--model", "scripted/hello", "Go"]);
        let asked = tokio::task::spawn_blocking(move || ask.output().expect("runs"));
        let asked = asked.await.expect("ends");
        assert!(
            asked.status.success(),
            "{}",
            String::from_utf8_lossy(&asked.stderr)
        );
        process.kill();
    }
    assert_eq!(certificates[0], certificates[1]);
    for (flags, word) in [
        (
            &["--tls-cert", "/nowhere.pem", "--tls-key", "/nowhere.key"][..],
            "/nowhere.pem",
        ),
        (&["--tls-cert", "/nowhere.pem"], "tls-key"),
        (&["--tls-key", "/nowhere.key"], "tls_cert"),
    ] {
        let why = Process::try_start(data.path(), flags)
            .map(|_| ())
            .expect_err("refused");
        assert!(why.contains(word), "{flags:?}: {why}");
    }
}
