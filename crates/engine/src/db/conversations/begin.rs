//! The commands that begin a run, as rows: start, retry and continue.

use super::{
    LiveAnswers, RunPlace, belongs, head, messages::insert_message, place, set_head, uuid,
};
use crate::{
    db::{DbError, images, logs::stored_by_no, search, settings},
    packed::fold,
};
use headwater_protocol::{
    ConversationId, ErrorCode, Event, ImageId, MessageId, PROTOCOL_VERSION, RunId, Started, UnixMs,
    chat::{Role, Settings},
    is_chain,
};
use rusqlite::{Connection, OptionalExtension, params};
use uuid::Uuid;

/// A message to be answered.
#[derive(Clone, Debug, Default)]
pub struct StartRun {
    /// What the person wrote.
    pub text: String,
    /// Images that were uploaded before, at most [`images::MAX_IMAGES`]. A message with images needs
    /// no text.
    pub images: Vec<ImageId>,
    /// The conversation, or `None` for a new one.
    pub conversation: Option<ConversationId>,
    /// The message that is answered. Without `branch` it must be the last one of the conversation;
    /// `None` skips that check.
    pub parent: Option<MessageId>,
    /// The model as `provider/model`, or `None` for the default.
    pub model: Option<String>,
    /// An idempotency key of 1 to 100 characters: the same key starts only one run.
    pub client_id: Option<String>,
    /// Whether this message becomes another branch below `parent`.
    pub branch: bool,
    /// The settings of a new conversation. [`settings::check`] reads them from a client's JSON.
    pub settings: Settings,
}

/// A run whose rows are written and whose log is still empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewRun {
    /// The identifiers that the command is answered with.
    pub started: Started,
    /// The run's number: its key in the tables of logs.
    pub no: i64,
    /// The question that the run answers.
    pub parent: MessageId,
    /// The broken-off run that this one continues.
    pub continues: Option<RunId>,
    /// The model that answers, as `provider/model`.
    pub model: String,
    /// When the command was accepted.
    pub at: UnixMs,
}

impl NewRun {
    /// The first entry of the log.
    pub fn first_event(&self) -> Event {
        Event::RunStarted {
            protocol: PROTOCOL_VERSION,
            run: self.started.run,
            conversation: self.started.conversation,
            message: self.started.message,
            parent: self.parent,
            model: self.model.clone(),
            at: self.at,
            continues: self.continues,
        }
    }
}

/// The result of a command that starts a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Begun {
    /// The command started this run.
    New(NewRun),
    /// The same command came before and started this run.
    Known(Started),
}

/// Stores a person's message and an empty answer by `model`, and makes them the end of the current
/// branch.
///
/// # Errors
/// `not_found`; `conflict` if the conversation went on elsewhere, or if the idempotency key came with
/// another message before; `storage`.
pub fn begin_turn(
    db: &Connection,
    command: &StartRun,
    model: &str,
    at: UnixMs,
) -> Result<Begun, DbError> {
    if let Some(known) = known(db, command)? {
        return Ok(Begun::Known(known));
    }
    let (conversation, head) = match command.conversation {
        Some(id) => (id, head(db, id)?),
        None => (create(db, command, at)?, None),
    };
    if !command.branch && command.parent.is_some() && command.parent != head {
        return Err(DbError::refused(
            ErrorCode::Conflict,
            "The conversation went on in another window. Reload it and send your message again.",
        ));
    }
    let before = if command.branch { command.parent } else { head };
    if let Some(before) = before {
        belongs(db, conversation, before)?;
    }
    let parent = MessageId::new();
    insert_message(
        db,
        conversation,
        parent,
        before,
        Role::User,
        &command.text,
        at,
    )?;
    search::put(db, conversation, parent.0, &command.text)?;
    images::attach(db, parent, &command.images)?;
    let place = RunPlace {
        conversation,
        message: insert_answer(db, conversation, parent, at)?,
        parent,
        model: model.to_owned(),
    };
    insert_run(db, place, None, command.client_id.as_deref(), at).map(Begun::New)
}

/// Starts another answer to the question that `run` answered, as a new branch.
///
/// # Errors
/// `not_found`, `storage`.
pub fn begin_retry(
    db: &Connection,
    run: RunId,
    model: &str,
    at: UnixMs,
) -> Result<NewRun, DbError> {
    let place = place(db, run)?;
    let place = RunPlace {
        message: insert_answer(db, place.conversation, place.parent, at)?,
        model: model.to_owned(),
        ..place
    };
    insert_run(db, place, None, None, at)
}

/// Starts a run that goes on with the answer of `run`, in the same message.
///
/// # Errors
/// `not_found`; `conflict` if a later run continues the answer already, if the answer is still being
/// written or is whole, if a chain wrote it or would have to, or if other messages follow it, which would be
/// hidden; `storage`.
pub fn begin_continue(
    db: &Connection,
    live: &dyn LiveAnswers,
    run: RunId,
    model: &str,
    at: UnixMs,
) -> Result<NewRun, DbError> {
    let refused = |why: &str| Err(DbError::refused(ErrorCode::Conflict, why));
    if is_chain(model) {
        return refused("A chain cannot continue an answer. Ask it again.");
    }
    let place = place(db, run)?;
    let (last, no, followed): (Uuid, i64, bool) = db
        .prepare_cached(
            "SELECT id, no, EXISTS (SELECT 1 FROM message
                 WHERE message.conversation = run.conversation AND message.parent = run.message)
             FROM run WHERE message = ?1 ORDER BY no DESC LIMIT 1",
        )?
        .query_row([place.message.0.as_bytes()], |row| {
            Ok((uuid(row, 0)?, row.get(1)?, row.get(2)?))
        })?;
    if RunId(last) != run {
        return refused("This answer has been continued already.");
    }
    // The end of a run is in memory first, and in the database a moment later.
    let answer = match live.answer(run) {
        Some(answer) => answer,
        None => fold(&stored_by_no(db, no)?),
    };
    match answer.status {
        None => return refused("This answer is still being written."),
        Some(_) if is_chain(&answer.model) => {
            return refused("The answer of a chain cannot be continued. Ask it again.");
        }
        Some(_) if !answer.broke_off() => {
            return refused("This answer is whole. There is nothing to go on with.");
        }
        Some(_) => {}
    }
    if followed {
        return refused(
            "The conversation went on after this answer. Regenerate it, which makes another branch.",
        );
    }
    let place = RunPlace {
        model: model.to_owned(),
        ..place
    };
    insert_run(db, place, Some(run), None, at)
}

/// The run that the same command started before.
///
/// # Errors
/// `conflict` if the idempotency key came with another message, `storage`.
pub fn known(db: &Connection, command: &StartRun) -> Result<Option<Started>, DbError> {
    let Some(client_id) = &command.client_id else {
        return Ok(None);
    };
    let known = db
        .prepare_cached(
            "SELECT run.id, run.conversation, run.message, question.text, question.id
             FROM run JOIN message AS answer ON answer.id = run.message
             JOIN message AS question ON question.id = answer.parent WHERE run.client_id = ?1",
        )?
        .query_row([client_id], |row| {
            let started = Started {
                run: RunId(uuid(row, 0)?),
                conversation: ConversationId(uuid(row, 1)?),
                message: MessageId(uuid(row, 2)?),
            };
            Ok((started, row.get::<_, String>(3)?, MessageId(uuid(row, 4)?)))
        })
        .optional()?;
    let Some((started, text, question)) = known else {
        return Ok(None);
    };
    let same_place = command
        .conversation
        .is_none_or(|id| id == started.conversation);
    if !same_place || text != command.text || images::of_message(db, question)? != command.images {
        return Err(DbError::refused(
            ErrorCode::Conflict,
            "The field “client_id” came before with another message. Each message needs its own.",
        ));
    }
    Ok(Some(started))
}

fn create(db: &Connection, command: &StartRun, at: UnixMs) -> Result<ConversationId, DbError> {
    let id = ConversationId::new();
    let title = title_of(&command.text);
    db.prepare_cached(
        "INSERT INTO conversation (id, title, created, updated, settings)
         VALUES (?1, ?2, ?3, ?3, ?4)",
    )?
    .execute(params![
        id.0.as_bytes(),
        title,
        at as i64,
        settings::for_row(&command.settings)
    ])?;
    search::put(db, id, id.0, &title)?;
    Ok(id)
}

/// A title for a conversation: the first line of the text that is not empty, at most 60 characters.
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

/// Stores an empty answer.
fn insert_answer(
    db: &Connection,
    conversation: ConversationId,
    question: MessageId,
    at: UnixMs,
) -> Result<MessageId, DbError> {
    let id = MessageId::new();
    insert_message(
        db,
        conversation,
        id,
        Some(question),
        Role::Assistant,
        "",
        at,
    )?;
    Ok(id)
}

fn insert_run(
    db: &Connection,
    place: RunPlace,
    continues: Option<RunId>,
    client_id: Option<&str>,
    at: UnixMs,
) -> Result<NewRun, DbError> {
    let RunPlace {
        conversation,
        message,
        parent,
        model,
    } = place;
    let run = RunId::new();
    db.prepare_cached(
        "INSERT INTO run (id, conversation, message, continues, model, accepted, client_id)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
    )?
    .execute(params![
        run.0.as_bytes(),
        conversation.0.as_bytes(),
        message.0.as_bytes(),
        continues.map(|run| *run.0.as_bytes()),
        model,
        at as i64,
        client_id
    ])?;
    let no = db.last_insert_rowid();
    set_head(db, conversation, message)?;
    db.prepare_cached("UPDATE conversation SET updated = ?2, model = ?3 WHERE id = ?1")?
        .execute(params![conversation.0.as_bytes(), at as i64, model])?;
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
        model,
        at,
    })
}
