//! What the page shows, as signals. The only module that writes them.
//!
//! Everything a person does is a method here that calls a command of [`crate::api`]; what comes of
//! it returns as events or as a freshly loaded conversation, never as a guess that stays.

mod chats;
mod commands;

pub use chats::Chats;

use crate::{
    chat::{Answer, Role},
    protocol::{ConversationId, Error, MessageId, RunId, Stage, Status, Timing, UnixMs, Usage},
};
use leptos::prelude::*;

/// The conversation on the screen. Cheap to copy; provided as a context by the chat page.
#[derive(Clone, Copy)]
pub struct Chat {
    /// Which one; `None` for a new chat that has not been sent yet.
    pub id: RwSignal<Option<ConversationId>>,
    /// Its name.
    pub title: RwSignal<String>,
    /// `provider/model` for the next message; `None` is the server's default.
    pub model: RwSignal<Option<String>>,
    /// The messages of the current branch, oldest first. The list changes when messages come or go,
    /// never when text arrives: that is inside each [`MessageView`].
    pub messages: RwSignal<Vec<MessageView>>,
    /// How the stream of the running answer is doing.
    pub link: RwSignal<Link>,
    /// Typed while an answer was being written, sent one by one when it ends.
    pub queue: RwSignal<Vec<Queued>>,
    /// A command was refused or did not reach the server; the text is back in the composer.
    pub problem: RwSignal<Option<Problem>>,
    /// Trouble of the server while it streams, such as a full disk.
    pub notice: RwSignal<Option<String>>,
    /// Whether a command that was given is not answered yet.
    pub sending: RwSignal<bool>,
    /// Holds the owners of the messages' signals. Its parent is whoever made the chat.
    nursery: StoredValue<Owner>,
}

/// A message on the screen. Cheap to clone; equal by identity for keyed lists.
#[derive(Clone, Copy)]
pub struct MessageView {
    /// Its identifier.
    pub id: MessageId,
    /// What it answers.
    pub parent: Option<MessageId>,
    /// Who wrote it.
    pub role: Role,
    /// When.
    pub created: UnixMs,
    /// A person's words.
    pub text: RwSignal<String>,
    /// Messages that answer the same parent, this one included.
    pub branches: RwSignal<Vec<MessageId>>,
    /// Facts about the answer, changed at most once per animation frame.
    pub state: RwSignal<AnswerState>,
    /// Grows by one whenever the answer's text changed, at most once per animation frame; the view
    /// then asks [`MessageView::with_body`] for what is new.
    pub version: RwSignal<u64>,
    body: StoredValue<Body>,
}

impl PartialEq for MessageView {
    fn eq(&self, other: &Self) -> bool {
        self.id == other.id
    }
}

impl Eq for MessageView {}

impl MessageView {
    /// Reads the text of an answer. Not tracked: subscribe to [`MessageView::version`] for changes.
    pub fn with_body<R>(self, f: impl FnOnce(&Body) -> R) -> R {
        self.body.with_value(f)
    }
}

/// The facts that the status line, the error and the receipt are made of.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AnswerState {
    /// The last run that writes this message.
    pub run: Option<RunId>,
    /// `provider/model`.
    pub model: String,
    /// How it ended; `None` while it runs.
    pub status: Option<Status>,
    /// Why the model ended, where it said so.
    pub finish: Option<crate::protocol::Finish>,
    /// Where it stands before and between tokens.
    pub stage: Option<Stage>,
    /// When that stage began.
    pub stage_since: UnixMs,
    /// When the last piece of text came; 0 before the first.
    pub last_text: UnixMs,
    /// Whether the model is thinking (its newest block is reasoning).
    pub thinking: bool,
    /// Whether a stop was asked for and is not confirmed yet.
    pub stopping: bool,
    /// How long the provider took to close after a stop, in milliseconds.
    pub stopped_in_ms: Option<u64>,
    /// Words that came while the page was away, to be said once.
    pub caught_up_words: Option<u64>,
    /// Words of visible text.
    pub words: u64,
    /// How many old messages did not fit into the model's context.
    pub trimmed: u32,
    /// Tokens.
    pub usage: Usage,
    /// Times, known at the end.
    pub timing: Option<Timing>,
    /// What went wrong; the text is kept.
    pub error: Option<Error>,
    /// When the run was accepted.
    pub accepted: UnixMs,
    /// How often the stream had to be resumed in this page.
    pub reconnects: u32,
}

/// The text of an assistant's message, in parsed form. Not reactive: see [`MessageView::version`].
pub struct Body {
    /// The runs of this message, folded.
    pub answers: Vec<Answer>,
    /// The Markdown of all of them, one after the other.
    pub text: crate::markdown::Renderer,
    /// Offsets in the text at which a continuation begins.
    pub seams: Vec<usize>,
    /// The model's thinking.
    pub reasoning: String,
    /// Grows by one whenever the text was made anew instead of at its end (an attempt was replaced,
    /// a stop cut it, a continuation began): what was drawn of it is to be drawn again.
    pub generation: u32,
}

/// How the stream of the running answer is doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Link {
    /// Nothing runs, nothing is followed.
    #[default]
    Idle,
    /// The first connection is being made.
    Connecting,
    /// Events arrive.
    Open,
    /// The connection broke; it is tried again for ever.
    Reconnecting {
        /// How many times it has been tried since it broke.
        attempt: u32,
    },
    /// The browser says that there is no network.
    Offline,
}

/// A message that waits for the answer before it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Queued {
    /// Its idempotency key.
    pub client_id: String,
    /// The text.
    pub text: String,
}

/// A command that did not work.
#[derive(Clone, Debug, PartialEq)]
pub struct Problem {
    /// What and why, for a person.
    pub error: Error,
    /// What they had written, to be put back into the composer.
    pub text: Option<String>,
}
