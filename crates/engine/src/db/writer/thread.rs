//! The thread: takes what waits, writes it in one transaction, answers.

use super::work::{Command, Durability};
use crate::db::storage;
use headwater_protocol::Error;
use rusqlite::Connection;
use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
    time::{Duration, Instant},
};
use tokio::sync::mpsc;

/// The most commands in one transaction. The first of them waits for the last.
const BATCH: usize = 512;

/// How long a deletion waits for readers of an older state of the file before it leaves SQLite's
/// write-ahead log to [`ERASE_AGAIN`].
const ERASE: Duration = Duration::from_millis(200);

/// The pause before another try to remove deleted data from SQLite's write-ahead log.
const ERASE_AGAIN: Duration = Duration::from_secs(1);

/// How long a command waits for others that is stored elsewhere as well. Runs that end at about the same
/// time then share a transaction and its pages.
const LAZY: Duration = Duration::from_millis(250);

/// A commit or a sync that takes longer than this is reported.
pub(super) const SLOW: Duration = Duration::from_secs(1);

/// Reports a slow disk once, and that it is fast again.
#[derive(Debug, Default)]
pub(crate) struct Slow(bool);

impl Slow {
    /// Notes how long it took to save something.
    pub(crate) fn note(&mut self, took: Duration) {
        let slow = took > SLOW;
        let ms = took.as_millis() as u64;
        match (self.0, slow) {
            (false, true) => tracing::warn!(ms, "the disk is slow: saving took over a second"),
            (true, false) => tracing::info!(ms, "the disk is fast again"),
            _ => {}
        }
        self.0 = slow;
    }
}

/// Wakes a thread.
struct Unpark(std::thread::Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// The state of the thread.
pub(super) struct Thread {
    db: Connection,
    commands: mpsc::Receiver<Box<dyn Command>>,
    slow: Slow,
    /// Whether SQLite is set to sync each transaction.
    synced: bool,
    /// The last time that something deleted could not be removed from the write-ahead log, while it
    /// is there.
    erase: Option<Instant>,
    /// How many bytes of the file are used.
    bytes: Arc<AtomicU64>,
}

impl Thread {
    pub(super) fn new(db: Connection, commands: mpsc::Receiver<Box<dyn Command>>) -> Self {
        let thread = Self {
            db,
            commands,
            slow: Slow::default(),
            synced: false,
            erase: None,
            bytes: Arc::default(),
        };
        thread.count_bytes();
        thread
    }

    pub(super) fn bytes(&self) -> Arc<AtomicU64> {
        self.bytes.clone()
    }

    /// Works until the last handle is gone.
    pub(super) fn run(mut self) {
        let mut commands: Vec<Box<dyn Command>> = Vec::new();
        while self.take(&mut commands) {
            let committed = self.commit(&mut commands);
            for mut command in commands.drain(..) {
                match &committed {
                    Err(_) if !command.has_run() => self.write_alone(command),
                    done => self.settle(command.as_mut(), done.clone()),
                }
            }
            self.count_bytes();
            self.erase_again();
        }
    }

    /// Takes all that wait, or waits for the first one. Commands that nobody is in a hurry for wait a
    /// moment for others. Returns `false` if no more can come.
    fn take(&mut self, commands: &mut Vec<Box<dyn Command>>) -> bool {
        while self.erase.is_some() && self.is_idle() {
            std::thread::sleep(ERASE / 10);
            self.erase_again();
        }
        let Some(first) = self.commands.blocking_recv() else {
            return false;
        };
        let until = Instant::now() + LAZY;
        commands.push(first);
        while commands.len() < BATCH {
            let mut known = commands.iter().map(|one| one.durability());
            let next = match known.all(|one| one == Durability::Unsynced) {
                true => self.next_until(until),
                false => self.commands.try_recv().ok(),
            };
            let Some(next) = next else { break };
            commands.push(next);
        }
        true
    }

    /// The next command, if one comes before `until`.
    fn next_until(&mut self, until: Instant) -> Option<Box<dyn Command>> {
        let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
        let mut context = Context::from_waker(&waker);
        loop {
            if let Poll::Ready(next) = self.commands.poll_recv(&mut context) {
                return next;
            }
            let left = until.checked_duration_since(Instant::now())?;
            std::thread::park_timeout(left);
        }
    }

    /// Writes one command in its own transaction, and answers it.
    fn write_alone(&mut self, mut command: Box<dyn Command>) {
        let committed = self.commit(std::slice::from_mut(&mut command));
        self.settle(command.as_mut(), committed);
    }

    fn settle(&mut self, command: &mut dyn Command, committed: Result<(), Error>) {
        if committed.is_ok() && command.durability() == Durability::Erased {
            self.erase_journal();
        }
        command.settle(committed);
    }

    /// Writes commands in one transaction. If that fails, nothing of it is stored.
    fn commit(&mut self, commands: &mut [Box<dyn Command>]) -> Result<(), Error> {
        self.sync(
            commands
                .iter()
                .any(|one| one.durability() != Durability::Unsynced),
        )?;
        self.db.execute_batch("BEGIN IMMEDIATE").map_err(storage)?;
        let written = self.write(commands);
        if written.is_err() && !self.db.is_autocommit() {
            let _ = self.db.execute_batch("ROLLBACK");
        }
        written
    }

    fn write(&mut self, commands: &mut [Box<dyn Command>]) -> Result<(), Error> {
        for command in commands {
            command.run(&self.db)?;
        }
        // Before this, SQLite writes to memory.
        let begun = Instant::now();
        self.db.execute_batch("COMMIT").map_err(storage)?;
        self.slow.note(begun.elapsed());
        Ok(())
    }

    /// Notes how many bytes of the file are used.
    fn count_bytes(&self) {
        // In one statement, which takes the file's locks once.
        const USED: &str = "SELECT (page_count - freelist_count) * page_size
            FROM pragma_page_count, pragma_freelist_count, pragma_page_size";
        let used = self
            .db
            .prepare_cached(USED)
            .and_then(|mut count| count.query_row([], |row| row.get::<_, i64>(0)));
        // If SQLite does not tell, the last size holds on.
        if let Ok(used) = used {
            self.bytes
                .store(used.max(0).unsigned_abs(), Ordering::Relaxed);
        }
    }

    /// Sets whether the next transactions are synced. A sync includes all earlier transactions.
    fn sync(&mut self, synced: bool) -> Result<(), Error> {
        if self.synced != synced {
            let level = if synced { "FULL" } else { "NORMAL" };
            let set = self.db.pragma_update(None, "synchronous", level);
            set.map_err(storage)?;
            self.synced = synced;
        }
        Ok(())
    }

    /// Whether nothing waits and something may still come.
    fn is_idle(&self) -> bool {
        self.commands.is_empty() && !self.commands.is_closed()
    }

    /// Tries from time to time to remove what a deletion had to leave.
    fn erase_again(&mut self) {
        if self
            .erase
            .is_some_and(|since| since.elapsed() > ERASE_AGAIN)
        {
            self.erase_journal();
        }
    }

    /// Copies SQLite's write-ahead log into the database and empties it, because it still contains what
    /// was deleted.
    fn erase_journal(&mut self) {
        let done = crate::db::empty_journal(&self.db, ERASE);
        // While somebody reads an older state of the file, that state has to stay.
        self.erase = (!done).then(Instant::now);
    }
}
