//! Conversations, messages and branches in the database.
//!
//! Everything here is a plain function on a connection: those that write are called inside the
//! log writer's transaction, those that read on a reading connection. An assistant's text is not
//! kept twice: it is the fold of its runs' logs.

mod branch;
mod list;

pub use branch::{DEFAULT_MESSAGES, MAX_MESSAGES, Window, branch_to, load};
pub use list::{DEFAULT_PAGE, Listing, MAX_PAGE, list, place_in_list};

use super::{images, search, settings};
use crate::{
    db::{logs::stored_by_no, storage},
    packed::fold,
};
use headwater_protocol::{
    ConversationId, Error, ErrorCode, FinishReason, ImageId, MessageId, RunId, Started, Status,
    UnixMs,
    chat::{Answer, Message, Role, Settings},
};
use rusqlite::{Connection, OptionalExtension, Row, params};
use uuid::Uuid;

/// The answers that are being written. Their newest text is in memory only.
pub trait LiveAnswers {
    /// What a run has come to so far; `None` for one that is not being written.
    fn answer(&self, run: RunId) -> Option<Answer>;

    /// The conversations in which an answer is being written.
    fn conversations(&self) -> Vec<ConversationId>;
}

/// The longest title, in characters.
pub const MAX_TITLE: usize = 200;

/// What a message starts: rows for the conversation, the two messages and the run.
#[derive(Clone, Debug)]
pub struct NewTurn {
    /// The conversation, or `None` for a new one.
    pub conversation: Option<ConversationId>,
    /// The message answered, as the sender knows it.
    pub parent: Option<MessageId>,
    /// Whether this becomes another branch below `parent`.
    pub branch: bool,
    /// What the person wrote.
    pub text: String,
    /// The pictures with it.
    pub images: Vec<ImageId>,
    /// `provider/model`.
    pub model: String,
    /// Idempotency key.
    pub client_id: Option<String>,
    /// How a new conversation is set.
    pub settings: Settings,
    /// Now.
    pub at: UnixMs,
}

/// A run whose rows are written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewRun {
    /// What the command answers.
    pub started: Started,
    /// The run's number in the database.
    pub no: i64,
    /// The message answered.
    pub parent: MessageId,
    /// The run that it goes on from.
    pub continues: Option<RunId>,
}

/// What came of a command that starts a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Begun {
    /// A new run.
    New(NewRun),
    /// The same command had come before.
    Known(Started),
}

/// Where a run belongs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunPlace {
    /// Its conversation.
    pub conversation: ConversationId,
    /// The message it writes.
    pub message: MessageId,
    /// The message answered.
    pub parent: MessageId,
    /// `provider/model`.
    pub model: String,
}

/// Stores a person's message and an empty answer, and makes them the end of the current branch.
///
/// # Errors
/// `not_found`, `conflict` (see [`headwater::api::start_run`]), `storage`.
pub fn begin_turn(db: &Connection, turn: &NewTurn) -> Result<Begun, Error> {
    if let Some(known) = known(db, turn)? {
        return Ok(Begun::Known(known));
    }
    let (conversation, head) = match turn.conversation {
        Some(id) => (id, head(db, id)?),
        None => (create(db, turn)?, None),
    };
    if !turn.branch && turn.parent.is_some() && turn.parent != head {
        return Err(Error::new(
            ErrorCode::Conflict,
            "The conversation went on in another window. Reload it and send your message again.",
        ));
    }
    let parent = if turn.branch { turn.parent } else { head };
    if let Some(parent) = parent {
        belongs(db, conversation, parent)?;
    }
    let question = MessageId::new();
    insert_message(
        db,
        conversation,
        question,
        parent,
        Role::User,
        &turn.text,
        turn.at,
    )?;
    search::put(db, conversation, question.0, &turn.text)?;
    images::attach(db, question, &turn.images)?;
    let answer = MessageId::new();
    insert_message(
        db,
        conversation,
        answer,
        Some(question),
        Role::Assistant,
        "",
        turn.at,
    )?;
    insert_run(db, conversation, answer, question, None, turn).map(Begun::New)
}

/// Starts another answer to the message that `run` answered: a new branch.
///
/// # Errors
/// `not_found`, `storage`.
pub fn begin_retry(db: &Connection, run: RunId, model: &str, at: UnixMs) -> Result<NewRun, Error> {
    let place = place(db, run)?;
    let answer = MessageId::new();
    insert_message(
        db,
        place.conversation,
        answer,
        Some(place.parent),
        Role::Assistant,
        "",
        at,
    )?;
    let turn = NewTurn::of_run(model, at);
    insert_run(db, place.conversation, answer, place.parent, None, &turn)
}

/// Starts a run that goes on with the message of `run`.
///
/// # Errors
/// `not_found`; `conflict` if a later run has gone on with it already, if it is whole, or if other
/// messages follow it, which would be hidden; `storage`.
pub fn begin_continue(
    db: &Connection,
    run: RunId,
    model: &str,
    at: UnixMs,
) -> Result<NewRun, Error> {
    let place = place(db, run)?;
    let (last, no, followed): (Uuid, i64, bool) = db
        .prepare_cached(
            "SELECT id, no, EXISTS (SELECT 1 FROM message
                 WHERE message.conversation = run.conversation AND message.parent = run.message)
             FROM run WHERE message = ?1 ORDER BY no DESC LIMIT 1",
        )
        .and_then(|mut query| {
            query.query_row([place.message.0.as_bytes()], |row| {
                Ok((uuid(row, 0)?, row.get(1)?, row.get(2)?))
            })
        })
        .map_err(storage)?;
    let refused = |why: &str| Err(Error::new(ErrorCode::Conflict, why));
    if RunId(last) != run {
        return refused("This answer has been continued already.");
    }
    // The log says whether it has ended; the table knows that a moment later.
    let answer = fold(&stored_by_no(db, no)?);
    match answer.status {
        None => return refused("This answer is still being written."),
        Some(Status::Ok) if is_whole(&answer) => {
            return refused("This answer is whole. There is nothing to go on with.");
        }
        Some(_) => {}
    }
    if followed {
        return refused(
            "The conversation went on after this answer. Regenerate it, which makes another branch.",
        );
    }
    let turn = NewTurn::of_run(model, at);
    insert_run(
        db,
        place.conversation,
        place.message,
        place.parent,
        Some(run),
        &turn,
    )
}

/// Whether a model came to the end of what it had to say. At the limit of tokens, for one, it had
/// more.
fn is_whole(answer: &Answer) -> bool {
    answer
        .finish()
        .is_none_or(|end| matches!(end.reason, FinishReason::Stop | FinishReason::Refusal))
}

impl NewTurn {
    fn of_run(model: &str, at: UnixMs) -> Self {
        Self {
            conversation: None,
            parent: None,
            branch: false,
            text: String::new(),
            images: Vec::new(),
            model: model.to_owned(),
            client_id: None,
            settings: Settings::default(),
            at,
        }
    }
}

/// Where a run belongs.
///
/// # Errors
/// `not_found`, `storage`.
pub fn place(db: &Connection, run: RunId) -> Result<RunPlace, Error> {
    db.prepare_cached(
        "SELECT run.conversation, run.message, message.parent, run.model
         FROM run JOIN message ON message.id = run.message WHERE run.id = ?1",
    )
    .and_then(|mut query| {
        query
            .query_row([run.0.as_bytes()], |row| {
                Ok(RunPlace {
                    conversation: ConversationId(uuid(row, 0)?),
                    message: MessageId(uuid(row, 1)?),
                    parent: MessageId(uuid(row, 2)?),
                    model: row.get(3)?,
                })
            })
            .optional()
    })
    .map_err(storage)?
    .ok_or_else(|| Error::new(ErrorCode::NotFound, "There is no such answer."))
}

/// Makes the branch with `message` the current one: down to its newest leaf.
///
/// # Errors
/// `not_found`, `storage`.
pub fn select(db: &Connection, id: ConversationId, message: MessageId) -> Result<(), Error> {
    belongs(db, id, message)?;
    let mut head = message;
    let mut newest_child = db
        .prepare_cached(
            "SELECT id FROM message WHERE conversation = ?1 AND parent = ?2
             ORDER BY id DESC LIMIT 1",
        )
        .map_err(storage)?;
    while let Some(child) = newest_child
        .query_row([id.0.as_bytes(), head.0.as_bytes()], |row| uuid(row, 0))
        .optional()
        .map_err(storage)?
    {
        head = MessageId(child);
    }
    set_head(db, id, head)
}

/// Renames a conversation.
///
/// # Errors
/// `not_found`, `storage`.
pub fn rename(db: &Connection, id: ConversationId, title: &str) -> Result<(), Error> {
    changed(
        db.prepare_cached("UPDATE conversation SET title = ?2 WHERE id = ?1")
            .and_then(|mut query| query.execute(params![id.0.as_bytes(), title])),
    )?;
    search::put(db, id, id.0, title)
}

/// Pins or unpins a conversation.
///
/// # Errors
/// `not_found`, `storage`.
pub fn pin(db: &Connection, id: ConversationId, pinned: bool) -> Result<(), Error> {
    changed(
        db.prepare_cached("UPDATE conversation SET pinned = ?2 WHERE id = ?1")
            .and_then(|mut query| query.execute(params![id.0.as_bytes(), pinned])),
    )
}

/// Deletes a conversation with its messages, runs, logs, and the pictures that no other one shows
/// and no draft waits for. `at` is now.
///
/// # Errors
/// `not_found`, `storage`.
pub fn delete(db: &Connection, id: ConversationId, at: UnixMs) -> Result<(), Error> {
    images::delete(db, id, at)?;
    for sql in [
        "DELETE FROM segment
         WHERE no >= (SELECT min(segment) FROM run WHERE conversation = ?1)
         AND run IN (SELECT no FROM run WHERE conversation = ?1)",
        "DELETE FROM log WHERE run IN (SELECT no FROM run WHERE conversation = ?1)",
        "DELETE FROM run WHERE conversation = ?1",
        "DELETE FROM message WHERE conversation = ?1",
        "DELETE FROM passage WHERE conversation = ?1",
    ] {
        db.execute(sql, [id.0.as_bytes()]).map_err(storage)?;
    }
    changed(db.execute("DELETE FROM conversation WHERE id = ?1", [id.0.as_bytes()]))
}

/// The run that the same command has started before.
///
/// # Errors
/// `conflict` if its key came with another message, `storage`.
pub fn known(db: &Connection, turn: &NewTurn) -> Result<Option<Started>, Error> {
    let Some(client_id) = &turn.client_id else {
        return Ok(None);
    };
    let known = db
        .prepare_cached(
            "SELECT run.id, run.conversation, run.message, question.text, question.id
             FROM run JOIN message AS answer ON answer.id = run.message
             JOIN message AS question ON question.id = answer.parent WHERE run.client_id = ?1",
        )
        .and_then(|mut query| {
            query
                .query_row([client_id], |row| {
                    let started = Started {
                        run: RunId(uuid(row, 0)?),
                        conversation: ConversationId(uuid(row, 1)?),
                        message: MessageId(uuid(row, 2)?),
                    };
                    Ok((started, row.get::<_, String>(3)?, MessageId(uuid(row, 4)?)))
                })
                .optional()
        })
        .map_err(storage)?;
    let Some((started, text, question)) = known else {
        return Ok(None);
    };
    let same_place = turn
        .conversation
        .is_none_or(|id| id == started.conversation);
    if !same_place || text != turn.text || images::of_message(db, question)? != turn.images {
        return Err(Error::new(
            ErrorCode::Conflict,
            "The field “client_id” came before with another message. Each message needs its own.",
        ));
    }
    Ok(Some(started))
}

fn head(db: &Connection, id: ConversationId) -> Result<Option<MessageId>, Error> {
    db.prepare_cached("SELECT head FROM conversation WHERE id = ?1")
        .and_then(|mut query| {
            query
                .query_row([id.0.as_bytes()], |row| optional_uuid(row, 0))
                .optional()
        })
        .map_err(storage)?
        .ok_or_else(no_conversation)
        .map(|head| head.map(MessageId))
}

fn create(db: &Connection, turn: &NewTurn) -> Result<ConversationId, Error> {
    let id = ConversationId::new();
    let title = title_of(&turn.text);
    db.prepare_cached(
        "INSERT INTO conversation (id, title, created, updated, settings)
         VALUES (?1, ?2, ?3, ?3, ?4)",
    )
    .and_then(|mut query| {
        query.execute(params![
            id.0.as_bytes(),
            title,
            turn.at as i64,
            settings::for_row(&turn.settings)
        ])
    })
    .map_err(storage)?;
    search::put(db, id, id.0, &title)?;
    Ok(id)
}

/// The beginning of a text as a title: its first line with words in it, at most 60 characters.
fn title_of(text: &str) -> String {
    let line = text
        .lines()
        .map(str::trim)
        .find(|line| !line.is_empty())
        .unwrap_or("New chat");
    if line.chars().count() <= 60 {
        return line.to_owned();
    }
    let short: String = line.chars().take(59).collect();
    format!("{}…", short.trim_end())
}

fn insert_message(
    db: &Connection,
    conversation: ConversationId,
    id: MessageId,
    parent: Option<MessageId>,
    role: Role,
    text: &str,
    at: UnixMs,
) -> Result<(), Error> {
    let role = match role {
        Role::User => "user",
        Role::Assistant => "assistant",
    };
    db.prepare_cached(
        "INSERT INTO message (id, conversation, parent, role, text, created)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    )
    .and_then(|mut query| {
        query.execute(params![
            id.0.as_bytes(),
            conversation.0.as_bytes(),
            parent.map(|parent| *parent.0.as_bytes()),
            role,
            text,
            at as i64
        ])
    })
    .map_err(storage)?;
    Ok(())
}

fn insert_run(
    db: &Connection,
    conversation: ConversationId,
    message: MessageId,
    parent: MessageId,
    continues: Option<RunId>,
    turn: &NewTurn,
) -> Result<NewRun, Error> {
    let run = RunId::new();
    db.prepare_cached(
        "INSERT INTO run (id, conversation, message, continues, model, accepted, client_id)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
    )
    .and_then(|mut query| {
        query.execute(params![
            run.0.as_bytes(),
            conversation.0.as_bytes(),
            message.0.as_bytes(),
            continues.map(|run| *run.0.as_bytes()),
            turn.model,
            turn.at as i64,
            turn.client_id
        ])
    })
    .map_err(storage)?;
    let no = db.last_insert_rowid();
    set_head(db, conversation, message)?;
    db.prepare_cached("UPDATE conversation SET updated = ?2, model = ?3 WHERE id = ?1")
        .and_then(|mut query| {
            query.execute(params![
                conversation.0.as_bytes(),
                turn.at as i64,
                turn.model
            ])
        })
        .map_err(storage)?;
    let started = Started {
        run,
        conversation,
        message,
    };
    Ok(NewRun {
        started,
        no,
        parent,
        continues,
    })
}

fn set_head(db: &Connection, id: ConversationId, head: MessageId) -> Result<(), Error> {
    changed(
        db.prepare_cached("UPDATE conversation SET head = ?2 WHERE id = ?1")
            .and_then(|mut query| query.execute([id.0.as_bytes(), head.0.as_bytes()])),
    )
}

fn belongs(db: &Connection, id: ConversationId, message: MessageId) -> Result<(), Error> {
    let known: Option<i64> = db
        .prepare_cached("SELECT 1 FROM message WHERE id = ?1 AND conversation = ?2")
        .and_then(|mut query| {
            query
                .query_row([message.0.as_bytes(), id.0.as_bytes()], |row| row.get(0))
                .optional()
        })
        .map_err(storage)?;
    known.map(|_| ()).ok_or_else(|| {
        Error::new(
            ErrorCode::NotFound,
            "There is no such message in this conversation.",
        )
    })
}

fn message(
    db: &Connection,
    live: &dyn LiveAnswers,
    id: MessageId,
) -> Result<Option<Message>, Error> {
    let row = db
        .prepare_cached(
            "SELECT conversation, parent, role, text, created FROM message WHERE id = ?1",
        )
        .and_then(|mut query| {
            query
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
                .optional()
        })
        .map_err(storage)?;
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
        )
        .and_then(|mut query| {
            query
                .query_map(
                    params![
                        conversation.as_bytes(),
                        parent.map(|parent| *parent.as_bytes())
                    ],
                    |row| uuid(row, 0).map(MessageId),
                )?
                .collect()
        })
        .map_err(storage)?;
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

fn answers(
    db: &Connection,
    live: &dyn LiveAnswers,
    message: MessageId,
) -> Result<Vec<Answer>, Error> {
    let runs: Vec<(i64, RunId)> = db
        .prepare_cached("SELECT no, id FROM run WHERE message = ?1 ORDER BY no")
        .and_then(|mut query| {
            query
                .query_map([message.0.as_bytes()], |row| {
                    Ok((row.get(0)?, RunId(uuid(row, 1)?)))
                })?
                .collect()
        })
        .map_err(storage)?;
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

pub(super) fn changed(rows: rusqlite::Result<usize>) -> Result<(), Error> {
    match rows.map_err(storage)? {
        0 => Err(no_conversation()),
        _ => Ok(()),
    }
}

pub(super) fn no_conversation() -> Error {
    Error::new(
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
