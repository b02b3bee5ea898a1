//! Databases of older versions.

use super::*;
use crate::{
    protocol::{ConversationId, MessageId},
    server::{log::Log, settings, store},
};

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
        [id.0.as_bytes(), crate::protocol::RunId::new().0.as_bytes()],
    )
    .unwrap();
    let answer = crate::server::log::tests::entries("In den Bergen, über dem Meer.");
    old.execute("INSERT INTO log VALUES (1, ?1)", [answer.as_bytes()])
        .unwrap();
    drop(old);

    let log = std::sync::Arc::new(Log::open(folder.path(), 0).unwrap().0);
    let known = log.clone();
    let before = log
        .db
        .read(move |db| store::load(db, &known, id, store::Window::default()))
        .await
        .unwrap();
    assert_eq!(before.title, "Rivers");
    assert_eq!(before.model.as_deref(), Some("a/b"));
    assert_eq!(before.messages[0].text, "Where do rivers begin?");
    assert!(before.settings.is_empty());
    for query in ["RIVERS", "where do", "ÜBER dem"] {
        let (known, query) = (log.clone(), Some(query.to_owned()));
        let listing = store::Listing {
            query,
            ..store::Listing::default()
        };
        let list = move |db: &Connection| store::list(db, &known, &listing);
        let found = log.db.read(list).await.unwrap();
        assert_eq!(found.iter().map(|chat| chat.id).collect::<Vec<_>>(), [id]);
    }
    let chosen = settings::check(r#"{"system":"Be brief.","top_p":0.5}"#).unwrap();
    let written = chosen.clone();
    log.writer
        .write(move |db| settings::write(db, id, &written))
        .await
        .unwrap();
    let (after, version) = log
        .db
        .read(move |db| {
            let version = db.pragma_query_value(None, "user_version", |row| row.get::<_, i64>(0));
            Ok((settings::read(db, id)?, version.map_err(storage)?))
        })
        .await
        .unwrap();
    assert_eq!(after, chosen);
    assert_eq!(version, SCHEMA_VERSION);
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
