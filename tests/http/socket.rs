//! The WebSocket: the same frames as the event stream, and commands.

pub mod client;
mod limits;

use crate::harness::{Api, InProcess};
use client::{Client, Part, parts_of_stream};
use headwater_protocol::{
    Started, Status, Stopped,
    chat::{Answer, Applied},
};
use serde_json::{Value, json};

/// All parts of a run after an entry, up to its last.
async fn whole(client: &mut Client, run: &Started, after: u64, format: &str) -> Vec<Part> {
    let subscribe =
        json!({"command": "subscribe", "run": run.run, "after": after, "format": format});
    let name = client.send(subscribe).await;
    client.rest_of(name).await
}

#[tokio::test]
async fn a_subscription_has_the_very_bytes_of_the_event_stream() {
    let server = InProcess::start().await;
    let started = server.api.start("markdown", "Show me Markdown.").await;
    server.api.fold(started.run).await;
    let mut client = Client::connect(&server.api).await;
    for format in ["events", "entries"] {
        let address = format!(
            "/api/runs/events?run={}&after=3&format={format}",
            started.run
        );
        let expected = parts_of_stream(&server.api.text(&address).await);
        assert!(expected.len() > 4, "{expected:?}");
        assert_eq!(whole(&mut client, &started, 3, format).await, expected);
    }
}

#[tokio::test]
async fn cut_after_every_single_frame_a_socket_resumes_to_the_same_message() {
    let server = InProcess::start().await;
    let started = server.api.start("hello", "Hello").await;
    let expected = server.api.fold(started.run).await;
    let mut client = Client::connect(&server.api).await;
    let all = whole(&mut client, &started, 0, "events").await;
    assert!(all.len() > 3);
    for cut in 0..=all.len() {
        let mut client = Client::connect(&server.api).await;
        let subscribe = json!({"command": "subscribe", "run": started.run});
        let name = client.send(subscribe).await;
        let mut answer = Answer::default();
        for _ in 0..cut {
            client.part(name).await.expect("a frame").apply(&mut answer);
        }
        drop(client);
        let mut client = Client::connect(&server.api).await;
        let subscriptions = json!([{"id": 900, "run": started.run, "after": answer.seq}]);
        client
            .send(json!({"command": "resume", "subscriptions": subscriptions}))
            .await;
        while let Some(part) = client.part(900).await {
            assert_ne!(part.apply(&mut answer), Applied::Gap, "cut {cut}");
        }
        assert_eq!(answer, expected, "cut {cut}");
    }
}

#[tokio::test]
async fn every_command_is_answered_once_with_its_id_and_the_place_in_the_log() {
    let server = InProcess::start().await;
    let mut client = Client::connect(&server.api).await;
    let start = json!({
        "command": "start", "text": "Go", "model": "scripted/long",
        "settings": {"temperature": 0.5}, "client_id": "once", "unknown": true
    });
    let reply = client.ask(start.clone()).await;
    let started: Started = client::ok(&reply);
    assert_eq!(
        reply["seq"].as_u64().expect("a place"),
        server.head(&started)
    );
    let again: Started = client::ok(&client.ask(start).await);
    assert_eq!(again, started, "the same client_id starts one run");
    let name = client
        .send(json!({"command": "subscribe", "run": started.run}))
        .await;
    client.reply(name).await;
    let mut seen = Answer::default();
    while seen.visible_length() < 50 {
        let part = client.part(name).await.expect("more");
        part.apply(&mut seen);
    }
    let stop = json!({"command": "stop", "run": started.run, "seen": seen.seq});
    let reply = client.ask(stop).await;
    let stopped: Stopped = client::ok(&reply);
    assert_eq!(stopped.length, seen.visible_length());
    assert_eq!(
        reply["seq"].as_u64().expect("a place"),
        server.head(&started)
    );
    while let Some(part) = client.part(name).await {
        part.apply(&mut seen);
    }
    assert_eq!(seen, server.api.fold(started.run).await);
    let more: Started = client::ok(
        &client
            .ask(json!({"command": "continue", "run": started.run}))
            .await,
    );
    assert_eq!(more.message, started.message);
    client
        .ask(json!({"command": "stop", "run": more.run}))
        .await;
    let retry = json!({"command": "retry", "run": more.run, "model": "scripted/hello"});
    let other: Started = client::ok(&client.ask(retry).await);
    assert_ne!(other.message, started.message);
    assert_eq!(server.api.fold(other.run).await.status, Some(Status::Ok));
    assert_eq!(
        client.ask(json!({"command": "ping"})).await["ok"],
        json!({})
    );
    let name = client
        .send(json!({"command": "subscribe", "run": other.run}))
        .await;
    client.reply(name).await;
    let unsubscribe = json!({"command": "unsubscribe", "subscription": name});
    // The run has ended, so its subscription may be over.
    let reply = client.ask(unsubscribe).await;
    assert!(reply["ok"].is_object() || reply["error"]["code"] == "not_found");
    let replies = client.left().into_iter();
    let second: Vec<_> = replies.filter(|left| left["reply"].is_number()).collect();
    assert_eq!(second, Vec::<Value>::new(), "no second answer");
}

#[tokio::test]
async fn what_cannot_be_done_is_answered_with_a_reason_and_the_connection_goes_on() {
    let server = InProcess::start().await;
    let started = server.api.start("hello", "Hello").await;
    server.api.fold(started.run).await;
    let nobody = "01890000-0000-7000-8000-000000000000";
    let mut client = Client::connect(&server.api).await;
    let named = |run: &str, after: u64| json!({"command": "subscribe", "run": run, "after": after});
    let run = started.run.to_string();
    let cases = [
        (json!({"command": "dance"}), "invalid_request", "dance"),
        (json!({"command": "stop"}), "invalid_request", "run"),
        (
            json!({"command": "stop", "run": 7}),
            "invalid_request",
            "stop",
        ),
        (json!({"command": "stop", "run": nobody}), "not_found", ""),
        (json!({"command": "retry", "run": nobody}), "not_found", ""),
        (
            json!({"command": "start", "text": ""}),
            "invalid_request",
            "",
        ),
        (
            json!({"command": "start", "text": "x", "settings": {"temperature": 9}}),
            "invalid_request",
            "temperature",
        ),
        (json!({"command": "approve"}), "not_found", "tool"),
        (named(nobody, 0), "not_found", ""),
        (named(&run, 100_000), "conflict", "cursor"),
        (
            json!({"command": "unsubscribe", "subscription": 12345}),
            "not_found",
            "subscription",
        ),
    ];
    for (command, code, word) in cases {
        let reply = client.ask(command.clone()).await;
        assert_eq!(reply["error"]["code"], code, "{command}: {reply}");
        let sentence = reply["error"]["message"].as_str().expect("a sentence");
        assert!(sentence.contains(word), "{command}: {sentence}");
    }
    let both = json!([
        {"id": 500, "run": run, "after": 1}, {"id": 501, "run": nobody}, {"id": 500, "run": run}
    ]);
    let reply = client
        .ask(json!({"command": "resume", "subscriptions": both}))
        .await;
    let results = &reply["ok"]["subscriptions"];
    assert_eq!(results[0]["seq"].as_u64(), Some(server.head(&started)));
    assert_eq!(results[1]["error"]["code"], "not_found");
    assert_eq!(results[2]["error"]["code"], "conflict");
    assert!(client.rest_of(500).await.len() > 1);
    assert_eq!(
        client.ask(json!({"command": "ping"})).await["ok"],
        json!({})
    );
}

#[tokio::test]
async fn many_runs_share_a_socket_and_each_ends_whole() {
    let server = InProcess::start().await;
    let mut client = Client::connect(&server.api).await;
    let mut all = Vec::new();
    // One has very much to say; the others are followed from the same task.
    for scenario in std::iter::once("firehose").chain(std::iter::repeat_n("markdown", 40)) {
        let model = format!("scripted/{scenario}");
        let start = json!({"command": "start", "text": "Go", "model": model});
        let started: Started = client::ok(&client.ask(start).await);
        let name = client
            .send(json!({"command": "subscribe", "run": started.run}))
            .await;
        all.push((name, started));
    }
    for (name, started) in &all {
        let mut answer = Answer::default();
        for part in client.rest_of(*name).await {
            assert_ne!(part.apply(&mut answer), Applied::Gap);
        }
        assert_eq!(answer, server.api.fold(started.run).await);
    }
}

#[tokio::test]
async fn nothing_comes_of_a_subscription_that_was_ended() {
    let server = InProcess::start().await;
    let mut client = Client::connect(&server.api).await;
    let started = server.api.start("long", "Go").await;
    let subscribe = json!({"command": "subscribe", "run": started.run, "snapshot": true});
    let name = client.send(subscribe).await;
    for _ in 0..3 {
        client.part(name).await.expect("a frame");
    }
    let unsubscribe = json!({"command": "unsubscribe", "subscription": name});
    assert_eq!(client.ask(unsubscribe).await["ok"], json!({}));
    client.forget();
    tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    client.ask(json!({"command": "ping"})).await;
    assert_eq!(client.left(), Vec::<Value>::new());
    server.api.stop(started.run, None).await;
}

impl InProcess {
    /// The last entry of a run.
    fn head(&self, started: &Started) -> u64 {
        let live = self.engine.log.source(started.run);
        let source = futures::executor::block_on(live).expect("a log");
        source.head().seq
    }
}

/// The frames of a whole run by polls.
async fn polled(api: &Api, started: &Started, after: u64, format: &str) -> Vec<Part> {
    let (mut all, mut cursor) = (Vec::new(), after);
    loop {
        let address = format!(
            "/api/runs/poll?run={}&after={cursor}&format={format}",
            started.run
        );
        let frames: Vec<Value> = serde_json::from_str(&api.text(&address).await).expect("a list");
        assert!(!frames.is_empty());
        for frame in frames {
            if let Some(id) = frame["id"].as_u64() {
                cursor = id;
            }
            let part = Part::of(&frame);
            let last = part.data.contains("run_finished");
            all.push(part);
            if last {
                return all;
            }
        }
    }
}

#[tokio::test]
async fn polls_and_posted_streams_have_the_same_frames() {
    let server = InProcess::start().await;
    let started = server.api.start("markdown", "Show me Markdown.").await;
    let expected = server.api.fold(started.run).await;
    let run = started.run.to_string();
    for format in ["events", "entries"] {
        let address = format!("/api/runs/events?run={run}&after=3&format={format}");
        let stream = server.api.text(&address).await;
        let polled = polled(&server.api, &started, 3, format).await;
        let values = |parts: &[Part]| -> Vec<(Option<u64>, Value)> {
            let value = |part: &Part| serde_json::from_str(&part.data).expect("JSON");
            parts.iter().map(|part| (part.id, value(part))).collect()
        };
        let expected = parts_of_stream(&stream);
        assert_eq!(values(&polled), values(&expected), "{format}");
        let form = [("run", run.as_str()), ("after", "3"), ("format", format)];
        let response = server.api.post("/api/runs/events", &form).await;
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        assert_eq!(
            response.headers()["cache-control"],
            "no-store, no-transform"
        );
        assert_eq!(response.text().await.expect("a body"), stream, "{format}");
    }
    // Cut everywhere: a poll after every entry there is.
    for after in 0..expected.seq {
        let mut answer = Answer::default();
        for part in polled_up_to(&server.api, &started, after).await {
            part.apply(&mut answer);
        }
        for part in polled(&server.api, &started, answer.seq, "events").await {
            assert_ne!(part.apply(&mut answer), Applied::Gap, "after {after}");
        }
        assert_eq!(answer, expected, "after {after}");
    }
}

/// The entries up to `last`, as a reader has them whose polls were cut there.
async fn polled_up_to(api: &Api, started: &Started, last: u64) -> Vec<Part> {
    let all = polled(api, started, 0, "events").await;
    all.into_iter()
        .take_while(|part| part.id.is_none_or(|id| id <= last))
        .collect()
}

#[tokio::test]
async fn a_poll_waits_for_an_entry_and_says_that_it_is_alive() {
    let server = InProcess::with(|config| {
        let script = r#"
            [[scenario]]
            name = "stalls"
            steps = [{ text = "Some words." }, { stall = true }]
        "#;
        config.script = Some(headwater_engine::config::Script::Text(script.into()));
    })
    .await;
    let started = server.api.start("stalls", "Go").await;
    let mut frames = server.api.follow(started.run, 0).await;
    let mut seen = Answer::default();
    crate::harness::read_on(&mut frames, &mut seen, 11).await;
    let run = started.run;
    let address = format!("/api/runs/poll?run={run}&after={}&wait=1", seen.seq);
    let quiet: Vec<Value> = serde_json::from_str(&server.api.text(&address).await).expect("a list");
    assert!(!quiet.is_empty());
    assert!(
        quiet.iter().all(|frame| frame["data"]["type"] == "ping"),
        "{quiet:?}"
    );
    let address = format!("/api/runs/poll?run={run}&after={}&wait=30", seen.seq);
    let api = server.api.clone();
    let waiting = tokio::spawn(async move { api.text(&address).await });
    server.api.stop(run, None).await;
    let heard = waiting.await.expect("an answer");
    assert!(heard.contains("run_finished"), "{heard}");
    for (query, status) in [
        ("run=x".to_owned(), 400),
        (format!("run={run}&wait=0"), 400),
        (format!("run={run}&wait=31"), 400),
        (format!("run={run}&after=x"), 400),
        (format!("run={run}&after=100000"), 409),
        (format!("run={run}&format=langchain-v2"), 400),
        ("run=01890000-0000-7000-8000-000000000000".to_owned(), 404),
    ] {
        for (path, method) in [("/api/runs/poll", "get"), ("/api/runs/events", "post")] {
            if method == "post" && (query.contains("wait") || query.contains("format")) {
                continue;
            }
            let response = match method {
                "get" => server.api.get(&format!("{path}?{query}")).await,
                _ => {
                    let form: Vec<_> = query
                        .split('&')
                        .filter_map(|pair| pair.split_once('='))
                        .collect();
                    server.api.post(path, &form).await
                }
            };
            assert_eq!(response.status().as_u16(), status, "{method} {query}");
            assert_eq!(
                response.headers()["content-type"],
                "application/problem+json"
            );
            let problem: Value = response.json().await.expect("JSON");
            assert_eq!(problem["status"], status, "{problem}");
            assert_eq!(problem["detail"], problem["message"]);
            assert!(problem["title"].is_string() && problem["code"].is_string());
        }
    }
}
