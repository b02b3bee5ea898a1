//! What comes from outside has an end, and a whole answer stays whole.

use crate::{
    harness::{InProcess, PATIENCE, ends_once, provider},
    upstream::{Reply, Upstream},
};
use futures::StreamExt;
use headwater_engine::{
    config::{Kind, ProviderConfig, Script},
    db::images::MAX_IMAGES_BYTES,
    runs::{
        bounds::{MAX_BLOCKS, MAX_TEXT},
        recovery::OnBreak,
    },
    tool::program::ToolConfig,
};
use headwater_protocol::{ErrorCode, MAX_IMAGE_BYTES, Started, Status, chat::Answer};
use reqwest::StatusCode;
use serde_json::json;
use std::{net::SocketAddr, time::Duration};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

const HEAD: &str = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n";

/// What a provider says on one connection.
#[derive(Clone)]
struct Speech {
    once: String,
    /// What it says behind that for ever, and its pause before each time; without it, it closes.
    ever: Option<(String, Duration)>,
}

/// A provider with one speech for each connection, and the last one for all others.
async fn speaker(speeches: Vec<Speech>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("port");
    let address = listener.local_addr().expect("address");
    tokio::spawn(async move {
        for number in 0.. {
            let Ok((socket, _)) = listener.accept().await else {
                return;
            };
            let speech = speeches[number.min(speeches.len() - 1)].clone();
            tokio::spawn(async move { speak(socket, speech).await });
        }
    });
    address
}

/// One that says something once and something else for ever.
async fn endless(once: &str, ever: String, pause: Duration) -> SocketAddr {
    let ever = Some((ever, pause));
    let once = once.to_owned();
    speaker(vec![Speech { once, ever }]).await
}

async fn speak(mut socket: TcpStream, Speech { once, ever }: Speech) {
    let mut request = [0; 65536];
    if socket.read(&mut request).await.is_err() {
        return;
    }
    let mut said = socket.write_all([HEAD, &once].concat().as_bytes()).await;
    let Some((ever, pause)) = ever else { return };
    while said.is_ok() {
        tokio::time::sleep(pause).await;
        said = socket.write_all(ever.as_bytes()).await;
    }
}

fn chunk(choice: serde_json::Value) -> String {
    format!("data: {}\n\n", json!({ "choices": [choice] }))
}

async fn with_provider(address: SocketAddr, between_tokens: Duration) -> InProcess {
    InProcess::with(|config| {
        config.deadlines.first_token = Duration::from_secs(20);
        config.deadlines.between_tokens = between_tokens;
        config.providers = provider_at(address);
    })
    .await
}

fn provider_at(address: SocketAddr) -> Vec<ProviderConfig> {
    vec![provider(Kind::Openai, format!("http://{address}/v1"))]
}

async fn with_script(script: &str, tools: Vec<ToolConfig>) -> InProcess {
    InProcess::with(|config| {
        config.script = Some(Script::Text(script.to_owned()));
        config.tools = tools;
    })
    .await
}

async fn ask(server: &InProcess, model: &str) -> (Started, Answer) {
    let form = [("text", "Go"), ("model", model)];
    let started = server.api.try_start(&form).await.expect("started");
    let answer = server.api.fold(started.run).await;
    ends_once(&server.engine, started.run).await;
    (started, answer)
}

fn assert_ended_as_too_large(answer: &Answer) {
    assert_eq!(answer.status, Some(Status::Error));
    let error = answer.error.as_ref().expect("an error");
    assert_eq!(error.code, ErrorCode::TooLarge, "{error}");
}

#[tokio::test]
async fn an_answer_that_never_ends_is_ended_and_its_text_kept() {
    let text = chunk(json!({ "delta": { "content": "x".repeat(1_000_000) } }));
    let server = with_provider(endless("", text, Duration::ZERO).await, PATIENCE).await;
    let (started, answer) = ask(&server, "p/m").await;
    assert_ended_as_too_large(&answer);
    let length = answer.visible_length() as usize;
    assert!(
        (MAX_TEXT..MAX_TEXT + 2_000_000).contains(&length),
        "{length}"
    );
    let loaded = server.api.load(&started).await;
    assert_eq!(loaded.messages[1].visible_text().len(), length);
}

#[tokio::test]
async fn an_answer_of_ever_more_blocks_is_ended() {
    let script = r#"
        [[scenario]]
        name = "blocks"
        steps = [{ repeat = 10000, steps = [{ reasoning = "a" }, { text = "b" }] }]
    "#;
    let server = with_script(script, Vec::new()).await;
    let (_, answer) = ask(&server, "scripted/blocks").await;
    assert_ended_as_too_large(&answer);
    assert_eq!(answer.blocks.len(), MAX_BLOCKS as usize + 1);
    assert!(answer.blocks.iter().all(|block| !block.open));
}

#[tokio::test]
async fn what_the_tools_of_an_answer_give_has_an_end_too() {
    let calls = r#"{ tool = "much" },"#.repeat(32);
    let script = format!(
        "[[scenario]]\nname = \"calls\"\nsteps = [{{ repeat = 20, steps = [{calls} {{ end = \"tool_calls\" }}] }}]\n"
    );
    let tool = ToolConfig {
        name: "much".into(),
        description: "Gives much.".into(),
        command: ["sh", "-c", "head -c 262000 /dev/zero | tr '\\0' x"]
            .map(str::to_owned)
            .to_vec(),
        ..ToolConfig::default()
    };
    let server = with_script(&script, vec![tool]).await;
    let (_, answer) = ask(&server, "scripted/calls").await;
    assert_ended_as_too_large(&answer);
    let given: usize = answer.blocks.iter().map(|block| block.text.len()).sum();
    assert!((MAX_TEXT..MAX_TEXT + 100_000).contains(&given), "{given}");
    assert!(answer.spans.iter().all(|span| span.status.is_some()));
}

/// The counts, or the end of the stream, may come late or never.
#[tokio::test]
async fn an_answer_whose_end_was_said_is_whole_however_long_the_rest_takes() {
    let said = [
        chunk(json!({ "delta": { "content": "All of it." } })),
        chunk(json!({ "delta": {}, "finish_reason": "stop" })),
    ]
    .concat();
    for (name, after) in [
        ("silence", Duration::from_secs(600)),
        ("noise", Duration::ZERO),
    ] {
        let address = endless(&said, ": ping\n\n".into(), after).await;
        let server = with_provider(address, Duration::from_millis(400)).await;
        let (_, answer) = ask(&server, "p/m").await;
        assert_eq!(
            answer.status,
            Some(Status::Ok),
            "{name}: {:?}",
            answer.error
        );
        assert_eq!(answer.visible_text(), "All of it.", "{name}");
    }
}

#[tokio::test]
async fn the_images_of_a_request_have_a_common_limit_and_the_newest_go_first() {
    let upstream = Upstream::start(vec![Reply::chunked(crate::vendors::ALL[0].text)]).await;
    let server = with_provider(upstream.address, PATIENCE).await;
    let mut images = Vec::new();
    for number in 0..4_u8 {
        let mut image = b"\x89PNG\r\n\x1a\n".to_vec();
        image.resize(MAX_IMAGE_BYTES, number);
        let url = format!("{}/api/images", server.api.base);
        let response = server.api.http.post(url).body(image).send().await;
        let id: String = response
            .expect("answer")
            .json()
            .await
            .expect("an identifier");
        images.push(id);
    }
    // Too many for one message.
    const { assert!(4 * MAX_IMAGE_BYTES > MAX_IMAGES_BYTES) };
    let all = images.join(",");
    let form = [("text", "Look"), ("model", "p/m"), ("images", all.as_str())];
    let (status, error) = server.api.try_start(&form).await.expect_err("refused");
    assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE, "{error}");
    // Two and two: of the older ones, only as many go along as there is room for.
    let mut conversation = None;
    for (round, fit) in [(0, 2), (1, MAX_IMAGES_BYTES / MAX_IMAGE_BYTES)] {
        let two = images[2 * round..][..2].join(",");
        let mut form = vec![("text", "Look"), ("model", "p/m"), ("images", two.as_str())];
        form.extend(conversation.as_deref().map(|id| ("conversation", id)));
        let started = server.api.try_start(&form).await.expect("started");
        server.api.fold(started.run).await;
        conversation = Some(started.conversation.to_string());
        let requests = upstream.requests();
        assert_eq!(requests[round].matches("data:image/png").count(), fit);
    }
    let last = upstream.requests().pop().expect("a request");
    // "\x03\x03\x03" in base64: the newest is there.
    assert!(last.contains("AwMDAwMD"));
}

/// What the reader had seen may have been replaced since; its length says nothing of the new text.
#[tokio::test]
async fn a_stop_measures_the_text_that_stands_and_cuts_between_characters() {
    let text = |text: &str| chunk(json!({ "delta": { "content": text } }));
    let breaks = Speech {
        once: text("Old text"),
        ever: None,
    };
    let holds = Speech {
        once: text("✂✂✂✂✂✂✂✂"),
        ever: Some((": ping\n\n".into(), Duration::from_millis(50))),
    };
    let address = speaker(vec![breaks, holds]).await;
    let server = InProcess::with(|config| {
        config.recovery.max_recoveries = 1;
        config.recovery.pause = Duration::from_millis(10);
        config.recovery.on_break = OnBreak::Restart;
        config.providers = provider_at(address);
    })
    .await;
    let form = [("text", "Go"), ("model", "p/m")];
    let started = server.api.try_start(&form).await.expect("started");
    let mut answer = Answer::default();
    let mut frames = server.api.follow(started.run, 0).await;
    let mut before = None;
    while answer.spans.len() < 2 || answer.visible_length() == 0 {
        let (seq, event) = frames.next().await.expect("more");
        answer.apply(seq.unwrap_or(0), &event);
        if answer.visible_length() > 0 {
            before.get_or_insert(answer.seq);
        }
    }
    server.api.stop(started.run, before).await;
    let answer = server.api.fold(started.run).await;
    let text = answer.visible_text();
    assert!("✂✂✂✂✂✂✂✂".starts_with(&text), "{text}");
    assert_eq!(answer.hash, headwater_engine::packed::hash(&text));
}
