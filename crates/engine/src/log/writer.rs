//! The one thread that writes: group commit.
//!
//! Jobs queue up in bounded channels. The thread takes all that are there, writes them in one
//! transaction, and only then publishes: an event is in the log before anybody sees it. Under load
//! batches grow by themselves, so the cost of a commit is shared by more entries.
//!
//! When the disk does not take a batch, its appends are kept and tried again until it does; their
//! queue fills, the engines wait, and the providers are read no further. Commands have a queue of
//! their own and are written by themselves meanwhile: each is done, or answered with the error.
//! Nothing that was published is ever lost, and nothing that could not be stored is published.
//!
//! A command and the end of a run are synced to the disk before anybody hears of them. What a model
//! writes is synced with the next of them, or when SQLite copies its journal into the database: a
//! power cut may take it back, the death of the process cannot.
//!
//! A fault of this thread ends the process. Nothing could be stored without it, and the next start
//! closes what was being written, as after any other sudden end.

mod work;

use super::{batch::Batch, live::Live};
use crate::{
    db::{logs, storage},
    packed::Packed,
};
use headwater_protocol::{Entry, Error, ErrorCode};
use rusqlite::Connection;
use std::{
    borrow::Cow,
    collections::{HashMap, hash_map},
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::sync::{mpsc, oneshot, watch};
use work::{Care, Command, Work};

/// Jobs of each sort that may wait. With 200 runs at 50 tokens a second, this is half a second of text.
const QUEUE: usize = 4096;

/// The most jobs of each sort in one transaction, so that the first of them is not kept waiting by the last.
const BATCH: usize = 512;

/// Pauses between two tries to write what the disk did not take.
const RETRY: Duration = Duration::from_millis(250);

/// How long a deletion waits for readers of the file before it leaves the end of its traces to a
/// later moment.
const ERASE: Duration = Duration::from_millis(200);

/// Pauses between two tries to remove what was deleted from the journal.
const ERASE_AGAIN: Duration = Duration::from_secs(1);

/// A commit that takes longer than this is reported.
const SLOW: Duration = Duration::from_secs(1);

/// The process's exit status where this thread failed: `EX_SOFTWARE` of `sysexits.h`.
const WRITER_FAILED: i32 = 70;

/// A handle to the thread. Cheap to clone; the thread ends when the last one is gone.
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
        let thread = Thread {
            db,
            appends: more_appends,
            commands: more_commands,
            say,
            trouble_since: None,
            slow: false,
            synced: false,
            erase: None,
        };
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

    /// What keeps the log from being written now, if anything does.
    pub fn trouble(&self) -> watch::Receiver<Option<Error>> {
        self.trouble.clone()
    }

    /// Whether there is a thread that writes.
    pub fn is_alive(&self) -> bool {
        !self.commands.is_closed()
    }

    /// A place in the queue, for one append. Waits while the queue is full; nothing is taken from
    /// whoever waits, so it may give up at any time.
    pub async fn place(&self) -> Place<'_> {
        let place = self.appends.reserve().await;
        if place.is_err() {
            tracing::error!("the log's writer is gone");
        }
        Place(place.ok())
    }

    /// Runs `work` in the next transaction and returns what it returned once that is committed and
    /// synced. What it wrote is undone if it fails. Work that is queued is done, whether or not
    /// whoever asked for it is still there.
    ///
    /// # Errors
    /// What `work` says, or `storage` if the transaction cannot be committed; nothing of `work` is
    /// stored then.
    pub async fn write<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        self.queue(Care::Synced, work).await
    }

    /// As [`Writer::write`], for what a power cut may take back because it is stored elsewhere.
    ///
    /// # Errors
    /// See [`Writer::write`].
    pub async fn write_unsynced<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        self.queue(Care::Unsynced, work).await
    }

    /// As [`Writer::write`], for deletions: what was deleted is removed from the journal as well,
    /// at once or, where somebody is just reading it, soon.
    ///
    /// # Errors
    /// See [`Writer::write`].
    pub async fn erase<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        self.queue(Care::Erased, work).await
    }

    async fn queue<T: Send + 'static>(
        &self,
        care: Care,
        work: impl FnOnce(&Connection) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let (reply, answer) = oneshot::channel();
        let command = Work::new(care, work, reply);
        let gone = || Error::new(ErrorCode::ShuttingDown, "The server is ending.");
        self.commands
            .send(Box::new(command))
            .await
            .map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?
    }
}

/// A place in the writer's queue.
#[derive(Debug)]
pub struct Place<'a>(Option<mpsc::Permit<'a, Append>>);

impl Place<'_> {
    /// Appends to a run. It is visible when it is committed, which [`Live::watch`] tells.
    pub fn append(self, live: Arc<Live>, entries: Vec<Entry>) {
        if let Some(place) = self.0 {
            let batch = Batch::new(entries);
            place.send(Append { live, batch });
        }
    }
}

/// The state of the thread.
struct Thread {
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
    /// Since when something deleted is to be removed from the journal.
    erase: Option<Instant>,
}

impl Thread {
    fn run(mut self) {
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

    /// Takes what waits, or waits for the first job. `false` if there is none and no more can come.
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

    /// Writes one command in a transaction of its own, and answers it.
    fn write_alone(&mut self, mut command: Box<dyn Command>) {
        let committed = self.commit(&[], std::slice::from_mut(&mut command));
        self.settle(command.as_mut(), committed);
    }

    fn settle(&mut self, command: &mut dyn Command, committed: Result<(), Error>) {
        if committed.is_ok() && command.care() == Care::Erased {
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

    /// Writes a batch in one transaction; on any failure nothing of it is stored.
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
                || commands.iter().any(|one| one.care() != Care::Unsynced),
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

    /// Sets whether the next transactions are synced. One that is takes all earlier ones with it.
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

    /// Does what a deletion could not finish, from time to time.
    fn erase_again(&mut self) {
        if self
            .erase
            .is_some_and(|since| since.elapsed() > ERASE_AGAIN)
        {
            self.erase_journal();
        }
    }

    /// Copies the journal into the database and empties it, because it still has what was deleted.
    fn erase_journal(&mut self) {
        let done = crate::db::empty_journal(&self.db, ERASE);
        // While somebody reads an older state of the file, that state has to stay.
        self.erase = (!done).then(Instant::now);
    }
}

/// One row for each run in the batch, whatever the number of its entries.
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

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may fail by panic")]
mod tests;
