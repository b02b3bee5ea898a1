//! `/health`, `/ready` and `/metrics`.

use super::status;
use axum::{
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use headwater_engine::{Engine, observer::Metrics};
use headwater_protocol::Error;
use std::{fmt::Display, sync::Arc};

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

/// `GET /metrics`: gauges, and the histograms of [`Metrics`], in the
/// [Prometheus text format](https://prometheus.io/docs/instrumenting/exposition_formats/).
pub async fn metrics(
    State(engine): State<Arc<Engine>>,
    State(histograms): State<Metrics>,
) -> impl IntoResponse {
    let journal = engine.log.appender.gauges();
    let blocked = engine.log.appender.trouble().borrow().is_some();
    let text = [
        gauge(
            "headwater_runs_running",
            "Answers being written now.",
            engine.log.running().len(),
        ),
        gauge(
            "headwater_log_blocked",
            "Whether the log cannot be written.",
            u8::from(blocked),
        ),
        gauge(
            "headwater_journal_bytes",
            "Length of the journal's newest file.",
            journal.bytes,
        ),
        gauge(
            "headwater_journal_files",
            "Files of the journal.",
            journal.files,
        ),
        gauge(
            "headwater_journal_unsynced",
            "Appends that wait for a sync before they are shown.",
            journal.unsynced,
        ),
        gauge(
            "headwater_journal_last_sync_seconds",
            "How long the last sync of the journal took.",
            journal.last_sync.as_secs_f64(),
        ),
        histograms.text(),
    ]
    .concat();
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], text)
}

fn gauge(name: &str, help: &str, value: impl Display) -> String {
    format!("# HELP {name} {help}\n# TYPE {name} gauge\n{name} {value}\n")
}
