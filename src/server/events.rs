//! Following a run: a cursor on its log, turned into frames of an event stream.
//!
//! A reader is a cursor and not a queue. The stream is pulled: when the socket has room, it asks
//! the log what comes after the cursor; a reader that is slow costs nothing but its socket.

use super::{
    App,
    log::{Source, frame, live::Head},
};
use crate::{
    api::{ApiError, SseBody},
    protocol::{Error, ErrorCode, Event, RunId, Seq},
};
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use bytes::{Bytes, BytesMut};
use futures::{Stream, stream};
use leptos::prelude::use_context;
use leptos_axum::ResponseOptions;

use std::{collections::VecDeque, time::Duration};
use tokio::{
    sync::watch,
    time::{Instant, Interval, MissedTickBehavior, interval_at, sleep_until},
};
use tokio_util::sync::CancellationToken;

/// How the delivery behaves; the log is not touched by any of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// Pause between two pings. A page takes three missing ones for a dead connection.
    pub ping: Duration,
    /// The longest that one connection lasts, so that resuming is exercised every day.
    pub lifetime: Duration,
}

impl Default for Delivery {
    /// A ping every five seconds, half an hour for a connection.
    fn default() -> Self {
        Self {
            ping: Duration::from_secs(5),
            lifetime: Duration::from_secs(1800),
        }
    }
}

/// The body of `GET /api/runs/events`, with the cursor from the query or the `Last-Event-ID`
/// header, whichever is later: a browser that reconnects by itself repeats the old query.
///
/// # Errors
/// `not_found`; `conflict` if the cursor is beyond the log's head; `invalid_request`.
pub async fn follow_from_request(
    run: RunId,
    after: Option<Seq>,
    snapshot: bool,
) -> Result<SseBody, ApiError> {
    let app = super::app()?;
    let headers: HeaderMap = leptos_axum::extract().await.unwrap_or_default();
    let last = headers.get("last-event-id").map(parse_cursor).transpose()?;
    let frames = follow(&app, run, last.max(after).unwrap_or(0), snapshot).await?;
    if let Some(response) = use_context::<ResponseOptions>() {
        // Whatever stands between must neither keep, nor change, nor collect these bytes.
        response.insert_header(
            header::CACHE_CONTROL,
            HeaderValue::from_static("no-cache, no-transform"),
        );
        response.insert_header(
            HeaderName::from_static("x-accel-buffering"),
            HeaderValue::from_static("no"),
        );
    }
    Ok(SseBody::new(frames))
}

fn parse_cursor(value: &HeaderValue) -> Result<Seq, Error> {
    let text = value.to_str().unwrap_or("?");
    text.parse().map_err(|_| {
        Error::new(
            ErrorCode::InvalidRequest,
            "The header Last-Event-ID must be a number.",
        )
    })
}

/// The frames of a run after `after`, to its end or to the end of the connection's time.
///
/// # Errors
/// `not_found`; `conflict` if the cursor is beyond the log's head.
pub async fn follow(
    app: &App,
    run: RunId,
    after: Seq,
    snapshot: bool,
) -> Result<impl Stream<Item = Bytes> + Send + use<>, Error> {
    let source = app.log.source(run).await?;
    if after > source.head().seq {
        return Err(Error::new(
            ErrorCode::Conflict,
            "The cursor is beyond the end of this answer. Follow it from the start.",
        ));
    }
    let mut cursor = after;
    let mut ready = VecDeque::from([hello(app)]);
    if snapshot {
        let answer = source.answer();
        if answer.seq > after {
            cursor = answer.seq;
            let answer = serde_json::to_value(answer).unwrap_or_default();
            ready.push_back(frame::delivery(&Event::Snapshot {
                seq: cursor,
                answer,
            }));
        }
    }
    let now = Instant::now();
    let mut ping = interval_at(now + app.delivery.ping, app.delivery.ping);
    ping.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let reader = Reader {
        watch: source.watch(),
        trouble: app.log.writer.trouble(),
        source,
        cursor,
        ready,
        ping,
        // Connections that began together need not end together.
        end: now + jitter(app.delivery.lifetime),
        draining: app.shutdown.draining.clone(),
        drained: app.shutdown.cut.clone(),
        told: false,
        last: false,
    };
    Ok(stream::unfold(reader, |mut reader| async move {
        let bytes = reader.next().await?;
        Some((bytes, reader))
    }))
}

/// The first bytes: a ping, so that the reader's watchdog hears something before the first token,
/// and the pause for readers that reconnect by the browser's own means.
fn hello(app: &App) -> Bytes {
    let mut out = BytesMut::from(&b"retry:1000\n"[..]);
    frame::encode(None, &app.ping(), &mut out);
    out.freeze()
}

struct Reader {
    source: Source,
    cursor: Seq,
    ready: VecDeque<Bytes>,
    watch: Option<watch::Receiver<Head>>,
    trouble: watch::Receiver<Option<Error>>,
    ping: Interval,
    end: Instant,
    draining: CancellationToken,
    drained: CancellationToken,
    /// Whether the reader knows that the server is about to end.
    told: bool,
    /// Whether nothing comes after what is ready.
    last: bool,
}

impl Reader {
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            if let Some(bytes) = self.ready.pop_front() {
                return Some(bytes);
            }
            if self.last {
                return None;
            }
            if let Some(watch) = &mut self.watch {
                // What is committed from here on wakes the wait below.
                watch.borrow_and_update();
            }
            self.cursor = self.source.read(self.cursor, &mut self.ready);
            if !self.ready.is_empty() {
                continue;
            }
            let head = self.source.head();
            if head.finished && self.cursor >= head.seq {
                return None;
            }
            self.wait().await;
        }
    }

    /// Waits for more of the log, and says what a reader must hear while there is none.
    async fn wait(&mut self) {
        let Some(watch) = &mut self.watch else { return };
        tokio::select! {
            biased;
            _ = watch.changed() => {}
            // Not where the writer has gone: nobody can change anything any more.
            Ok(()) = self.trouble.changed() => self.say_ping(),
            () = self.draining.cancelled(), if !self.told => {
                self.told = true;
                let notice = "The server is about to restart. It finishes this answer first if \
                              it can.";
                self.say(&Event::Ping { notice: Some(notice.into()) });
            }
            () = sleep_until(self.end) => self.go_away("lifetime", 0),
            // The run's last entry comes within moments of the end of the grace; a reader that
            // does not get it comes back to the next process.
            () = after(&self.drained, Duration::from_secs(2)) => self.go_away("shutdown", 1000),
            _ = self.ping.tick() => self.say_ping(),
        }
    }

    fn say_ping(&mut self) {
        let notice = self
            .trouble
            .borrow_and_update()
            .as_ref()
            .map(|why| why.message.clone());
        self.say(&Event::Ping { notice });
    }

    fn go_away(&mut self, reason: &str, retry_ms: u64) {
        self.say(&Event::GoingAway {
            reason: reason.into(),
            retry_ms,
        });
        self.last = true;
    }

    fn say(&mut self, event: &Event) {
        self.ready.push_back(frame::delivery(event));
    }
}

async fn after(token: &CancellationToken, pause: Duration) {
    token.cancelled().await;
    tokio::time::sleep(pause).await;
}

/// Between nine and ten tenths of `duration`. The clock's last digits are chance enough for this.
fn jitter(duration: Duration) -> Duration {
    let nanos = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |now| now.subsec_nanos());
    duration - duration.mul_f64(f64::from(nanos % 1000) / 10_000.0)
}
