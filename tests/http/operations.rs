//! What the program says about itself on standard error, as whoever runs it reads it.

use crate::harness::{InProcess, Process, program};
use serde_json::Value;
use std::path::Path;

/// The program with a format and a filter for its log.
fn start(data: &Path, format: &str, filter: &str, arguments: &[&str]) -> Process {
    let mut program = program(data);
    program
        .env("HEADWATER_LOG_FORMAT", format)
        .env("HEADWATER_LOG", filter);
    Process::serve(program, arguments).unwrap_or_else(|why| panic!("did not start: {why}"))
}

/// Every line of a JSON log, with the fields that each of them has.
fn parsed(said: &str) -> Vec<Value> {
    let lines: Vec<Value> = said
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|why| panic!("{why}: {line}")))
        .collect();
    for line in &lines {
        for field in ["timestamp", "level", "target", "message"] {
            assert!(line[field].is_string(), "no {field}: {line}");
        }
    }
    lines
}

fn the_one<'a>(lines: &'a [Value], message: &str) -> &'a Value {
    let found: Vec<_> = lines
        .iter()
        .filter(|line| line["message"] == message)
        .collect();
    assert_eq!(found.len(), 1, "“{message}” in {lines:#?}");
    found[0]
}

#[tokio::test]
async fn a_json_log_tells_the_start_a_failure_with_its_cause_and_the_end() {
    let data = tempfile::tempdir().expect("folder");
    let process = start(data.path(), "json", "info", &["--grace", "0.2"]);
    let api = process.api.clone();
    let started = api.start("long", "Go").await;
    let mut frames = api.follow(started.run, 0).await;
    futures::StreamExt::next(&mut frames).await.expect("begun");
    // What is in order, or a mistake of whoever asks, is no line of its own.
    assert_eq!(api.get("/health").await.status(), 200);
    assert_eq!(api.get("/api/runs/events?run=7").await.status(), 400);
    // A fault that no request can be blamed for.
    let db = rusqlite::Connection::open(data.path().join("headwater.db")).expect("opens");
    db.execute_batch("DROP TABLE image").expect("dropped");
    let response = api.get("/api/images/confidential").await;
    assert_eq!(response.status(), 507);
    process.terminate();
    let said = process.has_said("\"stopped\"").await;

    let lines = parsed(&said);
    let start = the_one(&lines, "started");
    assert_eq!(start["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(start["address"], api.base.as_str());
    assert_eq!(start["data"], data.path().to_str().expect("text"));
    assert_eq!(start["providers"], "scripted,chain");
    let cause = the_one(&lines, "the database failed");
    assert_eq!(cause["level"], "ERROR");
    assert!(
        cause["cause"].to_string().contains("no such table"),
        "{cause}"
    );
    assert!(cause["at"].to_string().contains("images.rs"), "{cause}");
    let failed = the_one(&lines, "failed");
    assert_eq!(
        (&failed["level"], &failed["status"]),
        (&"WARN".into(), &507.into())
    );
    assert!(failed["latency_ms"].is_u64(), "{failed}");
    for line in [cause, failed] {
        assert_eq!(line["span"]["method"], "GET");
        assert_eq!(line["span"]["route"], "/api/images/{id}");
    }
    let stopped = the_one(&lines, "stopped");
    assert_eq!(stopped["interrupted"], 1);
    assert_eq!(
        lines
            .iter()
            .filter(|line| !line["span"]["method"].is_null())
            .count(),
        2,
        "no other request is seen: {lines:#?}"
    );
    assert!(!said.contains("confidential"), "{said}");
}

#[tokio::test]
async fn a_text_log_has_no_colours_in_a_file_and_no_texts_of_requests() {
    let data = tempfile::tempdir().expect("folder");
    let first = start(data.path(), "text", "info", &[]);
    let started = first.api.start("long", "Go").await;
    first.kill();

    let second = start(data.path(), "text", "info,headwater=debug", &[]);
    second.api.fold(started.run).await;
    second
        .api
        .get("/api/conversations/list?query=confidential")
        .await;
    second.api.get("/confidential").await;
    second
        .api
        .get(&format!("/c/{}", started.conversation))
        .await;
    let said = second.has_said("route=\"/c/{id}\"").await;
    assert!(said.contains("closed=1"), "recovery is told: {said}");
    assert!(
        said.contains("request{method=GET route=\"/api/conversations/list\"}"),
        "{said}"
    );
    assert!(said.contains("answered status=200 latency_ms="), "{said}");
    for absent in [
        "\u{1b}",
        "confidential",
        &started.run.to_string(),
        &started.conversation.to_string(),
    ] {
        assert!(!said.contains(absent), "{absent:?} is in {said}");
    }
}

#[test]
fn a_refusal_to_start_is_a_line_of_the_log_that_was_chosen() {
    let data = tempfile::tempdir().expect("folder");
    let first = start(data.path(), "text", "info", &[]);
    let mut second = program(data.path());
    second.args(["--log-format", "json"]);
    let why = Process::serve(second, &[]).err().expect("refused");
    let lines = parsed(&why);
    assert_eq!(lines.len(), 1, "{why}");
    assert_eq!(lines[0]["level"], "ERROR");
    assert!(why.contains("Another Headwater"), "{why}");
    drop(first);
    let wrong = Process::try_start(data.path(), &["--log-format", "xml"]).err();
    let wrong = wrong.expect("refused");
    assert!(wrong.contains("text") && wrong.contains("json"), "{wrong}");
}

#[tokio::test]
async fn metrics_count_the_tokens_and_times_of_every_model() {
    let server = InProcess::start().await;
    for scenario in ["hello", "hello", "error-before-auth"] {
        let started = server.api.start(scenario, "Hello").await;
        server.api.fold(started.run).await;
    }
    server.engine.observed().await;
    let text = server.api.text("/metrics").await;
    let model = |name| {
        format!(
            "gen_ai_operation_name=\"chat\",gen_ai_provider_name=\"scripted\",\
             gen_ai_request_model=\"{name}\""
        )
    };
    let (hello, failed) = (model("hello"), model("error-before-auth"));
    for line in [
        format!("gen_ai_client_token_usage_count{{{hello},gen_ai_token_type=\"output\"}} 2"),
        format!("gen_ai_client_operation_duration_seconds_count{{{hello}}} 2"),
        format!("gen_ai_client_operation_time_to_first_chunk_seconds_count{{{hello}}} 2"),
        format!(
            "gen_ai_client_operation_duration_seconds_count{{{failed},error_type=\"authentication\"}} 1"
        ),
        "headwater_runs_total{status=\"ok\"} 2".to_owned(),
        "headwater_runs_total{status=\"error\"} 1".to_owned(),
    ] {
        assert!(text.lines().any(|one| one == line), "{line}\n{text}");
    }
}
