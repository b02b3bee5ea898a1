//! The one thread that writes to the database, with group commit.
//!
//! Appends and commands wait in bounded channels. The thread takes all that are there, writes them in
//! one transaction, and only then publishes the entries: an event is in the log before anybody sees
//! it. Under load the transactions grow, so more entries share the cost of a commit.
//!
//! When the disk does not take a transaction, its appends are kept and tried again until it does.
//! Their queue fills, the runs wait, and the providers are read no further. Commands have their own
//! queue and are written one by one meanwhile: each of them is done, or answered with the error.
//! Nothing that was published is ever lost, and nothing that could not be stored is published.
//!
//! A command and the end of a run are synced to the disk before anybody hears of them. The text of a
//! model is synced with the next of them, or when SQLite copies its journal into the database
//! (a checkpoint). A power cut may take text back, the death of the process cannot; see
//! [`PRAGMA synchronous`](https://sqlite.org/pragma.html#pragma_synchronous).
//!
//! If the thread fails, the process ends: nothing could be stored without it. The next start closes
//! what was being written, as after any other sudden end.

mod thread;
mod work;

use super::{batch::Batch, live::Live};
use headwater_protocol::{Entry, Error, ErrorCode};
use rusqlite::Connection;
use std::sync::Arc;
use thread::Thread;
use tokio::sync::{mpsc, oneshot, watch};
use work::{Command, Durability, Work};

/// How many appends and how many commands may wait. 200 runs at 50 tokens a second fill this in half
/// a second.
const QUEUE: usize = 4096;

/// The exit status of the process when the thread failed: `EX_SOFTWARE` of
/// [`sysexits.h`](https://man.openbsd.org/sysexits.3).
const WRITER_FAILED: i32 = 70;

/// A handle to the thread. Cloning it is cheap. The thread ends when the last handle is gone.
#[derive(Clone, Debug)]
pub struct Writer {
    appends: mpsc::Sender<Append>,
    commands: mpsc::Sender<Box<dyn Command>>,
    trouble: watch::Receiver<Option<Error>>,
}

#[derive(Debug)]
struct Append {
    live: Arc<Live>,
    batch: Batch,
}

impl Writer {
    /// Starts the thread.
    pub fn spawn(db: Connection) -> Self {
        let (writer, thread) = Self::new(db);
        std::thread::Builder::new()
            .name("log-writer".into())
            .spawn(move || {
                let work = std::panic::AssertUnwindSafe(|| thread.run());
                if std::panic::catch_unwind(work).is_err() {
                    tracing::error!(
                        "the log's writer failed, so nothing can be stored any more: the process \
                         ends, and the next start closes what was being written"
                    );
                    std::process::exit(WRITER_FAILED);
                }
            })
            .expect("the system can start a thread at start-up");
        writer
    }

    fn new(db: Connection) -> (Self, Thread) {
        let (appends, more_appends) = mpsc::channel(QUEUE);
        let (commands, more_commands) = mpsc::channel(QUEUE);
        let (say, trouble) = watch::channel(None);
        let thread = Thread::new(db, more_appends, more_commands, say);
        let writer = Self {
            appends,
            commands,
            trouble,
        };
        (writer, thread)
    }

    /// A handle to a thread that has died.
    #[cfg(test)]
    pub(crate) fn gone() -> Self {
        Self {
            appends: mpsc::channel(1).0,
            commands: mpsc::channel(1).0,
            trouble: watch::channel(None).1,
        }
    }

    /// How many commands wait for the thread.
    #[cfg(test)]
    pub(crate) fn waiting(&self) -> usize {
        self.commands.max_capacity() - self.commands.capacity()
    }

    /// The error that keeps the log from being written at the moment, if there is one.
    pub fn trouble(&self) -> watch::Receiver<Option<Error>> {
        self.trouble.clone()
    }

    /// Whether the thread runs.
    pub fn is_alive(&self) -> bool {
        !self.commands.is_closed()
    }

    /// Reserves a place in the queue for one append. Waits while the queue is full. Whoever waits has
    /// handed over nothing yet, so the future may be dropped at any time.
    pub async fn place(&self) -> Place<'_> {
        let place = self.appends.reserve().await;
        if place.is_err() {
            tracing::error!("the log's writer is gone");
        }
        Place(place.ok())
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

    async fn queue<T: Send + 'static>(
        &self,
        durability: Durability,
        work: impl FnOnce(&Connection) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let (reply, answer) = oneshot::channel();
        let command = Work::new(durability, work, reply);
        let gone = || Error::new(ErrorCode::ShuttingDown, "The server is ending.");
        self.commands
            .send(Box::new(command))
            .await
            .map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?
    }
}

/// A reserved place in the queue of the writer.
#[derive(Debug)]
pub struct Place<'a>(Option<mpsc::Permit<'a, Append>>);

impl Place<'_> {
    /// Appends entries to a run. They are visible once they are committed; see [`Live::watch`].
    pub fn append(self, live: Arc<Live>, entries: Vec<Entry>) {
        if let Some(place) = self.0 {
            let batch = Batch::new(entries);
            place.send(Append { live, batch });
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may fail by panic")]
mod tests;
