//! The log of every run: append, follow, recover.
//!
//! - [`batch`]: entries on their way into the log, encoded.
//! - [`frame`]: the form on the wire.
//! - [`live`]: a run while it is written.
//! - [`writer`]: the one thread that writes, with group commit.
//! - [`control`]: how a run is stopped.

pub mod batch;
pub mod control;
pub mod frame;
pub mod live;
pub mod writer;

use crate::db::search;
use crate::db::{
    self, Db,
    conversations::LiveAnswers,
    logs::{finish, stored},
    recovery, storage,
};
use crate::packed::{Packed, fold};
use bytes::Bytes;
use headwater_protocol::{
    ConversationId, Entry, Error, ErrorCode, RunId, Seq, Status, chat::Answer,
};
use live::{Head, Live};
use parking_lot::Mutex;
use rusqlite::Connection;
use std::{
    collections::{HashMap, HashSet, VecDeque},
    path::Path,
    sync::Arc,
    time::Duration,
};
use tokio::sync::watch;
use writer::Writer;

/// The pause after the first failed try to store a finished run in one piece, and the longest pause.
const SETTLE_AGAIN: [Duration; 2] = [Duration::from_millis(250), Duration::from_secs(30)];

/// The most entries that [`Source::entries_after`] returns.
const BATCH: usize = 64;

/// The logs of all runs. A process has one; share it in an [`Arc`].
#[derive(Debug)]
pub struct Log {
    /// Reads conversations and finished runs.
    pub db: Arc<Db>,
    /// Writes everything.
    pub writer: Writer,
    live: Mutex<HashMap<RunId, Arc<Live>>>,
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

    /// Looks at the fold of all entries so far without a copy.
    pub fn with_answer<R>(&self, look: impl FnOnce(&Answer) -> R) -> R {
        match self {
            Self::Live(live) => live.with_answer(look),
            Self::Stored(packed) => look(&fold(packed)),
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

impl LiveAnswers for Log {
    fn answer(&self, run: RunId) -> Option<Answer> {
        self.live(run).map(|live| live.answer())
    }

    fn conversations(&self) -> Vec<ConversationId> {
        self.running_conversations()
    }
}

impl Log {
    /// Opens the database in `dir`, and closes every run that a dead process left open, so that each
    /// log has its last entry. Returns the number of these runs as well. `limit_mb` is the largest
    /// size of the database file in megabytes, or 0 for no limit.
    ///
    /// # Errors
    /// `storage`, with a sentence for whoever starts the server.
    pub fn open(dir: &Path, limit_mb: u64) -> Result<(Self, usize), Error> {
        let (db, mut connection) = Db::open(dir, limit_mb)?;
        let closed = recovery::close_all(&mut connection)?;
        // A process that was killed may have left deleted data in the journal.
        db::empty_journal(&connection, Duration::ZERO);
        let log = Self {
            db: Arc::new(db),
            writer: Writer::spawn(connection),
            live: Mutex::default(),
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
    /// is complete in its segments and in memory. If the process ends before, the next start does it.
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
        self.live.lock().remove(&live.run);
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

    /// Removes all runs of a deleted conversation from memory.
    pub fn forget(&self, conversation: ConversationId) {
        self.live
            .lock()
            .retain(|_, live| live.conversation != conversation);
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
        let close = move |db: &Connection| {
            let closed = lost.iter().try_for_each(|no| recovery::close(db, *no));
            Ok(closed?)
        };
        self.writer.write(close).await.map(|()| count)
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
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may fail by panic")]
pub(crate) mod tests;
