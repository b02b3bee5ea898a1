//! Clients that none of us wrote follow a run to its end, through broken and resumed connections.

use crate::{
    harness::InProcess,
    mocks::{node, output, python},
};
use headwater_protocol::{
    Event,
    chat::{Answer, Applied},
};
use std::{path::Path, process::Command, time::Duration};

fn script(name: &str) -> std::path::PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("end2end/foreign");
    folder.join(name)
}

/// Lets a client follow a run that is being written, and folds what it prints.
async fn follows(mut program: Command) {
    let server = InProcess::with(|config| {
        // Clients that come back by themselves have to.
        config.delivery.lifetime = Duration::from_millis(400);
    })
    .await;
    let started = server.api.start("markdown", "Go").await;
    let run = started.run.to_string();
    program.args([&server.api.base, &run]);
    let printed = tokio::task::spawn_blocking(move || output(program));
    let printed = printed.await.expect("the client ends");
    let printed = String::from_utf8(printed).expect("text");
    let whole = server.api.fold(started.run).await;
    let mut answer = Answer::default();
    let mut entries = 0;
    for line in printed.lines() {
        let (seq, data): (u64, String) = serde_json::from_str(line).expect("an entry");
        let event: Event = serde_json::from_str(&data).expect("an event");
        assert_eq!(answer.apply(seq, &event), Applied::New, "entry {seq}");
        entries += 1;
    }
    // On a busy machine most deltas come merged; there are still enough for more than one connection.
    assert!(entries > 8, "{entries}");
    assert_eq!(answer, whole);
}

#[tokio::test(flavor = "multi_thread")]
async fn eventsource_of_npm() {
    if let Some(program) = node(&script("eventsource.mjs"), "eventsource") {
        follows(program).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ws_of_npm() {
    if let Some(program) = node(&script("ws.mjs"), "ws") {
        follows(program).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn httpx_sse_of_pypi() {
    if let Some(mut program) = python() {
        program.arg(script("httpx_sse_client.py"));
        follows(program).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn websockets_of_pypi() {
    if let Some(mut program) = python() {
        program.arg(script("websockets_client.py"));
        follows(program).await;
    }
}
