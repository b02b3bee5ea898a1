//! The connection doctor: what a proxy between a browser and the server does to streams, and which of its settings
//! to change.
//!
//! The server sends streams of numbered pads with its own times ([`stream`]); a browser ([`page`]) or the command
//! line measures when they arrive; [`findings`] says what that means. The page is a document with a small script of
//! its own, because it has to work where the program of the chat does not arrive.

mod findings;
mod page;

use super::{policy, status};
use axum::{
    Json,
    body::{Body, Bytes},
    extract::{Query, State},
    http::{HeaderValue, header},
    response::{IntoResponse, Response},
};
pub use findings::{Cut, Finding, Measured, Pad, diagnose};
use futures::stream;
use headwater_engine::Engine;
use headwater_protocol::{Error, ErrorCode};
pub use page::page;
use serde::{Deserialize, Serialize};
use std::{convert::Infallible, sync::Arc, time::Duration};
use tokio::{
    sync::Semaphore,
    time::{Instant, sleep_until},
};

/// The address of [`stream`].
pub const STREAM: &str = "/api/probe/stream";

/// The address of [`diagnosis`].
pub const DIAGNOSIS: &str = "/api/probe/diagnosis";

/// The address of the page.
pub const PAGE: &str = "/doctor";

/// The most probes at once.
const MOST: usize = 8;

static PROBES: Semaphore = Semaphore::const_new(MOST);

/// What is probed.
#[derive(Debug, Deserialize)]
#[serde(default)]
pub struct Probe {
    /// How many pads come after the first one.
    pads: u32,
    /// The milliseconds between two of them.
    every: u64,
    /// The milliseconds of silence before the last one.
    idle: u64,
}

impl Default for Probe {
    fn default() -> Self {
        Self {
            pads: 20,
            every: 100,
            idle: 0,
        }
    }
}

impl Probe {
    /// The longest probe, in milliseconds.
    const LONGEST: u64 = 150_000;

    fn check(&self) -> Result<(), Error> {
        let pads = u64::from(self.pads).saturating_mul(self.every);
        let good = self.every > 0 && pads.saturating_add(self.idle) <= Self::LONGEST;
        good.then_some(()).ok_or_else(|| {
            let sentence = "A probe lasts 150 seconds at most: “pads” times “every” milliseconds, and “idle” milliseconds.";
            Error::new(ErrorCode::InvalidRequest, sentence)
        })
    }

    /// When pad number `n` is due. The first one is number 0, and the last one has the silence before it.
    fn due(&self, n: u32) -> Duration {
        let idle = if n == self.pads { self.idle } else { 0 };
        Duration::from_millis(u64::from(n) * self.every + idle)
    }
}

/// A pad of a stream, as JSON.
#[derive(Debug, Serialize)]
struct Sent {
    pad: u32,
    /// Milliseconds since the first one.
    at: u64,
    /// The seconds between two pings of a run's stream, in the first one.
    #[serde(skip_serializing_if = "Option::is_none")]
    ping: Option<f64>,
}

/// `GET /api/probe/stream`: an event stream of numbered pads at fixed times, with the headers of a run's stream.
pub async fn stream(State(engine): State<Arc<Engine>>, Query(probe): Query<Probe>) -> Response {
    if let Err(why) = probe.check() {
        return status::answer(&why, false);
    }
    let Ok(place) = PROBES.try_acquire() else {
        let sentence = "Others are checking their connections; please try again in a minute.";
        return status::answer(&Error::new(ErrorCode::RateLimited, sentence), false);
    };
    let ping = engine.delivery.ping.as_secs_f64();
    let begun = Instant::now();
    let pads = stream::unfold((0, probe, place), move |(n, probe, place)| async move {
        if n > probe.pads {
            return None;
        }
        sleep_until(begun + probe.due(n)).await;
        let sent = Sent {
            pad: n,
            at: begun.elapsed().as_millis() as u64,
            ping: (n == 0).then_some(ping),
        };
        let json = serde_json::to_string(&sent).unwrap_or_default();
        let frame = Bytes::from(format!("id:{n}\ndata:{json}\n\n"));
        Some((Ok::<_, Infallible>(frame), (n + 1, probe, place)))
    });
    let mut response = Response::new(Body::from_stream(pads));
    let kind = HeaderValue::from_static("text/event-stream");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    for (name, value) in policy::of_stream() {
        response.headers_mut().insert(name, value);
    }
    response
}

/// `POST /api/probe/diagnosis`: what measurements mean. The body is a [`Measured`] as JSON, the answer a list of
/// [`Finding`]s.
pub async fn diagnosis(
    measured: Result<Json<Measured>, axum::extract::rejection::JsonRejection>,
) -> Response {
    match measured {
        Ok(Json(measured)) => Json(diagnose(&measured)).into_response(),
        Err(_) => {
            let sentence = "These are no measurements of a connection.";
            status::answer(&Error::new(ErrorCode::InvalidRequest, sentence), false)
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may fail by panic")]
mod tests {
    use super::*;

    #[test]
    fn pads_are_due_at_even_times_and_the_last_one_after_the_silence() {
        let probe = Probe {
            pads: 3,
            every: 100,
            idle: 5_000,
        };
        let due: Vec<_> = (0..=3).map(|n| probe.due(n).as_millis()).collect();
        assert_eq!(due, [0, 100, 200, 5_300]);
        probe.check().unwrap();
        for (pads, every, idle) in [
            (1, 0, 0),
            (u32::MAX, 100, 0),
            (1, 1, u64::MAX),
            (1, 100, 150_000),
        ] {
            Probe { pads, every, idle }.check().unwrap_err();
        }
    }
}
