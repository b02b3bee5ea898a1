//! Rows of messages, and the answers that belong to them.

use super::{LiveAnswers, optional_uuid, uuid};
use crate::{
    db::{DbError, images, logs::stored_by_no},
    packed::fold,
};
use headwater_protocol::{
    ConversationId, MessageId, RunId, UnixMs,
    chat::{Answer, Message, Role},
};
use rusqlite::{Connection, OptionalExtension, params};

pub(super) fn insert_message(
    db: &Connection,
    conversation: ConversationId,
    id: MessageId,
    parent: Option<MessageId>,
    role: Role,
    text: &str,
    at: UnixMs,
) -> Result<(), DbError> {
    let role = match role {
        Role::User => "user",
        Role::Assistant => "assistant",
    };
    db.prepare_cached(
        "INSERT INTO message (id, conversation, parent, role, text, created)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    )?
    .execute(params![
        id.0.as_bytes(),
        conversation.0.as_bytes(),
        parent.map(|parent| *parent.0.as_bytes()),
        role,
        text,
        at as i64
    ])?;
    Ok(())
}

/// A message with its images or answers and the branches beside it. `None` if it was deleted.
pub(super) fn message(
    db: &Connection,
    live: &dyn LiveAnswers,
    id: MessageId,
) -> Result<Option<Message>, DbError> {
    let row = db
        .prepare_cached(
            "SELECT conversation, parent, role, text, created FROM message WHERE id = ?1",
        )?
        .query_row([id.0.as_bytes()], |row| {
            let role: String = row.get(2)?;
            Ok((
                uuid(row, 0)?,
                optional_uuid(row, 1)?,
                if role == "user" {
                    Role::User
                } else {
                    Role::Assistant
                },
                row.get::<_, String>(3)?,
                row.get::<_, i64>(4)?.unsigned_abs(),
            ))
        })
        .optional()?;
    let Some((conversation, parent, role, text, created)) = row else {
        return Ok(None);
    };
    let (answers, images) = match role {
        Role::User => (Vec::new(), images::of_message(db, id)?),
        Role::Assistant => (answers(db, live, id)?, Vec::new()),
    };
    let branches = db
        .prepare_cached(
            "SELECT id FROM message WHERE conversation = ?1 AND parent IS ?2 ORDER BY id",
        )?
        .query_map(
            params![
                conversation.as_bytes(),
                parent.map(|parent| *parent.as_bytes())
            ],
            |row| uuid(row, 0).map(MessageId),
        )?
        .collect::<rusqlite::Result<_>>()?;
    let parent = parent.map(MessageId);
    Ok(Some(Message {
        id,
        parent,
        role,
        created,
        text,
        images,
        answers,
        branches,
    }))
}

/// The folds of all runs of a message, in the order in which they began.
fn answers(
    db: &Connection,
    live: &dyn LiveAnswers,
    message: MessageId,
) -> Result<Vec<Answer>, DbError> {
    let runs: Vec<(i64, RunId)> = db
        .prepare_cached("SELECT no, id FROM run WHERE message = ?1 ORDER BY no")?
        .query_map([message.0.as_bytes()], |row| {
            Ok((row.get(0)?, RunId(uuid(row, 1)?)))
        })?
        .collect::<rusqlite::Result<_>>()?;
    runs.into_iter()
        .map(|(no, run)| match live.answer(run) {
            Some(answer) => Ok(answer),
            None => {
                let mut answer = fold(&stored_by_no(db, no)?);
                // A run is stored an instant before it is in memory, with an empty log until then.
                answer.run.get_or_insert(run);
                Ok(answer)
            }
        })
        .collect()
}
