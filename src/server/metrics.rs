//! `/health`, `/ready` and `/metrics`.

use super::App;
use axum::{
    extract::State,
    http::{StatusCode, header},
    response::IntoResponse,
};
use std::sync::Arc;

/// The process is alive.
pub async fn health() -> &'static str {
    "ok\n"
}

/// The server takes new runs: it is not ending and its log can be written.
pub async fn ready(State(app): State<Arc<App>>) -> impl IntoResponse {
    if app.shutdown.draining.is_cancelled() {
        return (
            StatusCode::SERVICE_UNAVAILABLE,
            "The server is ending.\n".to_owned(),
        );
    }
    if !app.log.writer.is_alive() {
        return (
            StatusCode::SERVICE_UNAVAILABLE,
            "Nothing can be stored any more.\n".to_owned(),
        );
    }
    match app.log.writer.trouble().borrow().as_ref() {
        Some(why) => (StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")),
        None => (StatusCode::OK, "ready\n".to_owned()),
    }
}

/// Gauges in the Prometheus text format.
pub async fn metrics(State(app): State<Arc<App>>) -> impl IntoResponse {
    let running = app.log.running().len();
    let trouble = u8::from(app.log.writer.trouble().borrow().is_some());
    let text = format!(
        "# HELP headwater_runs_running Answers being written now.\n\
         # TYPE headwater_runs_running gauge\n\
         headwater_runs_running {running}\n\
         # HELP headwater_log_blocked Whether the log cannot be written.\n\
         # TYPE headwater_log_blocked gauge\n\
         headwater_log_blocked {trouble}\n"
    );
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], text)
}
