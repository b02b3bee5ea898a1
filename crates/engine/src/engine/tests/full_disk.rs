//! A disk that takes no more.

use super::*;
use crate::{db::storage, provider::Image};

/// Lets the database grow to so many pages, or not at all; the journal, too.
async fn room(engine: &Engine, pages: i64) {
    engine.log.appender.set_limit(pages.unsigned_abs() * 4096);
    let set = move |db: &rusqlite::Connection| {
        db.pragma_update_and_check(None, "max_page_count", pages, |_| Ok(()))
            .map_err(storage)
    };
    engine.log.writer.write(set).await.unwrap();
}

async fn count(engine: &Engine, table: &str) -> i64 {
    let sql = format!("SELECT count(*) FROM {table}");
    let count = move |db: &rusqlite::Connection| Ok(db.query_row(&sql, [], |row| row.get(0))?);
    engine.log.db.read(count).await.unwrap()
}

#[tokio::test]
async fn a_conversation_whose_answer_waits_for_the_disk_can_be_deleted_and_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (engine, provider) = engine(folder.path());
    // As long as this one is open, the journal keeps something.
    let open = engine.start(message("Another question")).await.unwrap();
    soon(provider.pen(open.conversation)).await;
    let started = engine.start(message("Question")).await.unwrap();
    let live = engine.log.live(started.run).unwrap();
    let pen = soon(provider.pen(started.conversation)).await;
    room(&engine, 1).await;
    pen.send(says("x".repeat(500_000))).unwrap();
    let mut trouble = engine.log.appender.trouble();
    soon(trouble.wait_for(Option::is_some)).await.unwrap();
    soon(engine.delete(started.conversation)).await.unwrap();
    // Its task ends, although the disk takes nothing.
    soon(live.finished()).await;
    room(&engine, 1_000_000).await;
    soon(trouble.wait_for(Option::is_none)).await.unwrap();
    engine.log.settle(&live).await;
    for (rows, want) in [
        ("conversation", 1),
        ("message", 2),
        ("run", 1),
        ("segment WHERE run NOT IN (SELECT no FROM run)", 0),
        ("log", 0),
        (
            "passage WHERE conversation NOT IN (SELECT id FROM conversation)",
            0,
        ),
    ] {
        assert_eq!(count(&engine, rows).await, want, "{rows}");
    }
}

#[tokio::test]
async fn a_stop_does_not_wait_for_an_image_that_the_disk_does_not_take() {
    let folder = tempfile::tempdir().unwrap();
    let (engine, provider) = engine(folder.path());
    let started = engine.start(message("Question")).await.unwrap();
    let live = engine.log.live(started.run).unwrap();
    let pen = soon(provider.pen(started.conversation)).await;
    pen.send(says("Look:")).unwrap();
    let told = |live: &Live| live.with_answer(|answer| answer.visible_text() == "Look:");
    let mut heads = live.watch();
    while !told(&live) {
        soon(heads.changed()).await.unwrap();
    }
    // Room for words, and not for the image.
    let used = move |db: &rusqlite::Connection| {
        db.pragma_query_value(None, "page_count", |row| row.get(0))
            .map_err(storage)
    };
    let used: i64 = engine.log.writer.write(used).await.unwrap();
    room(&engine, used + 100).await;
    let mut data = b"\x89PNG\r\n\x1a\n".to_vec();
    data.resize(2_000_000, 7);
    let image = |data: Vec<u8>| {
        ProviderEvent::Image(Image {
            media_type: "image/png".into(),
            data: data.into(),
        })
    };
    pen.send(image(data[..1000].to_vec())).unwrap();
    pen.send(image(data)).unwrap();
    // An image of a burst is kept before the next one is tried.
    while count(&engine, "image").await == 0 {
        tokio::task::yield_now().await;
    }
    let stopped = soon(engine.stop(started.run, None)).await.unwrap();
    assert_eq!(stopped.length, 5);
    let answer = live.answer();
    assert_eq!(answer.status, Some(Status::Cancelled));
    let shown = answer.blocks.iter().filter(|block| !block.value.is_null());
    assert_eq!(shown.count(), 1, "only what was kept is shown");
    assert_eq!(count(&engine, "image").await, 1);
}
