//! Conversations, messages and branches in the database.
//!
//! Everything here is a plain function on a connection. Functions that write are called inside the
//! log writer's transaction, functions that read on a reading connection. An assistant's text is
//! stored once, in the logs of its runs: its text is their fold.

mod begin;
mod branch;
mod list;
mod messages;

pub use begin::{Begun, NewRun, StartRun, begin_continue, begin_retry, begin_turn, known};
pub use branch::{DEFAULT_MESSAGES, MAX_MESSAGES, Window, branch_to, load};
pub use list::{DEFAULT_PAGE, Listing, MAX_PAGE, list, place_in_list};

use super::{DbError, images, search};
use headwater_protocol::{ConversationId, ErrorCode, MessageId, RunId, UnixMs, chat::Answer};
use rusqlite::{Connection, OptionalExtension, Row, params};
use std::collections::HashSet;
use uuid::Uuid;

/// The answers that are being written. Their newest text may not be in the database yet.
pub trait LiveAnswers {
    /// The answer of a run so far; `None` if the run is not being written.
    fn answer(&self, run: RunId) -> Option<Answer>;

    /// The conversations in which an answer is being written.
    fn conversations(&self) -> Vec<ConversationId>;
}

/// The longest title, in characters.
pub const MAX_TITLE: usize = 200;

/// The conversation and the messages that a run belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunPlace {
    /// The conversation of both messages.
    pub conversation: ConversationId,
    /// The answer that the run writes.
    pub message: MessageId,
    /// The question that it answers.
    pub parent: MessageId,
    /// The model that was asked for, as `provider/model`.
    pub model: String,
}

/// Finds where a run belongs.
///
/// # Errors
/// `not_found`, `storage`.
pub fn place(db: &Connection, run: RunId) -> Result<RunPlace, DbError> {
    db.prepare_cached(
        "SELECT run.conversation, run.message, message.parent, run.model
         FROM run JOIN message ON message.id = run.message WHERE run.id = ?1",
    )?
    .query_row([run.0.as_bytes()], |row| {
        Ok(RunPlace {
            conversation: ConversationId(uuid(row, 0)?),
            message: MessageId(uuid(row, 1)?),
            parent: MessageId(uuid(row, 2)?),
            model: row.get(3)?,
        })
    })
    .optional()?
    .ok_or_else(|| DbError::refused(ErrorCode::NotFound, "There is no such answer."))
}

/// Makes the branch with `message` the current one, down to its newest leaf.
///
/// # Errors
/// `not_found`, `storage`.
pub fn select(db: &Connection, id: ConversationId, message: MessageId) -> Result<(), DbError> {
    belongs(db, id, message)?;
    let mut head = message;
    let mut newest_child = db.prepare_cached(
        "SELECT id FROM message WHERE conversation = ?1 AND parent = ?2
             ORDER BY id DESC LIMIT 1",
    )?;
    while let Some(child) = newest_child
        .query_row([id.0.as_bytes(), head.0.as_bytes()], |row| uuid(row, 0))
        .optional()?
    {
        head = MessageId(child);
    }
    set_head(db, id, head)
}

/// Renames a conversation.
///
/// # Errors
/// `not_found`, `storage`.
pub fn rename(db: &Connection, id: ConversationId, title: &str) -> Result<(), DbError> {
    changed(
        db.prepare_cached("UPDATE conversation SET title = ?2 WHERE id = ?1")?
            .execute(params![id.0.as_bytes(), title]),
    )?;
    search::put(db, id, id.0, title)
}

/// Pins or unpins a conversation.
///
/// # Errors
/// `not_found`, `storage`.
pub fn pin(db: &Connection, id: ConversationId, pinned: bool) -> Result<(), DbError> {
    changed(
        db.prepare_cached("UPDATE conversation SET pinned = ?2 WHERE id = ?1")?
            .execute(params![id.0.as_bytes(), pinned]),
    )
}

/// Deletes a conversation with its messages, runs and logs, and with the images that no other
/// conversation shows and no draft may need. `at` is the time of day now. Returns the numbers of the
/// runs, of which the journal may have entries.
///
/// # Errors
/// `not_found`, `storage`.
pub fn delete(db: &Connection, id: ConversationId, at: UnixMs) -> Result<HashSet<i64>, DbError> {
    images::delete(db, id, at)?;
    let runs = db
        .prepare("SELECT no FROM run WHERE conversation = ?1")?
        .query_map([id.0.as_bytes()], |row| row.get(0))?
        .collect::<rusqlite::Result<_>>()?;
    for sql in [
        "DELETE FROM segment
         WHERE no >= (SELECT min(segment) FROM run WHERE conversation = ?1)
         AND run IN (SELECT no FROM run WHERE conversation = ?1)",
        "DELETE FROM log WHERE run IN (SELECT no FROM run WHERE conversation = ?1)",
        "DELETE FROM run WHERE conversation = ?1",
        "DELETE FROM message WHERE conversation = ?1",
        "DELETE FROM passage WHERE conversation = ?1",
    ] {
        db.execute(sql, [id.0.as_bytes()])?;
    }
    changed(db.execute("DELETE FROM conversation WHERE id = ?1", [id.0.as_bytes()]))?;
    Ok(runs)
}

fn head(db: &Connection, id: ConversationId) -> Result<Option<MessageId>, DbError> {
    db.prepare_cached("SELECT head FROM conversation WHERE id = ?1")?
        .query_row([id.0.as_bytes()], |row| optional_uuid(row, 0))
        .optional()?
        .ok_or_else(no_conversation)
        .map(|head| head.map(MessageId))
}

fn set_head(db: &Connection, id: ConversationId, head: MessageId) -> Result<(), DbError> {
    changed(
        db.prepare_cached("UPDATE conversation SET head = ?2 WHERE id = ?1")?
            .execute([id.0.as_bytes(), head.0.as_bytes()]),
    )
}

fn belongs(db: &Connection, id: ConversationId, message: MessageId) -> Result<(), DbError> {
    let known: Option<i64> = db
        .prepare_cached("SELECT 1 FROM message WHERE id = ?1 AND conversation = ?2")?
        .query_row([message.0.as_bytes(), id.0.as_bytes()], |row| row.get(0))
        .optional()?;
    known.map(|_| ()).ok_or_else(|| {
        DbError::refused(
            ErrorCode::NotFound,
            "There is no such message in this conversation.",
        )
    })
}

pub(super) fn changed(rows: rusqlite::Result<usize>) -> Result<(), DbError> {
    match rows? {
        0 => Err(no_conversation()),
        _ => Ok(()),
    }
}

pub(super) fn no_conversation() -> DbError {
    DbError::refused(
        ErrorCode::NotFound,
        "There is no such conversation. It may have been deleted.",
    )
}

fn uuid(row: &Row<'_>, column: usize) -> rusqlite::Result<Uuid> {
    Ok(Uuid::from_bytes(row.get(column)?))
}

fn optional_uuid(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<Uuid>> {
    Ok(row
        .get::<_, Option<[u8; 16]>>(column)?
        .map(Uuid::from_bytes))
}
