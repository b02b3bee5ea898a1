//! `/health`, `/ready` and `/metrics`.

use super::{App, status};
use crate::protocol::{Error, ErrorCode};
use axum::{
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use std::sync::Arc;

/// The process is alive.
pub async fn health() -> &'static str {
    "ok\n"
}

/// The server takes new runs: it is not ending and its log can be written. Otherwise the answer is
/// an error that says why not.
pub async fn ready(State(app): State<Arc<App>>) -> Response {
    if app.shutdown.draining.is_cancelled() {
        let why = Error::new(ErrorCode::ShuttingDown, "The server is ending.");
        return not_ready(&why);
    }
    if !app.log.writer.is_alive() {
        let why = Error::new(ErrorCode::Storage, "Nothing can be stored any more.");
        return not_ready(&why);
    }
    match app.log.writer.trouble().borrow().as_ref() {
        Some(why) => not_ready(why),
        None => "ready\n".into_response(),
    }
}

/// Whatever the reason is, those who ask for it look for this status.
fn not_ready(why: &Error) -> Response {
    let mut response = status::answer(why, false);
    *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    response
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
