//! The log of every run: append, follow, recover.
//!
//! - [`packed`]: the stored form.
//! - [`frame`]: the form on the wire.
//! - [`live`]: a run while it is written.
//! - [`writer`]: the one thread that writes, with group commit.
//! - [`db`]: the file.

pub mod db;
pub mod frame;
pub mod live;
pub mod packed;
pub mod writer;

use crate::{
    chat::Answer,
    protocol::{ConversationId, Entry, Error, ErrorCode, Event, RunId, Seq, Status, Timing, Usage},
    server::search,
};
use bytes::Bytes;
use db::{Db, storage};
use live::{Head, Live};
use packed::Packed;
use rusqlite::{Connection, OptionalExtension, params};
use sha2::{Digest, Sha256};
use std::{
    collections::{HashMap, VecDeque},
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};
use tokio::sync::watch;
use writer::Writer;

/// All logs. One for each process; share it in an [`Arc`].
#[derive(Debug)]
pub struct Log {
    /// To read conversations and finished runs.
    pub db: Arc<Db>,
    /// To write.
    pub writer: Writer,
    live: Mutex<HashMap<RunId, Arc<Live>>>,
}

/// Where a reader reads: a run that is being written, or one that is finished.
#[derive(Clone, Debug)]
pub enum Source {
    /// In memory, growing.
    Live(Arc<Live>),
    /// Whole.
    Stored(Arc<Packed>),
}

impl Source {
    /// How far the log is.
    pub fn head(&self) -> Head {
        match self {
            Self::Live(live) => live.head(),
            Self::Stored(packed) => Head {
                seq: packed.len(),
                finished: true,
            },
        }
    }

    /// Hears of more; `None` where no more can come.
    pub fn watch(&self) -> Option<watch::Receiver<Head>> {
        match self {
            Self::Live(live) => Some(live.watch()),
            Self::Stored(_) => None,
        }
    }

    /// The next frames after `after` and the cursor that they lead to.
    pub fn read(&self, after: Seq, out: &mut VecDeque<Bytes>) -> Seq {
        match self {
            Self::Live(live) => live.read(after, out),
            Self::Stored(packed) => {
                let (bytes, cursor) = frame::merged(packed, after, 64 * 1024);
                if !bytes.is_empty() {
                    out.push_back(bytes);
                }
                cursor
            }
        }
    }

    /// Looks at the fold of everything so far without copying it.
    pub fn with_answer<R>(&self, look: impl FnOnce(&Answer) -> R) -> R {
        match self {
            Self::Live(live) => live.with_answer(look),
            Self::Stored(packed) => look(&fold(packed)),
        }
    }

    /// The fold of everything so far.
    pub fn answer(&self) -> Answer {
        match self {
            Self::Live(live) => live.answer(),
            Self::Stored(packed) => fold(packed),
        }
    }
}

impl Log {
    /// Opens the database in `dir` and closes every run that a dead process left open, so that
    /// each log has its last entry. Returns how many there were.
    ///
    /// # Errors
    /// `storage`, with a sentence for whoever starts the server.
    pub fn open(dir: &Path, limit_mb: u64) -> Result<(Self, usize), Error> {
        let (db, mut connection) = Db::open(dir, limit_mb)?;
        let closed = close_open_runs(&mut connection)?;
        let log = Self {
            db: Arc::new(db),
            writer: Writer::spawn(connection),
            live: Mutex::default(),
        };
        Ok((log, closed))
    }

    /// Makes a run that is stored with its first entry visible.
    pub fn begin(&self, live: Arc<Live>) {
        self.lock().insert(live.run, live);
    }

    /// A run that is being written.
    pub fn live(&self, run: RunId) -> Option<Arc<Live>> {
        self.lock().get(&run).cloned()
    }

    /// Runs being written now.
    pub fn running(&self) -> Vec<Arc<Live>> {
        self.lock().values().cloned().collect()
    }

    /// Conversations in which an answer is being written now.
    pub fn running_conversations(&self) -> Vec<ConversationId> {
        self.lock()
            .values()
            .filter(|live| !live.head().finished)
            .map(|live| live.conversation)
            .collect()
    }

    /// Stores a finished run's log in one piece and lets go of it. Readers that hold it go on.
    ///
    /// # Errors
    /// `storage`. The segments stay then, and the run is read from them.
    pub async fn settle(&self, live: &Arc<Live>) -> Result<(), Error> {
        let (no, packed) = (live.no, live.packed());
        let (status, text) = live.with_answer(|answer| (answer.status, answer.visible_text()));
        let status = status.unwrap_or(Status::Error);
        let text = search::folded(&text);
        let result = self
            .writer
            .write(move |db| finish(db, no, &packed, status, &text).map_err(storage))
            .await;
        // From here on the database answers. Its `log` row is there, or its segments are.
        self.lock().remove(&live.run);
        result
    }

    /// Where to read a run.
    ///
    /// # Errors
    /// `not_found`, or `storage`.
    pub async fn source(&self, run: RunId) -> Result<Source, Error> {
        if let Some(live) = self.live(run) {
            return Ok(Source::Live(live));
        }
        let packed = self.db.read(move |db| stored(db, run)).await?;
        // A run may begin between the two looks; it cannot be in neither place after both.
        match (packed, self.live(run)) {
            (Some(packed), _) => Ok(Source::Stored(Arc::new(packed))),
            (None, Some(live)) => Ok(Source::Live(live)),
            (None, None) => Err(Error::new(ErrorCode::NotFound, "There is no such answer.")),
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<RunId, Arc<Live>>> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The fold of a packed log.
pub fn fold(log: &Packed) -> Answer {
    let entries: Vec<Entry> = log.after(0).collect();
    Answer::fold(entries.iter().map(|entry| (entry.seq, &entry.event)))
}

/// SHA-256 of a text in hexadecimal, as [`Event::RunFinished`] carries it.
pub fn hash(text: &str) -> String {
    use std::fmt::Write;
    let mut out = String::with_capacity(64);
    for byte in Sha256::digest(text.as_bytes()) {
        let _ = write!(out, "{byte:02x}");
    }
    out
}

/// Reads a run's log, from one piece or from its segments.
///
/// # Errors
/// `storage`.
pub fn stored(db: &Connection, run: RunId) -> Result<Option<Packed>, Error> {
    let no: Option<i64> = db
        .prepare_cached("SELECT no FROM run WHERE id = ?1")
        .and_then(|mut query| {
            query
                .query_row(params![run.0.as_bytes()], |row| row.get(0))
                .optional()
        })
        .map_err(storage)?;
    no.map(|no| stored_by_no(db, no)).transpose()
}

/// Reads a run's log by its number in the database; empty where there is none.
///
/// # Errors
/// `storage`.
pub fn stored_by_no(db: &Connection, no: i64) -> Result<Packed, Error> {
    if let Some(packed) = whole(db, no)? {
        return Ok(packed);
    }
    let packed = segments(db, no)?;
    match packed.is_empty() {
        // Between the two looks the run may have ended, and its segments been put together.
        true => Ok(whole(db, no)?.unwrap_or_default()),
        false => Ok(packed),
    }
}

/// The log of a finished run.
fn whole(db: &Connection, no: i64) -> Result<Option<Packed>, Error> {
    let bytes: Option<Vec<u8>> = db
        .prepare_cached("SELECT bytes FROM log WHERE run = ?1")
        .and_then(|mut query| query.query_row([no], |row| row.get(0)).optional())
        .map_err(storage)?;
    bytes.map(|bytes| Packed::from_bytes(&bytes)).transpose()
}

/// The log of a run that is being written.
fn segments(db: &Connection, no: i64) -> Result<Packed, Error> {
    let mut packed = Packed::default();
    let mut query = db
        .prepare_cached(
            "SELECT bytes FROM segment
             WHERE no >= (SELECT segment FROM run WHERE no = ?1) AND run = ?1 ORDER BY no",
        )
        .map_err(storage)?;
    let mut rows = query.query([no]).map_err(storage)?;
    while let Some(row) = rows.next().map_err(storage)? {
        extend(&mut packed, &row.get::<_, Vec<u8>>(0).map_err(storage)?)?;
    }
    Ok(packed)
}

/// Adds a segment to the end of a log.
fn extend(packed: &mut Packed, segment: &[u8]) -> Result<(), Error> {
    for entry in Packed::from_bytes(segment)?.after(0) {
        packed.push(entry.at, &entry.event);
    }
    Ok(())
}

/// Writes the first segment of a run, inside of the transaction that makes the run.
pub fn write_first(db: &Connection, no: i64, packed: &Packed) -> rusqlite::Result<()> {
    add_segment(db, no, packed)?;
    db.prepare_cached("UPDATE run SET segment = ?2 WHERE no = ?1")?
        .execute(params![no, db.last_insert_rowid()])?;
    Ok(())
}

/// Writes the next segment of a run.
fn add_segment(db: &Connection, no: i64, packed: &Packed) -> rusqlite::Result<()> {
    db.prepare_cached("INSERT INTO segment (run, bytes) VALUES (?1, ?2)")?
        .execute(params![no, packed.as_bytes()])?;
    Ok(())
}

/// Stores the log of a run that has ended in one piece, and makes its answer findable: `text` is
/// what [`search::folded`] makes of it.
///
/// # Errors
/// What SQLite says.
pub fn finish(
    db: &Connection,
    no: i64,
    packed: &Packed,
    status: Status,
    text: &str,
) -> rusqlite::Result<()> {
    compact(db, no, packed, status)?;
    search::put_answer(db, no, text)
}

/// Replaces a run's segments by one row, marks it finished, and removes the segments that no open
/// run needs any more.
fn compact(db: &Connection, no: i64, packed: &Packed, status: Status) -> rusqlite::Result<()> {
    let status = super::store::status_word(status);
    db.prepare_cached("INSERT OR REPLACE INTO log (run, bytes) VALUES (?1, ?2)")?
        .execute(params![no, packed.as_bytes()])?;
    db.prepare_cached("UPDATE run SET status = ?2 WHERE no = ?1")?
        .execute(params![no, status])?;
    // Runs get their numbers and their first segments in the same order.
    let oldest: Option<i64> = db
        .prepare_cached("SELECT segment FROM run WHERE status IS NULL ORDER BY no LIMIT 1")?
        .query_row([], |row| row.get(0))
        .optional()?;
    db.prepare_cached("DELETE FROM segment WHERE no < ?1")?
        .execute([oldest.unwrap_or(i64::MAX)])?;
    Ok(())
}

/// The end of a run whose process died: what is there is kept, and the log gets its last entry.
fn close_open_runs(db: &mut Connection) -> Result<usize, Error> {
    let open: Vec<i64> = db
        .prepare("SELECT no FROM run WHERE status IS NULL")
        .and_then(|mut query| query.query_map([], |row| row.get(0))?.collect())
        .map_err(storage)?;
    let mut logs = open_logs(db)?;
    for no in &open {
        let mut packed = logs.remove(no).unwrap_or_default();
        let answer = fold(&packed);
        if answer.status.is_none() {
            let at = packed.items_after(0).last().map_or(0, |(_, at, _)| at);
            for event in interruption(&answer) {
                packed.push(at, &event);
            }
        }
        let status = answer.status.unwrap_or(Status::Interrupted);
        let transaction = db.transaction().map_err(storage)?;
        let text = search::folded(&answer.visible_text());
        finish(&transaction, *no, &packed, status, &text).map_err(storage)?;
        transaction.commit().map_err(storage)?;
    }
    Ok(open.len())
}

/// All logs that lie in segments, in one pass: a server may have died with many open runs.
fn open_logs(db: &Connection) -> Result<HashMap<i64, Packed>, Error> {
    let mut logs: HashMap<i64, Packed> = HashMap::new();
    let mut query = db
        .prepare("SELECT run, bytes FROM segment ORDER BY no")
        .map_err(storage)?;
    let mut rows = query.query([]).map_err(storage)?;
    while let Some(row) = rows.next().map_err(storage)? {
        let log = logs.entry(row.get(0).map_err(storage)?).or_default();
        extend(log, &row.get::<_, Vec<u8>>(1).map_err(storage)?)?;
    }
    Ok(logs)
}

/// The last entries of a run that was cut off by the end of its server.
pub fn interruption(answer: &Answer) -> Vec<Event> {
    let error = Error::new(
        ErrorCode::Interrupted,
        "The server stopped while this was being written.",
    )
    .at("writing");
    let mut events: Vec<Event> = answer
        .spans
        .iter()
        .filter(|span| span.status.is_none())
        .map(|span| Event::SpanFinished {
            span: span.span,
            status: Status::Interrupted,
            output: serde_json::Value::Null,
            finish: None,
            usage: None,
            timing: None,
            error: Some(error.clone()),
        })
        .collect();
    let text = answer.visible_text();
    events.push(Event::RunFinished {
        status: Status::Interrupted,
        usage: Usage {
            estimated: true,
            ..answer.usage
        },
        timing: Timing {
            accepted: answer.accepted,
            ..Timing::default()
        },
        error: Some(error),
        length: text.len() as u64,
        hash: hash(&text),
    });
    events
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may fail by panic")]
mod tests;
