//! The database file: opening, schema, and connections to read with.
//!
//! SQLite in WAL mode: a commit survives the death of the process at any moment. After a power cut
//! those may be missing that were not synced ([`crate::log::writer`] says which are); the file stays
//! whole. What is deleted is overwritten (`secure_delete`), and the files are the owner's alone.

pub mod conversations;
pub mod images;
pub mod logs;
pub mod recovery;
pub(crate) mod schema;
pub mod search;
pub mod settings;

use headwater_protocol::{Error, ErrorCode};
use rusqlite::{Connection, OpenFlags};
use schema::{ERASING, SCHEMA, SCHEMA_VERSION};
use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

/// The database, its journal, and the index of that.
pub const FILES: [&str; 3] = ["headwater.db", "headwater.db-wal", "headwater.db-shm"];

/// How long a connection waits for another process that holds the file.
const BUSY: Duration = Duration::from_secs(5);

/// Reading connections that are kept open; a burst may open more for a moment.
const IDLE: usize = 8;

/// Reads at once. More of them wait without a thread and without a connection.
const READS: usize = 16;

/// Searches at once. Each reads everything there is, so two are enough for one person and as much
/// as others should have to wait for.
const SEARCHES: usize = 2;

/// Steps of SQLite's machine between two looks at whether anybody still waits for a search. A row
/// takes a few, and what is done in Rust for a row is one.
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
    /// Opens or makes the file `headwater.db` in `dir`, and returns the one connection to write
    /// with beside it. `limit_mb` bounds the file's size in megabytes; 0 leaves it to the disk.
    ///
    /// # Errors
    /// `storage`, with a sentence for whoever starts the server: the folder cannot be made or
    /// written, the file is no database, or a newer version wrote it.
    pub fn open(dir: &Path, limit_mb: u64) -> Result<(Self, Connection), Error> {
        let fail = |what: &str, why: &dyn std::fmt::Display| {
            Error::new(
                ErrorCode::Storage,
                format!(
                    "{what} {}: {why}. Choose another folder with --data or HEADWATER_DATA.",
                    dir.display()
                ),
            )
        };
        private_folder(dir).map_err(|why| fail("Cannot make the data folder", &why))?;
        let path = dir.join("headwater.db");
        // SQLite gives its other files the permissions of the first; those of an older version of
        // this program may be open to others.
        for file in FILES.map(|name| dir.join(name)) {
            if file == path || file.exists() {
                private_file(&file).map_err(|why| fail("Cannot write the database in", &why))?;
            }
        }
        let writer = Connection::open(&path)
            .and_then(|db| prepare(&db, limit_mb).map(|version| (db, version)))
            .map_err(|why| fail("Cannot write the database in", &why))
            .and_then(|(db, version)| match version {
                SCHEMA_VERSION => Ok(db),
                newer => Err(fail(
                    "Cannot use the database in",
                    &format!("it has version {newer}, this program knows {SCHEMA_VERSION}"),
                )),
            })?;
        Ok((Self::at(path), writer))
    }

    /// Opens the file in `dir` to read only, beside the process that writes it if there is one.
    ///
    /// # Errors
    /// `not_found`, if there is no database.
    pub fn open_to_read(dir: &Path) -> Result<Self, Error> {
        let path = dir.join("headwater.db");
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

    /// Reads on a thread that may block; what is short, because it is finished even if nobody
    /// waits for it any more. At most 16 at once.
    ///
    /// # Errors
    /// What `read` says, or `storage` if the database cannot be read.
    pub async fn read<T: Send + 'static>(
        self: &Arc<Self>,
        read: impl FnOnce(&Connection) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let place = self.reads.clone().acquire_owned().await;
        self.on_a_thread(place, move |db| db.read_now(read)).await
    }

    /// Reads what may take long, such as a search: at most two at once, and only as long as
    /// somebody waits for it. When this future is dropped, the statement ends.
    ///
    /// # Errors
    /// See [`Db::read`].
    pub async fn search<T: Send + 'static>(
        self: &Arc<Self>,
        read: impl FnOnce(&Connection) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let place = self.searches.clone().acquire_owned().await;
        let gone = CancellationToken::new();
        let _waiting = gone.clone().drop_guard();
        self.on_a_thread(place, move |db| {
            let mut connection = db.take()?;
            let heard = gone.clone();
            connection
                .progress_handler(STEPS, Some(move || heard.is_cancelled()))
                .map_err(storage)?;
            let result = read(&connection);
            // Whoever reads with it next is somebody else.
            connection
                .progress_handler(0, None::<fn() -> bool>)
                .map_err(storage)?;
            db.give_back(connection);
            result
        })
        .await
    }

    /// Runs `read` on a thread that may block, and holds `place` until it has ended, whether
    /// anybody waits for it or not.
    async fn on_a_thread<T: Send + 'static>(
        self: &Arc<Self>,
        place: Result<OwnedSemaphorePermit, AcquireError>,
        read: impl FnOnce(&Self) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let failed = |why: &dyn std::fmt::Display| {
            Error::new(ErrorCode::Internal, format!("Reading failed: {why}"))
        };
        let place = place.map_err(|why| failed(&why))?;
        let db = self.clone();
        tokio::task::spawn_blocking(move || {
            let _place = place;
            read(&db)
        })
        .await
        .map_err(|why| failed(&why))?
    }

    /// Reads on this thread.
    ///
    /// # Errors
    /// See [`Db::read`].
    pub fn read_now<T>(
        &self,
        read: impl FnOnce(&Connection) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let db = self.take()?;
        let result = read(&db);
        self.give_back(db);
        result
    }

    fn take(&self) -> Result<Connection, Error> {
        let idle = self.lock().pop();
        match idle {
            Some(db) => Ok(db),
            None => self.connect(),
        }
    }

    fn give_back(&self, db: Connection) {
        let mut idle = self.lock();
        if idle.len() < IDLE {
            idle.push(db);
        }
    }

    fn connect(&self) -> Result<Connection, Error> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let db = Connection::open_with_flags(&self.path, flags).map_err(storage)?;
        db.busy_timeout(BUSY).map_err(storage)?;
        Ok(db)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Connection>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Sets the connection up, makes the tables in a new file or upgrades an old one, and returns the schema's version.
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

/// Copies the journal into the database and empties it. `false` if somebody still reads an older
/// state after `patience`, or the disk does not take it.
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

/// Makes a folder that nobody but its owner can enter. One that is there is left as it is: others
/// may have a right to it. The files in it are private by themselves.
///
/// # Errors
/// The folder cannot be made.
pub fn private_folder(dir: &Path) -> std::io::Result<()> {
    let mut builder = std::fs::DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    if let Some(parent) = dir.parent().filter(|_| !dir.exists()) {
        std::fs::create_dir_all(parent)?;
    }
    builder.recursive(true).create(dir)
}

/// Opens or makes a file that nobody but its owner can read; one that others can read is closed to
/// them.
///
/// # Errors
/// The file cannot be made or written, or belongs to somebody else.
pub fn private_file(path: &Path) -> std::io::Result<std::fs::File> {
    let mut options = std::fs::File::options();
    options.read(true).write(true).create(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let file = options.open(path)?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        if open_to_others(&file.metadata()?) {
            file.set_permissions(PermissionsExt::from_mode(0o600))?;
        }
    }
    Ok(file)
}

/// Whether others than the owner can do anything with a file or a folder.
#[cfg(unix)]
pub fn open_to_others(metadata: &std::fs::Metadata) -> bool {
    std::os::unix::fs::PermissionsExt::mode(&metadata.permissions()) & 0o077 != 0
}

/// A failure of the database as a sentence.
pub fn storage(why: rusqlite::Error) -> Error {
    let message = match why.sqlite_error_code() {
        Some(rusqlite::ErrorCode::DiskFull) => {
            "The disk is full. Nothing new can be saved until there is room.".to_owned()
        }
        Some(rusqlite::ErrorCode::ReadOnly | rusqlite::ErrorCode::PermissionDenied) => {
            "The database is not writable. Check the permissions of the data folder.".to_owned()
        }
        _ => format!("The database failed: {why}"),
    };
    Error::new(ErrorCode::Storage, message).at("saving")
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may fail by panic")]
mod tests;
