//! The messages of a branch, all of them or in parts.

use super::{LiveAnswers, belongs, message, no_conversation, optional_uuid};
use crate::db::{settings, storage};
use headwater_protocol::{
    ConversationId, Error, MessageId,
    chat::{Conversation, Message},
};
use rusqlite::{Connection, OptionalExtension};

/// Which part of a branch is loaded: its newest messages, or those before one of them.
#[derive(Clone, Copy, Debug, Default)]
pub struct Window {
    /// Only messages before this one, which belongs to the branch; a page ends where the one after
    /// it began. What is before a message never changes.
    pub before: Option<MessageId>,
    /// How many messages at most; [`DEFAULT_MESSAGES`] if not said, never more than
    /// [`MAX_MESSAGES`].
    pub limit: Option<usize>,
    /// At least back to this message, if it is among the newest [`MAX_MESSAGES`].
    pub back_to: Option<MessageId>,
}

/// How many messages are loaded where nobody says how many.
pub const DEFAULT_MESSAGES: usize = 40;

/// The most messages that are loaded at once.
pub const MAX_MESSAGES: usize = 200;

/// Bytes of text behind which no further messages are loaded: few for a page, which holds them
/// twice, once to be read and once for its program; more for whoever says how many messages.
const WINDOW_BYTES: [usize; 2] = [32 * 1024, 4 * 1024 * 1024];

/// A turn is a question and its answer. The last one is loaded whatever it weighs.
const TURN: usize = 2;

/// The messages from the first to `last`, with their texts.
///
/// # Errors
/// `storage`.
pub fn branch_to(
    db: &Connection,
    live: &dyn LiveAnswers,
    last: MessageId,
) -> Result<Vec<Message>, Error> {
    branch_while(db, live, Some(last), |_| true)
}

/// The messages up to `last`, back to the first or to where `more`, told those that there are from
/// the last backwards, has enough.
fn branch_while(
    db: &Connection,
    live: &dyn LiveAnswers,
    last: Option<MessageId>,
    mut more: impl FnMut(&[Message]) -> bool,
) -> Result<Vec<Message>, Error> {
    let mut messages = Vec::new();
    let mut next = last;
    while let Some(id) = next
        && more(&messages)
    {
        let Some(message) = message(db, live, id)? else {
            break;
        };
        next = message.parent;
        messages.push(message);
    }
    messages.reverse();
    Ok(messages)
}

/// The messages of a window of the branch that ends with `head`.
fn window(
    db: &Connection,
    live: &dyn LiveAnswers,
    id: ConversationId,
    head: Option<MessageId>,
    window: Window,
) -> Result<Vec<Message>, Error> {
    let last = match window.before {
        Some(before) => {
            belongs(db, id, before)?;
            parent(db, before)?
        }
        None => head,
    };
    let limit = window.limit.unwrap_or(DEFAULT_MESSAGES);
    let limit = limit.clamp(1, MAX_MESSAGES);
    let most_bytes = WINDOW_BYTES[usize::from(window.limit.is_some())];
    let mut back_to = window.back_to;
    let mut bytes = 0;
    branch_while(db, live, last, |messages| {
        let Some(newest) = messages.last() else {
            return true;
        };
        bytes += newest.weight();
        if back_to == Some(newest.id) {
            back_to = None;
        }
        let room = messages.len() < TURN || bytes < most_bytes;
        messages.len() < limit && room || back_to.is_some() && messages.len() < MAX_MESSAGES
    })
}

/// A conversation with a part of its current branch, whose first message has a parent where there
/// is more before it.
///
/// # Errors
/// `not_found`, `storage`.
pub fn load(
    db: &Connection,
    live: &dyn LiveAnswers,
    id: ConversationId,
    part: Window,
) -> Result<Conversation, Error> {
    let (title, model, head, settings) = db
        .prepare_cached("SELECT title, model, head, settings FROM conversation WHERE id = ?1")
        .and_then(|mut query| {
            query
                .query_row([id.0.as_bytes()], |row| {
                    Ok((
                        row.get::<_, String>(0)?,
                        row.get::<_, Option<String>>(1)?,
                        optional_uuid(row, 2)?,
                        settings::of_row(row, 3)?,
                    ))
                })
                .optional()
        })
        .map_err(storage)?
        .ok_or_else(no_conversation)?;
    let messages = window(db, live, id, head.map(MessageId), part)?;
    Ok(Conversation {
        id,
        title,
        model,
        settings,
        messages,
    })
}

/// What a message answers.
fn parent(db: &Connection, message: MessageId) -> Result<Option<MessageId>, Error> {
    db.prepare_cached("SELECT parent FROM message WHERE id = ?1")
        .and_then(|mut query| query.query_row([message.0.as_bytes()], |row| optional_uuid(row, 0)))
        .map(|parent| parent.map(MessageId))
        .map_err(storage)
}
