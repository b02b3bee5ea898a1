//! The commands that begin a run, as rows: start, retry and continue.

use super::{belongs, head, messages::insert_message, place, set_head, uuid};
use crate::{
    db::{DbError, images, logs::stored_by_no, search, settings},
    packed::fold,
};
use headwater_protocol::{
    ConversationId, ErrorCode, FinishReason, ImageId, MessageId, RunId, Started, Status, UnixMs,
    chat::{Answer, Role, Settings},
};
use rusqlite::{Connection, OptionalExtension, params};
use uuid::Uuid;

/// A message to store. It makes rows for the conversation (if it is new), the question, the empty
/// answer and the run.
#[derive(Clone, Debug)]
pub struct NewTurn {
    /// `None` makes a new conversation.
    pub conversation: Option<ConversationId>,
    /// The last message that the sender saw. `None` skips the check whether it is still the last.
    pub parent: Option<MessageId>,
    /// Whether the question becomes another branch below `parent`.
    pub branch: bool,
    /// What the person wrote; may be empty if there are pictures.
    pub text: String,
    /// Pictures that were uploaded before, at most [`images::MAX_IMAGES`].
    pub images: Vec<ImageId>,
    /// The model that answers, as `provider/model`.
    pub model: String,
    /// Idempotency key: the same key starts one run, however often it comes.
    pub client_id: Option<String>,
    /// Settings of the conversation, if it is new.
    pub settings: Settings,
    /// The time of day now.
    pub at: UnixMs,
}

/// A run whose rows are written and whose log is still empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewRun {
    /// The identifiers that the command is answered with.
    pub started: Started,
    /// The run's number: its key in the tables of logs.
    pub no: i64,
    /// The question that it answers.
    pub parent: MessageId,
    /// The broken-off run that it goes on from.
    pub continues: Option<RunId>,
}

/// The result of a command that starts a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Begun {
    /// A new run.
    New(NewRun),
    /// The same command came before, and started this run.
    Known(Started),
}

/// Stores a person's message and an empty answer, and makes them the end of the current branch.
///
/// # Errors
/// `not_found`; `conflict` if the conversation went on elsewhere, or if the idempotency key came with
/// another message before; `storage`.
pub fn begin_turn(db: &Connection, turn: &NewTurn) -> Result<Begun, DbError> {
    if let Some(known) = known(db, turn)? {
        return Ok(Begun::Known(known));
    }
    let (conversation, head) = match turn.conversation {
        Some(id) => (id, head(db, id)?),
        None => (create(db, turn)?, None),
    };
    if !turn.branch && turn.parent.is_some() && turn.parent != head {
        return Err(DbError::refused(
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

/// Starts a run that goes on with the answer of `run`, in the same message.
///
/// # Errors
/// `not_found`; `conflict` if a later run continues the answer already, if the answer is still being
/// written or is whole, or if other messages follow it, which would be hidden; `storage`.
pub fn begin_continue(
    db: &Connection,
    run: RunId,
    model: &str,
    at: UnixMs,
) -> Result<NewRun, DbError> {
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
    let refused = |why: &str| Err(DbError::refused(ErrorCode::Conflict, why));
    if RunId(last) != run {
        return refused("This answer has been continued already.");
    }
    // The log knows the end of the run first; the table of runs follows a moment later.
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

/// Whether the model said all it had to say. At its limit of tokens, for example, it did not.
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

/// The run that the same command started before.
///
/// # Errors
/// `conflict` if the idempotency key came with another message, `storage`.
pub fn known(db: &Connection, turn: &NewTurn) -> Result<Option<Started>, DbError> {
    let Some(client_id) = &turn.client_id else {
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
    let same_place = turn
        .conversation
        .is_none_or(|id| id == started.conversation);
    if !same_place || text != turn.text || images::of_message(db, question)? != turn.images {
        return Err(DbError::refused(
            ErrorCode::Conflict,
            "The field “client_id” came before with another message. Each message needs its own.",
        ));
    }
    Ok(Some(started))
}

fn create(db: &Connection, turn: &NewTurn) -> Result<ConversationId, DbError> {
    let id = ConversationId::new();
    let title = title_of(&turn.text);
    db.prepare_cached(
        "INSERT INTO conversation (id, title, created, updated, settings)
         VALUES (?1, ?2, ?3, ?3, ?4)",
    )?
    .execute(params![
        id.0.as_bytes(),
        title,
        turn.at as i64,
        settings::for_row(&turn.settings)
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

fn insert_run(
    db: &Connection,
    conversation: ConversationId,
    message: MessageId,
    parent: MessageId,
    continues: Option<RunId>,
    turn: &NewTurn,
) -> Result<NewRun, DbError> {
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
        turn.model,
        turn.at as i64,
        turn.client_id
    ])?;
    let no = db.last_insert_rowid();
    set_head(db, conversation, message)?;
    db.prepare_cached("UPDATE conversation SET updated = ?2, model = ?3 WHERE id = ?1")?
        .execute(params![
            conversation.0.as_bytes(),
            turn.at as i64,
            turn.model
        ])?;
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
