//! What others have the writer's thread do: a piece of work inside of its transaction, undone by
//! itself if it fails, and answered when the transaction is committed.

use crate::db::storage;
use headwater_protocol::{Error, ErrorCode};
use rusqlite::Connection;
use tokio::sync::oneshot;

/// What a command wants of the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Care {
    /// It may be missing after a power cut, because everything in it is stored in another place.
    Unsynced,
    /// It is on the disk before it is answered.
    Synced,
    /// So it is, and what it deletes is neither in the database nor in its journal any more.
    Erased,
}

/// Something to write and somebody who waits for it.
pub(super) trait Command: Send + std::fmt::Debug {
    /// What it wants of the disk.
    fn care(&self) -> Care;
    /// Writes, inside the transaction. An error says that the transaction is lost, with all that
    /// was written in it before.
    fn run(&mut self, db: &Connection) -> Result<(), Error>;
    /// Whether it was run; it can be run once only.
    fn has_run(&self) -> bool;
    /// Answers, after the transaction.
    fn settle(&mut self, committed: Result<(), Error>);
}

pub(super) struct Work<T, F> {
    care: Care,
    work: Option<F>,
    result: Option<Result<T, Error>>,
    reply: Option<oneshot::Sender<Result<T, Error>>>,
}

impl<T, F> Work<T, F> {
    /// `reply` hears of what `work` returned, or why nothing is stored.
    pub(super) fn new(care: Care, work: F, reply: oneshot::Sender<Result<T, Error>>) -> Self {
        Self {
            care,
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
    fn care(&self) -> Care {
        self.care
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
