//! AIMock from npm: another one's idea of how the vendors answer and fail.

use crate::{
    asking::{Way, ask, server},
    mocks::{Fault, Mock, TEXT, check, node, node_modules, tool_inputs},
    vendors::{ALL, Vendor},
};
use headwater_protocol::{BlockKind, ErrorCode, FinishReason, Status};
use serde_json::{Value, json};
use tempfile::TempDir;

fn start(fixtures: Vec<Value>) -> Option<(Mock, TempDir)> {
    const PACKAGE: &str = "@copilotkit/aimock";
    let script = node_modules().join(PACKAGE).join("dist/cli.js");
    let mut node = node(&script, PACKAGE)?;
    let folder = tempfile::tempdir().expect("folder");
    let file = folder.path().join("answers.json");
    let text = json!({ "fixtures": fixtures }).to_string();
    std::fs::write(&file, text).expect("written");
    node.args([
        "--host",
        "127.0.0.1",
        "--port",
        "0",
        "--strict",
        "--fixtures",
    ]);
    node.arg(file);
    Some((Mock::start(node), folder))
}

fn url(mock: &Mock, vendor: Vendor) -> String {
    let path = match vendor.name {
        "anthropic" | "gemini" => "",
        _ => "/v1",
    };
    format!("{}{path}", mock.base)
}

fn faults() -> Vec<Fault> {
    use ErrorCode::*;
    let status =
        |status: u16| json!({ "response": { "status": status, "error": { "message": "No." } } });
    let chaos = |what: &str| json!({ "chaos": { what: 1 } });
    vec![
        Fault::new("400", status(400), Some(InvalidRequest)),
        Fault::new("401", status(401), Some(Authentication)),
        Fault::new("429", status(429), Some(RateLimited)),
        Fault::new("500", status(500), Some(ProviderError)),
        Fault::new("503", status(503), Some(Overloaded)),
        Fault::new("529", status(529), Some(Overloaded)),
        Fault::new("drop", chaos("dropRate"), Some(ProviderError)),
        Fault::new("limit", chaos("rateLimitRate"), Some(RateLimited)),
        Fault::new("vanish", chaos("disconnectRate"), Some(Connection)),
        Fault::new("malformed", chaos("malformedRate"), Some(Malformed)),
        Fault::new("delay", json!({ "chaos": { "latencyMs": 400 } }), None),
        Fault::new(
            "slow",
            json!({ "streamingProfile": { "ttft": 400, "tps": 200 } }),
            None,
        ),
        Fault::new(
            "never",
            json!({ "streamingProfile": { "ttft": 20_000, "tps": 200 } }),
            Some(FirstTokenTimeout),
        ),
        Fault::new(
            "cut",
            json!({ "truncateAfterChunks": 6, "latency": 10 }),
            Some(Connection),
        ),
        Fault::new(
            "cut-at-once",
            json!({ "truncateAfterChunks": 1, "latency": 10 }),
            Some(Connection),
        ),
        Fault::new(
            "disconnect",
            json!({ "disconnectAfterMs": 70, "latency": 20 }),
            Some(Connection),
        ),
        // In threes it does not cut between the two halves of a character of JavaScript.
        Fault::new("small-pieces", json!({ "chunkSize": 3 }), None),
    ]
}

/// Fails the first time, and answers after that.
fn fixtures(fault: &Fault, model: &str) -> [Value; 2] {
    let mut first = json!({
        "match": { "model": model, "sequenceIndex": 0 },
        "response": { "content": TEXT },
        "chunkSize": 6,
    });
    let fields = fault.how.as_object().expect("an object").clone();
    first.as_object_mut().expect("an object").extend(fields);
    let then = json!({ "match": { "model": model }, "response": { "content": TEXT } });
    [first, then]
}

async fn every_failure(way: Way) {
    let faults = faults();
    let all = ALL.iter().flat_map(|vendor| {
        faults
            .iter()
            .flat_map(|fault| fixtures(fault, &fault.model(*vendor, way)))
    });
    let Some((mock, _folder)) = start(all.collect()) else {
        return;
    };
    for vendor in ALL {
        check(vendor, way, &url(&mock, vendor), &faults).await;
    }
}

#[tokio::test]
async fn failures_of_aimock_are_mended_by_another_attempt() {
    every_failure(Way::Anew).await;
}

#[tokio::test]
async fn failures_of_aimock_are_said_where_one_attempt_is_allowed() {
    every_failure(Way::Alone).await;
}

#[tokio::test]
async fn answers_of_aimock_are_understood_in_all_their_parts() {
    let arguments = json!({ "city": "Zürich \"}{", "days": [1, 2, 3] });
    let call = json!({ "name": "weather", "arguments": arguments });
    let answers = vec![
        json!({ "match": { "model": "tools" }, "chunkSize": 3, "response": { "content": TEXT, "toolCalls": [call, call] } }),
        json!({ "match": { "model": "thinks" }, "response": { "content": TEXT, "reasoning": "Let me see." } }),
        json!({ "match": { "model": "long" }, "response": { "content": TEXT, "finishReason": "length" } }),
    ];
    let Some((mock, _folder)) = start(answers) else {
        return;
    };
    for vendor in ALL {
        let providers =
            ["tools", "thinks", "long"].map(|name| (name.to_owned(), url(&mock, vendor)));
        let server = server(vendor, Way::Alone.recovery(), &providers).await;
        let answer = ask(&server, "tools").await;
        assert_eq!(
            (answer.status, answer.visible_text().as_str()),
            (Some(Status::Ok), TEXT)
        );
        assert_eq!(
            tool_inputs(&answer),
            [arguments.clone(), arguments.clone()],
            "{}",
            vendor.name
        );
        let answer = ask(&server, "thinks").await;
        assert_eq!(
            (answer.status, answer.visible_text().as_str()),
            (Some(Status::Ok), TEXT)
        );
        let blocks = answer.blocks.iter();
        let thoughts = blocks.filter(|block| block.kind == BlockKind::Reasoning);
        let thoughts: String = thoughts.map(|block| block.text.as_str()).collect();
        assert_eq!(thoughts, "Let me see.", "{}", vendor.name);
        let answer = ask(&server, "long").await;
        assert_eq!(
            (answer.status, answer.visible_text().as_str()),
            (Some(Status::Ok), TEXT)
        );
        let reason = answer.finish().map(|finish| finish.reason);
        // For Responses it says that the answer is incomplete, and not why.
        let expected = match vendor.name {
            "responses" => FinishReason::Other,
            _ => FinishReason::Length,
        };
        assert_eq!(reason, Some(expected), "{}", vendor.name);
    }
}
