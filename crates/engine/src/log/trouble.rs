//! What keeps the log from being written, while something does.

use crate::db::DISK_FULL;
use headwater_protocol::{Error, ErrorCode};
use parking_lot::Mutex;
use std::{
    io::{self, ErrorKind},
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    time::Instant,
};
use tokio::sync::watch;

/// The failure of the last append, until one succeeds.
#[derive(Debug)]
pub(super) struct Trouble {
    /// The same as `since`, without its lock: every append asks.
    on: AtomicBool,
    since: Mutex<Option<Instant>>,
    say: watch::Sender<Option<Error>>,
    /// How many runs try again from time to time.
    trying: AtomicUsize,
}

impl Default for Trouble {
    fn default() -> Self {
        Self {
            on: AtomicBool::new(false),
            since: Mutex::default(),
            say: watch::Sender::new(None),
            trying: AtomicUsize::new(0),
        }
    }
}

/// Somebody who will try again.
pub(super) struct Trying<'a>(&'a Trouble);

impl Drop for Trying<'_> {
    fn drop(&mut self) {
        self.0.trying.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Trouble {
    pub(super) fn watch(&self) -> watch::Receiver<Option<Error>> {
        self.say.subscribe()
    }

    pub(super) fn is_on(&self) -> bool {
        self.on.load(Ordering::Relaxed)
    }

    /// Whether a run will notice the end of it.
    pub(super) fn is_tried(&self) -> bool {
        self.trying.load(Ordering::Relaxed) > 0
    }

    pub(super) fn trying(&self) -> Trying<'_> {
        self.trying.fetch_add(1, Ordering::Relaxed);
        Trying(self)
    }

    pub(super) fn say(&self, why: &io::Error) {
        let error = sentence(why);
        self.since.lock().get_or_insert_with(Instant::now);
        self.on.store(true, Ordering::Relaxed);
        self.say.send_if_modified(|trouble| {
            let new = trouble.as_ref() != Some(&error);
            if new {
                tracing::error!(cause = %why, "the log cannot be written; trying again");
                *trouble = Some(error);
            }
            new
        });
    }

    pub(super) fn end(&self) {
        if !self.is_on() {
            return;
        }
        if let Some(since) = self.since.lock().take() {
            self.on.store(false, Ordering::Relaxed);
            let ms = since.elapsed().as_millis() as u64;
            tracing::info!(ms, "the log can be written again");
            self.say.send_replace(None);
        }
    }
}

/// What people are told.
fn sentence(why: &io::Error) -> Error {
    let message = match why.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge => {
            DISK_FULL.to_owned()
        }
        ErrorKind::ReadOnlyFilesystem | ErrorKind::PermissionDenied => {
            "The journal is not writable. Check the permissions of the data folder.".to_owned()
        }
        _ => format!("The journal cannot be written: {why}."),
    };
    Error::new(ErrorCode::Storage, message).at("saving")
}
