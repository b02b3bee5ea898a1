//! `/health`, `/ready` and `/metrics`.

use super::status;
use axum::{
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use headwater_engine::Engine;
use headwater_protocol::Error;
use std::sync::Arc;

/// `GET /health`: the process answers.
pub async fn health() -> &'static str {
    "ok\n"
}

/// `GET /ready`: whether the server takes new messages. It does not while it shuts down or while its log
/// cannot be written; the response is then 503 with an error that says why.
pub async fn ready(State(engine): State<Arc<Engine>>) -> Response {
    match engine.ready() {
        Ok(()) => "ready\n".into_response(),
        Err(why) => not_ready(&why),
    }
}

/// Load balancers expect 503, whatever the reason is.
fn not_ready(why: &Error) -> Response {
    let mut response = status::answer(why, false);
    *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    response
}

/// `GET /metrics`: gauges in the
/// [Prometheus text format](https://prometheus.io/docs/instrumenting/exposition_formats/).
pub async fn metrics(State(engine): State<Arc<Engine>>) -> impl IntoResponse {
    let running = engine.log.running().len();
    let trouble = u8::from(engine.log.appender.trouble().borrow().is_some());
    let journal = engine.log.appender.gauges();
    let (bytes, files, unsynced) = (journal.bytes, journal.files, journal.unsynced);
    let last_sync = journal.last_sync.as_secs_f64();
    let text = format!(
        "# HELP headwater_runs_running Answers being written now.\n\
         # TYPE headwater_runs_running gauge\n\
         headwater_runs_running {running}\n\
         # HELP headwater_log_blocked Whether the log cannot be written.\n\
         # TYPE headwater_log_blocked gauge\n\
         headwater_log_blocked {trouble}\n\
         # HELP headwater_journal_bytes Length of the journal's newest file.\n\
         # TYPE headwater_journal_bytes gauge\n\
         headwater_journal_bytes {bytes}\n\
         # HELP headwater_journal_files Files of the journal.\n\
         # TYPE headwater_journal_files gauge\n\
         headwater_journal_files {files}\n\
         # HELP headwater_journal_unsynced Appends that wait for a sync before they are shown.\n\
         # TYPE headwater_journal_unsynced gauge\n\
         headwater_journal_unsynced {unsynced}\n\
         # HELP headwater_journal_last_sync_seconds How long the last sync of the journal took.\n\
         # TYPE headwater_journal_last_sync_seconds gauge\n\
         headwater_journal_last_sync_seconds {last_sync}\n"
    );
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], text)
}
