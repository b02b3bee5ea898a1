//! Responses for failures: the right status, a page for people, and for programs `{code, message}` in a
//! [problem document](https://www.rfc-editor.org/rfc/rfc9457).
//!
//! Leptos 0.8 answers every failed server function with 500 and our error as JSON. This module replaces
//! the status by that of the error's code. (From Leptos 0.9 on, the error type has a status.)

use super::document::{problem, status_of, wants_page};
use axum::{
    body::{Body, HttpBody, to_bytes},
    extract::Request,
    http::{HeaderValue, Method, StatusCode, header},
    middleware::Next,
    response::Response,
};
use bytes::Bytes;
use futures::{FutureExt, stream};
use headwater_protocol::{Error, ErrorCode};
use serde::Serialize;
use std::{convert::Infallible, panic::AssertUnwindSafe};

/// The longest error in bytes.
const LONGEST: usize = 64 * 1024;

/// Gives every failure its status, and an [`Error`] or a page as its body.
///
/// A handler that panics is a failure too, so that no client waits for a response that never comes.
pub async fn from_error(request: Request, next: Next) -> Response {
    let wants_page = wants_page(request.headers());
    let handled = AssertUnwindSafe(next.run(request)).catch_unwind().await;
    let Ok(response) = handled else {
        let why = by_status(StatusCode::INTERNAL_SERVER_ERROR);
        return answer(&why, wants_page);
    };
    let status = response.status();
    let is_page = response
        .headers()
        .get(header::CONTENT_TYPE)
        .is_some_and(|kind| kind.as_bytes().starts_with(b"text/html"));
    if is_page || !(status.is_client_error() || status.is_server_error()) {
        return response;
    }
    let (parts, body) = response.into_parts();
    let bytes = to_bytes(body, LONGEST).await.unwrap_or_default();
    let said = serde_json::from_slice::<Error>(&bytes);
    let of_a_server_function = said.is_ok() && status == StatusCode::INTERNAL_SERVER_ERROR;
    let error = said.unwrap_or_else(|_| by_status(status));
    let status = match of_a_server_function {
        true => status_of(&error),
        false => status,
    };
    let mut response = answer_with(status, &error, wants_page);
    for (name, value) in &parts.headers {
        let of_the_body = [
            header::CONTENT_TYPE,
            header::CONTENT_LENGTH,
            header::TRANSFER_ENCODING,
        ];
        if !of_the_body.contains(name) && !response.headers().contains_key(name) {
            response.headers_mut().append(name, value.clone());
        }
    }
    response
}

/// An error as a problem document: its own fields, and those that clients of any server know. There is no
/// `type`, because `code` says more than an address could.
#[derive(Serialize)]
struct Problem<'a> {
    title: &'a str,
    detail: &'a str,
    /// The status of this response, in the place of that of a provider's answer, if there was one.
    status: u16,
    #[serde(flatten)]
    error: Error,
}

/// A response for an error: a page for browsers, JSON for all other clients. The error is also an
/// extension of the response, for the log of requests.
pub fn answer(error: &Error, wants_page: bool) -> Response {
    answer_with(status_of(error), error, wants_page)
}

fn answer_with(status: StatusCode, error: &Error, wants_page: bool) -> Response {
    if wants_page {
        let mut page = problem(error);
        *page.status_mut() = status;
        return page;
    }
    let problem = Problem {
        title: status.canonical_reason().unwrap_or("Failed"),
        detail: &error.message,
        status: status.as_u16(),
        error: Error {
            status: None,
            ..error.clone()
        },
    };
    let body = serde_json::to_vec(&problem).unwrap_or_default();
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    response.extensions_mut().insert(error.clone());
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/problem+json"),
    );
    if let Some(ms) = error.retry_after_ms {
        let seconds = HeaderValue::from(ms.div_ceil(1000));
        headers.insert(header::RETRY_AFTER, seconds);
    }
    response
}

/// An error for failures of the framework, which have a status only.
fn by_status(status: StatusCode) -> Error {
    let (code, message) = match status {
        StatusCode::NOT_FOUND => (ErrorCode::NotFound, "There is nothing at this address."),
        StatusCode::METHOD_NOT_ALLOWED => (
            ErrorCode::InvalidRequest,
            "This address does not take that method: questions are GET, commands are POST.",
        ),
        StatusCode::PAYLOAD_TOO_LARGE => (ErrorCode::TooLarge, "The request is too large."),
        status if status.is_client_error() => {
            (ErrorCode::InvalidRequest, "The request could not be read.")
        }
        _ => (
            ErrorCode::Internal,
            "The server failed at this. What is stored is safe.",
        ),
    };
    Error::new(code, message)
}

/// Answers `HEAD` for data like `GET`, without the body. An event stream ends before its first event.
pub async fn head(mut request: Request, next: Next) -> Response {
    if *request.method() != Method::HEAD || !request.uri().path().starts_with("/api/") {
        return next.run(request).await;
    }
    *request.method_mut() = Method::GET;
    let (mut parts, body) = next.run(request).await.into_parts();
    let body = match body.size_hint().exact() {
        Some(length) => {
            let length = HeaderValue::from(length);
            parts.headers.insert(header::CONTENT_LENGTH, length);
            Body::empty()
        }
        // A stream has no length.
        None => Body::from_stream(stream::empty::<Result<Bytes, Infallible>>()),
    };
    Response::from_parts(parts, body)
}

/// Hides from Leptos that a browser calls a server function with a form. Leptos would redirect the
/// browser to the page that it came from, and a foreign page would learn that, and when, its visitor
/// got a response.
pub async fn as_data(mut request: Request, next: Next) -> Response {
    if request.uri().path().starts_with("/api/") {
        request.headers_mut().remove(header::ACCEPT);
        request.headers_mut().remove(header::REFERER);
    }
    next.run(request).await
}

/// The response for a request without a handler, unless it may be for a file or a page.
pub fn no_handler(request: &Request) -> Option<Response> {
    let mut response = Response::new(Body::empty());
    if request.uri().path().starts_with("/api/") {
        *response.status_mut() = StatusCode::NOT_FOUND;
    } else if matches!(*request.method(), Method::GET | Method::HEAD) {
        return None;
    } else {
        *response.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
        let questions = HeaderValue::from_static("GET,HEAD");
        response.headers_mut().insert(header::ALLOW, questions);
    }
    Some(response)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may fail by panic")]
mod tests {
    use super::*;
    use axum::{Router, middleware, routing::get};
    use tower::Service;

    async fn boom() -> &'static str {
        panic!("a fault of ours")
    }

    #[tokio::test]
    async fn the_status_is_that_of_the_code_unless_a_handler_chose_one() {
        async fn refused(status: StatusCode) -> Response {
            let mut response = answer(&Error::new(ErrorCode::Storage, "The disk is full."), false);
            *response.status_mut() = status;
            response
        }
        let mut router = Router::new()
            .route("/ready", get(|| refused(StatusCode::SERVICE_UNAVAILABLE)))
            // As Leptos answers.
            .route("/api/x", get(|| refused(StatusCode::INTERNAL_SERVER_ERROR)))
            .layer(middleware::from_fn(from_error));
        for (path, status) in [("/ready", 503), ("/api/x", 507)] {
            let request = Request::builder().uri(path).body(Body::empty()).unwrap();
            let response = Service::call(&mut router, request).await.unwrap();
            assert_eq!(response.status(), status, "{path}");
            let left = response.extensions().get::<Error>().unwrap();
            assert_eq!(
                left.code,
                ErrorCode::Storage,
                "the log of requests reads it"
            );
        }
    }

    #[tokio::test]
    async fn a_handler_that_panics_is_answered_as_a_failure() {
        let mut router = Router::new()
            .route("/api/boom", get(boom))
            .layer(middleware::from_fn(from_error));
        for (accept, kind) in [
            ("*/*", "application/problem+json"),
            ("text/html", "text/html"),
        ] {
            let request = Request::builder().uri("/api/boom").header("accept", accept);
            let request = request.body(Body::empty()).unwrap();
            let response = Service::call(&mut router, request).await.unwrap();
            assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
            let headers = response.headers();
            assert!(
                headers[header::CONTENT_TYPE]
                    .as_bytes()
                    .starts_with(kind.as_bytes())
            );
            let body = to_bytes(response.into_body(), LONGEST).await.unwrap();
            let body = String::from_utf8_lossy(&body);
            assert!(body.contains("The server failed"), "{body}");
            assert!(!body.contains("a fault of ours"), "{body}");
        }
    }
}
