//! The database file: opening, schema, and connections to read with.
//!
//! SQLite runs in [WAL mode](https://sqlite.org/wal.html). A commit survives the death of the process
//! at any moment. A power cut may lose commits that were not synced ([`crate::log::writer`] says
//! which ones), and leaves the file intact. Deleted data is overwritten
//! ([`secure_delete`](https://sqlite.org/pragma.html#pragma_secure_delete)). Only the owner can read
//! the files.
//!
//! Functions of this module return [`DbError`], which has the cause. [`Db::read`], [`Db::search`] and
//! `?` in a caller's function turn it into the sentence that people read, and log the cause.

pub mod conversations;
mod error;
pub mod images;
pub mod logs;
pub mod recovery;
pub(crate) mod schema;
pub mod search;
pub mod settings;
pub mod writer;

pub(crate) use error::DISK_FULL;
pub use error::{DbError, Kind, storage};

use crate::files::{private_file, private_folder};
use error::OpenError;
use headwater_protocol::{Error, ErrorCode};
use parking_lot::Mutex;
use rusqlite::{Connection, OpenFlags};
use schema::{ERASING, SCHEMA, SCHEMA_VERSION};
use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

/// The database, its write-ahead log, and the index of that log.
pub const FILES: [&str; 3] = ["headwater.db", "headwater.db-wal", "headwater.db-shm"];

/// How long a connection waits for another process that holds the file.
const BUSY: Duration = Duration::from_secs(5);

/// Reading connections that are kept open. A burst may open more for a moment.
const IDLE: usize = 8;

/// Reads at once. Further reads wait without a thread and without a connection.
const READS: usize = 16;

/// Searches at once. Each one reads all texts: two are enough for one person, and the most that
/// other reads should have to compete with.
const SEARCHES: usize = 2;

/// Steps of SQLite's virtual machine between two checks whether anybody still waits for a search. A
/// row takes a few steps; a Rust function that is called for a row takes one.
const STEPS: std::ffi::c_int = 50;

/// The database file and idle connections to read from it.
#[derive(Debug)]
pub struct Db {
    path: PathBuf,
    idle: Mutex<Vec<Connection>>,
    reads: Arc<Semaphore>,
    searches: Arc<Semaphore>,
}

impl Db {
    /// Opens or makes the file `headwater.db` in `dir`. The second value is the one connection that
    /// may write. `limit_mb` is the largest size of the file in megabytes (MiB); 0 leaves it to the
    /// disk.
    ///
    /// # Errors
    /// `storage`, with a sentence for whoever starts the server: the folder cannot be made or
    /// written, the file is no database, or a newer version wrote it.
    pub fn open(dir: &Path, limit_mb: u64) -> Result<(Self, Connection), Error> {
        Ok(Self::try_open(dir, limit_mb)?)
    }

    fn try_open(dir: &Path, limit_mb: u64) -> Result<(Self, Connection), OpenError> {
        let dir = || dir.to_owned();
        let [path, ..] = FILES.map(|name| dir().join(name));
        private_folder(&dir()).map_err(|source| OpenError::Folder { dir: dir(), source })?;
        // SQLite gives its other files the permissions of the first. Files of an older version of
        // this program may be open to others.
        for file in FILES.map(|name| dir().join(name)) {
            if file == path || file.exists() {
                private_file(&file).map_err(|source| OpenError::File { dir: dir(), source })?;
            }
        }
        let (writer, version) = Connection::open(&path)
            .and_then(|db| prepare(&db, limit_mb).map(|version| (db, version)))
            .map_err(|source| OpenError::Sqlite { dir: dir(), source })?;
        match version {
            SCHEMA_VERSION => Ok((Self::at(path), writer)),
            found => Err(OpenError::Newer {
                dir: dir(),
                found,
                known: SCHEMA_VERSION,
            }),
        }
    }

    /// Opens the file in `dir` to read only, beside the process that writes it if there is one.
    ///
    /// # Errors
    /// `not_found` if there is no database.
    pub fn open_to_read(dir: &Path) -> Result<Self, Error> {
        let [path, ..] = FILES.map(|name| dir.join(name));
        if !path.is_file() {
            return Err(Error::new(
                ErrorCode::NotFound,
                format!(
                    "There is no database in {}. Say where it is with --data.",
                    dir.display()
                ),
            ));
        }
        Ok(Self::at(path))
    }

    fn at(path: PathBuf) -> Self {
        Self {
            path,
            idle: Mutex::default(),
            reads: Arc::new(Semaphore::new(READS)),
            searches: Arc::new(Semaphore::new(SEARCHES)),
        }
    }

    /// Reads on a thread that may block. `read` must be short, because it runs to its end even when
    /// this future is dropped. At most 16 reads run at once.
    ///
    /// # Errors
    /// What `read` refuses, or `storage` if the database cannot be read.
    pub async fn read<T: Send + 'static>(
        self: &Arc<Self>,
        read: impl FnOnce(&Connection) -> Result<T, DbError> + Send + 'static,
    ) -> Result<T, Error> {
        let place = self.reads.clone().acquire_owned().await;
        self.on_a_thread(place, move |db| db.read_now(read)).await
    }

    /// Reads what may take long, such as a search. At most two run at once. When this future is
    /// dropped, the running statement is interrupted.
    ///
    /// # Errors
    /// See [`Db::read`].
    pub async fn search<T: Send + 'static>(
        self: &Arc<Self>,
        read: impl FnOnce(&Connection) -> Result<T, DbError> + Send + 'static,
    ) -> Result<T, Error> {
        let place = self.searches.clone().acquire_owned().await;
        let gone = CancellationToken::new();
        let _waiting = gone.clone().drop_guard();
        self.on_a_thread(place, move |db| {
            let mut connection = db.take()?;
            let heard = gone.clone();
            connection.progress_handler(STEPS, Some(move || heard.is_cancelled()))?;
            let result = read(&connection);
            // The next reader of this connection is somebody else.
            connection.progress_handler(0, None::<fn() -> bool>)?;
            db.give_back(connection);
            result
        })
        .await
    }

    /// Runs `read` on a thread that may block, and holds `place` until `read` has ended, whether
    /// anybody waits for it or not.
    async fn on_a_thread<T: Send + 'static>(
        self: &Arc<Self>,
        place: Result<OwnedSemaphorePermit, AcquireError>,
        read: impl FnOnce(&Self) -> Result<T, DbError> + Send + 'static,
    ) -> Result<T, Error> {
        let failed = |why: &dyn std::fmt::Display| {
            Error::new(ErrorCode::Internal, format!("Reading failed: {why}"))
        };
        let place = place.map_err(|why| failed(&why))?;
        let db = self.clone();
        // A failure is logged with the request that it happened in.
        let span = tracing::Span::current();
        tokio::task::spawn_blocking(move || {
            let _place = place;
            span.in_scope(|| read(&db).map_err(Error::from))
        })
        .await
        .map_err(|why| failed(&why))?
    }

    /// Reads on this thread.
    ///
    /// # Errors
    /// What `read` refuses, or a failure of SQLite.
    pub fn read_now<T>(
        &self,
        read: impl FnOnce(&Connection) -> Result<T, DbError>,
    ) -> Result<T, DbError> {
        let db = self.take()?;
        let result = read(&db);
        self.give_back(db);
        result
    }

    fn take(&self) -> rusqlite::Result<Connection> {
        let idle = self.idle.lock().pop();
        match idle {
            Some(db) => Ok(db),
            None => self.connect(),
        }
    }

    fn give_back(&self, db: Connection) {
        let mut idle = self.idle.lock();
        if idle.len() < IDLE {
            idle.push(db);
        }
    }

    fn connect(&self) -> rusqlite::Result<Connection> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let db = Connection::open_with_flags(&self.path, flags)?;
        db.busy_timeout(BUSY)?;
        Ok(db)
    }
}

/// Configures the connection, makes the tables of a new file or upgrades an old one, and returns the
/// version of the schema.
fn prepare(db: &Connection, limit_mb: u64) -> rusqlite::Result<i64> {
    db.busy_timeout(BUSY)?;
    db.pragma_update(None, "journal_mode", "WAL")?;
    db.pragma_update(None, "synchronous", "NORMAL")?;
    db.pragma_update_and_check(None, "secure_delete", "ON", |_| Ok(()))?;
    db.set_prepared_statement_cache_capacity(64);
    if limit_mb > 0 {
        let page: i64 = db.pragma_query_value(None, "page_size", |row| row.get(0))?;
        let limit = i64::try_from(limit_mb.saturating_mul(1024 * 1024)).unwrap_or(i64::MAX);
        let pages = (limit / page.max(1)).max(1);
        db.pragma_update_and_check(None, "max_page_count", pages, |_| Ok(()))?;
    }
    let version: i64 = db.pragma_query_value(None, "user_version", |row| row.get(0))?;
    if (0..SCHEMA_VERSION).contains(&version) {
        search::upgrade_functions(db)?;
        let missing = SCHEMA[version as usize..].concat();
        db.execute_batch(&format!(
            "BEGIN IMMEDIATE; {missing} PRAGMA user_version = {SCHEMA_VERSION}; COMMIT;"
        ))?;
        if version > 0 {
            tracing::info!(
                from = version,
                to = SCHEMA_VERSION,
                "the database was upgraded"
            );
        }
        if version > 0
            && version < ERASING
            && let Err(why) = db.execute_batch("VACUUM")
        {
            tracing::warn!(%why, "traces of what was deleted before may still be in the database");
        }
        return Ok(SCHEMA_VERSION);
    }
    // Opening proves nothing about writing: a read-only file says so only here.
    db.execute_batch("BEGIN IMMEDIATE; UPDATE run SET status = status WHERE 0; COMMIT;")?;
    Ok(version)
}

/// Copies the write-ahead log into the database and empties it. Returns `false` if somebody still
/// reads an older state after `patience`, or if the disk does not take it.
pub(super) fn empty_journal(db: &Connection, patience: Duration) -> bool {
    let empty = || {
        db.busy_timeout(patience)?;
        let sql = "PRAGMA wal_checkpoint(TRUNCATE)";
        db.query_row(sql, [], |row| row.get::<_, i64>(0))
    };
    let busy = empty();
    let reset = db.busy_timeout(BUSY);
    matches!(busy, Ok(0)) && reset.is_ok()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may fail by panic")]
mod tests;
