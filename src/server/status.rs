//! The HTTP status of a failed server function.
//!
//! Leptos 0.8 answers every failed server function with 500; the body is our error as JSON. Here,
//! in one place, the status becomes that of the error's code. (From 0.9 on the error type says it.)

use crate::protocol::{Error, ErrorCode};
use axum::{
    body::{Body, to_bytes},
    extract::Request,
    http::{HeaderValue, StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
};

/// The longest error that is looked at, in bytes.
const LONGEST: usize = 64 * 1024;

/// Gives the errors of `/api/` their status, and a body that always is an [`Error`].
pub async fn from_error(request: Request, next: Next) -> Response {
    let is_api = request.uri().path().starts_with("/api/");
    let response = next.run(request).await;
    let status = response.status();
    if !is_api || !(status.is_client_error() || status.is_server_error()) {
        return response;
    }
    let (mut parts, body) = response.into_parts();
    let Ok(bytes) = to_bytes(body, LONGEST).await else {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    };
    match serde_json::from_slice::<Error>(&bytes) {
        Ok(error) => {
            if let Ok(code) = StatusCode::from_u16(error.code.http_status()) {
                parts.status = code;
            }
            if let Some(ms) = error.retry_after_ms {
                parts
                    .headers
                    .insert(header::RETRY_AFTER, HeaderValue::from(ms.div_ceil(1000)));
            }
            parts.headers.insert(
                header::CONTENT_TYPE,
                HeaderValue::from_static("application/json"),
            );
            Response::from_parts(parts, Body::from(bytes))
        }
        Err(_) => (status, axum::Json(by_status(status))).into_response(),
    }
}

/// An error for answers that did not come from a server function.
fn by_status(status: StatusCode) -> Error {
    let (code, message) = match status {
        StatusCode::NOT_FOUND => (ErrorCode::NotFound, "There is no such call."),
        StatusCode::METHOD_NOT_ALLOWED => (
            ErrorCode::InvalidRequest,
            "This call does not take that method: questions are GET, commands are POST.",
        ),
        StatusCode::PAYLOAD_TOO_LARGE => (ErrorCode::TooLarge, "The request is too large."),
        status if status.is_client_error() => {
            (ErrorCode::InvalidRequest, "The request could not be read.")
        }
        _ => (ErrorCode::Internal, "The server failed."),
    };
    Error::new(code, message)
}
