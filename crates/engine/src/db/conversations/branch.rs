//! The messages of a branch, all of them or in parts.

use super::{LiveAnswers, belongs, messages::message, no_conversation, optional_uuid};
use crate::db::{DbError, settings};
use headwater_protocol::{
    ConversationId, MessageId,
    chat::{Conversation, Message},
};
use rusqlite::{Connection, OptionalExtension};

/// Which part of a branch is loaded: its newest messages, or those before one of them.
#[derive(Clone, Copy, Debug, Default)]
pub struct Window {
    /// Only messages before this one, which must belong to the conversation. Pass the first message
    /// of a page to get the page before it: what is before a message never changes.
    pub before: Option<MessageId>,
    /// The most messages, [`DEFAULT_MESSAGES`] by default and [`MAX_MESSAGES`] at most.
    pub limit: Option<usize>,
    /// Load at least back to this message, if it is among the newest [`MAX_MESSAGES`].
    pub back_to: Option<MessageId>,
}

/// How many messages are loaded by default.
pub const DEFAULT_MESSAGES: usize = 40;

/// The most messages that are loaded at once.
pub const MAX_MESSAGES: usize = 200;

/// Bytes of text after which no further messages are loaded. The first limit is for pages, which
/// hold each text twice, as HTML and as data for the program; the second is for callers that name a
/// number of messages.
const WINDOW_BYTES: [usize; 2] = [32 * 1024, 4 * 1024 * 1024];

/// Messages of a turn: a question and its answer. The last turn is loaded whatever its size.
const TURN: usize = 2;

/// The messages from the first to `last`, with their texts.
///
/// # Errors
/// `storage`.
pub fn branch_to(
    db: &Connection,
    live: &dyn LiveAnswers,
    last: MessageId,
) -> Result<Vec<Message>, DbError> {
    branch_while(db, live, Some(last), |_| true)
}

/// The messages up to `last`, oldest first. Reads backwards from `last` for as long as `more` returns
/// `true` for the messages so far, or to the first message.
fn branch_while(
    db: &Connection,
    live: &dyn LiveAnswers,
    last: Option<MessageId>,
    mut more: impl FnMut(&[Message]) -> bool,
) -> Result<Vec<Message>, DbError> {
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
) -> Result<Vec<Message>, DbError> {
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

/// A conversation with a part of its current branch. If the first message has a parent, there are
/// earlier messages.
///
/// # Errors
/// `not_found`, `storage`.
pub fn load(
    db: &Connection,
    live: &dyn LiveAnswers,
    id: ConversationId,
    part: Window,
) -> Result<Conversation, DbError> {
    let (title, model, head, settings) = db
        .prepare_cached("SELECT title, model, head, settings FROM conversation WHERE id = ?1")?
        .query_row([id.0.as_bytes()], |row| {
            Ok((
                row.get::<_, String>(0)?,
                row.get::<_, Option<String>>(1)?,
                optional_uuid(row, 2)?,
                settings::of_row(row, 3)?,
            ))
        })
        .optional()?
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

/// The message before a message.
fn parent(db: &Connection, message: MessageId) -> Result<Option<MessageId>, DbError> {
    let parent = db
        .prepare_cached("SELECT parent FROM message WHERE id = ?1")?
        .query_row([message.0.as_bytes()], |row| optional_uuid(row, 0))?;
    Ok(parent.map(MessageId))
}
