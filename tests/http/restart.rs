//! The server dies, in order or not, and nothing that was seen is lost.

use crate::harness::{PATIENCE, Process, read_on};
use futures::StreamExt;
use headwater_protocol::{ErrorCode, Event, Started, Status, chat::Answer};

/// Follows until there are `bytes` of text.
async fn read(process: &Process, started: &Started, bytes: u64) -> Answer {
    let mut seen = Answer::default();
    let mut frames = process.api.follow(started.run, 0).await;
    read_on(&mut frames, &mut seen, bytes).await;
    seen
}

#[tokio::test]
async fn kill_9_loses_nothing_that_was_seen_and_continue_makes_the_answer_whole() {
    let data = tempfile::tempdir().expect("folder");
    let first = Process::start(data.path(), &[]);
    let started = first.api.start("markdown", "Go").await;
    let seen = read(&first, &started, 120).await;
    first.kill();

    let second = Process::start(data.path(), &[]);
    let kept = second.api.fold(started.run).await;
    assert_eq!(kept.status, Some(Status::Interrupted));
    assert_eq!(
        kept.error.as_ref().map(|error| error.code),
        Some(ErrorCode::Interrupted)
    );
    assert!(kept.visible_text().starts_with(&seen.visible_text()));
    // The reader's cursor still works, on the other process.
    let mut resumed = seen;
    let mut rest = second.api.follow(started.run, resumed.seq).await;
    while let Some((seq, event)) = rest.next().await {
        resumed.apply(seq.unwrap_or(0), &event);
    }
    assert_eq!(resumed, kept);

    let more = second
        .api
        .again("continue", started.run)
        .await
        .expect("continues");
    assert_eq!(second.api.fold(more.run).await.status, Some(Status::Ok));
    let whole = second.api.load(&started).await.messages[1].visible_text();
    let control = second.api.start("markdown", "Go").await;
    assert_eq!(whole, second.api.fold(control.run).await.visible_text());
}

#[tokio::test]
async fn sigterm_lets_answers_end_within_the_grace_and_takes_no_new_ones() {
    let data = tempfile::tempdir().expect("folder");
    let mut process = Process::start(data.path(), &["--grace", "30"]);
    let started = process.api.start("markdown", "Go").await;
    let api = process.api.clone();
    let mut frames = api.follow(started.run, 0).await;
    let mut answer = Answer::default();
    let (mut terminated, mut told) = (false, false);
    while let Some((seq, event)) = frames.next().await {
        answer.apply(seq.unwrap_or(0), &event);
        told |=
            matches!(&event, Event::Ping { notice: Some(notice) } if notice.contains("restart"));
        if !terminated && answer.visible_length() > 50 {
            process.terminate();
            terminated = true;
        }
        if told {
            break;
        }
    }
    assert!(told, "readers are told");
    let (status, error) = api
        .try_start(&[("text", "x"), ("model", "scripted/hello")])
        .await
        .expect_err("draining");
    assert_eq!(
        (status.as_u16(), error.code),
        (503, ErrorCode::ShuttingDown)
    );
    while let Some((seq, event)) = frames.next().await {
        answer.apply(seq.unwrap_or(0), &event);
    }
    assert_eq!(
        answer.status,
        Some(Status::Ok),
        "the answer was finished first"
    );
    let ended = tokio::task::spawn_blocking(move || process.child.wait()).await;
    assert!(ended.expect("joined").expect("ended").success());
}

#[tokio::test]
async fn sigterm_interrupts_what_is_not_done_after_the_grace() {
    let data = tempfile::tempdir().expect("folder");
    let mut process = Process::start(data.path(), &["--grace", "0.2"]);
    let started = process.api.start("long", "Go").await;
    let api = process.api.clone();
    let mut seen = read(&process, &started, 50).await;
    process.terminate();
    let mut frames = api.follow(started.run, seen.seq).await;
    while let Some((seq, event)) = frames.next().await {
        seen.apply(seq.unwrap_or(0), &event);
    }
    assert_eq!(
        seen.status,
        Some(Status::Interrupted),
        "the reader hears of it"
    );
    let wait = tokio::task::spawn_blocking(move || process.child.wait());
    let ended = tokio::time::timeout(PATIENCE, wait)
        .await
        .expect("ends")
        .expect("joined");
    assert!(ended.expect("ended").success());
    let next = Process::start(data.path(), &[]);
    assert_eq!(next.api.fold(started.run).await, seen);
}

#[test]
fn ask_prints_the_answer_and_succeeds_only_for_a_whole_one() {
    let data = tempfile::tempdir().expect("folder");
    let ask = |model: &str| {
        crate::harness::program(data.path())
            .args(["ask", "--with", model, "Hello", "there"])
            .output()
            .expect("ran")
    };
    let whole = ask("scripted/echo");
    assert!(
        whole.status.success(),
        "{}",
        String::from_utf8_lossy(&whole.stderr)
    );
    assert_eq!(String::from_utf8_lossy(&whole.stdout), "Hello there\n");
    let cut = ask("scripted/cut");
    assert!(!cut.status.success());
    assert!(!cut.stdout.is_empty(), "what was written is printed");
    assert!(String::from_utf8_lossy(&cut.stderr).contains("without saying"));
    // With a server at work on the folder, the same command goes through it.
    let _server = Process::start(data.path(), &[]);
    assert_eq!(
        String::from_utf8_lossy(&ask("scripted/echo").stdout),
        "Hello there\n"
    );
}
