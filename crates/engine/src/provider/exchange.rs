//! One request and its answer over HTTP, for every vendor.
//!
//! A [`Vendor`] writes the request, and a [`Decode`] turns the chunks of the answer into events.
//! The rest is here: the request is sent when the stream is first polled, a parameter that the
//! server refuses is left out, the format of the body is detected, and the connection is kept for
//! the next answer. All work is done inside the stream, so dropping it closes the socket.

use super::{
    ChatRequest, ProviderEvent,
    api_client::{ApiClient, Failure},
    endpoint::Endpoint,
    http,
    key_status::KeyStatus,
};
use bytes::Bytes;
use futures::{
    Stream, StreamExt,
    stream::{self, BoxStream},
};
use headwater_protocol::Error;
use memory::Memory;
use reader::Reader;
use reqwest::Response;
use serde_json::Value;
use std::{borrow::Cow, sync::Arc, time::Duration};
use tokio::time::{Instant, timeout, timeout_at};

mod decode;
mod images;
pub(super) mod memory;
pub(super) mod reader;
mod thoughts;
mod vendor;

pub(super) use decode::{Decode, Flow, Ready, body_json, event_json, tell_usage};
pub(super) use vendor::{Remedy, Vendor};

/// How long to wait for the usage or for the end of the body, once the answer is complete.
/// Otherwise a server that never closes the connection would turn a complete answer into a stalled
/// one.
const AFTER_FINISH: Duration = Duration::from_secs(2);

/// The most variants of a request that are tried.
const MAX_VARIANTS: usize = 5;

/// A vendor's API at one address, and what was learned about it.
pub(super) struct Backend<V: Vendor> {
    pub(super) vendor: V,
    pub(super) client: ApiClient,
    pub(super) key: KeyStatus,
    /// The variants that the server accepted last, by [`Vendor::variant_key`].
    variants: Memory<V::RequestVariant>,
}

impl<V: Vendor> Backend<V> {
    pub(super) fn new(vendor: V, client: ApiClient) -> Self {
        Self {
            vendor,
            client,
            key: KeyStatus::default(),
            variants: Memory::default(),
        }
    }

    /// The answer to a request, as [`Provider::stream`](super::Provider::stream) promises it.
    pub(super) fn stream(
        self: &Arc<Self>,
        request: ChatRequest,
    ) -> BoxStream<'static, Result<ProviderEvent, Error>> {
        let answer = Answer {
            backend: self.clone(),
            request,
            state: State::Start,
            ready: Ready::new(),
            has_remedied: false,
        };
        stream::unfold(answer, |mut answer| async move {
            let event = answer.next().await?;
            Some((event, answer))
        })
        .boxed()
    }

    /// Sends the request and waits for the head of the answer. If the server refuses a parameter,
    /// another variant is sent.
    async fn open(&self, request: &ChatRequest) -> Result<Response, Error> {
        let endpoint = &self.client.endpoint;
        let mut request = Cow::Borrowed(request);
        let mut variant = self.first_variant(&request);
        let mut tried = vec![variant];
        loop {
            let call = self.client.post(
                self.vendor.url(endpoint, &request),
                &self.vendor.body(&request, variant),
            )?;
            let refusal = match self.client.send(call).await {
                Ok(response) => {
                    self.remember(&request, variant);
                    return Ok(response);
                }
                Err(Failure::Unreachable(error)) => return Err(error),
                Err(Failure::Refused(refusal)) => refusal,
            };
            let other = match refusal.status {
                400 | 422 if tried.len() < MAX_VARIANTS => {
                    self.vendor.after_refusal(&request, variant, &refusal.body)
                }
                _ => None,
            };
            match other.filter(|other| !tried.contains(other)) {
                Some(other) => variant = other,
                None => match images::left_out(&request, refusal.status, &refusal.body) {
                    Some(other) => request = Cow::Owned(other),
                    None => return Err(refusal.error(endpoint)),
                },
            }
            tried.push(variant);
        }
    }

    /// The variant to try first.
    pub(super) fn first_variant(&self, request: &ChatRequest) -> V::RequestVariant {
        let known = self.variants.get(&self.vendor.variant_key(request));
        known.unwrap_or_else(|| self.vendor.likely_variant(request))
    }

    /// Notes that the server accepted a variant.
    pub(super) fn remember(&self, request: &ChatRequest, variant: V::RequestVariant) {
        if let Some(variant) = self.vendor.accepted(variant) {
            let key = self.vendor.variant_key(request);
            let likely = self.vendor.likely_variant(request);
            self.variants.keep(key, variant, likely);
        }
    }
}

/// A number as the person wrote it. As `f64`, 0.7 would become 0.699999988079071.
pub(super) fn short(number: f32) -> Value {
    serde_json::from_str(&number.to_string()).unwrap_or_default()
}

/// A stream in progress.
struct Answer<V: Vendor> {
    backend: Arc<Backend<V>>,
    request: ChatRequest,
    state: State<V::Decoder>,
    ready: Ready,
    /// Whether a remedy was already tried for this request.
    has_remedied: bool,
}

enum State<D> {
    Start,
    Reading(Box<Reading<D>>),
    Remedying(Remedy),
    Failed(Error),
    Over,
}

struct Reading<D> {
    body: BoxStream<'static, reqwest::Result<Bytes>>,
    reader: Reader<D>,
    /// When to stop waiting for what may follow the finish reason.
    until: Option<Instant>,
}

impl<V: Vendor> Answer<V> {
    /// The next event.
    async fn next(&mut self) -> Option<Result<ProviderEvent, Error>> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Some(Ok(event));
            }
            self.state = match std::mem::replace(&mut self.state, State::Over) {
                State::Over => return None,
                State::Failed(error) => return Some(Err(error)),
                State::Start => match self.backend.open(&self.request).await {
                    Err(error) => self.after_failure(error),
                    Ok(response) => {
                        self.ready.push_back(ProviderEvent::Connected);
                        State::Reading(Box::new(self.reading(response)))
                    }
                },
                State::Reading(mut reading) => {
                    let endpoint = &self.backend.client.endpoint;
                    match reading.read(endpoint, &mut self.ready).await {
                        Ok(Flow::More) => State::Reading(reading),
                        Ok(Flow::Done) => {
                            self.backend.key.worked(endpoint);
                            keep_connection(reading.body);
                            State::Over
                        }
                        Err(error) => self.after_failure(error),
                    }
                }
                State::Remedying(mut remedy) => match remedy.next().await {
                    Some(Ok(stage)) => {
                        self.ready.push_back(ProviderEvent::Stage(stage));
                        State::Remedying(remedy)
                    }
                    Some(Err(error)) => self.failed(error),
                    None => State::Start,
                },
            };
        }
    }

    fn reading(&self, response: Response) -> Reading<V::Decoder> {
        let endpoint = &self.backend.client.endpoint;
        let decoder = self.backend.vendor.decoder(endpoint, &self.request);
        Reading {
            body: response.bytes_stream().boxed(),
            reader: Reader::new(endpoint.clone(), decoder),
            until: None,
        }
    }

    fn after_failure(&mut self, error: Error) -> State<V::Decoder> {
        let Backend { vendor, client, .. } = &*self.backend;
        match vendor.remedy(client, &self.request, error, !self.has_remedied) {
            Ok(remedy) => {
                self.has_remedied = true;
                State::Remedying(remedy)
            }
            Err(error) => self.failed(error),
        }
    }

    fn failed(&self, error: Error) -> State<V::Decoder> {
        let Backend { key, client, .. } = &*self.backend;
        key.failed(&client.endpoint, &error);
        State::Failed(error)
    }
}

impl<D: Decode> Reading<D> {
    async fn read(&mut self, endpoint: &Endpoint, out: &mut Ready) -> Result<Flow, Error> {
        let next = match self.until {
            None => self.body.next().await,
            // Checked here as well, for a body that never runs dry.
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

/// Reads the few bytes that may follow the end of an answer in the background, so that the
/// connection can be reused.
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

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may fail by panic")]
mod tests;
