//! Commands: work that others give to the writer's thread. It runs inside of a transaction, undoes
//! only itself if it fails, and is answered when the transaction is committed.

use crate::db::storage;
use headwater_protocol::{Error, ErrorCode};
use rusqlite::Connection;
use tokio::sync::oneshot;

/// How safely a command is stored before it is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Durability {
    /// A power cut may take it back, because everything in it is stored elsewhere as well.
    Unsynced,
    /// It is synced to the disk.
    Synced,
    /// It is synced, and what it deletes is neither in the database nor in its journal any more.
    Erased,
}

/// Work with somebody who waits for its result.
pub(super) trait Command: Send + std::fmt::Debug {
    /// How safely it is stored.
    fn durability(&self) -> Durability;
    /// Runs inside of the transaction. An error means that the whole transaction is lost; a failure
    /// of the work itself is kept for the answer.
    fn run(&mut self, db: &Connection) -> Result<(), Error>;
    /// Whether it was run. It can be run only once.
    fn has_run(&self) -> bool;
    /// Answers, with the outcome of the transaction.
    fn settle(&mut self, committed: Result<(), Error>);
}

pub(super) struct Work<T, F> {
    durability: Durability,
    work: Option<F>,
    result: Option<Result<T, Error>>,
    reply: Option<oneshot::Sender<Result<T, Error>>>,
}

impl<T, F> Work<T, F> {
    /// `reply` gets the result of `work`, or the reason why nothing is stored.
    pub(super) fn new(
        durability: Durability,
        work: F,
        reply: oneshot::Sender<Result<T, Error>>,
    ) -> Self {
        Self {
            durability,
            work: Some(work),
            result: None,
            reply: Some(reply),
        }
    }
}

impl<T, F> std::fmt::Debug for Work<T, F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Work")
    }
}

impl<T: Send, F: FnOnce(&Connection) -> Result<T, Error> + Send> Command for Work<T, F> {
    fn durability(&self) -> Durability {
        self.durability
    }

    fn run(&mut self, db: &Connection) -> Result<(), Error> {
        let Some(work) = self.work.take() else {
            return Ok(());
        };
        db.execute_batch("SAVEPOINT command").map_err(storage)?;
        // A panic in one command must not take the log's only writer with it.
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| work(db)))
            .unwrap_or_else(|_| {
                Err(Error::new(
                    ErrorCode::Internal,
                    "Saving failed unexpectedly.",
                ))
            });
        if db.is_autocommit() {
            // A full disk ends the transaction on its own. The next statement would be one by
            // itself, and stay.
            let lost = || Error::new(ErrorCode::Storage, "The database gave up a transaction.");
            return Err(result.err().unwrap_or_else(lost));
        }
        let end = match &result {
            Ok(_) => "RELEASE command",
            Err(_) => "ROLLBACK TO command; RELEASE command",
        };
        db.execute_batch(end).map_err(storage)?;
        self.result = Some(result);
        Ok(())
    }

    fn has_run(&self) -> bool {
        self.work.is_none()
    }

    fn settle(&mut self, committed: Result<(), Error>) {
        let result = match (committed, self.result.take()) {
            (Ok(()), Some(result)) | (Err(_), Some(result @ Err(_))) => result,
            (Err(why), _) => Err(why),
            (Ok(()), None) => Err(Error::new(ErrorCode::Internal, "Nothing was saved.")),
        };
        if let Some(reply) = self.reply.take() {
            // Whoever asked may have gone away; what was written stays.
            let _ = reply.send(result);
        }
    }
}
