//! Follows a run: a cursor on its log, as entries or as frames of an event stream.
//!
//! A reader is a cursor and not a queue. When its socket has room, it asks the log for what comes after
//! the cursor, so a slow reader costs nothing but its socket.

mod filter;
mod langchain;

pub use filter::{Filter, Form};
pub use langchain::Cursor;

use super::{
    db::conversations,
    log::{Source, frame, live::Head},
    packed::fold_until,
};
use crate::{Engine, Window};
use bytes::{BufMut, Bytes, BytesMut};
use filter::Filtering;
use futures::{Stream, StreamExt, future, stream};
use headwater_protocol::{
    BlockKind, BlockNo, Entry, Error, ErrorCode, Event, RunHead, RunId, Seq, SpanNo, Status,
    Timing,
    chat::{Answer, Message},
};
use langchain::Converter;
use std::{
    collections::{HashMap, VecDeque},
    pin::Pin,
    time::Duration,
};
use tokio::{
    sync::watch,
    time::{Instant, Interval, MissedTickBehavior, interval_at, sleep_until},
};
use tokio_util::sync::CancellationToken;

impl Engine {
    /// The entries of a run after `after`. Entries to come follow as soon as they are stored, and the
    /// stream ends after [`Event::RunFinished`]. A stream that is not polled costs nothing and loses
    /// nothing.
    ///
    /// # Errors
    /// `not_found`; `conflict` if `after` is beyond the end of the log.
    pub async fn follow(
        &self,
        run: RunId,
        after: Seq,
    ) -> Result<impl Stream<Item = Entry> + Send + use<>, Error> {
        let source = source(self, run, after).await?;
        let batches = stream::unfold((source, after), |(source, cursor)| async move {
            let entries = source.entries_after(cursor).await;
            let cursor = entries.last()?.seq;
            Some((stream::iter(entries), (source, cursor)))
        });
        Ok(batches.flatten())
    }

    /// The text of a run as it comes, and at the end its error, if it did not end well. Text of an attempt
    /// that failed and was replaced comes as well.
    ///
    /// # Errors
    /// See [`Engine::follow`].
    pub async fn tokens(
        &self,
        run: RunId,
    ) -> Result<impl Stream<Item = Result<Text, Error>> + Send + use<>, Error> {
        let entries = self.follow(run, 0).await?;
        let mut visible = Visible::default();
        Ok(entries.filter_map(move |entry| future::ready(visible.take(entry))))
    }

    /// The same as frames of an event stream, with pings. It ends with the run, or when the connection
    /// has lasted as long as it may ([`crate::config::Delivery`]). With `snapshot`, the state so far
    /// comes as one event in place of the entries that led to it. A reader that has seen more of an
    /// interrupted run than a power cut has left gets a snapshot that leads back ([`Answer::rewound`]).
    ///
    /// # Errors
    /// See [`Engine::follow`].
    pub async fn event_stream(
        &self,
        run: RunId,
        after: Seq,
        snapshot: bool,
    ) -> Result<EventStream<impl Stream<Item = Bytes> + Send + use<>>, Error> {
        let mut reader = self.reader(run, after).await?;
        // Whoever was led back has a snapshot already.
        if snapshot && reader.cursor == after {
            let answer = reader.source.answer();
            if answer.seq > after {
                reader.begin_with(answer);
            }
        }
        Ok(frames(reader))
    }

    /// The same with the entries of some spans only, or in another form. A filter removes frames and changes
    /// none, so there are no merged deltas and no snapshot, except the one that leads back. The beginning and
    /// the end of the run always come.
    ///
    /// # Errors
    /// See [`Engine::follow`].
    pub async fn filtered_event_stream(
        &self,
        run: RunId,
        after: Seq,
        filter: Filter,
        form: Form,
    ) -> Result<EventStream<impl Stream<Item = Bytes> + Send + use<>>, Error> {
        let mut reader = self.reader(run, after).await?;
        let filtering = Filtering::new(filter, form, &reader.source, reader.cursor).await;
        reader.view = View::Part(Box::new(filtering));
        Ok(frames(reader))
    }

    /// All entries that a run has now, each as JSON on a line of its own, in pieces of some 64 KiB.
    ///
    /// # Errors
    /// `not_found`.
    pub async fn lines(
        &self,
        run: RunId,
    ) -> Result<impl Stream<Item = Bytes> + Send + use<>, Error> {
        let source = self.log.source(run).await?;
        let end = source.head().seq;
        Ok(stream::unfold(0, move |cursor| {
            let mut lines = BytesMut::new();
            let most = usize::try_from(end - cursor).unwrap_or(usize::MAX);
            let last = source.look_after(cursor, most, |seq, at, item| {
                frame::put_entry(seq, at, item, &mut lines);
                lines.put_u8(b'\n');
            });
            future::ready((last > cursor).then(|| (lines.freeze(), last)))
        }))
    }

    /// What a run belongs to.
    ///
    /// # Errors
    /// `not_found`, `storage`.
    pub async fn head(&self, run: RunId) -> Result<RunHead, Error> {
        let Some(Event::RunStarted {
            conversation,
            model,
            ..
        }) = first(&self.log.source(run).await?)
        else {
            let sentence = "The beginning of this answer cannot be read.";
            return Err(Error::new(ErrorCode::Storage, sentence));
        };
        let newest = Window {
            limit: Some(1),
            ..Window::default()
        };
        let title = self.load(conversation, newest).await?.title;
        Ok(RunHead {
            conversation,
            title,
            model,
        })
    }

    /// The same as the events of LangChain's `astream_events(version="v2")`, each in a frame without a name, and
    /// behind the last one a frame with the name `end`, which says how the run ended. Pings are comments, and there
    /// are no snapshots. Reads the conversation, and the log from its start to `after`, because an event of v2
    /// says again what was before it; from there on, a token costs no more than its own event.
    ///
    /// # Errors
    /// See [`Engine::follow`].
    pub async fn langchain_stream(
        &self,
        run: RunId,
        after: Cursor,
        filter: Option<Filter>,
    ) -> Result<EventStream<impl Stream<Item = Bytes> + Send + use<>>, Error> {
        let source = source(self, run, after.seq()).await?;
        let asked = self.asked(&source).await?;
        let converter = Converter::new(run, &asked, filter, &source, after).await;
        let view = View::LangChain(Box::new(converter));
        let ready = VecDeque::from([hello(self, &view)]);
        let mut reader = Reader::new(self, source, after.after, ready);
        reader.view = view;
        Ok(frames(reader))
    }

    /// The messages that a run answers, oldest first.
    async fn asked(&self, source: &Source) -> Result<Vec<Message>, Error> {
        let Some(Event::RunStarted { parent: last, .. }) = first(source) else {
            return Ok(Vec::new());
        };
        let log = self.log.clone();
        let read = move |db: &_| conversations::branch_to(db, &*log, last);
        self.log.db.read(read).await
    }

    /// A reader of the frames after `after`, which has to be in the log, unless a power cut took it back.
    async fn reader(&self, run: RunId, after: Seq) -> Result<Reader, Error> {
        let source = self.log.source(run).await?;
        let led_back = rewound(&source, after);
        if led_back.is_none() {
            refuse_beyond(&source, after)?;
        }
        let ready = VecDeque::from([hello(self, &View::All)]);
        let mut reader = Reader::new(self, source, after, ready);
        if let Some(answer) = led_back {
            reader.begin_with(answer);
        }
        Ok(reader)
    }
}

/// An event stream, as [`Engine::event_stream`] opens it.
pub struct EventStream<S> {
    /// When the parts of the run happened; `None` if it has not ended yet.
    pub timing: Option<Timing>,
    /// The frames.
    pub frames: S,
}

fn frames(reader: Reader) -> EventStream<impl Stream<Item = Bytes> + Send + use<>> {
    EventStream {
        timing: reader.source.timing(),
        frames: stream::unfold(reader, |mut reader| async move {
            let mut bytes = reader.next().await?;
            if !reader.batch.is_zero() && !reader.ready.is_empty() {
                // What belongs together is one piece on the network, too.
                let mut all = BytesMut::from(bytes);
                reader.ready.drain(..).for_each(|more| all.put(more));
                bytes = all.freeze();
            }
            if reader.padding > 0 {
                bytes = frame::padded(&bytes, reader.padding);
            }
            Some((bytes, reader))
        }),
    }
}

/// Text of an answer, as [`Engine::tokens`] yields it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Text {
    /// The span of the model. Models that are asked at the same time take turns.
    pub span: SpanNo,
    /// The text, never empty.
    pub text: String,
}

/// What [`Engine::tokens`] keeps of the entries before.
#[derive(Default)]
struct Visible {
    blocks: HashMap<BlockNo, BlockKind>,
}

impl Visible {
    /// What an entry means for whoever reads text only.
    fn take(&mut self, entry: Entry) -> Option<Result<Text, Error>> {
        match entry.event {
            Event::BlockStarted { block, kind, .. }
            | Event::BlockRelabelled { block, kind, .. } => {
                self.blocks.insert(block, kind);
                None
            }
            Event::Delta {
                span, block, text, ..
            } => {
                let kind = self.blocks.get(&block);
                let reads = matches!(kind, Some(BlockKind::Text | BlockKind::Refusal));
                reads.then_some(Ok(Text { span, text }))
            }
            Event::RunFinished { status, error, .. } if status != Status::Ok => {
                let stopped = || Error::new(ErrorCode::Stopped, "The answer was stopped.");
                Some(Err(error.unwrap_or_else(stopped)))
            }
            _ => None,
        }
    }
}

/// The log of a run, which has to reach as far as `after`.
async fn source(engine: &Engine, run: RunId, after: Seq) -> Result<Source, Error> {
    let source = engine.log.source(run).await?;
    refuse_beyond(&source, after)?;
    Ok(source)
}

/// The first event of a log, which says what the run is.
fn first(source: &Source) -> Option<Event> {
    let mut first = None;
    source.look_after(0, 1, |_, _, item| first = Some(item.into_event()));
    first
}

fn refuse_beyond(source: &Source, after: Seq) -> Result<(), Error> {
    if after > source.head().seq {
        return Err(Error::new(
            ErrorCode::Conflict,
            "The cursor is beyond the end of this answer. Follow it from the start.",
        ));
    }
    Ok(())
}

/// The state before the last entry, for a reader that has seen more of a run than a power cut has
/// left: an interrupted run that is shorter than the reader's cursor.
fn rewound(source: &Source, after: Seq) -> Option<Answer> {
    let Source::Stored(log) = source else {
        return None;
    };
    if after <= log.len() {
        return None;
    }
    let before = log.len().saturating_sub(1);
    let last = log.after(before).last()?.event;
    let Event::RunFinished {
        status: Status::Interrupted,
        ..
    } = last
    else {
        return None;
    };
    Some(Answer {
        rewound: true,
        ..fold_until(log, before)
    })
}

fn snapshot_of(answer: Answer) -> Bytes {
    let seq = answer.seq;
    let answer = serde_json::to_value(answer).unwrap_or_default();
    frame::delivery(&Event::Snapshot { seq, answer })
}

/// The pause before a browser reconnects by itself, in milliseconds.
const RETRY: &[u8] = b"retry:1000\n";

/// The first bytes: a ping, so that the watchdog of the reader hears something before the first token.
fn hello(engine: &Engine, view: &View) -> Bytes {
    let mut out = BytesMut::from(RETRY);
    let trouble = engine.log.appender.trouble();
    out.extend_from_slice(&view.notice(&ping(trouble.borrow().as_ref())));
    out.freeze()
}

/// A ping, with a notice if the log cannot be written.
fn ping(trouble: Option<&Error>) -> Event {
    Event::Ping {
        notice: trouble.map(|why| why.message.clone()),
    }
}

/// What a reader gets of the log.
enum View {
    All,
    Part(Box<Filtering>),
    LangChain(Box<Converter>),
}

impl View {
    /// Adds the frames of the next entries, and returns the number of the last entry that was looked at.
    fn read(&mut self, source: &Source, after: Seq, out: &mut VecDeque<Bytes>) -> Seq {
        match self {
            Self::All => source.read(after, out),
            Self::Part(filtering) => filtering.read(source, after, out),
            Self::LangChain(converter) => converter.read(source, after, out),
        }
    }

    fn notice(&self, event: &Event) -> Bytes {
        match self {
            Self::All | Self::Part(_) => frame::delivery(event),
            Self::LangChain(_) => langchain::comment(event),
        }
    }
}

struct Reader {
    source: Source,
    cursor: Seq,
    /// Bytes to be sent next.
    ready: VecDeque<Bytes>,
    /// Tells of more entries. `None` if the run is finished.
    watch: Option<watch::Receiver<Head>>,
    /// All that a reader is told beside entries. It is waited for beside them, and lives from one entry
    /// to the next: to set timers anew for every token costs more than to send it.
    notices: Pin<Box<dyn Future<Output = (Notice, Notices)> + Send>>,
    /// Whether nothing comes after what is ready.
    last: bool,
    view: View,
    /// See [`crate::config::Delivery`].
    padding: usize,
    batch: Duration,
    /// When the log may be read again.
    rested: Option<Instant>,
}

impl Reader {
    fn new(engine: &Engine, source: Source, cursor: Seq, ready: VecDeque<Bytes>) -> Self {
        let notices = Notices::of(engine);
        Self {
            padding: engine.delivery.padding,
            batch: engine.delivery.batch,
            rested: None,
            watch: source.watch(),
            source,
            cursor,
            ready,
            notices: Box::pin(notices.next()),
            last: false,
            view: View::All,
        }
    }

    /// Sends a state in place of the entries that led to it.
    fn begin_with(&mut self, answer: Answer) {
        self.cursor = answer.seq;
        self.ready.push_back(snapshot_of(answer));
    }

    async fn next(&mut self) -> Option<Bytes> {
        loop {
            if let Some(bytes) = self.ready.pop_front() {
                return Some(bytes);
            }
            if self.last {
                return None;
            }
            if let Some(until) = self.rested.take() {
                sleep_until(until).await;
            }
            if let Some(watch) = &mut self.watch {
                // What is committed from here on wakes the wait below.
                watch.borrow_and_update();
            }
            let before = self.cursor;
            self.cursor = self.view.read(&self.source, before, &mut self.ready);
            if !self.ready.is_empty() {
                let rests = !self.batch.is_zero();
                self.rested = rests.then(|| Instant::now() + self.batch);
                continue;
            }
            if self.cursor > before {
                // Nothing of it is for the reader, and there may be much of it.
                tokio::task::yield_now().await;
                continue;
            }
            let head = self.source.head();
            if head.finished && self.cursor >= head.seq {
                return None;
            }
            self.wait().await;
        }
    }

    /// Waits for more of the log, or for something else that the reader has to know.
    async fn wait(&mut self) {
        let Some(watch) = &mut self.watch else { return };
        tokio::select! {
            biased;
            _ = watch.changed() => {}
            (notice, notices) = &mut self.notices => {
                self.ready.push_back(self.view.notice(&notice.event));
                self.last = notice.last;
                self.notices = Box::pin(notices.next());
            }
        }
    }
}

/// Something that a reader is told beside the entries of the log.
struct Notice {
    event: Event,
    /// Whether the stream ends behind it.
    last: bool,
}

/// Where notices come from.
struct Notices {
    trouble: watch::Receiver<Option<Error>>,
    ping: Interval,
    /// When the connection has lasted long enough.
    end: Instant,
    draining: CancellationToken,
    drained: CancellationToken,
    /// Whether the reader was told that the server is about to end.
    told: bool,
}

impl Notices {
    fn of(engine: &Engine) -> Self {
        let now = Instant::now();
        let mut ping = interval_at(now + engine.delivery.ping, engine.delivery.ping);
        ping.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self {
            trouble: engine.log.appender.trouble(),
            ping,
            // Connections that began together need not end together.
            end: now + jitter(engine.delivery.lifetime),
            draining: engine.shutdown.draining.clone(),
            drained: engine.shutdown.cut.clone(),
            told: false,
        }
    }

    async fn next(mut self) -> (Notice, Self) {
        let (event, last) = tokio::select! {
            biased;
            // Without a log that is written nothing more is said of it.
            Ok(()) = self.trouble.changed() => (self.ping(), false),
            () = self.draining.cancelled(), if !self.told => {
                self.told = true;
                let notice = "The server is about to restart. It finishes this answer first if \
                              it can.";
                (Event::Ping { notice: Some(notice.into()) }, false)
            }
            () = sleep_until(self.end) => (going_away("lifetime", 0), true),
            // The last entry of the run comes moments after the end of the grace period. A reader
            // that does not get it comes back to the next process.
            () = after(&self.drained, Duration::from_secs(2)) => (going_away("shutdown", 1000), true),
            _ = self.ping.tick() => (self.ping(), false),
        };
        (Notice { event, last }, self)
    }

    fn ping(&mut self) -> Event {
        ping(self.trouble.borrow_and_update().as_ref())
    }
}

fn going_away(reason: &str, retry_ms: u64) -> Event {
    Event::GoingAway {
        reason: reason.into(),
        retry_ms,
    }
}

async fn after(token: &CancellationToken, pause: Duration) {
    token.cancelled().await;
    tokio::time::sleep(pause).await;
}

/// Between 90 and 100 % of `duration`. The last digits of the clock are random enough for this.
fn jitter(duration: Duration) -> Duration {
    let nanos = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |now| now.subsec_nanos());
    duration - duration.mul_f64(f64::from(nanos % 1000) / 10_000.0)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may fail by panic")]
mod tests;
