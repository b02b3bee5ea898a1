//! Chains: followed, and shown as what they are, like any answer.

use crate::harness::Process;
use futures::StreamExt;
use headwater_protocol::{Error, Event, SpanKind, Status};
use std::collections::HashMap;

/// The spans of a stream: parent, kind, name and end.
fn spans(events: &[Event]) -> Vec<(u32, SpanKind, String, Status)> {
    let ends: HashMap<_, _> = events
        .iter()
        .filter_map(|event| match event {
            Event::SpanFinished { span, status, .. } => Some((*span, *status)),
            _ => None,
        })
        .collect();
    let began = events.iter().filter_map(|event| match event {
        Event::SpanStarted {
            span,
            parent,
            kind,
            name,
            ..
        } => Some((parent.unwrap_or(0), *kind, name.clone(), ends[span])),
        _ => None,
    });
    began.collect()
}

#[tokio::test]
async fn the_demonstration_shows_all_that_a_chain_may_contain() {
    use SpanKind::{Chain, ChatModel, Parser, Prompt, Retriever, Tool};
    use Status::{Error, Ok};
    let data = tempfile::tempdir().expect("folder");
    let server = Process::start(data.path(), &["--script", "builtin", "--attempts", "3"]);
    let form = [("text", "Greet me."), ("model", "chain/demo")];
    let started = server.api.try_start(&form).await.expect("started");
    let answer = server.api.fold(started.run).await;
    assert_eq!(answer.status, Some(Ok), "{:?}", answer.error);
    assert!(
        answer.visible_text().starts_with("Hello! I am a script"),
        "the longer one, once: {}",
        answer.visible_text()
    );
    let loaded = server.api.load(&started).await;
    assert_eq!(loaded.messages[1].visible_text(), answer.visible_text());

    let frames = server.api.follow(started.run, 0).await;
    let events: Vec<Event> = frames.map(|(_, event)| event).collect().await;
    let spans = spans(&events);
    let expected = [
        (0, Chain, "chain/demo", Ok),
        (1, Chain, "greet", Ok),
        (2, Retriever, "notes", Ok),
        (2, Chain, "parallel", Ok),
        (4, Tool, "calculator", Ok),
        (4, Tool, "forecast", Error),
        (4, Tool, "almanac", Ok),
        (2, Prompt, "ask", Ok),
        (2, Chain, "parallel", Ok),
        (9, ChatModel, "scripted/hello", Ok),
        (9, ChatModel, "scripted/flaky", Error),
        (9, ChatModel, "scripted/flaky", Error),
        (9, ChatModel, "scripted/flaky", Ok),
        (2, Parser, "longer", Ok),
    ];
    let spans = spans
        .iter()
        .map(|(parent, kind, name, status)| (*parent, *kind, name.as_str(), *status));
    assert_eq!(spans.collect::<Vec<_>>(), expected);
    let named = |wanted: &str| {
        let custom = |event: &&Event| matches!(event, Event::Custom { name, .. } if name == wanted);
        events.iter().filter(custom).count()
    };
    assert_eq!((named("searched"), named("progress")), (1, 1));
}

#[tokio::test]
async fn no_chain_continues_an_answer() {
    let data = tempfile::tempdir().expect("folder");
    let server = Process::start(data.path(), &["--script", "builtin"]);
    let form = [("text", "Greet me."), ("model", "chain/demo")];
    let started = server.api.try_start(&form).await.expect("started");
    server.api.stop(started.run, None).await;
    let (status, error): (_, Error) = server
        .api
        .again("continue", started.run)
        .await
        .expect_err("refused");
    assert_eq!(status, 409);
    assert!(error.message.contains("chain"), "{error}");
}
