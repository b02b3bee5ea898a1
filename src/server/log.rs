//! The log of every run: append, follow, recover.
//!
//! - [`packed`]: the stored form.
//! - [`frame`]: the form on the wire.
//! - [`live`]: a run while it is written.
//! - [`writer`]: the one thread that writes, with group commit.
//! - [`recover`]: the end of logs whose writer has died, and of damaged ones.
//! - [`db`]: the file.

pub mod db;
pub mod frame;
pub mod live;
pub mod packed;
pub mod recover;
pub mod writer;

use crate::{
    chat::Answer,
    protocol::{ConversationId, Entry, Error, ErrorCode, RunId, Seq, Status},
    server::search,
};
use bytes::Bytes;
use db::{Db, storage};
use live::{Head, Live};
use packed::Packed;
use rusqlite::{Connection, OptionalExtension, params};
use sha2::{Digest, Sha256};
use std::{
    collections::{HashMap, HashSet, VecDeque},
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::sync::watch;
use writer::Writer;

/// The pause after a first try to store a finished run in one piece, and the longest one.
const SETTLE_AGAIN: [Duration; 2] = [Duration::from_millis(250), Duration::from_secs(30)];

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
        let closed = recover::close_all(&mut connection)?;
        // A process that was killed may have left there what was deleted.
        db::empty_journal(&connection, Duration::ZERO);
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

    /// Stores a finished run's log in one piece and lets go of it. Readers that hold it go on. A
    /// disk that does not take it is asked again until it does: the log is whole in its segments
    /// and in memory meanwhile, and the next start stores it if this process does not come to it.
    pub async fn settle(&self, live: &Arc<Live>) {
        let [mut pause, longest] = SETTLE_AGAIN;
        while let Err(why) = self.store_whole(live).await {
            if why.code == ErrorCode::ShuttingDown {
                return;
            }
            tracing::warn!(run = %live.run, %why, "a finished run stays in segments for now");
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(longest);
        }
        // From here on the database answers.
        self.lock().remove(&live.run);
    }

    async fn store_whole(&self, live: &Arc<Live>) -> Result<(), Error> {
        let (no, packed) = (live.no, live.packed());
        let (status, text) = live.with_answer(|answer| (answer.status, answer.visible_text()));
        let status = status.unwrap_or(Status::Error);
        let text = search::folded(&text);
        // Its segments have all of it, and they were synced with its end.
        self.writer
            .write_unsynced(move |db| finish(db, no, &packed, status, &text).map_err(storage))
            .await
    }

    /// Lets go of all runs of a conversation that was deleted.
    pub fn forget(&self, conversation: ConversationId) {
        self.lock()
            .retain(|_, live| live.conversation != conversation);
    }

    /// Closes what is stored as running and is not being written by anybody. Returns how many runs
    /// that were. Nothing may begin meanwhile.
    ///
    /// # Errors
    /// `storage`.
    pub async fn close_lost(&self) -> Result<usize, Error> {
        let known: HashSet<i64> = self.lock().values().map(|live| live.no).collect();
        let lost = move |db: &Connection| {
            let open = recover::open_runs(db)?.into_iter();
            Ok(open.filter(|no| !known.contains(no)).collect::<Vec<i64>>())
        };
        let lost = self.db.read(lost).await?;
        if lost.is_empty() {
            return Ok(0);
        }
        let count = lost.len();
        let close = move |db: &Connection| lost.iter().try_for_each(|no| recover::close(db, *no));
        self.writer.write(close).await.map(|()| count)
    }

    /// Where to read a run.
    ///
    /// # Errors
    /// `not_found`, or `storage`.
    pub async fn source(&self, run: RunId) -> Result<Source, Error> {
        let mut found = None;
        // A run may begin or end between the two looks of the first round; not of the second, too.
        for _ in 0..2 {
            if let Some(live) = self.live(run) {
                return Ok(Source::Live(live));
            }
            found = self.db.read(move |db| stored(db, run)).await?;
            if found.as_ref().is_some_and(Packed::is_finished) {
                break;
            }
        }
        match found {
            Some(packed) => Ok(Source::Stored(Arc::new(packed))),
            None => Err(Error::new(ErrorCode::NotFound, "There is no such answer.")),
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

/// The log of a finished run. Where it is damaged, what can be read of it and an end that says so.
fn whole(db: &Connection, no: i64) -> Result<Option<Packed>, Error> {
    let bytes: Option<Vec<u8>> = db
        .prepare_cached("SELECT bytes FROM log WHERE run = ?1")
        .and_then(|mut query| query.query_row([no], |row| row.get(0)).optional())
        .map_err(storage)?;
    Ok(bytes.map(|bytes| {
        let (mut packed, why) = Packed::readable(&bytes);
        if !packed.is_finished() {
            recover::end(&mut packed, why.unwrap_or_else(packed::damaged));
        }
        packed
    }))
}

/// The log of a run that is being written, as far as it can be read.
fn segments(db: &Connection, no: i64) -> Result<Packed, Error> {
    segments_until(db, no).map(|(packed, _)| packed)
}

/// The log of a run that is being written, and what is wrong behind it.
fn segments_until(db: &Connection, no: i64) -> Result<(Packed, Option<Error>), Error> {
    let mut packed = Packed::default();
    let mut query = db
        .prepare_cached(
            "SELECT bytes FROM segment
             WHERE no >= (SELECT segment FROM run WHERE no = ?1) AND run = ?1 ORDER BY no",
        )
        .map_err(storage)?;
    let mut rows = query.query([no]).map_err(storage)?;
    while let Some(row) = rows.next().map_err(storage)? {
        let bytes: Vec<u8> = row.get(0).map_err(storage)?;
        if let Some(why) = extend(&mut packed, &bytes) {
            return Ok((packed, Some(why)));
        }
    }
    Ok((packed, None))
}

/// Adds a segment to the end of a log, and says what is wrong with it.
fn extend(packed: &mut Packed, segment: &[u8]) -> Option<Error> {
    let (segment, why) = Packed::readable(segment);
    for entry in segment.after(0) {
        packed.push(entry.at, &entry.event);
    }
    why
}

/// Writes the first segment of a run, inside of the transaction that makes the run.
pub fn write_first(db: &Connection, no: i64, packed: &Packed) -> rusqlite::Result<()> {
    add_segment(db, no, packed)?;
    db.prepare_cached("UPDATE run SET segment = ?2 WHERE no = ?1")?
        .execute(params![no, db.last_insert_rowid()])?;
    Ok(())
}

/// Writes the next segment of a run. One that was deleted meanwhile leaves nothing.
fn add_segment(db: &Connection, no: i64, packed: &Packed) -> rusqlite::Result<()> {
    db.prepare_cached(
        "INSERT INTO segment (run, bytes)
         SELECT ?1, ?2 WHERE EXISTS (SELECT 1 FROM run WHERE no = ?1)",
    )?
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
/// run needs any more. A run that was deleted meanwhile leaves nothing.
fn compact(db: &Connection, no: i64, packed: &Packed, status: Status) -> rusqlite::Result<()> {
    let status = super::store::status_word(status);
    let there = db
        .prepare_cached("UPDATE run SET status = ?2 WHERE no = ?1")?
        .execute(params![no, status])?;
    if there > 0 {
        db.prepare_cached("INSERT OR REPLACE INTO log (run, bytes) VALUES (?1, ?2)")?
            .execute(params![no, packed.as_bytes()])?;
    }
    // Runs get their numbers and their first segments in the same order.
    let oldest: Option<i64> = db
        .prepare_cached("SELECT segment FROM run WHERE status IS NULL ORDER BY no LIMIT 1")?
        .query_row([], |row| row.get(0))
        .optional()?;
    db.prepare_cached("DELETE FROM segment WHERE no < ?1")?
        .execute([oldest.unwrap_or(i64::MAX)])?;
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may fail by panic")]
mod tests;
