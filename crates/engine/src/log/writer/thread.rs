//! The thread: takes what waits, writes it in one transaction, publishes.

use super::{
    Append,
    work::{Command, Durability},
};
use crate::{
    db::{logs, storage},
    packed::Packed,
};
use headwater_protocol::Error;
use rusqlite::Connection;
use std::{
    borrow::Cow,
    collections::{HashMap, hash_map},
    time::{Duration, Instant},
};
use tokio::sync::{mpsc, watch};

/// The most appends and the most commands in one transaction. The first of them waits for the last.
const BATCH: usize = 512;

/// The pause before appends that the disk did not take are tried again.
const RETRY: Duration = Duration::from_millis(250);

/// How long a deletion waits for readers of an older state of the file before it leaves the journal
/// to [`ERASE_AGAIN`].
const ERASE: Duration = Duration::from_millis(200);

/// The pause before another try to remove deleted data from the journal.
const ERASE_AGAIN: Duration = Duration::from_secs(1);

/// A commit that takes longer than this is reported.
pub(super) const SLOW: Duration = Duration::from_secs(1);

/// The state of the thread.
pub(super) struct Thread {
    db: Connection,
    appends: mpsc::Receiver<Append>,
    commands: mpsc::Receiver<Box<dyn Command>>,
    say: watch::Sender<Option<Error>>,
    /// Since when the disk has not taken the appends.
    trouble_since: Option<Instant>,
    /// Whether the last commit was slow.
    slow: bool,
    /// Whether SQLite is set to sync each transaction.
    synced: bool,
    /// The last time that something deleted could not be removed from the journal, while it is there.
    erase: Option<Instant>,
}

impl Thread {
    pub(super) fn new(
        db: Connection,
        appends: mpsc::Receiver<Append>,
        commands: mpsc::Receiver<Box<dyn Command>>,
        say: watch::Sender<Option<Error>>,
    ) -> Self {
        Self {
            db,
            appends,
            commands,
            say,
            trouble_since: None,
            slow: false,
            synced: false,
            erase: None,
        }
    }

    /// Works until the last handle is gone.
    pub(super) fn run(mut self) {
        let mut appends: Vec<Append> = Vec::new();
        let mut commands: Vec<Box<dyn Command>> = Vec::new();
        while self.take(&mut appends, &mut commands) {
            if self.say.borrow().is_some() {
                // The disk did not take the appends, and may still take these.
                commands.drain(..).for_each(|one| self.write_alone(one));
            }
            let committed = self.commit(&appends, &mut commands);
            for mut command in commands.drain(..) {
                match &committed {
                    Err(_) if !command.has_run() => self.write_alone(command),
                    done => self.settle(command.as_mut(), done.clone()),
                }
            }
            match committed {
                Ok(()) => {
                    for append in appends.drain(..) {
                        append.live.publish(append.batch);
                    }
                    self.end_trouble();
                }
                Err(why) if !appends.is_empty() => {
                    self.say_trouble(why);
                    if self.appends.is_closed() && self.appends.is_empty() {
                        // The server ends and the disk is still full: what nobody saw is given up.
                        return;
                    }
                    std::thread::sleep(RETRY);
                }
                Err(_) => {}
            }
            if self
                .erase
                .is_some_and(|since| since.elapsed() > ERASE_AGAIN)
            {
                self.erase_journal();
            }
        }
    }

    /// Takes all that wait, or waits for the first one. Returns `false` if no more can come.
    fn take(&mut self, appends: &mut Vec<Append>, commands: &mut Vec<Box<dyn Command>>) -> bool {
        if appends.is_empty() {
            while self.erase.is_some() && self.is_idle() {
                std::thread::sleep(ERASE / 10);
                self.erase_again();
            }
            let (next_append, next_command) = (&mut self.appends, &mut self.commands);
            let found = futures::executor::block_on(async {
                tokio::select! {
                    biased;
                    Some(command) = next_command.recv() => commands.push(command),
                    Some(append) = next_append.recv() => appends.push(append),
                    else => return false,
                }
                true
            });
            if !found {
                return false;
            }
        }
        while commands.len() < BATCH
            && let Ok(command) = self.commands.try_recv()
        {
            commands.push(command);
        }
        while appends.len() < BATCH
            && let Ok(append) = self.appends.try_recv()
        {
            appends.push(append);
        }
        true
    }

    /// Writes one command in its own transaction, and answers it.
    fn write_alone(&mut self, mut command: Box<dyn Command>) {
        let committed = self.commit(&[], std::slice::from_mut(&mut command));
        self.settle(command.as_mut(), committed);
    }

    fn settle(&mut self, command: &mut dyn Command, committed: Result<(), Error>) {
        if committed.is_ok() && command.durability() == Durability::Erased {
            self.erase_journal();
        }
        command.settle(committed);
    }

    fn say_trouble(&mut self, why: Error) {
        self.trouble_since.get_or_insert_with(Instant::now);
        self.say.send_if_modified(|trouble| {
            let new = trouble.as_ref() != Some(&why);
            if new {
                tracing::error!(%why, "the log cannot be written; trying again");
                *trouble = Some(why);
            }
            new
        });
    }

    fn end_trouble(&mut self) {
        if let Some(since) = self.trouble_since.take() {
            let ms = since.elapsed().as_millis() as u64;
            tracing::info!(ms, "the log can be written again");
            self.say.send_replace(None);
        }
    }

    /// Reports a slow disk once, and that it is fast again.
    fn note_commit(&mut self, took: Duration) {
        let slow = took > SLOW;
        let ms = took.as_millis() as u64;
        match (self.slow, slow) {
            (false, true) => tracing::warn!(ms, "the disk is slow: saving took over a second"),
            (true, false) => tracing::info!(ms, "the disk is fast again"),
            _ => {}
        }
        self.slow = slow;
    }

    /// Writes appends and commands in one transaction. If anything fails, nothing of it is stored.
    fn commit(
        &mut self,
        appends: &[Append],
        commands: &mut [Box<dyn Command>],
    ) -> Result<(), Error> {
        if appends.is_empty() && commands.is_empty() {
            return Ok(());
        }
        self.sync(
            appends.iter().any(|append| append.batch.is_last())
                || commands
                    .iter()
                    .any(|one| one.durability() != Durability::Unsynced),
        )?;
        self.db.execute_batch("BEGIN IMMEDIATE").map_err(storage)?;
        let written = self.write(appends, commands);
        if written.is_err() && !self.db.is_autocommit() {
            let _ = self.db.execute_batch("ROLLBACK");
        }
        written
    }

    fn write(
        &mut self,
        appends: &[Append],
        commands: &mut [Box<dyn Command>],
    ) -> Result<(), Error> {
        write_segments(&self.db, appends).map_err(storage)?;
        for command in commands {
            command.run(&self.db)?;
        }
        // Before this, SQLite writes to memory.
        let begun = Instant::now();
        self.db.execute_batch("COMMIT").map_err(storage)?;
        self.note_commit(begun.elapsed());
        Ok(())
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
        self.appends.is_empty() && self.commands.is_empty() && !self.commands.is_closed()
    }

    /// Tries from time to time to remove what a deletion had to leave in the journal.
    fn erase_again(&mut self) {
        if self
            .erase
            .is_some_and(|since| since.elapsed() > ERASE_AGAIN)
        {
            self.erase_journal();
        }
    }

    /// Copies the journal into the database and empties it, because it still contains what was
    /// deleted.
    fn erase_journal(&mut self) {
        let done = crate::db::empty_journal(&self.db, ERASE);
        // While somebody reads an older state of the file, that state has to stay.
        self.erase = (!done).then(Instant::now);
    }
}

/// Writes one row for each run that has appends.
fn write_segments(db: &Connection, appends: &[Append]) -> rusqlite::Result<()> {
    let mut rows: HashMap<i64, Cow<'_, Packed>> = HashMap::new();
    for Append { live, batch } in appends {
        match rows.entry(live.no) {
            hash_map::Entry::Vacant(row) => {
                row.insert(Cow::Borrowed(&batch.packed));
            }
            hash_map::Entry::Occupied(mut row) => row.get_mut().to_mut().append(&batch.packed),
        }
    }
    rows.iter()
        .try_for_each(|(run, packed)| logs::add_segment(db, *run, packed))
}
