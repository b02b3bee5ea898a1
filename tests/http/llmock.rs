//! LLMock from PyPI: it fails as it is told and judges how its client takes it.

use crate::{
    asking::{Way, ask, server},
    mocks::{Fault, Mock, TEXT, check, python, tool_inputs},
    vendors::{ALL, Vendor},
};
use futures::future::join_all;
use headwater_protocol::{ErrorCode, Status};
use serde_json::{Value, json};

fn start() -> Option<Mock> {
    let mut python = python()?;
    // By way of its factory: its own command takes no port 0.
    python.args(["-m", "uvicorn", "llmock.main:create_app", "--factory"]);
    python.args(["--host", "127.0.0.1", "--port", "0"]);
    // As fast as it can, it is done with a short answer before it sees that its client, which read
    // something malformed in the middle, has gone; it then takes the next attempt for another call.
    python.env("LLMOCK_STREAM_CHUNK_DELAY_MS", "20");
    Some(Mock::start(python))
}

fn url(mock: &Mock, vendor: Vendor) -> String {
    let path = match vendor.name {
        "anthropic" => "/anthropic",
        "gemini" => "/gemini",
        _ => "/v1",
    };
    format!("{}{path}", mock.base)
}

async fn tell(mock: &Mock, behaviors: Vec<Value>) {
    let response = reqwest::Client::new()
        .post(format!("{}/_llmock/scenario", mock.base))
        .body(json!({ "behaviors": behaviors }).to_string())
        .send()
        .await
        .expect("answer");
    let status = response.status();
    assert!(status.is_success(), "{:?}", response.text().await);
}

/// What it thinks of us.
async fn verdict(mock: &Mock) -> Value {
    let response = reqwest::get(format!("{}/_llmock/verdict", mock.base)).await;
    let text = response.expect("answer").text().await.expect("text");
    serde_json::from_str(&text).expect("json")
}

/// With a model's name, each behaviour waits for its own request, so that all go at once.
fn behavior(mut how: Value, model: &str) -> Value {
    how["match"] = json!({ "model": model });
    how
}

/// How many events come before the second piece of the text.
fn events_before_half(vendor: Vendor) -> usize {
    match vendor.name {
        "openai" => 3,
        "responses" => 6,
        "anthropic" => 5,
        _ => 2,
    }
}

fn faults(vendor: Vendor) -> Vec<Fault> {
    use ErrorCode::*;
    let fail = |status: u16| json!({ "type": "fail", "status": status });
    let at = events_before_half(vendor);
    let stream = |kind: &str, at: usize| json!({ "type": "stream_fault", "kind": kind, "after_chunks": at, "stall_seconds": 20.0 });
    let slow = |seconds: f32| json!({ "type": "slow_first_token", "seconds": seconds });
    let limited = json!({ "type": "fail", "status": 429, "retry_after": 0.7 });
    vec![
        Fault::new("400", fail(400), Some(InvalidRequest)),
        Fault::new("401", fail(401), Some(Authentication)),
        Fault::new("403", fail(403), Some(Permission)),
        Fault::new("404", fail(404), Some(NotFound)),
        Fault::new("422", fail(422), Some(InvalidRequest)),
        Fault::new("429", limited, Some(RateLimited)),
        Fault::new("500", fail(500), Some(ProviderError)),
        Fault::new("502", fail(502), Some(ProviderError)),
        Fault::new("503", fail(503), Some(Overloaded)),
        Fault::new("529", fail(529), Some(Overloaded)),
        Fault::new("slow", slow(0.4), None),
        Fault::new("never", slow(20.0), Some(FirstTokenTimeout)),
        Fault::new("delay", json!({ "type": "delay", "seconds": 0.4 }), None),
        Fault::new("stall", stream("stall", at), Some(Stall)),
        Fault::new("disconnect", stream("disconnect", at), Some(Connection)),
        Fault::new(
            "disconnect-at-once",
            stream("disconnect", 0),
            Some(Connection),
        ),
        Fault::new("truncate", stream("truncate", at), Some(Truncated)),
        Fault::new("empty", stream("truncate", 0), Some(Truncated)),
        Fault::new("malformed", stream("malformed", at), Some(Malformed)),
    ]
}

async fn every_failure(way: Way) -> Option<(Mock, Value)> {
    let mock = start()?;
    tell(
        &mock,
        vec![json!({ "type": "reply", "text": TEXT, "times": null })],
    )
    .await;
    for vendor in ALL {
        let faults = faults(vendor);
        let how = faults
            .iter()
            .map(|fault| behavior(fault.how.clone(), &fault.model(vendor, way)));
        tell(&mock, how.collect()).await;
        check(vendor, way, &url(&mock, vendor), &faults).await;
    }
    let verdict = verdict(&mock).await;
    Some((mock, verdict))
}

#[tokio::test]
async fn llmock_finds_no_fault_with_what_is_tried_again() {
    let Some((_mock, verdict)) = every_failure(Way::Anew).await else {
        return;
    };
    assert_eq!(verdict["passed"], true, "{verdict:#}");
    assert_eq!(verdict["findings"], json!([]), "{verdict:#}");
    // Its count of calls is left alone: on a busy machine it sees late that its client has gone, and
    // takes the next attempt for another call.
    let attempts = |vendor| faults(vendor).iter().map(Fault::attempts).sum::<usize>();
    assert_eq!(
        verdict["attempts"],
        ALL.map(attempts).iter().sum::<usize>(),
        "{verdict:#}"
    );
}

#[tokio::test]
async fn llmock_sees_one_attempt_where_one_is_allowed_and_its_failure_is_said() {
    let Some((_mock, verdict)) = every_failure(Way::Alone).await else {
        return;
    };
    assert_eq!(verdict["calls"], verdict["attempts"], "{verdict:#}");
    // What it cannot see from outside: each of these ended as an error that a person reads.
    for finding in verdict["findings"].as_array().expect("a list") {
        let code = finding["code"].as_str().expect("a word");
        let known = [
            "truncated_stream_accepted",
            "malformed_chunk_ignored",
            "gave_up",
        ];
        assert!(known.contains(&code), "{finding:#}");
    }
}

#[tokio::test]
async fn llmock_calls_tools_and_the_arguments_are_whole() {
    let Some(mock) = start() else { return };
    let arguments = json!({ "city": "Zürich \"}{", "days": [1, 2, 3], "deep": { "a": null } });
    let call = json!({ "name": "weather", "arguments": arguments });
    let reply = json!({ "type": "reply", "text": TEXT, "tool_calls": [call, call], "times": null });
    tell(&mock, vec![reply]).await;
    join_all(ALL.map(async |vendor| {
        let providers = [("p".to_owned(), url(&mock, vendor))];
        let server = server(vendor, Way::Alone.recovery(), &providers).await;
        let answer = ask(&server, "p").await;
        assert_eq!(answer.status, Some(Status::Ok), "{}", vendor.name);
        assert_eq!(answer.visible_text(), TEXT, "{}", vendor.name);
        assert_eq!(
            tool_inputs(&answer),
            [arguments.clone(), arguments.clone()],
            "{}",
            vendor.name
        );
    }))
    .await;
}
