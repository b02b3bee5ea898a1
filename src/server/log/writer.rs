//! The one thread that writes: group commit.
//!
//! Jobs queue up in a bounded channel. The thread takes all that are there, writes them in one
//! transaction, and only then publishes: an event is in the log before anybody sees it. Under load
//! batches grow by themselves, so the cost of a commit is shared by more entries.
//!
//! When the disk does not take a batch, its appends are kept and tried again until it does; the
//! channel fills, the engines wait, and the providers are read no further. Commands in the batch
//! are answered with the error. Nothing that was published is ever lost, and nothing that could
//! not be stored is published.

use super::{
    db::storage,
    live::{Live, encode_all},
    packed::Packed,
};
use crate::protocol::{Entry, Error, ErrorCode};
use rusqlite::Connection;
use std::{collections::HashMap, sync::Arc, time::Duration};
use tokio::sync::{mpsc, oneshot, watch};

/// Jobs that may wait. With 200 runs at 50 tokens a second, this is half a second of text.
const QUEUE: usize = 4096;

/// The most jobs in one transaction, so that the first of them is not kept waiting by the last.
const BATCH: usize = 512;

/// Pauses between two tries to write what the disk did not take.
const RETRY: Duration = Duration::from_millis(250);

/// A handle to the thread. Cheap to clone; the thread ends when the last one is gone.
#[derive(Clone, Debug)]
pub struct Writer {
    jobs: mpsc::Sender<Job>,
    trouble: watch::Receiver<Option<Error>>,
}

#[derive(Debug)]
enum Job {
    Append(Append),
    Command(Box<dyn Command>),
}

#[derive(Debug)]
struct Append {
    live: Arc<Live>,
    entries: Vec<Entry>,
    frames: Vec<bytes::Bytes>,
}

impl Writer {
    /// Starts the thread.
    pub fn spawn(db: Connection) -> Self {
        let (jobs, queue) = mpsc::channel(QUEUE);
        let (say, trouble) = watch::channel(None);
        std::thread::Builder::new()
            .name("log-writer".into())
            .spawn(move || run(db, queue, &say))
            .expect("the system can start a thread at start-up");
        Self { jobs, trouble }
    }

    /// What keeps the log from being written now, if anything does.
    pub fn trouble(&self) -> watch::Receiver<Option<Error>> {
        self.trouble.clone()
    }

    /// A place in the queue, for one append. Waits while the queue is full; nothing is taken from
    /// whoever waits, so it may give up at any time.
    pub async fn place(&self) -> Place<'_> {
        let place = self.jobs.reserve().await;
        if place.is_err() {
            tracing::error!("the log's writer is gone");
        }
        Place(place.ok())
    }

    /// Runs `work` in the next transaction and returns what it returned once that is committed.
    /// What it wrote is undone if it fails.
    ///
    /// # Errors
    /// What `work` says, or `storage` if the transaction cannot be committed.
    pub async fn write<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let (reply, answer) = oneshot::channel();
        let command = Work {
            work: Some(work),
            result: None,
            reply: Some(reply),
        };
        let gone = || Error::new(ErrorCode::ShuttingDown, "The server is ending.");
        self.jobs
            .send(Job::Command(Box::new(command)))
            .await
            .map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?
    }
}

/// A place in the writer's queue.
#[derive(Debug)]
pub struct Place<'a>(Option<mpsc::Permit<'a, Job>>);

impl Place<'_> {
    /// Appends to a run. It is visible when it is committed, which [`Live::watch`] tells.
    pub fn append(self, live: Arc<Live>, entries: Vec<Entry>) {
        let frames = encode_all(&entries);
        if let Some(place) = self.0 {
            place.send(Job::Append(Append {
                live,
                entries,
                frames,
            }));
        }
    }
}

/// Something to write and somebody who waits for it.
trait Command: Send + std::fmt::Debug {
    /// Writes, inside the transaction.
    fn run(&mut self, db: &Connection);
    /// Answers, after the transaction.
    fn settle(&mut self, committed: Result<(), Error>);
}

struct Work<T, F> {
    work: Option<F>,
    result: Option<Result<T, Error>>,
    reply: Option<oneshot::Sender<Result<T, Error>>>,
}

impl<T, F> std::fmt::Debug for Work<T, F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Work")
    }
}

impl<T: Send, F: FnOnce(&Connection) -> Result<T, Error> + Send> Command for Work<T, F> {
    fn run(&mut self, db: &Connection) {
        let Some(work) = self.work.take() else { return };
        // A panic in one command must not take the log's only writer with it.
        let result =
            db.execute_batch("SAVEPOINT command")
                .map_err(storage)
                .and_then(|()| {
                    std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| work(db)))
                        .unwrap_or_else(|_| {
                            Err(Error::new(
                                ErrorCode::Internal,
                                "Saving failed unexpectedly.",
                            ))
                        })
                });
        let end = match &result {
            Ok(_) => "RELEASE command",
            Err(_) => "ROLLBACK TO command; RELEASE command",
        };
        // A full disk may have ended the transaction already; its commit will say so.
        let _ = db.execute_batch(end);
        self.result = Some(result);
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

fn run(db: Connection, mut queue: mpsc::Receiver<Job>, say: &watch::Sender<Option<Error>>) {
    let mut appends: Vec<Append> = Vec::new();
    let mut commands: Vec<Box<dyn Command>> = Vec::new();
    loop {
        if appends.is_empty() {
            let Some(job) = queue.blocking_recv() else {
                return;
            };
            sort(job, &mut appends, &mut commands);
        }
        while appends.len() + commands.len() < BATCH {
            let Ok(job) = queue.try_recv() else { break };
            sort(job, &mut appends, &mut commands);
        }
        let committed = commit(&db, &appends, &mut commands);
        for mut command in commands.drain(..) {
            command.settle(committed.clone());
        }
        match committed {
            Ok(()) => {
                for Append {
                    live,
                    entries,
                    frames,
                } in appends.drain(..)
                {
                    live.publish(entries, frames);
                }
                say.send_if_modified(|trouble| trouble.take().is_some());
            }
            Err(why) => {
                if !appends.is_empty() {
                    say.send_if_modified(|trouble| {
                        let new = trouble.as_ref() != Some(&why);
                        if new {
                            tracing::error!(%why, "the log cannot be written; trying again");
                            *trouble = Some(why);
                        }
                        new
                    });
                    if queue.is_closed() && queue.is_empty() {
                        // The server ends and the disk is still full: what nobody saw is given up.
                        return;
                    }
                    std::thread::sleep(RETRY);
                }
            }
        }
    }
}

fn sort(job: Job, appends: &mut Vec<Append>, commands: &mut Vec<Box<dyn Command>>) {
    match job {
        Job::Append(append) => appends.push(append),
        Job::Command(command) => commands.push(command),
    }
}

/// Writes a batch in one transaction; on any failure nothing of it is stored.
fn commit(
    db: &Connection,
    appends: &[Append],
    commands: &mut [Box<dyn Command>],
) -> Result<(), Error> {
    db.execute_batch("BEGIN IMMEDIATE").map_err(storage)?;
    let written = write_segments(db, appends).map_err(storage).and_then(|()| {
        for command in commands {
            command.run(db);
        }
        db.execute_batch("COMMIT").map_err(storage)
    });
    if written.is_err() && !db.is_autocommit() {
        let _ = db.execute_batch("ROLLBACK");
    }
    written
}

/// One row for each run in the batch, whatever the number of its entries.
fn write_segments(db: &Connection, appends: &[Append]) -> rusqlite::Result<()> {
    let mut rows: HashMap<i64, Packed> = HashMap::new();
    for append in appends {
        let row = rows.entry(append.live.no).or_default();
        for entry in &append.entries {
            row.push(entry.at, &entry.event);
        }
    }
    rows.iter()
        .try_for_each(|(run, packed)| super::add_segment(db, *run, packed))
}
