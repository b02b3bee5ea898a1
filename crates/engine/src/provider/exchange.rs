//! One question and its answer over HTTP, whatever the vendor.
//!
//! A [`Vendor`] says how to ask, and a [`Decode`] turns the pieces of the answer into events. The
//! rest is here: the request is sent when the stream is first polled, a parameter that the server
//! refuses is left out, the body is read in the form it has, and the connection is kept for the
//! next answer. All work is done inside the stream, so dropping it closes the socket.

use super::{ChatRequest, ProviderEvent, endpoint::Endpoint, fault, http, sse};
use bytes::Bytes;
use futures::{
    Stream, StreamExt,
    stream::{self, BoxStream},
};
use headwater_protocol::{Error, ErrorCode};
use reader::Reader;
use reqwest::{
    RequestBuilder, Response,
    header::{ACCEPT, CONTENT_TYPE},
};
use serde::Serialize;
use serde_json::Value;
use std::{
    borrow::Cow,
    collections::VecDeque,
    sync::Arc,
    time::{Duration, SystemTime},
};
use tokio::time::{Instant, timeout, timeout_at};

pub(super) mod memory;
mod pictures;
pub(super) mod reader;
mod thoughts;

/// How much of an error's body is read.
const ERROR_BYTES: usize = 64 * 1024;

/// How long the body of an error may take.
const ERROR_PATIENCE: Duration = Duration::from_secs(5);

/// How long to wait for the usage, or for the end, once the answer itself is whole. Servers that
/// never close would otherwise turn a whole answer into a stalled one.
const AFTER_FINISH: Duration = Duration::from_secs(2);

/// In how many shapes a request is tried at most.
const MOST_SHAPES: usize = 5;

/// Events that are ready to be given out.
pub(super) type Ready = VecDeque<ProviderEvent>;

/// Whether a stream goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flow {
    /// More may come.
    More,
    /// The provider said that this was all.
    Done,
}

/// How a vendor is asked.
pub(super) trait Vendor: Send + Sync + 'static {
    /// What reads its answers.
    type Decoder: Decode;
    /// What its servers or models disagree about in a request; `()` where there is nothing.
    type RequestVariant: Copy + PartialEq + Send;

    /// Who it is.
    fn endpoint(&self) -> &Endpoint;

    /// The variant to try first.
    fn variant(&self, request: &ChatRequest) -> Self::RequestVariant;

    /// Another variant, after a status 400 or 422 with this body. One that was tried is not tried
    /// again.
    fn after_refusal(
        &self,
        request: &ChatRequest,
        variant: Self::RequestVariant,
        said: &[u8],
    ) -> Option<Self::RequestVariant> {
        let _ = (request, variant, said);
        None
    }

    /// Remembers the variant that was taken.
    fn keep_shape(&self, request: &ChatRequest, variant: Self::RequestVariant) {
        let _ = (request, variant);
    }

    /// The request: address, headers and body.
    fn call(
        &self,
        request: &ChatRequest,
        variant: Self::RequestVariant,
    ) -> Result<RequestBuilder, Error>;

    /// A decoder for the answer to this request.
    fn decoder(&self, request: &ChatRequest, variant: Self::RequestVariant) -> Self::Decoder;
}

/// Turns the pieces of one answer into events. It knows nothing of sockets.
pub(super) trait Decode: Send + 'static {
    /// Whether a body that begins with a brace is newline-delimited JSON, not one document. Each
    /// line then comes to [`Decode::event`] as the data of an event without a type.
    const LINES: bool = false;

    /// Whether the provider said why it ended. What may still come is the usage.
    fn has_finish(&self) -> bool;

    /// Takes one event.
    fn event(&mut self, event: &sse::Event, out: &mut Ready) -> Result<Flow, Error>;

    /// Takes a whole answer from a server that does not stream; half a document is no error but an
    /// end without a finish.
    fn whole(&mut self, body: &[u8], out: &mut Ready) -> Result<(), Error>;

    /// Hears that thinking was found in the text, for whoever remembers which models think.
    fn thinks(&mut self) {}

    /// Tells what is known, such as the counts, because the stream breaks off here.
    fn break_off(&mut self, out: &mut Ready);

    /// Ends the answer as the provider meant it: with [`ProviderEvent::Finished`] if it said why it
    /// ended, otherwise as [`Decode::break_off`] does. It is called at most once.
    fn end(&mut self, out: &mut Ready);
}

/// The answer to a request, as [`Provider::stream`](super::Provider::stream) promises it.
pub(super) fn stream<V: Vendor>(
    vendor: Arc<V>,
    request: ChatRequest,
) -> BoxStream<'static, Result<ProviderEvent, Error>> {
    let answer = Answer {
        vendor,
        state: State::Start(Box::new(request)),
        ready: Ready::new(),
    };
    stream::unfold(answer, |mut answer| async move {
        let event = answer.next().await?;
        Some((event, answer))
    })
    .boxed()
}

/// Adds a JSON body and the headers that belong to a streamed answer.
pub(super) fn with_json(
    call: RequestBuilder,
    body: &impl Serialize,
) -> Result<RequestBuilder, Error> {
    let body = serde_json::to_vec(body).map_err(|error| {
        Error::new(
            ErrorCode::Internal,
            format!("The request cannot be written: {error}."),
        )
    })?;
    Ok(call
        .header(CONTENT_TYPE, "application/json")
        .header(ACCEPT, "text/event-stream, application/json")
        .body(body))
}

/// A setting as it was written: a longer type would show digits that nobody chose.
pub(super) fn short(number: f32) -> Value {
    serde_json::from_str(&number.to_string()).unwrap_or_default()
}

/// A stream in progress.
struct Answer<V: Vendor> {
    vendor: Arc<V>,
    state: State<V::Decoder>,
    ready: Ready,
}

enum State<D> {
    Start(Box<ChatRequest>),
    Reading(Box<Reading<D>>),
    Failed(Error),
    Over,
}

struct Reading<D> {
    body: BoxStream<'static, reqwest::Result<Bytes>>,
    reader: Reader<D>,
    /// Until when to wait for what may follow the finish.
    until: Option<Instant>,
}

impl<V: Vendor> Answer<V> {
    /// The next event.
    async fn next(&mut self) -> Option<Result<ProviderEvent, Error>> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Some(Ok(event));
            }
            let endpoint = self.vendor.endpoint();
            self.state = match std::mem::replace(&mut self.state, State::Over) {
                State::Over => return None,
                State::Failed(error) => return Some(Err(error)),
                State::Start(request) => match open(&*self.vendor, &request).await {
                    Err(error) => State::Failed(error),
                    Ok((response, variant)) => {
                        self.ready.push_back(ProviderEvent::Connected);
                        let decoder = self.vendor.decoder(&request, variant);
                        State::Reading(Box::new(Reading {
                            body: response.bytes_stream().boxed(),
                            reader: Reader::new(endpoint.clone(), decoder),
                            until: None,
                        }))
                    }
                },
                State::Reading(mut reading) => {
                    match reading.read(endpoint, &mut self.ready).await {
                        Ok(Flow::More) => State::Reading(reading),
                        Ok(Flow::Done) => {
                            keep_connection(reading.body);
                            State::Over
                        }
                        Err(error) => State::Failed(error),
                    }
                }
            };
        }
    }
}

impl<D: Decode> Reading<D> {
    async fn read(&mut self, endpoint: &Endpoint, out: &mut Ready) -> Result<Flow, Error> {
        let next = match self.until {
            None => self.body.next().await,
            // Also where there is always more to read.
            Some(until) if Instant::now() >= until => None,
            Some(until) => timeout_at(until, self.body.next())
                .await
                .unwrap_or_default(),
        };
        match next {
            Some(Ok(bytes)) => {
                let flow = self.reader.push(&bytes, out)?;
                if flow == Flow::More && self.until.is_none() && self.reader.has_finish() {
                    self.until = Some(Instant::now() + AFTER_FINISH);
                    out.push_back(ProviderEvent::Ending);
                }
                Ok(flow)
            }
            Some(Err(_)) => {
                let error = http::broken(&endpoint.url);
                self.reader.fail(error, out).map(|()| Flow::Done)
            }
            None => self.reader.end(out).map(|()| Flow::Done),
        }
    }
}

/// Reads the few bytes that may follow the end of an answer, so that the connection can serve the
/// next one. The answer is over by then; nobody waits for this.
fn keep_connection(mut body: impl Stream<Item = reqwest::Result<Bytes>> + Send + Unpin + 'static) {
    tokio::spawn(async move {
        let drain = async {
            let mut room: usize = 64 * 1024;
            while let Some(Ok(bytes)) = body.next().await {
                match room.checked_sub(bytes.len()) {
                    Some(left) => room = left,
                    None => break,
                }
            }
        };
        let _ = timeout(Duration::from_secs(1), drain).await;
    });
}

/// Sends the request, in another variant where the server does not know a parameter, and waits for
/// the head of its answer.
async fn open<V: Vendor>(
    vendor: &V,
    request: &ChatRequest,
) -> Result<(Response, V::RequestVariant), Error> {
    let endpoint = vendor.endpoint();
    let mut request = Cow::Borrowed(request);
    let mut variant = vendor.variant(&request);
    let mut tried = vec![variant];
    loop {
        let response = vendor
            .call(&request, variant)?
            .send()
            .await
            .map_err(|error| http::unreachable(&error, &endpoint.url))?;
        let status = response.status();
        if status.is_success() {
            vendor.keep_shape(&request, variant);
            return Ok((response, variant));
        }
        let wait = http::retry_after_ms(response.headers(), SystemTime::now());
        let body = http::bounded(response, ERROR_BYTES, ERROR_PATIENCE).await;
        let other = match status.as_u16() {
            400 | 422 if tried.len() < MOST_SHAPES => {
                vendor.after_refusal(&request, variant, &body)
            }
            _ => None,
        };
        match other.filter(|other| !tried.contains(other)) {
            Some(other) => variant = other,
            None => match pictures::left_out(&request, status.as_u16(), &body) {
                Some(other) => request = Cow::Owned(other),
                None => return Err(fault::from_response(endpoint, status.as_u16(), &body, wait)),
            },
        }
        tried.push(variant);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may fail by panic")]
mod tests;
