//! What the engine mends by itself: the person sees a pause or a seam, never an error that passed.

use crate::harness::{InProcess, ends_once, stored};
use headwater_engine::Config;
use headwater_engine::{
    config::Script,
    runs::recovery::{OnBreak, Recovery},
};
use headwater_protocol::{ErrorCode, Event, Stage, Status, chat::Answer};
use std::time::{Duration, Instant};

async fn server(change: impl FnOnce(&mut Config)) -> InProcess {
    InProcess::with(|config| {
        config.recovery = Recovery {
            pause: Duration::from_millis(20),
            ..Recovery::default()
        };
        config.deadlines.first_token = Duration::from_millis(500);
        config.deadlines.between_tokens = Duration::from_millis(300);
        change(config);
    })
    .await
}

fn script(text: &str) -> Option<Script> {
    Some(Script::Text(text.to_owned()))
}

async fn ask(server: &InProcess, scenario: &str) -> Answer {
    let started = server.api.start(scenario, "Go").await;
    let answer = server.api.fold(started.run).await;
    let loaded = server.api.load(&started).await;
    assert_eq!(loaded.messages[1].visible_text(), answer.visible_text());
    ends_once(&server.engine, started.run).await;
    answer
}

#[tokio::test]
async fn what_passes_by_itself_is_a_countdown_and_no_error() {
    let server = server(|_| {}).await;
    let started = server.api.start("flaky", "Go").await;
    let answer = server.api.fold(started.run).await;
    assert_eq!(answer.status, Some(Status::Ok));
    assert_eq!(answer.error, None);
    assert_eq!(
        answer.visible_text(),
        "The third attempt went through, and nobody had to press anything."
    );
    let statuses: Vec<_> = answer.spans.iter().map(|span| span.status).collect();
    let superseded = Some(Status::Superseded);
    assert_eq!(statuses, [superseded, superseded, Some(Status::Ok)]);
    let log = stored(&server.engine, started.run).await;
    let pauses: Vec<(u64, u32, ErrorCode)> = log
        .iter()
        .filter_map(|entry| match &entry.event {
            Event::Progress {
                stage:
                    Stage::Retrying {
                        in_ms,
                        attempt,
                        error,
                    },
                ..
            } => Some((*in_ms, *attempt, error.code)),
            _ => None,
        })
        .collect();
    // The provider asked for a second each time.
    let limited = ErrorCode::RateLimited;
    assert_eq!(pauses, [(1000, 2, limited), (1000, 3, limited)]);
}

#[tokio::test]
async fn what_does_not_pass_is_said_after_three_attempts() {
    let server = server(|_| {}).await;
    let answer = ask(&server, "error-before-overloaded").await;
    assert_eq!(answer.status, Some(Status::Error));
    assert_eq!(answer.spans.len(), 3);
    assert_eq!(
        answer.error.map(|error| error.code),
        Some(ErrorCode::Overloaded)
    );
    // A wrong key is not tried again.
    let answer = ask(&server, "error-before-auth").await;
    assert_eq!(answer.spans.len(), 1);
}

#[tokio::test]
async fn a_broken_answer_is_continued_once_with_a_seam() {
    let server = server(|_| {}).await;
    for scenario in ["cut", "stall", "error-after"] {
        let answer = ask(&server, scenario).await;
        assert_eq!(answer.status, Some(Status::Ok), "{scenario}");
        assert_eq!(answer.spans[0].status, Some(Status::Error), "{scenario}");
        let seams = (0..answer.blocks.len()).filter(|at| answer.is_seam(*at));
        assert_eq!(seams.count(), 1, "{scenario}");
        let text = answer.visible_text();
        assert!(text.starts_with("This ") && text.ends_with('.'), "{text}");
        assert!(!text.contains("  "), "nothing is there twice: {text}");
    }
}

#[tokio::test]
async fn a_model_that_cannot_continue_is_asked_in_words_and_its_repetition_removed() {
    let server = server(|config| {
        config.script = script(
            r#"
            [[scenario]]
            name = "forgetful"
            steps = [
                { text = "The river ran down to " },
                { end = "silent", times = 1 },
                { end = "stop" },
            ]
            [[scenario]]
            name = "repeats"
            steps = [
                { text = "ran down to the sea." },
                { end = "stop" },
            ]
            "#,
        );
    })
    .await;
    // The second attempt of this scenario says its text anew, which is all a repetition.
    let answer = ask(&server, "forgetful").await;
    assert_eq!(answer.status, Some(Status::Ok));
    assert_eq!(answer.visible_text(), "The river ran down to ");
}

#[tokio::test]
async fn the_policy_may_be_to_begin_anew_or_to_stop() {
    let anew = server(|config| config.recovery.on_break = OnBreak::Restart).await;
    let answer = ask(&anew, "cut").await;
    // It breaks off again, and once is all.
    assert_eq!(answer.status, Some(Status::Error));
    assert_eq!(answer.spans.len(), 2);
    assert_eq!(answer.spans[0].status, Some(Status::Superseded));
    assert_eq!(
        answer.visible_text(),
        "This is the first half of the answer, and here the line "
    );
    let stop = server(|config| config.recovery.on_break = OnBreak::Stop).await;
    let answer = ask(&stop, "cut").await;
    assert_eq!(answer.status, Some(Status::Error));
    assert_eq!(answer.spans.len(), 1);
}

#[tokio::test]
async fn after_one_continuation_it_is_the_persons_decision() {
    let server = server(|config| {
        config.script = script(
            r#"
            prefill = true
            [[scenario]]
            name = "twice"
            steps = [
                { text = "One. " },
                { end = "silent" },
                { text = "Two. " },
                { end = "silent", again = true },
                { text = "Three." },
            ]
            "#,
        );
    })
    .await;
    let answer = ask(&server, "twice").await;
    assert_eq!(answer.status, Some(Status::Error));
    assert_eq!(answer.visible_text(), "One. Two. ");
    assert_eq!(
        answer.error.map(|error| error.code),
        Some(ErrorCode::Truncated)
    );
}

#[tokio::test]
async fn the_next_model_answers_where_the_first_one_cannot() {
    let server = server(|config| {
        config.fallback = vec![
            "scripted/error-before-quota".into(),
            "scripted/hello".into(),
        ];
    })
    .await;
    let answer = ask(&server, "error-before-auth").await;
    assert_eq!(answer.status, Some(Status::Ok));
    assert_eq!(answer.model, "scripted/error-before-auth");
    assert_eq!(answer.answered_by(), "scripted/hello");
    assert_eq!(answer.spans.len(), 3);
    assert!(answer.visible_length() > 0);
}

#[tokio::test]
async fn an_empty_but_complete_answer_is_no_failure() {
    let server = server(|config| {
        config.script = script("[[scenario]]\nname = \"empty\"\nsteps = [{ end = \"stop\" }]");
    })
    .await;
    let answer = ask(&server, "empty").await;
    assert_eq!(answer.status, Some(Status::Ok));
    assert_eq!((answer.spans.len(), answer.visible_length()), (1, 0));
}

#[tokio::test]
async fn a_stop_in_a_pause_ends_the_run_at_once() {
    let server = server(|config| {
        config.recovery.pause = Duration::from_secs(20);
    })
    .await;
    let started = server.api.start("error-before-overloaded", "Go").await;
    let waiting = async {
        loop {
            let answer = server
                .api
                .load(&started)
                .await
                .messages
                .remove(1)
                .answers
                .remove(0);
            if let Some(stage) = answer.stage
                && matches!(stage.stage, Stage::Retrying { .. })
            {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), waiting)
        .await
        .expect("a pause");
    let since = Instant::now();
    let stopped = server.api.stop(started.run, None).await;
    assert!(!stopped.already_finished);
    assert!(since.elapsed() < Duration::from_secs(5));
    let answer = server.api.fold(started.run).await;
    assert_eq!(answer.status, Some(Status::Cancelled));
}

const HARE_AND_TORTOISE: &str = r#"
    [[scenario]]
    name = "slow"
    steps = [{ connected = true }, { wait_ms = 4000 }, { text = "slow" }]
    [[scenario]]
    name = "fast"
    steps = [{ text = "fast" }]
    [[scenario]]
    name = "broken"
    steps = [{ connected = true }, { wait_ms = 50 }, { error = { code = "authentication" } }]
"#;

/// As if every answer of these models had come within this time so far.
fn used_to(server: &InProcess, model: &str, wait: Duration) {
    for _ in 0..20 {
        server.engine.registry.health.waited(model, wait);
    }
}

#[tokio::test]
async fn a_slow_model_gets_a_rival_and_the_first_that_speaks_is_kept() {
    let server = server(|config| {
        config.script = script(HARE_AND_TORTOISE);
        config.recovery.hedge = true;
        config.deadlines.first_token = Duration::from_secs(10);
        config.fallback = vec!["scripted/fast".into()];
    })
    .await;
    // Until it is known what is usual, nobody else is asked.
    let answer = ask(&server, "slow").await;
    assert_eq!(
        (answer.visible_text().as_str(), answer.spans.len()),
        ("slow", 1)
    );
    used_to(&server, "scripted/slow", Duration::from_millis(100));
    let answer = ask(&server, "slow").await;
    assert_eq!(answer.visible_text(), "fast");
    assert_eq!(answer.answered_by(), "scripted/fast");
    assert_eq!(answer.spans[0].status, Some(Status::Superseded));
    // Both have cost something.
    let usage = answer.spans.iter().map(|span| span.usage);
    assert!(
        usage
            .clone()
            .all(|usage| usage.input > 0 || usage.estimated)
    );
    let sum = usage.fold(Default::default(), headwater_protocol::Usage::plus);
    assert_eq!(answer.usage, sum);
}

#[tokio::test]
async fn a_rival_that_fails_harms_nobody() {
    let server = server(|config| {
        config.script = script(HARE_AND_TORTOISE);
        config.recovery.hedge = true;
        config.deadlines.first_token = Duration::from_secs(10);
        config.fallback = vec!["scripted/broken".into()];
    })
    .await;
    used_to(&server, "scripted/slow", Duration::from_millis(100));
    let answer = ask(&server, "slow").await;
    assert_eq!(answer.status, Some(Status::Ok));
    assert_eq!(answer.visible_text(), "slow");
    assert_eq!(answer.spans[1].status, Some(Status::Error));
}

#[tokio::test]
async fn a_rival_that_tells_without_end_and_says_nothing_has_lost() {
    let server = server(|config| {
        let chatty = r#"
            [[scenario]]
            name = "chatty"
            steps = [{ repeat = 1000, steps = [{ usage = { input = 1 } }] }, { text = "chatty" }]
        "#;
        config.script = script(&[HARE_AND_TORTOISE, chatty].concat());
        config.recovery.hedge = true;
        config.deadlines.first_token = Duration::from_secs(10);
        config.fallback = vec!["scripted/chatty".into()];
    })
    .await;
    used_to(&server, "scripted/slow", Duration::from_millis(100));
    let answer = ask(&server, "slow").await;
    assert_eq!(answer.visible_text(), "slow");
    assert_eq!(answer.spans[1].status, Some(Status::Error));
}

#[tokio::test]
async fn a_provider_that_fails_again_and_again_is_asked_less_and_that_is_shown() {
    let server = server(|_| {}).await;
    let answer = ask(&server, "error-before-overloaded").await;
    assert_eq!(answer.spans.len(), 3);
    let state = server.engine.catalog().await.providers.remove(0);
    assert!(state.circuit_open_s.is_some_and(|seconds| seconds > 0));
    assert!(
        state
            .problem
            .is_some_and(|problem| problem.contains("too much"))
    );
    // One attempt only, but the person's wish is tried.
    let answer = ask(&server, "error-before-overloaded").await;
    assert_eq!(answer.spans.len(), 1);
    let answer = ask(&server, "hello").await;
    assert_eq!(answer.status, Some(Status::Ok));
    assert_eq!(server.engine.catalog().await.providers[0].problem, None);
}

/// What is held back, to be compared with what it goes on from, ends with its block.
#[tokio::test]
async fn a_continuation_of_several_blocks_keeps_their_order_and_has_one_seam() {
    let server = server(|config| {
        config.script = script(
            r#"
            prefill = false
            [[scenario]]
            name = "blocks"
            steps = [
                { text = "Some words here, " },
                { reasoning = "Hm." },
                { text = "and more. " },
                { end = "silent", times = 1 },
                { text = "That is all." },
            ]
            "#,
        );
    })
    .await;
    let answer = ask(&server, "blocks").await;
    assert_eq!(answer.status, Some(Status::Ok));
    let again = "Some words here, and more. ";
    assert_eq!(
        answer.visible_text(),
        format!("{again}{again}That is all."),
        "not a repetition of the end, so all of it stands, in its order"
    );
    let seams = (0..answer.blocks.len()).filter(|at| answer.is_seam(*at));
    assert_eq!(seams.count(), 1);
    assert!(answer.blocks.iter().all(|block| !block.text.is_empty()));
}

#[tokio::test]
async fn a_block_that_only_repeats_leaves_no_trace() {
    let server = server(|config| {
        config.script = script(
            r#"
            prefill = false
            [[scenario]]
            name = "repeats"
            steps = [
                { text = "Some words here." },
                { end = "silent", times = 1 },
                { reasoning = "Hm." },
                { text = " That is all." },
            ]
            "#,
        );
    })
    .await;
    let answer = ask(&server, "repeats").await;
    assert_eq!(answer.visible_text(), "Some words here. That is all.");
    let seams = (0..answer.blocks.len()).filter(|at| answer.is_seam(*at));
    assert_eq!(seams.count(), 1);
    assert!(answer.blocks.iter().all(|block| !block.text.is_empty()));
}
