//! Streams: every way to read a run leads to the same text.

use crate::harness::{Api, Frame, InProcess, read_on, stored};
use futures::StreamExt;
use headwater_engine::packed::hash;
use headwater_protocol::{
    ErrorCode, Event, Status,
    chat::{Answer, Applied},
};
use std::time::Duration;

async fn record(api: &Api, run: headwater_protocol::RunId) -> Vec<Frame> {
    api.follow(run, 0).await.collect().await
}

#[tokio::test]
async fn the_stream_is_the_log_and_the_log_is_the_stored_text() {
    let server = InProcess::start().await;
    let started = server.api.start("markdown", "Show me Markdown.").await;
    let frames = record(&server.api, started.run).await;
    assert!(
        matches!(frames[0], (None, Event::Ping { .. })),
        "a ping comes before everything"
    );
    let mut answer = Answer::default();
    let mut finished = 0;
    for (seq, event) in &frames {
        if let Some(seq) = seq {
            assert_eq!(answer.apply(*seq, event), Applied::New);
        }
        finished += usize::from(event.is_terminal());
    }
    assert_eq!(finished, 1);
    assert!(frames.last().expect("frames").1.is_terminal());
    assert_eq!(answer.status, Some(Status::Ok));
    assert_eq!(answer.hash, hash(&answer.visible_text()));
    let loaded = server.api.load(&started).await;
    assert_eq!(loaded.messages[1].visible_text(), answer.visible_text());
    let log = stored(&server.engine, started.run).await;
    assert!(
        log.iter().zip(1..).all(|(entry, seq)| entry.seq == seq),
        "no gap"
    );
    assert_eq!(
        Answer::fold(log.iter().map(|entry| (entry.seq, &entry.event))),
        answer
    );
}

#[tokio::test]
async fn cut_after_every_single_frame_the_stream_resumes_to_the_same_message() {
    let server = InProcess::start().await;
    let started = server.api.start("hello", "Hello").await;
    let frames = record(&server.api, started.run).await;
    let whole = server.api.fold(started.run).await;
    assert!(frames.len() > 10);
    for cut in 0..=frames.len() {
        let mut answer = Answer::default();
        for (seq, event) in &frames[..cut] {
            answer.apply(seq.unwrap_or(0), event);
        }
        let mut rest = server.api.follow(started.run, answer.seq).await;
        while let Some((seq, event)) = rest.next().await {
            assert_ne!(
                answer.apply(seq.unwrap_or(0), &event),
                Applied::Gap,
                "cut {cut}"
            );
        }
        assert_eq!(answer, whole, "cut {cut}");
    }
}

#[tokio::test]
async fn while_it_runs_every_cursor_resumes_and_a_snapshot_replaces_the_history() {
    let server = InProcess::start().await;
    let started = server.api.start("long", "Go").await;
    // Joins at growing cursors of a run that is being written, dropping each connection.
    let mut answer = Answer::default();
    for _ in 0..12 {
        let mut frames = server.api.follow(started.run, answer.seq).await;
        for _ in 0..7 {
            let Some((seq, event)) = frames.next().await else {
                break;
            };
            assert_ne!(answer.apply(seq.unwrap_or(0), &event), Applied::Gap);
        }
    }
    let path = format!("/api/runs/events?run={}&snapshot=true", started.run);
    let mut frames = crate::harness::frames(server.api.get(&path).await);
    let mut late = Answer::default();
    while late.seq < answer.seq {
        let (seq, event) = frames.next().await.expect("a snapshot");
        late.apply(seq.unwrap_or(0), &event);
    }
    drop(frames);
    let stopped = server.api.stop(started.run, Some(answer.seq)).await;
    assert_eq!(stopped.length, answer.visible_length());
    let whole = server.api.fold(started.run).await;
    let mut rest = server.api.follow(started.run, answer.seq).await;
    while let Some((seq, event)) = rest.next().await {
        answer.apply(seq.unwrap_or(0), &event);
    }
    assert_eq!(answer, whole);
}

#[tokio::test]
async fn a_stop_keeps_exactly_what_the_reader_had_seen_and_the_next_message_works_at_once() {
    let server = InProcess::start().await;
    let started = server.api.start("long", "Go").await;
    let mut seen = Answer::default();
    let mut frames = server.api.follow(started.run, 0).await;
    read_on(&mut frames, &mut seen, 200).await;
    // The log goes on while the stop is under way.
    tokio::time::sleep(Duration::from_millis(200)).await;
    let stopped = server.api.stop(started.run, Some(seen.seq)).await;
    assert_eq!(stopped.length, seen.visible_length());
    assert!(!stopped.already_finished);
    println!("provider closed after {} ms", stopped.provider_closed_ms);
    let loaded = server.api.load(&started).await;
    assert_eq!(loaded.messages[1].visible_text(), seen.visible_text());
    assert_eq!(
        server.api.fold(started.run).await.status,
        Some(Status::Cancelled)
    );
    let next = server
        .api
        .try_start(&[
            ("text", "And now?"),
            ("conversation", &started.conversation.to_string()),
            ("parent", &started.message.to_string()),
            ("model", "scripted/hello"),
        ])
        .await
        .expect("the next message works at once");
    assert_eq!(server.api.fold(next.run).await.status, Some(Status::Ok));
    assert_eq!(
        server.api.load(&started).await.messages[1].visible_text(),
        seen.visible_text()
    );
}

#[tokio::test]
async fn one_client_id_starts_one_run_and_a_stale_tab_overwrites_nothing() {
    let server = InProcess::start().await;
    let form = [
        ("text", "Once"),
        ("model", "scripted/hello"),
        ("client_id", "abc"),
    ];
    let all = futures::future::join_all((0..8).map(|_| server.api.try_start(&form))).await;
    let first = all[0].as_ref().expect("started").clone();
    assert!(all.iter().all(|one| one.as_ref() == Ok(&first)));
    server.api.fold(first.run).await;
    let conversation = first.conversation.to_string();
    let turn = |parent: String| {
        let conversation = conversation.clone();
        let api = server.api.clone();
        async move {
            api.try_start(&[
                ("text", "More"),
                ("conversation", &conversation),
                ("parent", &parent),
                ("model", "scripted/hello"),
            ])
            .await
        }
    };
    let second = turn(first.message.to_string())
        .await
        .expect("the head is known");
    server.api.fold(second.run).await;
    let (status, error) = turn(first.message.to_string()).await.expect_err("stale");
    assert_eq!(
        (status.as_u16(), error.code),
        (409, headwater_protocol::ErrorCode::Conflict)
    );
    assert_eq!(server.api.load(&first).await.messages.len(), 4);
}

#[tokio::test]
async fn retry_makes_a_branch_and_continue_goes_on_in_the_same_message() {
    let server = InProcess::start().await;
    let started = server.api.start("cut", "Go").await;
    let cut = server.api.fold(started.run).await;
    assert_eq!(cut.status, Some(Status::Error));
    let more = server
        .api
        .again("continue", started.run)
        .await
        .expect("continues");
    assert_eq!(more.message, started.message);
    let rest = server.api.fold(more.run).await;
    assert_eq!(
        (rest.status, rest.continues),
        (Some(Status::Ok), Some(started.run))
    );
    let message = server.api.load(&started).await.messages.remove(1);
    assert_eq!(message.answers.len(), 2);
    assert_eq!(
        message.visible_text(),
        cut.visible_text() + &rest.visible_text()
    );
    let other = server.api.again("retry", more.run).await.expect("retries");
    assert_ne!(other.message, started.message);
    server.api.fold(other.run).await;
    let conversation = server.api.load(&started).await;
    assert_eq!(conversation.head(), Some(other.message));
    assert_eq!(
        conversation.messages[1].branches,
        [started.message, other.message]
    );
}

#[tokio::test]
async fn pings_come_before_the_first_token_and_old_connections_are_sent_back() {
    let server = InProcess::with(|config| {
        config.delivery.ping = Duration::from_millis(50);
        config.delivery.lifetime = Duration::from_millis(400);
    })
    .await;
    let started = server.api.start("silent", "Anybody?").await;
    let frames = record(&server.api, started.run).await;
    let pings = frames
        .iter()
        .filter(|(_, event)| matches!(event, Event::Ping { .. }))
        .count();
    assert!(pings >= 3, "{pings}");
    let Some((None, Event::GoingAway { reason, .. })) = frames.last() else {
        panic!("{:?}", frames.last());
    };
    assert_eq!(reason, "lifetime");
    server.api.stop(started.run, None).await;
    assert_eq!(
        server.api.fold(started.run).await.status,
        Some(Status::Cancelled)
    );
}

#[tokio::test]
async fn a_reader_that_does_not_read_slows_nobody_down() {
    let server = InProcess::start().await;
    let started = server.api.start("firehose", "Go").await;
    // Opened and left alone: its socket fills, and nothing else happens.
    let lazy = server
        .api
        .get(&format!("/api/runs/events?run={}", started.run))
        .await;
    let fast = server.api.fold(started.run).await;
    assert_eq!(fast.status, Some(Status::Ok));
    let mut slow = Answer::default();
    let mut frames = crate::harness::frames(lazy);
    while let Some((seq, event)) = frames.next().await {
        assert_ne!(slow.apply(seq.unwrap_or(0), &event), Applied::Gap);
    }
    assert_eq!(slow, fast);
}

#[tokio::test]
async fn padding_and_batches_hide_the_lengths_of_tokens_and_change_nothing_else() {
    let server = InProcess::with(|config| {
        config.delivery.padding = 128;
        config.delivery.batch = Duration::from_millis(200);
    })
    .await;
    let started = server.api.start("markdown", "Go").await;
    let address = format!("/api/runs/events?run={}", started.run);
    let mut pieces = Vec::new();
    let mut body = server.api.get(&address).await.bytes_stream();
    while let Some(piece) = body.next().await {
        pieces.push(String::from_utf8(piece.expect("a body").to_vec()).expect("UTF-8"));
    }
    let whole = pieces.concat();
    for frame in whole.split_inclusive("\n\n") {
        assert_eq!(frame.len() % 128, 0, "{frame:?}");
    }
    let mut answer = Answer::default();
    for part in headwater_engine::log::frame::parts(whole.as_bytes()) {
        let event: Event = serde_json::from_str(part.data).expect("an event");
        assert_ne!(answer.apply(part.id.unwrap_or(0), &event), Applied::Gap);
    }
    assert_eq!(answer, server.api.fold(started.run).await);
    let frames = whole.matches("\n\n").count();
    assert!(
        pieces.len() * 3 < frames,
        "{} pieces of {frames} frames",
        pieces.len()
    );
}

/// A tab that is behind may stop an answer that others have read further.
#[tokio::test]
async fn a_stop_takes_back_nothing_that_was_there_for_a_second() {
    let server = InProcess::with(|config| {
        let script = r#"
            [[scenario]]
            name = "pauses"
            steps = [{ text = "What others have read." }, { stall = true }]
        "#;
        config.script = Some(headwater_engine::config::Script::Text(script.into()));
    })
    .await;
    let started = server.api.start("pauses", "Go").await;
    let mut shown = Answer::default();
    let mut frames = server.api.follow(started.run, 0).await;
    read_on(&mut frames, &mut shown, 22).await;
    // The time that this is about.
    tokio::time::sleep(Duration::from_millis(1200)).await;
    server.api.stop(started.run, Some(0)).await;
    let answer = server.api.fold(started.run).await;
    assert_eq!(answer.visible_text(), "What others have read.");
}

#[tokio::test]
async fn only_the_last_answer_can_be_continued_and_only_it_is_offered() {
    let server = InProcess::start().await;
    let first = server.api.start("cut", "Go").await;
    server.api.fold(first.run).await;
    let conversation = first.conversation.to_string();
    let form = [
        ("text", "Again"),
        ("model", "scripted/cut"),
        ("conversation", &conversation),
    ];
    let last = server.api.try_start(&form).await.expect("started");
    server.api.fold(last.run).await;
    let page = server.api.get(&format!("/plain/{conversation}")).await;
    let page = page.text().await.expect("a page");
    assert_eq!(page.matches("/api/runs/continue").count(), 1);
    assert_eq!(page.matches("/api/runs/retry").count(), 2);
    let (status, error) = server
        .api
        .again("continue", first.run)
        .await
        .expect_err("it would hide what follows");
    assert_eq!((status.as_u16(), error.code), (409, ErrorCode::Conflict));
    assert_eq!(server.api.load(&first).await.messages.len(), 4);
    server.api.again("continue", last.run).await.expect("on");
}

#[tokio::test]
async fn server_timing_says_where_the_time_went() {
    let server = InProcess::start().await;
    let metrics = async |path: &str| {
        let response = server.api.get(path).await;
        let header = &response.headers()["server-timing"];
        let metrics = header.to_str().expect("text").split(", ");
        let metrics = metrics.map(|metric| {
            let (name, ms) = metric.split_once(";dur=").expect("a metric");
            (name.to_owned(), ms.parse::<f64>().expect("milliseconds"))
        });
        metrics.collect::<Vec<_>>()
    };
    let listed = metrics("/api/conversations/list").await;
    assert_eq!(listed.len(), 1);
    assert_eq!(listed[0].0, "request");
    let started = server.api.start("hello", "Hello").await;
    let answer = server.api.fold(started.run).await;
    let events = metrics(&format!("/api/runs/events?run={}", started.run)).await;
    let names: Vec<_> = events.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["headwater", "queue", "provider", "request"]);
    let first_token = answer.timing.and_then(|timing| timing.first_token);
    let sum: f64 = events[..3].iter().map(|(_, ms)| ms).sum();
    assert_eq!(Some(sum as u64), first_token);
}
