//! The output encoding `text/event-stream`, so that the browser's `EventSource` can call a server
//! function.
//!
//! [`headwater_engine::follow`] yields frames that are encoded already: an event is serialised once
//! for all readers, and this module only passes the bytes on.

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

/// A body of frames, ready to be sent.
pub struct SseBody(Pin<Box<dyn Stream<Item = Bytes> + Send>>);

impl SseBody {
    /// Sends the frames as they come. The stream cannot fail: whatever goes wrong in a run is an
    /// event.
    pub fn new(frames: Pin<Box<dyn Stream<Item = Bytes> + Send>>) -> Self {
        Self(frames)
    }
}

impl Stream for SseBody {
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
        Res::try_from_stream(Sse::CONTENT_TYPE, self)
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
