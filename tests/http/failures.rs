//! Whatever a provider does, the run ends once, says why, and keeps what was written.

use crate::harness::InProcess;
use headwater_protocol::{ErrorCode, Status};
use std::time::Duration;

async fn check(scenario: &str, code: ErrorCode, keeps_text: bool) {
    let server = InProcess::with(|config| {
        config.deadlines.first_token = Duration::from_millis(400);
        config.deadlines.between_tokens = Duration::from_millis(400);
    })
    .await;
    let started = server.api.start(scenario, "Go").await;
    let answer = server.api.fold(started.run).await;
    assert_eq!(answer.status, Some(Status::Error), "{scenario}");
    let error = answer.error.as_ref().expect("an error");
    assert_eq!(error.code, code, "{scenario}: {error}");
    assert!(error.message.ends_with('.'), "a sentence: {error}");
    assert_eq!(answer.visible_length() > 0, keeps_text, "{scenario}");
    let loaded = server.api.load(&started).await;
    assert_eq!(loaded.messages[1].visible_text(), answer.visible_text());
    // The conversation goes on.
    let again = server
        .api
        .again("retry", started.run)
        .await
        .expect("can be tried again");
    server.api.stop(again.run, None).await;
}

#[tokio::test]
async fn silence_before_the_first_token_is_a_timeout() {
    check("silent", ErrorCode::FirstTokenTimeout, false).await;
}

#[tokio::test]
async fn silence_in_mid_answer_is_a_stall() {
    check("stall", ErrorCode::Stall, true).await;
}

#[tokio::test]
async fn an_end_without_a_reason_is_truncated_and_never_a_success() {
    check("cut", ErrorCode::Truncated, true).await;
}

#[tokio::test]
async fn a_panic_of_the_provider_fails_its_run_and_nothing_else() {
    check("panic", ErrorCode::Internal, true).await;
}

#[tokio::test]
async fn an_error_after_the_first_token_keeps_the_text() {
    let server = InProcess::start().await;
    let started = server.api.start("error-after", "Go").await;
    let answer = server.api.fold(started.run).await;
    assert_eq!(answer.status, Some(Status::Error));
    assert!(answer.error.is_some() && answer.visible_length() > 0);
}
