//! The log of every run: append, follow, recover.
//!
//! - [`batch`]: entries on their way into the log, encoded.
//! - [`appender`]: writes them into the journal, and then shows them.
//! - [`frame`]: the form on the wire.
//! - [`live`]: a run while it is written.
//! - [`control`]: how a run is stopped.
//!
//! A run that has ended moves from the journal into the database.

pub mod appender;
pub mod batch;
pub mod control;
pub mod frame;
pub(crate) mod gate;
pub mod live;
mod trouble;

use crate::{
    db::{
        self, Db, DbError,
        conversations::LiveAnswers,
        logs::{self, finish},
        recovery, search, storage,
        writer::Writer,
    },
    journal::{self, Durability, Files, Folder},
    packed::{Item, Packed, fold},
};
use appender::{Appender, Runs};
use bytes::Bytes;
use headwater_protocol::{
    ConversationId, Entry, Error, ErrorCode, Event, RunId, Seq, Status, Timing, chat::Answer,
};
use live::{Head, Live};
use rusqlite::Connection;
use std::{
    collections::{HashSet, VecDeque},
    io,
    path::Path,
    sync::Arc,
    time::Duration,
};
use tokio::sync::watch;

/// The folder of the journal, in the data folder.
pub const JOURNAL: &str = "journal";

/// The pause after the first failed try to store a finished run in one piece, and the longest pause.
const SETTLE_AGAIN: [Duration; 2] = [Duration::from_millis(250), Duration::from_secs(30)];

/// The bytes of entries behind which [`Source::look_after`] ends.
const LOOK: usize = 64 * 1024;

/// The most entries that [`Source::entries_after`] returns.
const BATCH: usize = 64;

/// The logs of all runs. A process has one; share it in an [`Arc`].
#[derive(Debug)]
pub struct Log {
    /// Reads conversations and finished runs.
    pub db: Arc<Db>,
    /// Writes to the database.
    pub writer: Writer,
    /// Writes entries of runs.
    pub appender: Appender,
    files: Arc<dyn Files>,
    live: Runs,
}

/// The log of one run, for readers.
#[derive(Clone, Debug)]
pub enum Source {
    /// A run that is being written.
    Live(Arc<Live>),
    /// A run that is finished.
    Stored(Arc<Packed>),
}

impl Source {
    /// The end of the log as far as it is written.
    pub fn head(&self) -> Head {
        match self {
            Self::Live(live) => live.head(),
            Self::Stored(packed) => Head {
                seq: packed.len(),
                finished: true,
            },
        }
    }

    /// Notifies of more entries. `None` if the run is finished.
    pub fn watch(&self) -> Option<watch::Receiver<Head>> {
        match self {
            Self::Live(live) => Some(live.watch()),
            Self::Stored(_) => None,
        }
    }

    /// Adds the next frames after `after` to `out`, and returns the cursor that they lead to.
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

    /// At most 64 entries after `after`. Waits if there is none yet; returns none behind the last one.
    pub async fn entries_after(&self, after: Seq) -> Vec<Entry> {
        match self {
            Self::Live(live) => live.entries_after(after).await,
            Self::Stored(packed) => packed.after(after).take(BATCH).collect(),
        }
    }

    /// Looks at the next entries after `after` without a copy: at most `most`, and no more behind the first
    /// 64 KiB, because whoever writes the run waits meanwhile. Returns the number of the last one.
    pub(crate) fn look_after(
        &self,
        after: Seq,
        most: usize,
        look: impl FnMut(Seq, u64, Item<'_>),
    ) -> Seq {
        match self {
            Self::Live(live) => live.with_packed(|packed| look_after(packed, after, most, look)),
            Self::Stored(packed) => look_after(packed, after, most, look),
        }
    }

    /// Looks at the fold of all entries so far without a copy.
    pub fn with_answer<R>(&self, look: impl FnOnce(&Answer) -> R) -> R {
        match self {
            Self::Live(live) => live.with_answer(look),
            Self::Stored(packed) => look(&fold(packed)),
        }
    }

    /// When the parts of the run happened; `None` before its end.
    pub fn timing(&self) -> Option<Timing> {
        match self {
            Self::Live(live) => live.with_answer(|answer| answer.timing),
            Self::Stored(packed) => {
                let last = packed.after(packed.len().saturating_sub(1)).last()?;
                match last.event {
                    Event::RunFinished { timing, .. } => Some(timing),
                    _ => None,
                }
            }
        }
    }

    /// The fold of all entries so far.
    pub fn answer(&self) -> Answer {
        match self {
            Self::Live(live) => live.answer(),
            Self::Stored(packed) => fold(packed),
        }
    }
}

fn look_after(
    packed: &Packed,
    after: Seq,
    most: usize,
    mut look: impl FnMut(Seq, u64, Item<'_>),
) -> Seq {
    let (mut last, mut bytes) = (after, 0);
    for (seq, at, item) in packed.items_after(after).take(most) {
        bytes += match item {
            Item::Delta { text, .. } => text.len(),
            Item::Json(json) => json.len(),
        };
        look(seq, at, item);
        last = seq;
        if bytes >= LOOK {
            break;
        }
    }
    last
}

/// Reads the log of a run beside the process that writes it, if there is one.
///
/// # Errors
/// `not_found`, `storage`.
pub fn read(dir: &Path, run: RunId) -> Result<Packed, Error> {
    let files = Folder::to_read(dir.join(JOURNAL));
    let found = Db::open_to_read(dir)?.read_now(|db| stored(db, &files, run))?;
    found.ok_or_else(no_answer)
}

/// The log of a run in the database and the journal.
fn stored(db: &Connection, files: &dyn Files, run: RunId) -> Result<Option<Packed>, DbError> {
    let Some(no) = logs::number(db, run)? else {
        return Ok(None);
    };
    let mut log = logs::stored_by_no(db, no)?;
    if log.is_finished() {
        return Ok(Some(log));
    }
    let oldest = logs::oldest_journal(db)?;
    let left = journal::read(files, oldest, |number| number == no).map_err(unreadable)?;
    if let Some(more) = left.runs.get(&no) {
        more.extend(&mut log);
    }
    // Between the two reads the run may have moved into the database.
    let moved = if log.is_finished() {
        None
    } else {
        logs::whole(db, no)?
    };
    Ok(Some(moved.unwrap_or(log)))
}

fn unreadable(why: io::Error) -> Error {
    Error::new(
        ErrorCode::Storage,
        format!("The journal cannot be read: {why}."),
    )
}

fn no_answer() -> Error {
    Error::new(ErrorCode::NotFound, "There is no such answer.")
}

impl LiveAnswers for Log {
    fn answer(&self, run: RunId) -> Option<Answer> {
        self.live(run).map(|live| live.answer())
    }

    fn conversations(&self) -> Vec<ConversationId> {
        self.running_conversations()
    }
}

impl Log {
    /// Opens the database and the journal in `dir`, and closes every run that a dead process left open,
    /// so that each log has its last entry. Returns the number of these runs as well. `limit_mb` is the
    /// most megabytes (MiB) that the files may have, or 0 for no limit. Tokens survive the death of the
    /// process; see [`Log::open_with`].
    ///
    /// # Errors
    /// `storage`, with a sentence for whoever starts the server.
    pub fn open(dir: &Path, limit_mb: u64) -> Result<(Self, usize), Error> {
        Self::open_with(dir, limit_mb, Durability::Process)
    }

    /// The same with a choice of what tokens have to survive before anybody sees them.
    ///
    /// # Errors
    /// See [`Log::open`].
    pub fn open_with(
        dir: &Path,
        limit_mb: u64,
        durability: Durability,
    ) -> Result<(Self, usize), Error> {
        let unusable = |why: io::Error| {
            let place = dir.join(JOURNAL);
            let sentence = format!("Cannot use the journal in {}: {why}.", place.display());
            Error::new(ErrorCode::Storage, sentence)
        };
        let (db, connection) = Db::open(dir, limit_mb)?;
        let files = Folder::new(dir.join(JOURNAL)).map_err(unusable)?;
        Self::open_on(
            Arc::new(files),
            db,
            connection,
            limit_mb,
            durability,
            unusable,
        )
    }

    fn open_on(
        files: Arc<dyn Files>,
        db: Db,
        mut connection: Connection,
        limit_mb: u64,
        durability: Durability,
        unusable: impl Fn(io::Error) -> Error,
    ) -> Result<(Self, usize), Error> {
        let oldest = logs::oldest_journal(&connection)?;
        let open = recovery::open_runs(&connection)?;
        let left = journal::read(&*files, oldest, |no| open.binary_search(&no).is_ok());
        let left = left.map_err(&unusable)?;
        let old = files.list().map_err(&unusable)?;
        // A number is not given twice: what is below the oldest one counts for nothing.
        let number = oldest.max(old.last().map_or(0, |newest| newest + 1));
        let closed = recovery::close_all(&mut connection, open, &left.runs, number)?;
        // From here on nothing in these files is needed. They may have what was deleted.
        let deleted = recovery::any_unknown(&connection, &left.others)?;
        for number in old {
            files.remove(number, deleted).map_err(&unusable)?;
        }
        // A process that was killed may have left deleted data in SQLite's write-ahead log.
        db::empty_journal(&connection, Duration::ZERO);
        let writer = Writer::spawn(connection);
        let live = Runs::default();
        let limit = limit_mb.saturating_mul(1024 * 1024);
        let appender = Appender::spawn(
            files.clone(),
            number,
            live.clone(),
            writer.clone(),
            durability,
            limit,
        );
        let log = Self {
            db: Arc::new(db),
            writer,
            appender: appender.map_err(unusable)?,
            files,
            live,
        };
        Ok((log, closed))
    }

    /// Makes a run visible whose first entry is stored.
    pub fn begin(&self, live: Arc<Live>) {
        self.live.lock().insert(live.run, live);
    }

    /// A run that is being written.
    pub fn live(&self, run: RunId) -> Option<Arc<Live>> {
        self.live.lock().get(&run).cloned()
    }

    /// All runs that are being written.
    pub fn running(&self) -> Vec<Arc<Live>> {
        self.live.lock().values().cloned().collect()
    }

    /// All conversations in which an answer is being written.
    pub fn running_conversations(&self) -> Vec<ConversationId> {
        self.live
            .lock()
            .values()
            .filter(|live| !live.head().finished)
            .map(|live| live.conversation)
            .collect()
    }

    /// Stores the log of a finished run in one piece, and removes the run from memory. Readers that
    /// have it go on. If the disk does not take it, this tries again until it does: meanwhile the log
    /// is complete in the journal and in memory. If the process ends before, the next start does it.
    pub async fn settle(&self, live: &Arc<Live>) {
        let [mut pause, longest] = SETTLE_AGAIN;
        while let Err(why) = self.store_whole(live).await {
            if why.code == ErrorCode::ShuttingDown {
                return;
            }
            tracing::warn!(run = %live.run, %why, "a finished run stays in the journal for now");
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(longest);
        }
        // From here on the database answers.
        self.live.lock().remove(&live.run);
    }

    async fn store_whole(&self, live: &Arc<Live>) -> Result<(), Error> {
        let (no, packed) = (live.no, live.packed());
        let (status, text) = live.with_answer(|answer| (answer.status, answer.visible_text()));
        let status = status.unwrap_or(Status::Error);
        let text = search::folded(&text);
        // The journal has all of it, was synced with its end, and stays until this is synced.
        self.writer
            .write_unsynced(move |db| finish(db, no, &packed, status, &text).map_err(storage))
            .await
    }

    /// Removes all runs of a deleted conversation from memory and from the journal. `deleted` are the
    /// numbers that they had in the database.
    pub async fn forget(&self, conversation: ConversationId, mut deleted: HashSet<i64>) {
        self.live.lock().retain(|_, live| {
            let stays = live.conversation != conversation;
            if !stays {
                live.note_deleted();
                deleted.insert(live.no);
            }
            stays
        });
        self.appender.erase(&deleted).await;
    }

    /// Closes runs that are stored as running and that nobody writes. Returns their number. No run may
    /// begin meanwhile.
    ///
    /// # Errors
    /// `storage`.
    pub async fn close_lost(&self) -> Result<usize, Error> {
        let known: HashSet<i64> = self.live.lock().values().map(|live| live.no).collect();
        let lost = move |db: &Connection| {
            let open = recovery::open_runs(db)?.into_iter();
            Ok(open.filter(|no| !known.contains(no)).collect::<Vec<i64>>())
        };
        let lost = self.db.read(lost).await?;
        if lost.is_empty() {
            return Ok(0);
        }
        let count = lost.len();
        let files = self.files.clone();
        let close = move |db: &Connection| {
            // On the thread that may block. It is rare: there should be none.
            let left = journal::read(&*files, 0, |no| lost.contains(&no)).map_err(unreadable)?;
            let mut lost = lost.iter();
            let closed = lost.try_for_each(|no| recovery::close(db, *no, left.runs.get(no)));
            Ok(closed?)
        };
        self.writer.write(close).await.map(|()| count)
    }

    /// The log of a run as it is on the disk.
    ///
    /// # Errors
    /// `not_found`, or `storage`.
    pub async fn stored(&self, run: RunId) -> Result<Packed, Error> {
        let files = self.files.clone();
        let found = self.db.read(move |db| stored(db, &*files, run)).await?;
        found.ok_or_else(no_answer)
    }

    /// Finds the log of a run.
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
            let files = self.files.clone();
            found = self.db.read(move |db| stored(db, &*files, run)).await?;
            if found.as_ref().is_some_and(Packed::is_finished) {
                break;
            }
        }
        match found {
            Some(packed) => Ok(Source::Stored(Arc::new(packed))),
            None => Err(no_answer()),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may fail by panic")]
pub(crate) mod tests;
