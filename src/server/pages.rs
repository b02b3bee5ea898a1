//! Pages that Leptos renders are made in tasks of their own, and sent when they are whole.

use super::plain;
use crate::protocol::{Error, ErrorCode};
use axum::{
    body::{Body, to_bytes},
    extract::Request,
    http::{Response as HttpResponse, header},
    middleware::Next,
    response::Response,
};

/// Renders a page to its end, whether its reader stays or not.
///
/// A rendering has tasks beside it that read its signals. If it were dropped half-way, when its
/// reader leaves, they would read what is gone and panic. And a page that fails half-way is
/// answered as a failure, not as half a page. What is not a page passes.
pub async fn render(request: Request, next: Next) -> Response {
    let path = request.uri().path();
    // Data has no signals, and these streams last as long as an answer.
    if path.starts_with("/api/") || path.starts_with("/plain/") {
        return next.run(request).await;
    }
    let rendering = tokio::spawn(async move {
        let (parts, body) = next.run(request).await.into_parts();
        let is_page = parts
            .headers
            .get(header::CONTENT_TYPE)
            .is_some_and(|kind| kind.as_bytes().starts_with(b"text/html"));
        if !is_page {
            return Ok(HttpResponse::from_parts(parts, body));
        }
        // The limit is that of the conversation itself, which is in memory already.
        let page = to_bytes(body, usize::MAX).await?;
        Ok::<_, axum::Error>(HttpResponse::from_parts(parts, Body::from(page)))
    });
    match rendering.await {
        Ok(Ok(response)) => response,
        Ok(Err(why)) => failed(&why),
        Err(why) => failed(&why),
    }
}

fn failed(why: &dyn std::fmt::Display) -> Response {
    tracing::error!(%why, "a page could not be rendered");
    let sentence =
        "This page could not be made. Your conversations are safe; please load it again.";
    plain::problem(&Error::new(ErrorCode::Internal, sentence))
}
