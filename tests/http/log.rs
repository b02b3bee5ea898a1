//! The log of a run with its times: as a stream of entries, and as a file.

use crate::harness::{InProcess, stored};
use headwater_protocol::{Entry, RunHead, RunId};

/// The entries of an event stream with `format=entries`.
fn entries(stream: &str) -> Vec<Entry> {
    let data = stream
        .lines()
        .filter_map(|line| line.strip_prefix("data:{\"seq\""));
    data.map(|rest| serde_json::from_str(&format!("{{\"seq\"{rest}")).expect("an entry"))
        .collect()
}

#[tokio::test]
async fn a_stream_of_entries_has_each_of_them_with_its_time() {
    let server = InProcess::start().await;
    let started = server.api.start("markdown", "Show me Markdown.").await;
    let address = format!("/api/runs/events?run={}&format=entries", started.run);
    // While it is written, and when it has ended: nothing is merged.
    let live = entries(&server.api.text(&address).await);
    let log = stored(&server.engine, started.run).await;
    assert!(log.len() > 100);
    assert_eq!(live, log);
    assert_eq!(entries(&server.api.text(&address).await), log);
    let rest = server.api.text(&format!("{address}&after=50")).await;
    assert_eq!(entries(&rest), log[50..]);
    assert!(rest.contains("id:51\n"));
    // With a filter, the beginning and the end are left.
    let filtered = server
        .api
        .text(&format!("{address}&include_kinds=tool"))
        .await;
    let ends = [log[0].clone(), log[log.len() - 1].clone()];
    assert_eq!(entries(&filtered), ends);
}

#[tokio::test]
async fn a_format_that_there_is_not_is_refused_with_those_that_there_are() {
    let server = InProcess::start().await;
    let started = server.api.start("hello", "Hello").await;
    let address = format!("/api/runs/events?run={}&format=xml", started.run);
    let refused = server.api.get(&address).await;
    assert_eq!(refused.status(), 400);
    let sentence = refused.text().await.expect("a body");
    assert!(sentence.contains("no format “xml”") && sentence.contains("entries"));
}

#[tokio::test]
async fn the_log_comes_as_a_file_of_lines() {
    let server = InProcess::start().await;
    let started = server.api.start("hello", "Hello").await;
    server.api.fold(started.run).await;
    let log = stored(&server.engine, started.run).await;
    let address = format!("/api/runs/log?run={}", started.run);
    let response = server.api.get(&address).await;
    assert_eq!(response.status(), 200);
    let header = |name: &str| response.headers()[name].to_str().expect("text").to_owned();
    assert_eq!(header("content-type"), "application/jsonl");
    assert_eq!(
        header("content-disposition"),
        format!("attachment; filename=\"run-{}.jsonl\"", started.run)
    );
    let lines = response.text().await.expect("a body");
    let read: Vec<Entry> = lines
        .lines()
        .map(|line| serde_json::from_str(line).expect("an entry"))
        .collect();
    assert_eq!(read, log);
    for (query, status) in [
        ("", 400),
        ("?run=x", 400),
        (&format!("?run={}", RunId::new()), 404),
    ] {
        let refused = server.api.get(&format!("/api/runs/log{query}")).await;
        assert_eq!(refused.status(), status, "{query}");
        assert!(refused.text().await.expect("a body").contains("message"));
    }
}

#[tokio::test]
async fn a_run_is_found_with_its_conversation_while_it_is_written_and_later() {
    let server = InProcess::start().await;
    let started = server.api.start("long", "A long one").await;
    let address = format!("/api/runs/find?run={}", started.run);
    let found = async || -> RunHead {
        let text = server.api.text(&address).await;
        serde_json::from_str(&text).expect("a run")
    };
    let running = found().await;
    assert_eq!(running.conversation, started.conversation);
    assert_eq!(running.model, "scripted/long");
    server.api.stop(started.run, None).await;
    assert_eq!(found().await, running);
    let unknown = format!("/api/runs/find?run={}", RunId::new());
    assert_eq!(server.api.get(&unknown).await.status(), 404);
    // The page of its inspector is there, and that of another run is not.
    let page = server.api.get(&format!("/runs/{}", started.run)).await;
    assert_eq!(page.status(), 200);
    let page = page.text().await.expect("a page");
    assert!(page.contains("class=\"inspector\"") && page.contains("/api/runs/log?run="));
    let nowhere = server.api.get(&format!("/runs/{}", RunId::new())).await;
    assert_eq!(nowhere.status(), 404);
    let nowhere = nowhere.text().await.expect("a page");
    assert!(!nowhere.contains("class=\"inspector\""), "{nowhere}");
}
