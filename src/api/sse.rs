//! The output encoding `text/event-stream`, so that the browser's `EventSource` can call a server
//! function.
//!
//! The frames come encoded from [`headwater_engine::follow`]: an event is serialised once, however
//! many readers there are, and this only hands the bytes on.

use super::ApiError;
use bytes::Bytes;
use futures_core::Stream;
use leptos::server_fn::{
    ContentType,
    codec::{Encoding, FromRes, IntoRes},
    error::FromServerFnError,
    response::{ClientRes, TryRes},
};
use std::{
    pin::Pin,
    task::{Context, Poll},
};

/// Output encoding `text/event-stream`.
pub struct Sse;

impl ContentType for Sse {
    const CONTENT_TYPE: &'static str = "text/event-stream";
}

impl Encoding for Sse {
    const METHOD: http::Method = http::Method::GET;
}

type Frames = Pin<Box<dyn Stream<Item = Result<Bytes, Bytes>> + Send>>;

/// A body of frames, ready to be sent.
pub struct SseBody(Frames);

impl SseBody {
    /// Sends the frames as they come. The stream cannot fail: what goes wrong in a run is an event.
    pub fn new(frames: impl Stream<Item = Bytes> + Send + 'static) -> Self {
        Self(Box::pin(Infallible(Box::pin(frames))))
    }
}

struct Infallible(Pin<Box<dyn Stream<Item = Bytes> + Send>>);

impl Stream for Infallible {
    type Item = Result<Bytes, Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.as_mut().poll_next(cx).map(|frame| frame.map(Ok))
    }
}

impl<Res> IntoRes<Sse, Res, ApiError> for SseBody
where
    Res: TryRes<ApiError>,
{
    async fn into_res(self) -> Result<Res, ApiError> {
        Res::try_from_stream(Sse::CONTENT_TYPE, self.0)
    }
}

impl<Res> FromRes<Sse, Res, ApiError> for SseBody
where
    Res: ClientRes<ApiError> + Send,
{
    async fn from_res(res: Res) -> Result<Self, ApiError> {
        // The browser reads this endpoint through `EventSource`; a fetch would lose its reconnects.
        let _ = res;
        Err(ApiError::from_server_fn_error(
            leptos::server_fn::error::ServerFnErrorErr::Request(
                "read this endpoint with EventSource".into(),
            ),
        ))
    }
}
