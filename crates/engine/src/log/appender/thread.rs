//! The thread that syncs the journal, and rolls it.

use super::{Inner, RETRY, ROLL, Runs, Shared};
use crate::{
    db::{
        DbError, logs,
        writer::{Slow, Writer},
    },
    journal::{File, Files, NOBODY},
};
use parking_lot::MutexGuard;
use std::{
    collections::HashSet,
    io, mem,
    ops::Range,
    sync::Arc,
    time::{Duration, Instant},
};

/// The pause before another try to begin a file, or to remove one that is not needed any more.
const AGAIN: Duration = Duration::from_millis(if cfg!(test) { 5 } else { 1000 });

/// How much room there has to be before a disk counts as writable again while nobody writes.
const PROBED: u64 = 64 * 1024;

pub(super) struct Thread {
    shared: Arc<Shared>,
    files: Arc<dyn Files>,
    runs: Runs,
    writer: Writer,
    slow: Slow,
    /// When to remove old files, while there are some.
    tidy: Option<Instant>,
    /// When to begin the next file again, where that failed.
    roll_again: Option<Instant>,
    /// A sync failed, so the newest file may lack anything that it was to have.
    distrusted: bool,
    /// Whether a power cut leaves the newest file in the folder.
    named: bool,
}

impl Thread {
    pub(super) fn new(
        shared: Arc<Shared>,
        files: Arc<dyn Files>,
        runs: Runs,
        writer: Writer,
    ) -> Self {
        Self {
            shared,
            files,
            runs,
            writer,
            slow: Slow::default(),
            tidy: None,
            roll_again: None,
            distrusted: false,
            named: true,
        }
    }

    /// Works until the last handle is gone and nothing waits.
    pub(super) fn run(mut self) {
        let shared = self.shared.clone();
        let mut inner = shared.inner.lock();
        loop {
            if mem::take(&mut inner.roll) || is_over(self.roll_again) {
                self.roll(&mut inner);
            }
            if self.distrusted {
                if inner.closed {
                    // What was not synced was not shown, and is given up.
                    return;
                }
                shared.work.wait_for(&mut inner, RETRY);
                inner.roll = true;
            } else if !inner.unsynced.is_empty() {
                self.sync(&mut inner);
            } else if inner.closed {
                return;
            } else if is_over(self.tidy) {
                self.tidy(&mut inner);
            } else {
                self.rest(&mut inner);
            }
        }
    }

    /// Waits for work.
    fn rest(&self, inner: &mut MutexGuard<'_, Inner>) {
        let trouble = &self.shared.trouble;
        if trouble.is_on() && !trouble.is_tried() {
            self.probe(inner);
        }
        let next = [self.tidy, self.roll_again].into_iter().flatten().min();
        let retry = trouble.is_on().then(|| Instant::now() + RETRY);
        match next.into_iter().chain(retry).min() {
            Some(at) => {
                self.shared.work.wait_until(inner, at);
            }
            None => self.shared.work.wait(inner),
        }
    }

    /// Whether the disk takes anything again. Asked while no run does so by itself.
    fn probe(&self, inner: &mut Inner) {
        let room = self.shared.room.check(inner.journal.len() + PROBED);
        if room
            .and_then(|()| inner.journal.append(NOBODY, 0, &[]))
            .is_ok()
        {
            self.shared.trouble.end();
        }
    }

    /// Syncs the file, and publishes what waited for it.
    fn sync(&mut self, inner: &mut MutexGuard<'_, Inner>) {
        let mut waiting = mem::take(&mut inner.unsynced);
        let file = inner.journal.file();
        let begun = Instant::now();
        let synced = MutexGuard::unlocked(inner, || {
            if !self.named {
                self.files.sync()?;
            }
            file.sync()
        });
        match synced {
            Ok(()) => {
                self.named = true;
                inner.last_sync = begun.elapsed();
                self.slow.note(inner.last_sync);
                self.shared.places.add_permits(waiting.len());
                for append in waiting {
                    append.live.publish(append.batch);
                }
                self.shared.trouble.end();
            }
            Err(why) => {
                waiting.append(&mut inner.unsynced);
                inner.unsynced = waiting;
                self.distrusted = true;
                self.shared.trouble.say(&why);
            }
        }
    }

    /// Begins the next file with all that is still needed.
    fn roll(&mut self, inner: &mut Inner) {
        self.roll_again = None;
        let runs: Vec<_> = self.runs.lock().values().cloned().collect();
        let mut kept = HashSet::new();
        let Inner {
            journal, unsynced, ..
        } = inner;
        let rolled = journal.roll(|next| {
            for live in runs.iter().filter(|live| !live.is_deleted()) {
                live.with_packed(|packed| next.append(live.no, 1, packed.as_bytes()))?;
                kept.insert(live.no);
            }
            for append in unsynced.iter().filter(|append| !append.live.is_deleted()) {
                let (no, batch) = (append.live.no, &append.batch);
                next.append(no, batch.first(), batch.packed())?;
                kept.insert(no);
            }
            Ok(())
        });
        match rolled {
            Ok(()) => {
                let former = mem::replace(&mut inner.runs, kept);
                inner.old_runs.extend(former);
                inner.needed = inner.journal.len();
                inner.limit = ROLL.max(4 * inner.needed);
                self.tidy = Some(Instant::now());
                (self.distrusted, self.named) = (false, false);
            }
            Err(why) => {
                tracing::warn!(%why, "the next file of the journal could not be begun");
                self.roll_again = Some(Instant::now() + AGAIN);
                answer(&mut inner.erasing);
                if self.distrusted {
                    self.shared.trouble.say(&why);
                }
            }
        }
    }

    /// Removes the files before the newest one. What they have is in that one or in the database.
    fn tidy(&mut self, inner: &mut MutexGuard<'_, Inner>) {
        let (oldest, newest) = (inner.oldest, inner.journal.number());
        let erase = mem::take(&mut inner.erase);
        let mut erasing = mem::take(&mut inner.erasing);
        let file = inner.journal.file();
        let tidied = MutexGuard::unlocked(inner, || self.remove(&*file, oldest..newest, erase));
        self.tidy = None;
        match tidied {
            Ok(()) => {
                self.named = true;
                inner.oldest = newest;
                inner.old_runs.clear();
            }
            Err(why) => {
                tracing::warn!(%why, "a file of the journal that is not needed is left for now");
                inner.erase |= erase;
                self.tidy = Some(Instant::now() + AGAIN);
            }
        }
        answer(&mut erasing);
    }

    fn remove(&self, newest: &dyn File, old: Range<u64>, erase: bool) -> io::Result<()> {
        newest.sync()?;
        self.files.sync()?;
        let oldest = old.end;
        // Synced, and with it all that the database has got of runs since.
        self.writer
            .write_now(move |db| Ok(logs::set_oldest_journal(db, oldest).map_err(DbError::from)?))
            .map_err(io::Error::other)?;
        old.into_iter()
            .try_for_each(|number| self.files.remove(number, erase))
    }
}

fn is_over(at: Option<Instant>) -> bool {
    at.is_some_and(|at| at <= Instant::now())
}

fn answer(erasing: &mut Vec<tokio::sync::oneshot::Sender<()>>) {
    for waiting in erasing.drain(..) {
        // Whoever asked may have gone away.
        let _ = waiting.send(());
    }
}
