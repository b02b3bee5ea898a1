//! The one thread that writes to the database.
//!
//! Commands wait in a bounded channel. The thread takes all that are there, and runs them in one
//! transaction: under load the transactions grow, so more commands share the cost of a commit. A
//! command that fails undoes only itself. When the disk does not take a transaction, its commands are
//! run one by one: each of them is done, or answered with the error.
//!
//! A command is synced to the disk before anybody hears of it, unless all of it is stored elsewhere as
//! well; see [`PRAGMA synchronous`](https://sqlite.org/pragma.html#pragma_synchronous).
//!
//! If the thread fails, the process ends: nothing could be stored without it.

mod thread;
mod work;

use headwater_protocol::{Error, ErrorCode};
use rusqlite::Connection;
use std::{
    sync::{Arc, atomic::AtomicU64},
    thread::JoinHandle,
};
pub(crate) use thread::Slow;
use thread::Thread;
use tokio::sync::{mpsc, oneshot};
use work::{Command, Durability, Work};

/// How many commands may wait.
const QUEUE: usize = 4096;

/// The exit status of the process when a thread failed that stores things: `EX_SOFTWARE` of
/// [`sysexits.h`](https://man.openbsd.org/sysexits.3).
const WRITER_FAILED: i32 = 70;

/// A handle to the thread. Cloning it is cheap. The thread ends when the last handle is gone.
#[derive(Clone, Debug)]
pub struct Writer {
    commands: mpsc::Sender<Box<dyn Command>>,
    bytes: Arc<AtomicU64>,
}

/// Starts a thread without which nothing can be stored: if it panics, the process ends, and the next
/// start closes what was being written.
pub(crate) fn spawn_or_die(
    name: &'static str,
    run: impl FnOnce() + Send + 'static,
) -> JoinHandle<()> {
    std::thread::Builder::new()
        .name(name.into())
        .spawn(move || {
            if std::panic::catch_unwind(std::panic::AssertUnwindSafe(run)).is_err() {
                tracing::error!(
                    thread = name,
                    "a thread failed without which nothing can be stored: the process ends, and the \
                     next start closes what was being written"
                );
                std::process::exit(WRITER_FAILED);
            }
        })
        .expect("the system can start a thread at start-up")
}

impl Writer {
    /// Starts the thread.
    pub fn spawn(db: Connection) -> Self {
        let (writer, thread) = Self::new(db);
        spawn_or_die("database", move || thread.run());
        writer
    }

    fn new(db: Connection) -> (Self, Thread) {
        let (commands, more_commands) = mpsc::channel(QUEUE);
        let thread = Thread::new(db, more_commands);
        let bytes = thread.bytes();
        (Self { commands, bytes }, thread)
    }

    /// A handle to a thread that has died.
    #[cfg(test)]
    pub(crate) fn gone() -> Self {
        Self {
            commands: mpsc::channel(1).0,
            bytes: Arc::default(),
        }
    }

    /// How many commands wait for the thread.
    #[cfg(test)]
    pub(crate) fn waiting(&self) -> usize {
        self.commands.max_capacity() - self.commands.capacity()
    }

    /// How many bytes of the database file are used, as of the last transaction.
    pub(crate) fn database_bytes(&self) -> Arc<AtomicU64> {
        self.bytes.clone()
    }

    /// Whether the thread runs.
    pub fn is_alive(&self) -> bool {
        !self.commands.is_closed()
    }

    /// Runs `work` in the next transaction, and returns its result once that is committed and synced.
    /// If `work` fails, all that it wrote is undone. Work in the queue is done even if nobody waits
    /// for it any more.
    ///
    /// # Errors
    /// The error of `work`, or `storage` if the transaction cannot be committed. Nothing of `work` is
    /// stored then.
    pub async fn write<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        self.queue(Durability::Synced, work).await
    }

    /// The same as [`Writer::write`] without the sync, for data that is stored elsewhere as well.
    ///
    /// # Errors
    /// See [`Writer::write`].
    pub async fn write_unsynced<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        self.queue(Durability::Unsynced, work).await
    }

    /// The same as [`Writer::write`], for deletions: what was deleted is removed from the journal as
    /// well, at once or, while somebody reads an older state of the file, soon after.
    ///
    /// # Errors
    /// See [`Writer::write`].
    pub async fn erase<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        self.queue(Durability::Erased, work).await
    }

    /// The same as [`Writer::write`] for a thread that may block.
    ///
    /// # Errors
    /// See [`Writer::write`].
    ///
    /// # Panics
    /// Inside of an asynchronous runtime.
    pub(crate) fn write_now<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let (reply, answer) = oneshot::channel();
        let command = Work::new(Durability::Synced, work, reply);
        let sent = self.commands.blocking_send(Box::new(command));
        sent.map_err(|_| gone())?;
        answer.blocking_recv().map_err(|_| gone())?
    }

    async fn queue<T: Send + 'static>(
        &self,
        durability: Durability,
        work: impl FnOnce(&Connection) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let (reply, answer) = oneshot::channel();
        let command = Work::new(durability, work, reply);
        self.commands
            .send(Box::new(command))
            .await
            .map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?
    }
}

fn gone() -> Error {
    Error::new(ErrorCode::ShuttingDown, "The server is ending.")
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may fail by panic")]
pub(crate) mod tests;
