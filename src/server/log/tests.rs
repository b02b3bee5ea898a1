use super::*;
use crate::protocol::{BlockKind, Event, SpanKind};
use uuid::Uuid;

pub(super) fn entries(text: &str) -> Packed {
    let id = Uuid::from_u128;
    let mut packed = Packed::default();
    packed.push(
        0,
        &Event::RunStarted {
            protocol: 1,
            run: RunId(id(1)),
            conversation: ConversationId(id(2)),
            message: crate::protocol::MessageId(id(3)),
            parent: crate::protocol::MessageId(id(4)),
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
    db.execute_batch(db::TABLES).unwrap();
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
    let packed = entries("x");
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
