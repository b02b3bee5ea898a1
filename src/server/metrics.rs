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

/// The process is alive.
pub async fn health() -> &'static str {
    "ok\n"
}

/// The server takes new runs: it is not ending and its log can be written. Otherwise the answer is
/// an error that says why not.
pub async fn ready(State(engine): State<Arc<Engine>>) -> Response {
    match engine.ready() {
        Ok(()) => "ready\n".into_response(),
        Err(why) => not_ready(&why),
    }
}

/// Whatever the reason is, those who ask for it look for this status.
fn not_ready(why: &Error) -> Response {
    let mut response = status::answer(why, false);
    *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    response
}

/// Gauges in the Prometheus text format.
pub async fn metrics(State(engine): State<Arc<Engine>>) -> impl IntoResponse {
    let running = engine.log.running().len();
    let trouble = u8::from(engine.log.writer.trouble().borrow().is_some());
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
