//! Pages that Leptos renders are rendered in their own tasks, and sent when they are complete.

use super::document::problem;
use axum::{
    body::{Body, to_bytes},
    extract::Request,
    http::{Response as HttpResponse, header},
    middleware::Next,
    response::Response,
};
use headwater_protocol::{Error, ErrorCode};
use tracing::Instrument;

/// Renders a page to its end, whether the client stays or not.
///
/// Leptos runs tasks beside a rendering that read its signals. If the rendering were dropped half-way,
/// because the client leaves, they would panic. Also, a page that fails half-way becomes a failure and
/// not half a page. Responses that are no pages pass unchanged.
pub async fn render(request: Request, next: Next) -> Response {
    let path = request.uri().path();
    // These have no signals, and may be streams that last as long as an answer.
    if path.starts_with("/api/") || path.starts_with("/plain/") {
        return next.run(request).await;
    }
    let rendering = async move {
        let (parts, body) = next.run(request).await.into_parts();
        let is_page = parts
            .headers
            .get(header::CONTENT_TYPE)
            .is_some_and(|kind| kind.as_bytes().starts_with(b"text/html"));
        if !is_page {
            return Ok(HttpResponse::from_parts(parts, body));
        }
        // The size is bounded by the conversation, which is in memory already.
        let page = to_bytes(body, usize::MAX).await?;
        Ok::<_, axum::Error>(HttpResponse::from_parts(parts, Body::from(page)))
    };
    match tokio::spawn(rendering.in_current_span()).await {
        Ok(Ok(response)) => response,
        Ok(Err(why)) => failed(&why),
        Err(why) => failed(&why),
    }
}

fn failed(why: &dyn std::fmt::Display) -> Response {
    tracing::error!(%why, "a page could not be rendered");
    let sentence =
        "This page could not be made. Your conversations are safe; please load it again.";
    problem(&Error::new(ErrorCode::Internal, sentence))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may fail by panic")]
mod tests {
    use super::*;
    use axum::{Router, middleware, response::Html, routing::get};
    use futures::FutureExt;
    use std::sync::Arc;
    use tokio::sync::{Notify, mpsc};
    use tower::Service;

    fn ask(path: &str) -> Request {
        Request::builder().uri(path).body(Body::empty()).unwrap()
    }

    #[tokio::test]
    async fn a_page_that_fails_half_way_is_answered_as_a_failure() {
        async fn half() -> Html<Body> {
            let pieces = ["<p>Half a page", ""];
            Html(Body::from_stream(futures::stream::iter(pieces).map(
                |piece| match piece {
                    "" => panic!("a fault of ours"),
                    piece => Ok::<_, axum::Error>(piece),
                },
            )))
        }
        use futures::StreamExt;
        let mut router = Router::new()
            .route("/", get(half))
            .layer(middleware::from_fn(render));
        let response = Service::call(&mut router, ask("/")).await.unwrap();
        assert_eq!(response.status(), 500);
        let page = to_bytes(response.into_body(), usize::MAX).await.unwrap();
        let page = String::from_utf8_lossy(&page);
        assert!(page.contains("load it again"), "{page}");
        assert!(!page.contains("Half a page"), "{page}");
    }

    #[tokio::test]
    async fn a_page_is_rendered_to_its_end_when_its_reader_leaves() {
        let (go, (said, mut says)) = (Arc::new(Notify::new()), mpsc::unbounded_channel());
        let handler = {
            let go = go.clone();
            async move || {
                said.send("begun").unwrap();
                go.notified().await;
                said.send("done").unwrap();
                Html("<p>A page</p>")
            }
        };
        let mut router = Router::new()
            .route("/", get(handler))
            .layer(middleware::from_fn(render));
        let mut asked = Service::call(&mut router, ask("/"));
        assert!((&mut asked).now_or_never().is_none());
        assert_eq!(says.recv().await, Some("begun"));
        drop(asked);
        go.notify_one();
        assert_eq!(says.recv().await, Some("done"));
    }
}
