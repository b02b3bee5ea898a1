use super::*;
use crate::{
    db::{
        logs::{add_segment, compact, stored_by_no, whole, write_first},
        schema,
    },
    packed,
};
use headwater_protocol::{BlockKind, Event, SpanKind};
use rusqlite::params;
use uuid::Uuid;

pub(crate) mod captured;

pub(crate) fn entries(text: &str) -> Packed {
    let id = Uuid::from_u128;
    let mut packed = Packed::default();
    packed.push(
        0,
        &Event::RunStarted {
            protocol: 1,
            run: RunId(id(1)),
            conversation: ConversationId(id(2)),
            message: headwater_protocol::MessageId(id(3)),
            parent: headwater_protocol::MessageId(id(4)),
            model: "a/b".into(),
            at: 9,
            continues: None,
        },
    );
    packed.push(
        1,
        &Event::SpanStarted {
            span: 1,
            parent: None,
            kind: SpanKind::ChatModel,
            name: "a/b".into(),
            tags: Vec::new(),
            metadata: serde_json::Value::Null,
            input: serde_json::Value::Null,
            replaces: None,
        },
    );
    packed.push(
        2,
        &Event::BlockStarted {
            span: 1,
            block: 1,
            kind: BlockKind::Text,
            tool: None,
        },
    );
    packed.push(3, &delta(text));
    packed
}

fn delta(text: &str) -> Event {
    Event::Delta {
        span: 1,
        block: 1,
        text: text.into(),
        from: None,
    }
}

fn one(event: &Event) -> Packed {
    let mut packed = Packed::default();
    packed.push(4, event);
    packed
}

fn insert_run(db: &Connection, no: i64) {
    db.execute(
        "INSERT INTO run (no, id, conversation, message, model, accepted)
         VALUES (?1, ?2, x'02', x'03', 'a/b', 9)",
        params![no, Uuid::from_u128(no as u128).as_bytes()],
    )
    .unwrap();
}

fn segments(db: &Connection) -> Vec<(i64, i64)> {
    let mut query = db
        .prepare("SELECT no, run FROM segment ORDER BY no")
        .unwrap();
    let rows = query.query_map([], |row| Ok((row.get(0)?, row.get(1)?)));
    rows.unwrap().collect::<Result<_, _>>().unwrap()
}

#[test]
fn a_database_of_the_first_version_keeps_its_half_written_answers() {
    let folder = tempfile::tempdir().unwrap();
    let db = Connection::open(folder.path().join("headwater.db")).unwrap();
    db.execute_batch(schema::TABLES).unwrap();
    db.pragma_update(None, "user_version", 1).unwrap();
    for no in [1, 2] {
        insert_run(&db, no);
        // Segments of two runs lay between each other.
        for (first, packed) in [(1, entries("Half ")), (5, one(&delta("an answer")))] {
            db.execute(
                "INSERT INTO segment (run, first, bytes) VALUES (?1, ?2, ?3)",
                params![no, first, packed.as_bytes()],
            )
            .unwrap();
        }
    }
    drop(db);
    let (log, closed) = Log::open(folder.path(), 0).unwrap();
    assert_eq!(closed, 2);
    for no in [1, 2] {
        let packed = log.db.read_now(|db| stored_by_no(db, no)).unwrap();
        let answer = fold(&packed);
        assert_eq!(answer.visible_text(), "Half an answer");
        assert_eq!(answer.status, Some(Status::Interrupted));
    }
    assert_eq!(log.db.read_now(|db| Ok(segments(db))).unwrap(), []);
}

#[test]
fn segments_leave_from_the_front_as_soon_as_no_open_run_needs_them() {
    let folder = tempfile::tempdir().unwrap();
    let (_, db) = Db::open(folder.path(), 0).unwrap();
    for no in [1, 2, 3] {
        insert_run(&db, no);
        write_first(&db, no, &entries("x")).unwrap();
    }
    let numbers = |db: &Connection| {
        segments(db)
            .into_iter()
            .map(|row| row.1)
            .collect::<Vec<_>>()
    };
    // The oldest is open: nothing can leave.
    compact(&db, 2, &entries("x"), Status::Ok).unwrap();
    assert_eq!(numbers(&db), [1, 2, 3]);
    compact(&db, 1, &entries("x"), Status::Ok).unwrap();
    assert_eq!(numbers(&db), [3]);
    assert_eq!(
        fold(&stored_by_no(&db, 3).unwrap()).visible_text(),
        "x",
        "the open run is read from its segments"
    );
    compact(&db, 3, &entries("x"), Status::Ok).unwrap();
    assert_eq!(numbers(&db), Vec::<i64>::new());
}

#[test]
fn a_log_that_is_put_together_meanwhile_is_never_empty() {
    let folder = tempfile::tempdir().unwrap();
    let (db, mut writer) = Db::open(folder.path(), 0).unwrap();
    let mut packed = entries("x");
    packed::end(&mut packed, packed::damaged());
    let runs = 1..=400;
    for no in runs.clone() {
        insert_run(&writer, no);
        write_first(&writer, no, &packed).unwrap();
    }
    let copy = packed.clone();
    let order = runs.clone();
    let ending = std::thread::spawn(move || {
        for no in order {
            let all = writer.transaction().unwrap();
            compact(&all, no, &copy, Status::Ok).unwrap();
            all.commit().unwrap();
        }
    });
    for no in runs {
        loop {
            let (seen, ended) = db
                .read_now(|db| Ok((stored_by_no(db, no)?, whole(db, no)?.is_some())))
                .unwrap();
            assert_eq!(seen.len(), packed.len(), "run {no}");
            if ended {
                break;
            }
        }
    }
    ending.join().unwrap();
}

/// A stored run as [`Live`], with an end.
fn ended(db: &Connection, no: i64, text: &str) -> Arc<Live> {
    insert_run(db, no);
    let mut packed = entries(text);
    packed::end(&mut packed, packed::damaged());
    write_first(db, no, &packed).unwrap();
    let (run, conversation) = (
        RunId(Uuid::from_u128(no as u128)),
        ConversationId(Uuid::from_u128(2)),
    );
    Arc::new(Live::new(run, conversation, no, 9, packed))
}

fn status(db: &Connection, no: i64) -> Option<String> {
    db.query_row("SELECT status FROM run WHERE no = ?1", [no], |row| {
        row.get(0)
    })
    .unwrap()
}

#[tokio::test]
async fn a_run_that_the_disk_does_not_take_in_one_piece_is_stored_as_soon_as_it_does() {
    let folder = tempfile::tempdir().unwrap();
    let log = Arc::new(Log::open(folder.path(), 0).unwrap().0);
    let pages = |most: i64| {
        log.writer.write(move |db| {
            db.pragma_update_and_check(None, "max_page_count", most, |_| Ok(()))
                .map_err(storage)
        })
    };
    let long = "x".repeat(200_000);
    let begin = log.writer.write(move |db| Ok(ended(db, 1, &long)));
    let live = begin.await.unwrap();
    log.begin(live.clone());
    // As many as there are: the disk is full.
    pages(1).await.unwrap();
    let (settling, ending) = (log.clone(), live.clone());
    let mut task = tokio::spawn(async move { settling.settle(&ending).await });
    let waited = tokio::time::timeout(Duration::from_millis(500), &mut task).await;
    assert!(waited.is_err(), "it waits for the disk");
    assert_eq!(log.db.read_now(|db| Ok(status(db, 1))).unwrap(), None);
    assert!(log.live(live.run).is_some(), "and stays readable meanwhile");
    pages(1_000_000).await.unwrap();
    tokio::time::timeout(Duration::from_secs(20), task)
        .await
        .unwrap()
        .unwrap();
    assert!(log.live(live.run).is_none());
    let stored = log.db.read_now(|db| Ok((status(db, 1), whole(db, 1)?)));
    let (status, whole) = stored.unwrap();
    assert_eq!(status.as_deref(), Some("error"));
    assert_eq!(fold(&whole.unwrap()).visible_length(), 200_000);
}

#[tokio::test]
async fn what_is_left_of_a_deleted_run_is_nowhere_even_if_its_task_ends_later() {
    let folder = tempfile::tempdir().unwrap();
    let log = Log::open(folder.path(), 0).unwrap().0;
    let begin = log.writer.write(|db| Ok(ended(db, 1, "gone")));
    let live = begin.await.unwrap();
    log.begin(live.clone());
    let delete = |db: &Connection| {
        let conversation = ConversationId(Uuid::from_bytes([0; 16]));
        // The rows of a test have a short name for their conversation.
        db.execute("UPDATE run SET conversation = zeroblob(16)", [])
            .unwrap();
        db.execute(
            "INSERT INTO conversation (id, title, created, updated) VALUES (zeroblob(16), '', 0, 0)",
            [],
        )
        .unwrap();
        Ok(crate::db::conversations::delete(db, conversation, 0)?)
    };
    log.writer.erase(delete).await.unwrap();
    log.settle(&live).await;
    for table in ["run", "segment", "log"] {
        let rows: i64 = log
            .db
            .read_now(|db| {
                let sql = format!("SELECT count(*) FROM {table}");
                Ok(db.query_row(&sql, [], |row| row.get(0))?)
            })
            .unwrap();
        assert_eq!(rows, 0, "{table}");
    }
    // The number is not given again.
    let next = log.writer.write(|db| {
        db.execute(
            "INSERT INTO run (id, conversation, message, model, accepted)
             VALUES (x'09', x'02', x'03', 'a/b', 9)",
            [],
        )
        .unwrap();
        Ok(db.last_insert_rowid())
    });
    assert_eq!(next.await.unwrap(), 2);
}

#[tokio::test]
async fn damage_to_one_answer_is_said_in_its_place_and_keeps_nothing_else_from_work() {
    let folder = tempfile::tempdir().unwrap();
    let (_, db) = Db::open(folder.path(), 0).unwrap();
    // An open one whose second segment is damaged, one that is damaged from the start, a whole one.
    for no in 1..=2 {
        insert_run(&db, no);
        write_first(&db, no, &entries("Half ")).unwrap();
    }
    db.execute("INSERT INTO segment (run, bytes) VALUES (1, x'ff')", [])
        .unwrap();
    add_segment(&db, 1, &one(&delta("an answer"))).unwrap();
    db.execute("UPDATE segment SET bytes = x'ff' WHERE run = 2", [])
        .unwrap();
    let whole = ended(&db, 3, "Whole");
    compact(&db, 3, &whole.packed(), Status::Ok).unwrap();
    // A finished one whose end is damaged.
    let cut = ended(&db, 4, "Whole");
    compact(&db, 4, &cut.packed(), Status::Ok).unwrap();
    let bytes = cut.packed().as_bytes().to_vec();
    let bytes = &bytes[..bytes.len() - 10];
    db.execute("UPDATE log SET bytes = ?1 WHERE run = 4", [bytes])
        .unwrap();
    drop(db);
    let (log, closed) = Log::open(folder.path(), 0).unwrap();
    assert_eq!(closed, 2);
    for (no, text) in [(1, "Half "), (2, ""), (3, "Whole"), (4, "Whole")] {
        let source = log.source(RunId(Uuid::from_u128(no))).await.unwrap();
        let answer = source.answer();
        assert_eq!(answer.visible_text(), text, "run {no}");
        assert_eq!(answer.status, Some(Status::Error));
        assert_eq!(answer.error.unwrap().code, ErrorCode::Storage);
        let mut frames = VecDeque::new();
        assert_eq!(source.read(0, &mut frames), source.head().seq);
    }
}

#[tokio::test]
async fn what_is_stored_and_written_by_nobody_is_closed_and_what_somebody_writes_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let log = Log::open(folder.path(), 0).unwrap().0;
    let begin = log.writer.write(|db| {
        for no in [1, 2] {
            insert_run(db, no);
            write_first(db, no, &entries("Half")).unwrap();
        }
        let id = |no: u128| Uuid::from_u128(no);
        let (run, conversation) = (RunId(id(2)), ConversationId(id(2)));
        Ok(Arc::new(Live::new(
            run,
            conversation,
            2,
            9,
            entries("Half"),
        )))
    });
    log.begin(begin.await.unwrap());
    assert_eq!(log.close_lost().await.unwrap(), 1);
    assert_eq!(log.close_lost().await.unwrap(), 0);
    let answer = log
        .source(RunId(Uuid::from_u128(1)))
        .await
        .unwrap()
        .answer();
    assert_eq!(answer.status, Some(Status::Interrupted));
    assert_eq!(answer.visible_text(), "Half");
    assert_eq!(log.db.read_now(|db| Ok(status(db, 2))).unwrap(), None);
}
