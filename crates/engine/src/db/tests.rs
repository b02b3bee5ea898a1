//! Databases of older versions.

use super::{schema::TABLES, *};
use crate::{
    db::{conversations, settings},
    log::Log,
};
use headwater_protocol::{ConversationId, MessageId};

#[tokio::test]
async fn a_database_of_the_first_version_keeps_everything() {
    let folder = tempfile::tempdir().unwrap();
    let (id, question) = (ConversationId::new(), MessageId::new());
    let old = Connection::open(folder.path().join("headwater.db")).unwrap();
    old.execute_batch(TABLES).unwrap();
    old.pragma_update(None, "user_version", 1).unwrap();
    old.execute(
        "INSERT INTO conversation VALUES (?1, 'Rivers', 1, 10, 20, ?2, 'a/b')",
        [id.0.as_bytes(), question.0.as_bytes()],
    )
    .unwrap();
    old.execute(
        "INSERT INTO message VALUES (?2, ?1, NULL, 'user', 'Where do rivers begin?', 10)",
        [id.0.as_bytes(), question.0.as_bytes()],
    )
    .unwrap();
    old.execute(
        "INSERT INTO run (id, conversation, message, model, accepted, status)
         VALUES (?2, ?1, ?2, 'a/b', 10, 'ok')",
        [
            id.0.as_bytes(),
            headwater_protocol::RunId::new().0.as_bytes(),
        ],
    )
    .unwrap();
    let answer = crate::log::tests::entries("In den Bergen, über dem Meer.");
    old.execute("INSERT INTO log VALUES (1, ?1)", [answer.as_bytes()])
        .unwrap();
    drop(old);

    let log = std::sync::Arc::new(Log::open(folder.path(), 0).unwrap().0);
    let known = log.clone();
    let before = log
        .db
        .read(move |db| conversations::load(db, &*known, id, conversations::Window::default()))
        .await
        .unwrap();
    assert_eq!(before.title, "Rivers");
    assert_eq!(before.model.as_deref(), Some("a/b"));
    assert_eq!(before.messages[0].text, "Where do rivers begin?");
    assert!(before.settings.is_empty());
    for query in ["RIVERS", "where do", "ÜBER dem"] {
        let (known, query) = (log.clone(), Some(query.to_owned()));
        let listing = conversations::Listing {
            query,
            ..conversations::Listing::default()
        };
        let list = move |db: &Connection| conversations::list(db, &*known, &listing);
        let found = log.db.read(list).await.unwrap();
        assert_eq!(found.iter().map(|chat| chat.id).collect::<Vec<_>>(), [id]);
    }
    let chosen = settings::check(r#"{"system":"Be brief.","top_p":0.5}"#).unwrap();
    let written = chosen.clone();
    log.writer
        .write(move |db| Ok(settings::write(db, id, &written)?))
        .await
        .unwrap();
    let (after, version) = log
        .db
        .read(move |db| {
            let version = db.pragma_query_value(None, "user_version", |row| row.get::<_, i64>(0));
            Ok((settings::read(db, id)?, version?))
        })
        .await
        .unwrap();
    assert_eq!(after, chosen);
    assert_eq!(version, SCHEMA_VERSION);
}

#[test]
fn what_an_older_version_deleted_is_not_in_the_file_after_the_upgrade() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("headwater.db");
    let old = Connection::open(&path).unwrap();
    old.execute_batch(TABLES).unwrap();
    old.pragma_update(None, "user_version", 1).unwrap();
    for (no, text) in [(1, "kept".to_owned()), (2, "secret ".repeat(2000))] {
        old.execute(
            "INSERT INTO message VALUES (?1, x'01', NULL, 'user', ?2, 10)",
            (no, text),
        )
        .unwrap();
    }
    old.execute("DELETE FROM message WHERE id = 2", []).unwrap();
    drop(old);
    let holds = |word: &str| {
        let bytes = std::fs::read(&path).unwrap();
        bytes
            .windows(word.len())
            .any(|found| found == word.as_bytes())
    };
    assert!(holds("secret"), "or the test says nothing");
    drop(Log::open(folder.path(), 0).unwrap());
    assert!(!holds("secret"));
    assert!(holds("kept"));
}

#[test]
fn a_database_of_a_newer_version_is_refused_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    drop(Db::open(folder.path(), 0).unwrap());
    let newer = Connection::open(folder.path().join("headwater.db")).unwrap();
    newer.pragma_update(None, "user_version", 99).unwrap();
    let error = Db::open(folder.path(), 0).unwrap_err();
    assert!(error.message.contains("version 99"), "{error}");
}

/// A statement without an end.
fn count_for_ever(db: &Connection) -> Result<i64, DbError> {
    let sql =
        "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n";
    Ok(db.query_row(sql, [], |row| row.get(0))?)
}

#[tokio::test]
async fn a_search_ends_when_nobody_waits_for_it_and_holds_up_no_read() {
    let folder = tempfile::tempdir().unwrap();
    let db = Arc::new(Db::open(folder.path(), 0).unwrap().0);
    let (begun, mut begins) = tokio::sync::mpsc::unbounded_channel();
    // Several rounds: the places come back, and so do the connections.
    for _ in 0..3 {
        let searches: Vec<_> = (0..SEARCHES)
            .map(|_| {
                let (db, begun) = (db.clone(), begun.clone());
                tokio::spawn(async move {
                    db.search(move |db| {
                        begun.send(()).unwrap();
                        count_for_ever(db)
                    })
                    .await
                })
            })
            .collect();
        for _ in 0..SEARCHES {
            tokio::time::timeout(Duration::from_secs(20), begins.recv())
                .await
                .expect("the searches before have ended")
                .unwrap();
        }
        assert_eq!(db.read(|_| Ok(7)).await.unwrap(), 7);
        for search in searches {
            search.abort();
        }
    }
    let found = tokio::time::timeout(Duration::from_secs(20), db.search(|_| Ok(7)));
    assert_eq!(found.await.expect("a place is free").unwrap(), 7);
    let rows = db
        .read(|db| Ok(db.query_row("SELECT 7", [], |row| row.get(0))?))
        .await;
    assert_eq!(rows, Ok(7), "a connection is as it was");
}

#[tokio::test]
async fn reads_do_not_take_more_threads_and_connections_than_there_are_places() {
    use std::sync::{
        atomic::{AtomicUsize, Ordering::SeqCst},
        mpsc,
    };
    let folder = tempfile::tempdir().unwrap();
    let db = Arc::new(Db::open(folder.path(), 0).unwrap().0);
    let (begun, mut begins) = tokio::sync::mpsc::unbounded_channel();
    let (go, gate) = mpsc::channel::<()>();
    let gate = Arc::new(Mutex::new(gate));
    let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let all = 10 * READS;
    let reads: Vec<_> = (0..all)
        .map(|_| {
            let (db, begun, gate) = (db.clone(), begun.clone(), gate.clone());
            let (now, most) = (now.clone(), most.clone());
            tokio::spawn(async move {
                db.read(move |_| {
                    most.fetch_max(now.fetch_add(1, SeqCst) + 1, SeqCst);
                    begun.send(()).unwrap();
                    gate.lock().recv().unwrap();
                    now.fetch_sub(1, SeqCst);
                    Ok(())
                })
                .await
            })
        })
        .collect();
    for number in 0..all {
        begins.recv().await.unwrap();
        // The places are full before the first read ends.
        if number + 1 >= READS {
            go.send(()).unwrap();
        }
    }
    for _ in 0..READS - 1 {
        go.send(()).unwrap();
    }
    for read in reads {
        read.await.unwrap().unwrap();
    }
    assert_eq!(most.load(SeqCst), READS);
}

/// A run's rows: its number and its log, or its first segment.
fn old_run(db: &Connection, no: i64, id: u128, status: Option<&str>, segment: i64) {
    db.execute(
        "INSERT INTO run (no, id, conversation, message, model, accepted, status, client_id, segment)
         VALUES (?1, ?2, x'02', x'03', 'a/b', 9, ?3, ?4, ?5)",
        rusqlite::params![
            no,
            uuid::Uuid::from_u128(id).as_bytes(),
            status,
            format!("key {id}"),
            segment
        ],
    )
    .unwrap();
}

#[tokio::test]
async fn numbers_that_were_given_twice_are_told_apart_by_the_upgrade_and_given_once_from_then_on() {
    let folder = tempfile::tempdir().unwrap();
    let old = Connection::open(folder.path().join("headwater.db")).unwrap();
    old.execute_batch(&SCHEMA[..4].concat()).unwrap();
    old.pragma_update(None, "user_version", 4).unwrap();
    let log_of = |run: u128, text: &str| {
        let mut packed = crate::packed::Packed::default();
        for event in [
            serde_json::json!({"type": "run_started", "protocol": 1,
                "run": uuid::Uuid::from_u128(run), "conversation": uuid::Uuid::from_u128(2),
                "message": uuid::Uuid::from_u128(3), "parent": uuid::Uuid::from_u128(4),
                "model": "a/b", "at": 9}),
            serde_json::json!({"type": "span_started", "span": 1, "kind": "chat_model", "name": text}),
        ] {
            packed.push(0, &serde_json::from_value(event).unwrap());
        }
        packed
    };
    let segment = |run: i64, id: u128, text: &str| {
        old.execute(
            "INSERT INTO segment (run, bytes) VALUES (?1, ?2)",
            rusqlite::params![run, log_of(id, text).as_bytes()],
        )
        .unwrap();
        old.last_insert_rowid()
    };
    // One is open; the next one was deleted, and left its segment and its log to a third, which has
    // its number; a fourth was deleted and left its log.
    old_run(&old, 1, 1, None, segment(1, 1, "first"));
    segment(2, 2, "deleted");
    old_run(&old, 2, 3, None, segment(2, 3, "third"));
    old.execute("INSERT INTO log (run, bytes) VALUES (7, x'00')", [])
        .unwrap();
    drop(old);

    let (log, closed) = Log::open(folder.path(), 0).unwrap();
    assert_eq!(closed, 2);
    for (id, name) in [(1, "first"), (3, "third")] {
        let run = headwater_protocol::RunId(uuid::Uuid::from_u128(id));
        let answer = log.source(run).await.unwrap().answer();
        assert_eq!(answer.run, Some(run));
        let names: Vec<_> = answer.spans.iter().map(|span| span.name.as_str()).collect();
        assert_eq!(names, [name]);
        assert_eq!(answer.status, Some(headwater_protocol::Status::Interrupted));
    }
    let numbers = log.writer.write(|db| {
        let mut numbers = Vec::new();
        for id in 10..13_u128 {
            db.execute(
                "INSERT INTO run (id, conversation, message, model, accepted)
                 VALUES (?1, x'02', x'03', 'a/b', 9)",
                [uuid::Uuid::from_u128(id).as_bytes()],
            )
            .unwrap();
            numbers.push(db.last_insert_rowid());
            db.execute("DELETE FROM run WHERE no = last_insert_rowid()", [])
                .unwrap();
        }
        let mut query = db.prepare("SELECT run FROM log ORDER BY run").unwrap();
        let logs: Vec<i64> = query
            .query_map([], |row| row.get(0))
            .unwrap()
            .collect::<Result<_, _>>()
            .unwrap();
        Ok((numbers, logs))
    });
    let (numbers, logs) = numbers.await.unwrap();
    assert_eq!(numbers, [3, 4, 5]);
    assert_eq!(logs, [1, 2], "nothing is left of what was deleted");
}

#[cfg(unix)]
#[test]
fn the_data_folder_and_its_files_are_the_owners_alone() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let files = |data: &Path| FILES.map(|name| mode(&data.join(name)));
    // A new folder, also below one that is not there.
    let new = folder.path().join("a/b");
    let open = Db::open(&new, 0).unwrap();
    assert_eq!(mode(&new), 0o700);
    assert_eq!(files(&new), [0o600; 3]);
    drop(open);
    // One of an older version of this program.
    let old = folder.path().join("old");
    std::fs::create_dir(&old).unwrap();
    std::fs::set_permissions(&old, PermissionsExt::from_mode(0o755)).unwrap();
    for name in FILES {
        let path = old.join(name);
        std::fs::write(&path, "").unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o644)).unwrap();
        assert!(crate::files::open_to_others(
            &std::fs::metadata(&path).unwrap()
        ));
    }
    let _open = Db::open(&old, 0).unwrap();
    assert_eq!(files(&old), [0o600; 3]);
    // The folder may be shared for a reason; `doctor` tells of it.
    assert!(crate::files::open_to_others(
        &std::fs::metadata(&old).unwrap()
    ));
}
