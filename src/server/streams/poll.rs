//! Long polling: the last resort behind a proxy that lets no stream pass.

use super::{Format, Wanted, invalid, open, run_of};
use crate::server::status;
use axum::{
    body::Body,
    extract::{RawQuery, State},
    http::{HeaderMap, HeaderValue, header},
    response::Response,
};
use futures::{FutureExt, StreamExt};
use headwater_engine::{Engine, log::frame};
use headwater_protocol::Error;
use std::{fmt::Write, sync::Arc, time::Duration};
use tokio::time::{Instant, timeout_at};

/// The seconds that a request waits for an entry, if it does not say how many.
const WAIT: u64 = 20;

/// The most seconds: half of what proxies usually allow.
const MAX_WAIT: u64 = 30;

/// How long entries are collected once there is one. A request for every token would be dear for both sides.
const GATHER: Duration = Duration::from_millis(40);

/// After how many bytes a response is sent. What is behind comes with the next one.
const ENOUGH: usize = 256 * 1024;

/// `GET /api/runs/poll?run=…&after=…`: the frames of an event stream as a JSON array, each an object with `data`
/// and, if it is an entry, its `id`. It waits until there is an entry, or `wait` seconds, and then says only
/// that it is alive.
pub async fn poll(
    State(engine): State<Arc<Engine>>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response {
    match frames(&engine, &query.unwrap_or_default(), &headers).await {
        Ok(frames) => {
            let mut response = Response::new(Body::from(frames));
            let kind = HeaderValue::from_static("application/json");
            response.headers_mut().insert(header::CONTENT_TYPE, kind);
            response
        }
        Err(why) => status::answer(&why, false),
    }
}

async fn frames(engine: &Engine, query: &str, headers: &HeaderMap) -> Result<String, Error> {
    let parameters: Vec<_> = form_urlencoded::parse(query.as_bytes()).collect();
    let parameters = parameters.iter().map(|(name, value)| (&**name, &**value));
    let wanted = Wanted::from_parameters(parameters.clone(), headers)?;
    if wanted.format == Format::LangChain {
        return Err(invalid(
            "Polls are of “events” or “entries”; follow “langchain-v2” as a stream.",
        ));
    }
    let wait = match parameters.clone().find(|(name, _)| *name == "wait") {
        None => WAIT,
        Some((_, seconds)) => (seconds.parse().ok())
            .filter(|seconds| (1..=MAX_WAIT).contains(seconds))
            .ok_or_else(|| {
                invalid(format!(
                    "The parameter “wait” is a number of seconds from 1 to {MAX_WAIT}."
                ))
            })?,
    };
    let stream = open(engine, run_of(parameters)?, wanted).await?.frames;
    let mut stream = stream.fuse();
    let mut until = Instant::now() + Duration::from_secs(wait);
    let mut list = List::default();
    while list.json.len() < ENOUGH
        && let Ok(Some(frames)) = timeout_at(until, stream.next()).await
    {
        if list.push(&frames) {
            // More may be here already, and more may come in a moment.
            until = until.min(Instant::now() + GATHER);
        }
    }
    // What came in the last moment is taken, too, as the stream would have sent it.
    while list.json.len() < ENOUGH
        && let Some(Some(frames)) = stream.next().now_or_never()
    {
        list.push(&frames);
    }
    Ok(list.finish())
}

/// A JSON array of frames that is being written.
#[derive(Default)]
struct List {
    json: String,
    entries: bool,
}

impl List {
    /// Adds frames. Whether these were the first with an entry.
    fn push(&mut self, frames: &[u8]) -> bool {
        let had = self.entries;
        for part in frame::parts(frames) {
            self.json
                .push_str(if self.json.is_empty() { "[" } else { ",\n" });
            let _ = match part.id {
                Some(id) => write!(self.json, "{{\"id\":{id},\"data\":{}}}", part.data),
                None => write!(self.json, "{{\"data\":{}}}", part.data),
            };
            self.entries |= part.id.is_some();
        }
        self.entries && !had
    }

    fn finish(mut self) -> String {
        self.json
            .push_str(if self.json.is_empty() { "[]" } else { "]" });
        self.json
    }
}
