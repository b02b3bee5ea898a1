use super::{thread::SLOW, *};
use crate::{
    db::{Db, storage},
    log::tests::captured::Captured,
};
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

/// The longest that anything here may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// A writer on a file of at most a megabyte, with a table to write to and a run, number 1.
fn small() -> (tempfile::TempDir, Arc<Db>, Writer) {
    let folder = tempfile::tempdir().unwrap();
    let (db, connection) = Db::open(folder.path(), 1).unwrap();
    connection
        .execute_batch(
            "CREATE TABLE note (text TEXT UNIQUE NOT NULL, bytes BLOB);
             INSERT INTO run (no, id, conversation, message, model, accepted)
             VALUES (1, x'01', x'02', x'03', 'a/b', 9);",
        )
        .unwrap();
    (folder, Arc::new(db), Writer::spawn(connection))
}

fn note(
    text: &'static str,
    kilobytes: usize,
) -> impl FnOnce(&Connection) -> Result<(), Error> + Send + 'static {
    move |db| {
        let sql = "INSERT INTO note (text, bytes) VALUES (?1, zeroblob(?2 * 1024))";
        db.execute(sql, rusqlite::params![text, kilobytes as i64])
            .map(|_| ())
            .map_err(storage)
    }
}

fn noted(db: &Db) -> Vec<String> {
    db.read_now(|db| {
        let mut query = db.prepare("SELECT text FROM note ORDER BY rowid").unwrap();
        let rows = query.query_map([], |row| row.get(0)).unwrap();
        Ok(rows.collect::<Result<_, _>>().unwrap())
    })
    .unwrap()
}

/// Keeps the thread busy until the sender is dropped, so that what is queued meanwhile is one batch.
pub(crate) async fn hold(writer: &Writer) -> std::sync::mpsc::Sender<()> {
    let (release, wait) = std::sync::mpsc::channel();
    let (begun, running) = oneshot::channel();
    let writer = writer.clone();
    tokio::spawn(async move {
        let work = move |_: &Connection| {
            begun.send(()).unwrap();
            let _ = wait.recv();
            Ok(())
        };
        writer.write(work).await.unwrap();
    });
    running.await.unwrap();
    release
}

#[tokio::test]
async fn every_command_of_a_batch_is_stored_if_and_only_if_it_was_acknowledged() {
    // Where in the batch the disk is full, and whether the others come alone.
    for place in 0..4 {
        let (_folder, db, writer) = small();
        let release = hold(&writer).await;
        let names = ["a", "b", "c", "d"];
        let mut answers = Vec::new();
        for (at, name) in names.into_iter().enumerate() {
            let size = if at == place { 5000 } else { 1 };
            let writer = writer.clone();
            let mut write = Box::pin(async move { writer.write(note(name, size)).await });
            assert!(futures::poll!(&mut write).is_pending());
            answers.push(write);
        }
        drop(release);
        let mut acknowledged = Vec::new();
        for (answer, name) in answers.into_iter().zip(names) {
            match answer.await {
                Ok(()) => acknowledged.push(name),
                Err(why) => assert_eq!(why.code.http_status(), 507, "{why}"),
            }
        }
        assert_eq!(noted(&db), acknowledged, "full at {place}");
        assert!(!acknowledged.contains(&names[place]));
        writer.write(note("after", 1)).await.unwrap();
    }
}

#[tokio::test]
async fn one_command_that_fails_or_panics_undoes_itself_alone() {
    let (_folder, db, writer) = small();
    let release = hold(&writer).await;
    let failing = writer.write(|db| {
        note("failing", 1)(db)?;
        Err::<(), _>(Error::new(ErrorCode::Conflict, "no"))
    });
    let panicking = writer.write(|db| {
        note("panicking", 1)(db)?;
        panic!("as a test wants it");
        #[allow(unreachable_code)]
        Ok(())
    });
    let fine = writer.write(note("fine", 1));
    let (failing, panicking, fine, ()) =
        tokio::join!(failing, panicking, fine, async move { drop(release) });
    assert_eq!(failing.unwrap_err().code, ErrorCode::Conflict);
    assert_eq!(panicking.unwrap_err().code, ErrorCode::Internal);
    fine.unwrap();
    assert_eq!(noted(&db), ["fine"]);
}

#[tokio::test]
async fn commands_are_synced_and_what_is_stored_elsewhere_is_not() {
    let (_folder, _db, writer) = small();
    let level = |db: &Connection| {
        db.pragma_query_value(None, "synchronous", |row| row.get::<_, i64>(0))
            .map_err(storage)
    };
    for _ in 0..2 {
        assert_eq!(writer.write(level).await.unwrap(), 2);
        assert_eq!(writer.erase(level).await.unwrap(), 2);
        assert_eq!(writer.write_unsynced(level).await.unwrap(), 1);
    }
}

#[tokio::test]
async fn what_is_deleted_leaves_the_journal_as_soon_as_nobody_reads_it() {
    let (folder, db, writer) = small();
    let journal = || {
        std::fs::metadata(folder.path().join("headwater.db-wal"))
            .unwrap()
            .len()
    };
    writer.write(note("kept", 1)).await.unwrap();
    writer.write(note("deleted", 1)).await.unwrap();
    let delete = |db: &Connection| {
        db.execute("DELETE FROM note WHERE text = 'deleted'", [])
            .map_err(storage)
    };
    // Somebody reads the state of before, until told to end.
    let (end, ended) = std::sync::mpsc::channel::<()>();
    let (begun, reading) = oneshot::channel();
    let reader = db.clone();
    let reader = std::thread::spawn(move || {
        reader.read_now(|db| {
            let mut query = db.prepare("SELECT text FROM note").unwrap();
            let mut rows = query.query([]).unwrap();
            rows.next().unwrap().unwrap();
            begun.send(()).unwrap();
            let _ = ended.recv();
            Ok(())
        })
    });
    reading.await.unwrap();
    writer.erase(delete).await.unwrap();
    assert!(journal() > 0);
    drop(end);
    reader.join().unwrap().unwrap();
    let emptied = async {
        while journal() > 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, emptied).await.unwrap();
    // Without a reader it is at once.
    writer.write(note("deleted", 1)).await.unwrap();
    assert!(journal() > 0);
    writer.erase(delete).await.unwrap();
    assert_eq!(journal(), 0);
    assert_eq!(noted(&db), ["kept"]);
}

/// A writer on a file of at most a megabyte, with a table to write to, whose thread says to
/// `captured` what it says. A commit is slow as long as `slow` is set.
fn small_and_heard(captured: &Captured, slow: &Arc<AtomicBool>) -> (tempfile::TempDir, Writer) {
    let folder = tempfile::tempdir().unwrap();
    let (_, mut connection) = Db::open(folder.path(), 1).unwrap();
    let slow = slow.clone();
    let hook = move || {
        if slow.load(Ordering::SeqCst) {
            std::thread::sleep(SLOW + Duration::from_millis(50));
        }
        false
    };
    connection
        .execute_batch("CREATE TABLE note (text TEXT UNIQUE NOT NULL, bytes BLOB)")
        .unwrap();
    connection.commit_hook(Some(hook)).unwrap();
    let (writer, thread) = Writer::new(connection);
    let subscriber = captured.subscriber(tracing::Level::INFO);
    std::thread::spawn(|| tracing::subscriber::with_default(subscriber, || thread.run()));
    (folder, writer)
}

#[tokio::test]
async fn a_slow_disk_is_said_once_until_it_is_fast_again() {
    let captured = Captured::default();
    let slow = Arc::new(AtomicBool::new(false));
    let (_folder, writer) = small_and_heard(&captured, &slow);
    writer.write(note("a", 1)).await.unwrap();
    assert_eq!(captured.lines(), Vec::<String>::new());
    slow.store(true, Ordering::SeqCst);
    writer.write(note("b", 1)).await.unwrap();
    writer.write(note("c", 1)).await.unwrap();
    assert!(captured.only("WARN").contains("slow"));
    assert_eq!(captured.lines().len(), 1);
    let ms = captured.only("ms=1");
    assert!(ms.contains("saving took"), "{ms}");
    slow.store(false, Ordering::SeqCst);
    writer.write(note("d", 1)).await.unwrap();
    captured.only("fast again");
    assert_eq!(captured.lines().len(), 2);
}

#[tokio::test]
async fn what_is_stored_elsewhere_waits_for_others_and_shares_their_transaction() {
    let folder = tempfile::tempdir().unwrap();
    let (_, mut connection) = Db::open(folder.path(), 1).unwrap();
    connection
        .execute_batch("CREATE TABLE note (text TEXT UNIQUE NOT NULL, bytes BLOB)")
        .unwrap();
    let commits = Arc::new(AtomicUsize::new(0));
    let counted = commits.clone();
    let hook = move || {
        counted.fetch_add(1, Ordering::SeqCst);
        false
    };
    connection.commit_hook(Some(hook)).unwrap();
    let writer = Writer::spawn(connection);
    let mut lazy = Vec::new();
    for name in ["a", "b", "c"] {
        let mut write = Box::pin(writer.write_unsynced(note(name, 1)));
        assert!(futures::poll!(&mut write).is_pending());
        lazy.push(write);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    // Somebody waits for this one, and so it takes the others along.
    writer.write(note("d", 1)).await.unwrap();
    for write in lazy {
        write.await.unwrap();
    }
    assert_eq!(commits.load(Ordering::SeqCst), 1);
    // Without it, they are written as well.
    writer.write_unsynced(note("e", 1)).await.unwrap();
    assert_eq!(commits.load(Ordering::SeqCst), 2);
}

/// Fails where no command's own failure is caught.
#[derive(Debug)]
struct Broken;

impl Command for Broken {
    fn durability(&self) -> Durability {
        panic!("as a test wants it");
    }

    fn run(&mut self, _: &Connection) -> Result<(), Error> {
        Ok(())
    }

    fn has_run(&self) -> bool {
        false
    }

    fn settle(&mut self, _: Result<(), Error>) {}
}

/// Set in a process that is to die.
const DIE: &str = "HEADWATER_TEST_WRITER_DIES";

#[test]
fn a_writer_that_fails_ends_the_process() {
    if std::env::var_os(DIE).is_some() {
        let (_folder, _db, writer) = small();
        let broken: Box<dyn Command> = Box::new(Broken);
        writer.commands.blocking_send(broken).unwrap();
        std::thread::sleep(PATIENCE);
        return;
    }
    let mut child = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "--nocapture"])
        .arg("db::writer::tests::a_writer_that_fails_ends_the_process")
        .env(DIE, "1")
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let status = child.wait().unwrap();
    assert_eq!(status.code(), Some(WRITER_FAILED));
}
