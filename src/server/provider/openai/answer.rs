//! One answer: the request, the connection, and the events that come of it.

use super::{
    Shared,
    decode::Flow,
    error::from_response,
    reader::Reader,
    request::{Shape, body},
};
use crate::{
    protocol::{Error, ErrorCode},
    server::provider::{ChatRequest, ProviderEvent, http},
};
use bytes::Bytes;
use futures::{Stream, StreamExt, stream::BoxStream};
use reqwest::{
    Response,
    header::{ACCEPT, CONTENT_TYPE},
};
use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Duration, SystemTime},
};
use tokio::time::{Instant, timeout, timeout_at};

/// How much of an error's body is read.
const ERROR_BYTES: usize = 64 * 1024;

/// How long the body of an error may take.
const ERROR_PATIENCE: Duration = Duration::from_secs(5);

/// How long to wait for the usage, or for the end, once the answer itself is whole. Servers that
/// never close would otherwise turn a whole answer into a stalled one.
const AFTER_FINISH: Duration = Duration::from_secs(2);

/// A stream in progress. All its work is done inside [`Answer::next`], so dropping it stops
/// everything and closes the socket.
pub(super) struct Answer {
    shared: Arc<Shared>,
    state: State,
    ready: VecDeque<ProviderEvent>,
}

enum State {
    Start(Box<ChatRequest>),
    Reading(Box<Reading>),
    Failed(Error),
    Over,
}

struct Reading {
    body: BoxStream<'static, reqwest::Result<Bytes>>,
    reader: Reader,
    /// Until when to wait for what may follow the finish.
    until: Option<Instant>,
}

impl Answer {
    pub(super) fn new(shared: Arc<Shared>, request: ChatRequest) -> Self {
        Self {
            shared,
            state: State::Start(Box::new(request)),
            ready: VecDeque::new(),
        }
    }

    /// The next event.
    pub(super) async fn next(&mut self) -> Option<Result<ProviderEvent, Error>> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Some(Ok(event));
            }
            self.state = match std::mem::replace(&mut self.state, State::Over) {
                State::Over => return None,
                State::Failed(error) => return Some(Err(error)),
                State::Start(request) => match self.shared.open(&request).await {
                    Err(error) => State::Failed(error),
                    Ok(response) => {
                        self.ready.push_back(ProviderEvent::Connected);
                        State::Reading(Box::new(Reading {
                            body: response.bytes_stream().boxed(),
                            reader: Reader::new(self.shared.who.clone()),
                            until: None,
                        }))
                    }
                },
                State::Reading(mut reading) => {
                    match reading.read(&self.shared, &mut self.ready).await {
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

impl Reading {
    async fn read(
        &mut self,
        shared: &Shared,
        out: &mut VecDeque<ProviderEvent>,
    ) -> Result<Flow, Error> {
        let next = match self.until {
            None => self.body.next().await,
            Some(until) => timeout_at(until, self.body.next())
                .await
                .unwrap_or_default(),
        };
        match next {
            Some(Ok(bytes)) => {
                let flow = self.reader.push(&bytes, out)?;
                if self.until.is_none() && self.reader.has_finish() {
                    self.until = Some(Instant::now() + AFTER_FINISH);
                }
                Ok(flow)
            }
            Some(Err(_)) => {
                let error = http::broken(&shared.who.url);
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

impl Shared {
    /// Sends the request, in another shape where the server does not know a parameter, and waits
    /// for the head of its answer.
    async fn open(&self, request: &ChatRequest) -> Result<Response, Error> {
        let mut shape = self.shape();
        let mut tries = 0;
        loop {
            let response = self.send(request, shape).await?;
            let status = response.status();
            if status.is_success() {
                self.keep_shape(shape);
                return Ok(response);
            }
            let wait = http::retry_after_ms(response.headers(), SystemTime::now());
            let body = http::bounded(response, ERROR_BYTES, ERROR_PATIENCE).await;
            let other = match status.as_u16() {
                400 | 422 if tries < 2 => {
                    shape.after_refusal(&body, request.sampling.max_tokens.is_some())
                }
                _ => None,
            };
            match other {
                Some(other) => shape = other,
                None => return Err(from_response(&self.who, status.as_u16(), &body, wait)),
            }
            tries += 1;
        }
    }

    async fn send(&self, request: &ChatRequest, shape: Shape) -> Result<Response, Error> {
        let body = body(request, shape, self.prefill).map_err(|error| {
            Error::new(
                ErrorCode::Internal,
                format!("The request cannot be written: {error}."),
            )
        })?;
        let url = self.url(&["chat", "completions"]);
        let mut call = self
            .http
            .post(url.clone())
            .header(CONTENT_TYPE, "application/json")
            .header(ACCEPT, "text/event-stream, application/json")
            .body(body);
        if let Some(value) = &self.authorization {
            call = call.header(reqwest::header::AUTHORIZATION, value.clone());
        }
        call.send()
            .await
            .map_err(|error| http::unreachable(&error, &url))
    }
}
