//! Failures of the database, and what people are told of them.

use headwater_protocol::{Error, ErrorCode};
use std::{io, panic::Location, path::PathBuf};

/// What people are told when the disk, or what `--data-limit` allows, is full.
pub(crate) const DISK_FULL: &str =
    "The disk is full. Nothing new can be saved until there is room.";

/// Why the database did not do what it was asked to do.
#[derive(Debug, thiserror::Error)]
pub enum DbError {
    /// SQLite failed.
    #[error("{kind} (at {at})")]
    Sqlite {
        /// What kind of failure it is.
        kind: Kind,
        /// The statement in our code that failed.
        at: &'static Location<'static>,
        /// What SQLite says.
        source: rusqlite::Error,
    },
    /// Nothing failed: the request does not fit what is stored, such as an unknown conversation.
    #[error(transparent)]
    Refused(#[from] Error),
}

/// The kinds of failures that need different remedies. They follow SQLite's
/// [result codes](https://sqlite.org/rescode.html).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Kind {
    /// `SQLITE_FULL`: the disk is full, or the database has the size that `--data-limit` allows.
    #[error("the disk is full")]
    Full,
    /// `SQLITE_READONLY` or `SQLITE_PERM`: the file or its folder cannot be written.
    #[error("the database is not writable")]
    ReadOnly,
    /// `SQLITE_BUSY` or `SQLITE_LOCKED`: another process held the file for too long.
    #[error("the database is busy")]
    Busy,
    /// `SQLITE_CORRUPT` or `SQLITE_NOTADB`: the file is damaged.
    #[error("the database is damaged")]
    Corrupt,
    /// `SQLITE_INTERRUPT`: nobody waits for the result any more.
    #[error("the statement was interrupted")]
    Interrupted,
    /// Everything else, such as `SQLITE_IOERR`.
    #[error("the database failed")]
    Other,
}

impl Kind {
    fn of(why: &rusqlite::Error) -> Self {
        use rusqlite::ErrorCode as Code;
        match why.sqlite_error_code() {
            Some(Code::DiskFull) => Self::Full,
            Some(Code::ReadOnly | Code::PermissionDenied) => Self::ReadOnly,
            Some(Code::DatabaseBusy | Code::DatabaseLocked) => Self::Busy,
            Some(Code::DatabaseCorrupt | Code::NotADatabase) => Self::Corrupt,
            Some(Code::OperationInterrupted) => Self::Interrupted,
            _ => Self::Other,
        }
    }
}

impl From<rusqlite::Error> for DbError {
    // `?` passes its own place on.
    #[track_caller]
    fn from(source: rusqlite::Error) -> Self {
        Self::Sqlite {
            kind: Kind::of(&source),
            at: Location::caller(),
            source,
        }
    }
}

impl From<DbError> for Error {
    /// The one translation into a sentence for people. It leaves out the cause, so that is logged
    /// here.
    fn from(why: DbError) -> Self {
        why.log();
        why.into_sentence()
    }
}

impl DbError {
    /// A request that does not fit what is stored, with the sentence for whoever made it.
    pub(super) fn refused(code: ErrorCode, sentence: impl Into<String>) -> Self {
        Self::Refused(Error::new(code, sentence))
    }

    fn log(&self) {
        let Self::Sqlite { kind, at, source } = self else {
            return;
        };
        let cause = chain(source);
        match kind {
            Kind::Interrupted => tracing::debug!(%at, cause, "{kind}"),
            Kind::Busy => tracing::warn!(%at, cause, "{kind}"),
            Kind::Full | Kind::ReadOnly | Kind::Corrupt | Kind::Other => {
                tracing::error!(%at, cause, "{kind}");
            }
        }
    }

    fn into_sentence(self) -> Error {
        let (kind, source) = match self {
            Self::Refused(error) => return error,
            Self::Sqlite { kind, source, .. } => (kind, source),
        };
        let message = match kind {
            Kind::Full => DISK_FULL.to_owned(),
            Kind::ReadOnly => {
                "The database is not writable. Check the permissions of the data folder.".to_owned()
            }
            Kind::Busy => "Another program holds the database. Try again in a moment.".to_owned(),
            Kind::Corrupt => {
                "The database is damaged. Stop Headwater and restore a backup.".to_owned()
            }
            Kind::Interrupted | Kind::Other => format!("The database failed: {source}"),
        };
        Error::new(ErrorCode::Storage, message).at("saving")
    }
}

/// What people are told of a failure of SQLite, for the log's writer: it tries again until it
/// succeeds, and says once by itself that it does so.
#[track_caller]
pub fn storage(why: rusqlite::Error) -> Error {
    let why = DbError::from(why);
    tracing::debug!(cause = chain(&why), "the log's writer was refused");
    why.into_sentence()
}

/// An error with all its causes, in one line.
fn chain(why: &(dyn std::error::Error + 'static)) -> String {
    let causes = std::iter::successors(Some(why), |why| (*why).source());
    causes
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(": ")
}

/// Why a database could not be opened.
#[derive(Debug, thiserror::Error)]
pub(super) enum OpenError {
    #[error("Cannot make the data folder {}: {source}.", dir.display())]
    Folder { dir: PathBuf, source: io::Error },
    #[error("Cannot write the database in {}: {source}.", dir.display())]
    File { dir: PathBuf, source: io::Error },
    #[error("Cannot write the database in {}: {source}.", dir.display())]
    Sqlite {
        dir: PathBuf,
        source: rusqlite::Error,
    },
    #[error(
        "Cannot use the database in {}: it has version {found}, this program knows {known}.",
        dir.display()
    )]
    Newer {
        dir: PathBuf,
        found: i64,
        known: i64,
    },
}

impl From<OpenError> for Error {
    /// Whoever starts the program reads the cause in the sentence.
    fn from(why: OpenError) -> Self {
        let sentence = format!("{why} Choose another folder with --data or HEADWATER_DATA.");
        Self::new(ErrorCode::Storage, sentence)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may fail by panic")]
mod tests {
    use super::*;
    use rusqlite::{Connection, OpenFlags};

    fn kind_of(result: rusqlite::Result<()>) -> Kind {
        match DbError::from(result.unwrap_err()) {
            DbError::Sqlite { kind, .. } => kind,
            DbError::Refused(why) => panic!("{why}"),
        }
    }

    #[test]
    fn failures_are_told_apart() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("one.db");
        let db = Connection::open(&path).unwrap();
        db.execute_batch("PRAGMA max_page_count = 3; CREATE TABLE t (b BLOB);")
            .unwrap();
        let fill = db.execute_batch("INSERT INTO t VALUES (zeroblob(100000))");
        assert_eq!(kind_of(fill), Kind::Full);

        let reader = Connection::open_with_flags(&path, OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
        let write = reader.execute_batch("INSERT INTO t VALUES (1)");
        assert_eq!(kind_of(write), Kind::ReadOnly);

        let other = Connection::open(&path).unwrap();
        other.busy_timeout(std::time::Duration::ZERO).unwrap();
        db.execute_batch("BEGIN IMMEDIATE").unwrap();
        assert_eq!(kind_of(other.execute_batch("BEGIN IMMEDIATE")), Kind::Busy);

        let damaged = folder.path().join("damaged.db");
        std::fs::write(&damaged, "this is no database, not at all").unwrap();
        let damaged = Connection::open(&damaged).unwrap();
        let read = damaged.execute_batch("SELECT * FROM sqlite_schema");
        assert_eq!(kind_of(read), Kind::Corrupt);

        assert_eq!(kind_of(db.execute_batch("no SQL")), Kind::Other);
    }

    #[test]
    fn a_failure_has_its_cause_and_its_place() {
        fn fails(db: &Connection) -> Result<(), DbError> {
            db.execute_batch("SELECT * FROM nowhere")?;
            Ok(())
        }
        let why = fails(&Connection::open_in_memory().unwrap()).unwrap_err();
        assert!(why.to_string().contains(file!()), "{why}");
        assert!(
            chain(&why).contains("no such table: nowhere"),
            "{}",
            chain(&why)
        );
        let said = Error::from(why);
        assert_eq!(said.code, ErrorCode::Storage);
        assert!(said.message.contains("nowhere"), "{said}");
    }
}
