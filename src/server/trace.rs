//! The log of requests: a span around each, and one event at its end. The same time goes to the client.

use super::timing;
use axum::{
    extract::{MatchedPath, Request},
    middleware::Next,
    response::Response,
};
use headwater_protocol::{Error, ErrorCode};
use std::time::{Duration, Instant};
use tracing::Instrument;

/// The route of everything that no other route takes: files, and addresses that do not exist.
const NO_ROUTE: &str = "other";

/// Puts a span around a request, and logs its answer once the head of that is ready: a stream goes on
/// after it. The span has the method and the route. The address itself is not logged, because
/// identifiers and texts are in it.
pub async fn requests(request: Request, next: Next) -> Response {
    let route = request.extensions().get::<MatchedPath>().cloned();
    let route = route.as_ref().map_or(NO_ROUTE, MatchedPath::as_str);
    let span = tracing::info_span!("request", method = %request.method(), route);
    let begun = Instant::now();
    let mut response = next.run(request).instrument(span.clone()).await;
    let latency = begun.elapsed();
    timing::add_request(response.headers_mut(), latency);
    span.in_scope(|| log(&response, route, latency));
    response
}

/// `status` leaves the [`Error`] of a failure with its answer.
fn log(response: &Response, route: &str, latency: Duration) {
    let status = response.status().as_u16();
    let latency_ms = latency.as_millis() as u64;
    let failure = response.extensions().get::<Error>();
    let code = failure.map(|error| error.code);
    let why = failure.map(|error| error.message.as_str());
    // Whoever asks whether the server is ready asks every few seconds.
    if !response.status().is_server_error() || route == "/ready" {
        tracing::debug!(status, latency_ms, "answered");
    } else if code == Some(ErrorCode::ShuttingDown) {
        tracing::info!(status, latency_ms, why, "refused");
    } else {
        tracing::warn!(status, latency_ms, why, "failed");
    }
}
