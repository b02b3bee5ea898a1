//! Writes entries of runs into the journal, and only then shows them to readers.
//!
//! An append is one `write` of a few bytes to the end of a file, done at once by the run's own task:
//! in the log before anybody sees it, and seen without another thread in between. What has to survive
//! a power cut, too, waits for one thread that syncs the file for all who wait: the ends of runs
//! always, and with [`Durability::Power`] everything.
//!
//! When the disk does not take an append, the run keeps its entries and tries again until it does.
//! It waits, and its provider is read no further. Nothing that was published is ever lost, and nothing
//! that could not be stored is published.
//!
//! The same thread [rolls](Journal::roll) the journal when it has become long, when something in it was
//! deleted, and after a failed sync, which leaves nothing certain that the file was to have.
//!
//! If the thread fails, the process ends: nothing could be stored without it. The next start closes
//! what was being written, as after any other sudden end.

mod thread;

use super::{batch::Batch, live::Live, trouble::Trouble};
use crate::{
    db::writer::{Writer, spawn_or_die},
    journal::{Durability, Files, Journal},
    packed::State,
};
use headwater_protocol::{Entry, Error, RunId};
use parking_lot::{Condvar, Mutex};
use std::{
    collections::{HashMap, HashSet},
    io::{self, ErrorKind},
    mem,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};
use thread::Thread;
use tokio::sync::{Semaphore, oneshot, watch};

/// The pause before entries that the disk did not take are tried again.
const RETRY: Duration = Duration::from_millis(if cfg!(test) { 5 } else { 250 });

/// How long a file of the journal may become before the next one is begun: 16 MiB, or four times what
/// would have to be written anew. So a roll writes at most a third of what was written before it.
const ROLL: u64 = if cfg!(test) {
    64 * 1024
} else {
    16 * 1024 * 1024
};

/// How many appends may wait for a sync. 200 runs at 50 tokens a second fill this in half a second.
const QUEUE: usize = 4096;

/// All runs that are being written, or that are not in the database yet.
pub(super) type Runs = Arc<Mutex<HashMap<RunId, Arc<Live>>>>;

/// Writes entries. Cloning it is cheap; the thread ends when the last one is gone.
#[derive(Clone, Debug)]
pub struct Appender {
    shared: Arc<Shared>,
    /// Ends the thread.
    _open: Arc<Open>,
}

#[derive(Debug)]
struct Shared {
    inner: Mutex<Inner>,
    /// Wakes the thread.
    work: Condvar,
    /// Places for appends that wait for a sync.
    places: Semaphore,
    trouble: Trouble,
    durability: Durability,
    room: Room,
}

/// The state of the journal.
#[derive(Clone, Copy, Debug)]
pub struct Gauges {
    /// The length of the newest file, in bytes.
    pub bytes: u64,
    /// How many files there are.
    pub files: u64,
    /// How many appends wait for a sync before they are shown.
    pub unsynced: usize,
    /// How long the last sync took.
    pub last_sync: Duration,
}

/// How much may be stored.
#[derive(Debug)]
struct Room {
    /// The most bytes of the database and the journal together; 0 leaves it to the disk.
    limit: AtomicU64,
    /// How many bytes the database uses at the moment.
    database: Arc<AtomicU64>,
}

impl Room {
    /// Whether the journal may have so many bytes.
    fn check(&self, journal: u64) -> io::Result<()> {
        let limit = self.limit.load(Ordering::Relaxed);
        if limit > 0 && self.database.load(Ordering::Relaxed) + journal > limit {
            return Err(ErrorKind::StorageFull.into());
        }
        Ok(())
    }
}

#[derive(Debug)]
struct Inner {
    journal: Journal,
    /// Written, and to be published once they are synced. In the order in which they were written.
    unsynced: Vec<Append>,
    /// The runs that the newest file has something of.
    runs: HashSet<i64>,
    /// The same of files that are not removed yet.
    old_runs: HashSet<i64>,
    /// The first file that is not removed yet.
    oldest: u64,
    /// Whoever waits until what was deleted is gone.
    erasing: Vec<oneshot::Sender<()>>,
    /// Whether old files have to be overwritten when they are removed.
    erase: bool,
    /// Whether the next file has to be begun.
    roll: bool,
    /// How long the last sync took.
    last_sync: Duration,
    /// How long the file may become.
    limit: u64,
    /// How much of it was needed when it was begun.
    needed: u64,
    closed: bool,
}

#[derive(Debug)]
struct Append {
    live: Arc<Live>,
    batch: Batch,
}

/// Its end is the end of all handles, and of the thread: whoever opens the folder next finds nobody who
/// writes in it.
#[derive(Debug)]
struct Open {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Open {
    fn drop(&mut self) {
        self.shared.inner.lock().closed = true;
        self.shared.work.notify_one();
        if let Some(thread) = self.thread.take() {
            // A thread that failed has ended the process.
            let _ = thread.join();
        }
    }
}

impl Appender {
    /// Begins the file with this number, and starts the thread. `runs` are those whose entries have to
    /// be kept, `writer` stores which files are needed, and `limit` is the most bytes that database and
    /// journal may have together, or 0.
    ///
    /// # Errors
    /// Those of the file system.
    pub(super) fn spawn(
        files: Arc<dyn Files>,
        number: u64,
        runs: Runs,
        writer: Writer,
        durability: Durability,
        limit: u64,
    ) -> io::Result<Self> {
        let journal = Journal::create(files.clone(), number)?;
        files.sync()?;
        let shared = Arc::new(Shared {
            inner: Mutex::new(Inner {
                journal,
                unsynced: Vec::new(),
                runs: HashSet::new(),
                old_runs: HashSet::new(),
                oldest: number,
                erasing: Vec::new(),
                erase: false,
                roll: false,
                last_sync: Duration::ZERO,
                limit: ROLL,
                needed: 0,
                closed: false,
            }),
            work: Condvar::new(),
            places: Semaphore::new(QUEUE),
            trouble: Trouble::default(),
            durability,
            room: Room {
                limit: limit.into(),
                database: writer.database_bytes(),
            },
        });
        let thread = Thread::new(shared.clone(), files, runs, writer);
        let thread = Some(spawn_or_die("journal", move || thread.run()));
        let open = Open {
            shared: shared.clone(),
            thread,
        };
        Ok(Self {
            shared,
            _open: Arc::new(open),
        })
    }

    /// Appends `entries` to a run, of which `state` is the end so far, and empties them. Readers see
    /// them at once, or as soon as they are synced where they have to be. Waits as long as the disk
    /// does not take them. Dropping the future loses nothing: the entries are either appended, or as
    /// they were.
    pub async fn append(&self, live: &Arc<Live>, state: &mut State, entries: &mut Vec<Entry>) {
        let waits = self.shared.durability == Durability::Power
            || entries
                .last()
                .is_some_and(|entry| entry.event.is_terminal());
        loop {
            if waits {
                // It is never closed.
                if let Ok(place) = self.shared.places.acquire().await {
                    place.forget();
                }
            }
            match self.shared.append(live, state, entries, waits) {
                Ok(()) => return,
                Err(why) => self.shared.trouble.say(&why),
            }
            if waits {
                self.shared.places.add_permits(1);
            }
            // If nobody waits any more, the thread looks whether the disk takes something.
            let _trying = self.shared.trouble.trying();
            self.shared.work.notify_one();
            tokio::time::sleep(RETRY).await;
        }
    }

    /// Removes what the journal has of deleted runs, at once if the disk takes it, or soon after.
    pub(super) async fn erase(&self, deleted: &HashSet<i64>) {
        let done = {
            let mut inner = self.shared.inner.lock();
            let known = |runs: &HashSet<i64>| deleted.iter().any(|no| runs.contains(no));
            if !known(&inner.runs) && !known(&inner.old_runs) {
                return;
            }
            let (say, done) = oneshot::channel();
            inner.erasing.push(say);
            (inner.erase, inner.roll) = (true, true);
            self.shared.work.notify_one();
            done
        };
        // The thread says it, or the process ends.
        let _ = done.await;
    }

    /// The error that keeps the log from being written at the moment, if there is one.
    pub fn trouble(&self) -> watch::Receiver<Option<Error>> {
        self.shared.trouble.watch()
    }

    /// The state of the journal, to be watched.
    pub fn gauges(&self) -> Gauges {
        let inner = self.shared.inner.lock();
        Gauges {
            bytes: inner.journal.len(),
            files: inner.journal.number() - inner.oldest + 1,
            unsynced: inner.unsynced.len(),
            last_sync: inner.last_sync,
        }
    }

    /// Sets how many bytes the database and the journal may have together.
    #[cfg(test)]
    pub(crate) fn set_limit(&self, bytes: u64) {
        self.shared.room.limit.store(bytes, Ordering::SeqCst);
    }
}

impl Shared {
    /// On failure, `entries` are as they were.
    fn append(
        &self,
        live: &Arc<Live>,
        state: &mut State,
        entries: &mut Vec<Entry>,
        waits: bool,
    ) -> Result<(), io::Error> {
        let batch = Batch::new(*state, mem::take(entries));
        let mut inner = self.inner.lock();
        if !live.is_deleted() {
            let written = self.write(&mut inner, live, &batch);
            if let Err(why) = written {
                drop(inner);
                *entries = batch.into_entries();
                return Err(why);
            }
        }
        *state = batch.state();
        if waits {
            let live = live.clone();
            inner.unsynced.push(Append { live, batch });
            self.work.notify_one();
        } else {
            // Before the lock is free, so that a roll finds in memory what the file has.
            live.publish(batch);
        }
        drop(inner);
        self.trouble.end();
        Ok(())
    }

    fn write(&self, inner: &mut Inner, live: &Live, batch: &Batch) -> io::Result<()> {
        let bytes = batch.packed();
        if let Err(why) = self.room.check(inner.journal.len() + bytes.len() as u64) {
            // Perhaps most of it is not needed any more.
            if inner.journal.len() > 2 * inner.needed {
                inner.roll = true;
                self.work.notify_one();
            }
            return Err(why);
        }
        inner.journal.append(live.no, batch.first(), bytes)?;
        inner.runs.insert(live.no);
        if inner.journal.len() > inner.limit {
            inner.roll = true;
            self.work.notify_one();
        }
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may fail by panic")]
mod tests;
