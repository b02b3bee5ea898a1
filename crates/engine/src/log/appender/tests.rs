//! The journal of runs on a disk that fails in every place.

use super::*;
use crate::{
    db::Db,
    journal::faulty::{Fault, Faulty},
    log::{Log, tests::entries},
};
use headwater_protocol::{ConversationId, ErrorCode, Event, Status, Timing, Usage, chat::Answer};
use std::path::Path;
use uuid::Uuid;

const PATIENCE: Duration = Duration::from_secs(20);

/// Opens a log whose database is in `dir` and whose journal is on `disk`.
fn open(dir: &Path, disk: &Faulty, durability: Durability) -> Result<(Log, usize), Error> {
    let (db, connection) = Db::open(dir, 0)?;
    let unusable = |why: io::Error| Error::new(ErrorCode::Storage, why.to_string());
    Log::open_on(
        Arc::new(disk.clone()),
        db,
        connection,
        0,
        durability,
        unusable,
    )
}

/// Begins a run, as the engine does.
async fn begin(log: &Log, id: u128) -> Arc<Live> {
    let mut first = entries("");
    // Only the first entry is in the database.
    let started = first.after(0).take(1).next().unwrap();
    first = Default::default();
    first.push(started.at, &started.event);
    let stored = first.clone();
    let write = move |db: &rusqlite::Connection| {
        db.execute(
            "INSERT INTO run (id, conversation, message, model, accepted)
             VALUES (?1, ?2, x'03', 'a/b', 9)",
            [
                Uuid::from_u128(id).as_bytes(),
                Uuid::from_u128(id).as_bytes(),
            ],
        )
        .unwrap();
        let no = db.last_insert_rowid();
        crate::db::logs::write_first(db, no, &stored).unwrap();
        Ok(no)
    };
    let no = log.writer.write(write).await.unwrap();
    let (run, conversation) = (Uuid::from_u128(id), Uuid::from_u128(id));
    let live = Live::new(RunId(run), ConversationId(conversation), no, 9, first);
    let live = Arc::new(live);
    log.begin(live.clone());
    live
}

/// Writes the entries of a run.
struct Pen {
    live: Arc<Live>,
    appender: Appender,
    state: State,
    seq: u64,
}

impl Pen {
    fn new(live: &Arc<Live>, log: &Log) -> Self {
        Self {
            state: live.packed_state(),
            seq: live.head().seq,
            live: live.clone(),
            appender: log.appender.clone(),
        }
    }

    async fn write(&mut self, events: Vec<Event>) {
        let mut entries = Vec::new();
        for event in events {
            self.seq += 1;
            entries.push(Entry {
                seq: self.seq,
                at: self.seq,
                event,
            });
        }
        let append = self
            .appender
            .append(&self.live, &mut self.state, &mut entries);
        tokio::time::timeout(PATIENCE, append).await.unwrap();
        assert!(entries.is_empty());
    }

    async fn open(&mut self) {
        let all: Vec<Entry> = entries("").after(0).collect();
        // The span and the block.
        let events = all[1..3].iter().map(|entry| entry.event.clone());
        self.write(events.collect()).await;
    }

    async fn say(&mut self, text: &str) {
        self.write(vec![Event::Delta {
            span: 1,
            block: 1,
            text: text.into(),
            from: None,
        }])
        .await;
    }

    async fn end(&mut self) {
        let text = self.live.with_answer(Answer::visible_text);
        self.write(vec![Event::RunFinished {
            status: Status::Ok,
            usage: Usage::default(),
            timing: Timing::default(),
            error: None,
            length: text.len() as u64,
            hash: crate::packed::hash(&text),
        }])
        .await;
        let finished = self.live.finished();
        tokio::time::timeout(PATIENCE, finished).await.unwrap();
    }
}

/// What a reader of a run sees.
fn seen(live: &Live) -> (String, Option<Status>) {
    live.with_answer(|answer| (answer.visible_text(), answer.status))
}

/// What the next process finds of a run.
async fn kept(log: &Log, live: &Live) -> (String, Option<Status>) {
    let answer = log.source(live.run).await.unwrap().answer();
    (answer.visible_text(), answer.status)
}

/// Writes a run of four pieces on a disk of which one call fails, and hands it to `look` after each.
/// Returns how many calls there were.
async fn with_fault(
    fault: Option<(usize, Fault)>,
    durability: Durability,
    look: impl AsyncFn(&Faulty, &Path, &Live),
) -> usize {
    let folder = tempfile::tempdir().unwrap();
    let disk = Faulty::default();
    let (log, _) = open(folder.path(), &disk, durability).unwrap();
    let before = disk.calls();
    if let Some((call, fault)) = fault {
        disk.fail(before + call, fault);
    }
    let live = begin(&log, 1).await;
    let mut pen = Pen::new(&live, &log);
    pen.open().await;
    for piece in 0..4 {
        pen.say(&format!("piece {piece} ")).await;
        look(&disk, folder.path(), &live).await;
    }
    pen.end().await;
    assert_eq!(seen(&live).1, Some(Status::Ok));
    look(&disk, folder.path(), &live).await;
    assert!(
        log.appender.trouble().borrow().is_none(),
        "trouble has an end"
    );
    disk.calls() - before
}

/// What the next process finds in a copy of the database and on the disk of `left`.
async fn reopened(
    dir: &Path,
    left: impl FnOnce() -> Faulty,
    live: &Live,
) -> (String, Option<Status>) {
    // The database first: what it has, the journal may have lost since, and not the reverse.
    let copy = tempfile::tempdir().unwrap();
    for name in ["headwater.db", "headwater.db-wal"] {
        std::fs::copy(dir.join(name), copy.path().join(name)).unwrap();
    }
    let (log, _) = open(copy.path(), &left(), Durability::Process).unwrap();
    kept(&log, live).await
}

#[tokio::test]
async fn whichever_call_fails_a_dead_process_leaves_all_that_was_seen_and_nothing_else() {
    let look = async |disk: &Faulty, dir: &Path, live: &Live| {
        let (text, status) = seen(live);
        let status = status.or(Some(Status::Interrupted));
        assert_eq!(
            reopened(dir, || disk.after_death(), live).await,
            (text, status)
        );
    };
    let calls = with_fault(None, Durability::Process, look).await;
    for fault in [Fault::Io, Fault::Full, Fault::Short, Fault::Torn] {
        for call in 1..=calls {
            with_fault(Some((call, fault)), Durability::Process, look).await;
        }
    }
}

#[tokio::test]
async fn with_power_a_cut_at_any_moment_leaves_all_that_was_seen_whichever_call_fails() {
    let look = async |disk: &Faulty, dir: &Path, live: &Live| {
        let (text, status) = seen(live);
        for (kept, zeros) in [(0, true), (9, false)] {
            let left = || disk.after_power_cut(kept, zeros);
            let (left, end) = reopened(dir, left, live).await;
            assert!(left.starts_with(&text), "{left:?} of {text:?}");
            assert!(end == status || status.is_none(), "{end:?}");
        }
    };
    let calls = with_fault(None, Durability::Power, look).await;
    for fault in [Fault::Io, Fault::Full, Fault::Short, Fault::Torn] {
        for call in 1..=calls {
            with_fault(Some((call, fault)), Durability::Power, look).await;
        }
    }
}

#[tokio::test]
async fn the_end_of_a_run_survives_a_power_cut_in_any_case() {
    let look = async |disk: &Faulty, dir: &Path, live: &Live| {
        let (text, status) = seen(live);
        let (left, end) = reopened(dir, || disk.after_power_cut(0, true), live).await;
        match status {
            Some(_) => assert_eq!((left, end), (text, status)),
            // Tokens do not: what is left is a beginning of them.
            None => assert!(text.starts_with(&left)),
        }
    };
    with_fault(None, Durability::Process, look).await;
}

#[tokio::test]
async fn a_full_disk_is_said_and_every_run_waits_without_loss() {
    let folder = tempfile::tempdir().unwrap();
    let disk = Faulty::default();
    let (log, _) = open(folder.path(), &disk, Durability::Process).unwrap();
    let mut trouble = log.appender.trouble();
    let (one, other) = (begin(&log, 1).await, begin(&log, 2).await);
    let (mut pen, mut stopped) = (Pen::new(&one, &log), Pen::new(&other, &log));
    pen.open().await;
    pen.say("Before.").await;
    disk.set_full(true);
    let waiting = tokio::spawn(async move {
        pen.say(" After.").await;
        pen
    });
    let said = trouble.wait_for(Option::is_some);
    let said = tokio::time::timeout(PATIENCE, said).await.unwrap().unwrap();
    assert!(said.as_ref().unwrap().message.contains("disk is full"));
    drop(said);
    // Whoever gives up the wait has handed over nothing, and has lost nothing.
    let mut noted = vec![Entry {
        seq: 2,
        at: 1,
        event: entries("").after(1).next().unwrap().event,
    }];
    let append = stopped
        .appender
        .append(&other, &mut stopped.state, &mut noted);
    let waited = tokio::time::timeout(Duration::from_millis(50), append).await;
    assert!(waited.is_err());
    assert_eq!((noted.len(), other.head().seq), (1, 1));
    assert_eq!(seen(&one).0, "Before.");
    disk.set_full(false);
    let mut pen = waiting.await.unwrap();
    assert_eq!(seen(&one).0, "Before. After.");
    assert!(trouble.borrow_and_update().is_none());
    pen.end().await;
    // If nobody tries any more, the end is noticed all the same.
    disk.set_full(true);
    let append = stopped
        .appender
        .append(&other, &mut stopped.state, &mut noted);
    assert!(
        tokio::time::timeout(Duration::from_millis(50), append)
            .await
            .is_err()
    );
    assert!(trouble.borrow_and_update().is_some());
    disk.set_full(false);
    let over = trouble.wait_for(Option::is_none);
    tokio::time::timeout(PATIENCE, over).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_long_journal_is_rolled_and_keeps_what_is_needed() {
    let folder = tempfile::tempdir().unwrap();
    let disk = Faulty::default();
    let (log, _) = open(folder.path(), &disk, Durability::Process).unwrap();
    let long = begin(&log, 1).await;
    let mut pen = Pen::new(&long, &log);
    pen.open().await;
    pen.say("The first words. ").await;
    let mut text = 0;
    for run in 2..40 {
        let live = begin(&log, run).await;
        let mut other = Pen::new(&live, &log);
        other.open().await;
        for _ in 0..40 {
            let words = format!("{run} {} ", "word ".repeat(40));
            text += words.len();
            other.say(&words).await;
        }
        other.end().await;
        log.settle(&live).await;
        pen.say(&format!("{run} ")).await;
    }
    assert!(text as u64 > 3 * ROLL, "several files long");
    let old = async {
        while disk.list().unwrap().len() > 1 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, old).await.unwrap();
    let [newest] = disk.list().unwrap()[..] else {
        panic!("one file")
    };
    assert!(newest > 3, "{newest}");
    assert!(disk.len(newest) as u64 <= ROLL + 1000);
    assert!(
        disk.written() < 2 * text as u64,
        "a roll is paid for by what came before it"
    );
    let (text, _) = seen(&long);
    let left = reopened(folder.path(), || disk.after_death(), &long).await;
    assert_eq!(left, (text, Some(Status::Interrupted)));
}

#[tokio::test]
async fn what_was_deleted_leaves_the_journal_and_nothing_of_it_comes_again() {
    let folder = tempfile::tempdir().unwrap();
    let disk = Faulty::default();
    let (log, _) = open(folder.path(), &disk, Durability::Process).unwrap();
    let (gone, stays) = (begin(&log, 1).await, begin(&log, 2).await);
    let (mut pen, mut other) = (Pen::new(&gone, &log), Pen::new(&stays, &log));
    for pen in [&mut pen, &mut other] {
        pen.open().await;
    }
    pen.say("a secret").await;
    other.say("something else").await;
    assert!(disk.has(b"a secret"));
    log.forget(gone.conversation, HashSet::from([gone.no]))
        .await;
    assert!(!disk.has(b"a secret"));
    assert!(disk.has(b"something else"));
    // Its task may go on for a moment, and its readers with it.
    pen.say(" and another").await;
    pen.end().await;
    assert_eq!(seen(&gone).0, "a secret and another");
    assert!(!disk.has(b"another"));
    other.say(", too").await;
    let files = disk.list().unwrap();
    log.forget(gone.conversation, HashSet::from([gone.no]))
        .await;
    assert_eq!(
        disk.list().unwrap(),
        files,
        "nothing to remove, nothing written anew"
    );
    let left = reopened(folder.path(), || disk.after_death(), &stays).await;
    assert_eq!(left.0, "something else, too");
}

#[tokio::test]
async fn database_and_journal_together_stay_below_the_limit() {
    let folder = tempfile::tempdir().unwrap();
    let (log, _) = Log::open(folder.path(), 1).unwrap();
    let live = begin(&log, 1).await;
    let mut pen = Pen::new(&live, &log);
    pen.open().await;
    let mut trouble = log.appender.trouble();
    let flood = tokio::spawn(async move {
        for _ in 0..2000 {
            pen.say(&"x".repeat(1000)).await;
        }
    });
    let full = trouble.wait_for(Option::is_some);
    tokio::time::timeout(PATIENCE, full).await.unwrap().unwrap();
    let database = std::fs::metadata(folder.path().join("headwater.db")).unwrap();
    assert!(log.appender.gauges().bytes + database.len() <= 1024 * 1024);
    assert!(log.appender.gauges().bytes > 512 * 1024);
    log.appender.set_limit(64 * 1024 * 1024);
    tokio::time::timeout(PATIENCE, flood)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(seen(&live).0.len(), 2_000_000);
}
