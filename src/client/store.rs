//! What the page shows, as signals. The only module that writes them.
//!
//! Everything a person does is a method here that calls a command of [`crate::api`]; what comes of
//! it returns as events or as a freshly loaded conversation, never as a guess that stays.

mod body;
mod browser;
mod chat;
mod chats;
mod commands;
#[cfg(feature = "hydrate")]
mod inbox;
#[cfg(feature = "hydrate")]
mod live;
mod owners;
mod words;

pub use body::Body;
pub use chats::{Chats, PAGE};

use super::follow::Link;
use headwater_protocol::{
    ConversationId, Error, ImageId, MessageId, RunId, Stage, Status, Timing, UnixMs, Usage,
    chat::{Message, Role},
};
use leptos::prelude::*;
use owners::MessageOwners;
use serde::{Deserialize, Serialize};

/// The conversation on the screen. Cheap to copy; provided as a context by the chat page.
#[derive(Clone, Copy)]
pub struct Chat {
    /// Which one; `None` for a new chat that has not been sent yet.
    pub id: RwSignal<Option<ConversationId>>,
    /// Its name.
    pub title: RwSignal<String>,
    /// `provider/model` for the next message; `None` is the server's default.
    pub model: RwSignal<Option<String>>,
    /// How its answers are asked for, from the next one on: JSON of [`headwater_protocol::chat::Settings`], or
    /// nothing where nothing is chosen.
    pub settings: RwSignal<String>,
    /// The messages of the current branch as far as they are loaded, oldest first. The list changes when messages come or go,
    /// never when text arrives: that is inside each [`MessageView`].
    pub messages: RwSignal<Vec<MessageView>>,
    /// How the stream of the running answer is doing.
    pub link: RwSignal<Link>,
    /// Typed while an answer was being written, sent one by one when it ends.
    pub queue: RwSignal<Vec<Queued>>,
    /// The pictures that the next message will have.
    pub images: RwSignal<Vec<ImageId>>,
    /// How many pictures are on their way to the server; the message waits for them.
    pub uploading: RwSignal<usize>,
    /// A command was refused or did not reach the server; the text is back in the composer.
    pub problem: RwSignal<Option<Problem>>,
    /// Trouble of the server while it streams, such as a full disk.
    pub notice: RwSignal<Option<String>>,
    /// Whether a command that was given is not answered yet.
    pub sending: RwSignal<bool>,
    /// See [`Chat::running`].
    is_running: Memo<bool>,
    /// What is behind the signals and interests nobody else.
    inner: StoredValue<Inner>,
    #[cfg(feature = "hydrate")]
    page: StoredValue<live::Page, LocalStorage>,
}

struct Inner {
    /// Owns the signals of the messages.
    owners: MessageOwners,
    /// The person's message that is on its way: on the screen, but not in the conversation yet.
    pending: Option<MessageView>,
    /// Grows with every change that this page made or asked for. What was loaded before it says
    /// nothing about what came after it.
    edition: u64,
    /// Grows when another conversation comes on the screen. What was begun for the last one must
    /// not change this one.
    screen: u64,
    /// Something on the screen is only known from here: a loaded conversation must follow.
    unconfirmed: bool,
    /// The page has taken over what the server rendered.
    hydrated: bool,
    /// Earlier messages are on their way.
    fetching: bool,
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
    /// The pictures with them; those that the model made, where it is the assistant's message.
    pub images: RwSignal<Vec<ImageId>>,
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
    /// A message's signals in the current owner.
    fn new(message: Message) -> Self {
        let body = Body::new(message.answers);
        let images = match message.role {
            Role::User => message.images,
            Role::Assistant => body.pictures.clone(),
        };
        let mut state = AnswerState::default();
        body.tell(&mut state);
        Self {
            id: message.id,
            parent: message.parent,
            role: message.role,
            created: message.created,
            text: RwSignal::new(message.text),
            images: RwSignal::new(images),
            branches: RwSignal::new(message.branches),
            state: RwSignal::new(state),
            version: RwSignal::new(0),
            body: StoredValue::new(body),
        }
    }

    /// Reads the text of an answer. Not tracked: subscribe to [`MessageView::version`] for changes.
    pub fn with_body<R>(self, f: impl FnOnce(&Body) -> R) -> R {
        self.body.with_value(f)
    }

    /// Reads the text of an answer and lets the renderer settle what it draws. Not tracked.
    pub fn with_body_mut<R>(self, f: impl FnOnce(&mut Body) -> R) -> R {
        let mut result = None;
        self.body.update_value(|body| result = Some(f(body)));
        result.expect("a message's text lives as long as its view")
    }

    /// Takes over what the server says of this message, as far as it is news.
    fn update(&mut self, message: Message) {
        self.parent = message.parent;
        self.created = message.created;
        if self.text.with_untracked(|text| *text != message.text) {
            self.text.set(message.text);
        }
        if self.role == Role::User {
            self.set_images(&message.images);
        }
        if self
            .branches
            .with_untracked(|branches| *branches != message.branches)
        {
            self.branches.set(message.branches);
        }
        if self
            .body
            .try_update_value(|body| body.adopt(message.answers))
            == Some(true)
        {
            self.paint(true, |_| {});
        }
    }

    /// Lets the screen show what the fold knows. `text`: whether text has come.
    fn paint(self, text: bool, adjust: impl FnOnce(&mut AnswerState)) {
        let mut state = self.state.get_untracked();
        let anew = self.body.try_update_value(|body| {
            let anew = body.paint();
            body.tell(&mut state);
            anew
        });
        if self.role == Role::Assistant {
            let pictures = self.body.with_value(|body| body.pictures.clone());
            self.set_images(&pictures);
        }
        adjust(&mut state);
        if self.state.with_untracked(|old| *old != state) {
            self.state.set(state);
        }
        if text || anew == Some(true) {
            self.version.update(|version| *version += 1);
        }
    }

    fn set_images(self, new: &[ImageId]) {
        if self.images.with_untracked(|images| images != new) {
            self.images.set(new.to_vec());
        }
    }

    /// The run that writes this message now.
    fn running(self) -> Option<RunId> {
        self.state
            .with_untracked(|state| state.run.filter(|_| state.status.is_none()))
    }
}

/// The facts that the status line, the error and the receipt are made of.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AnswerState {
    /// The last run that writes this message.
    pub run: Option<RunId>,
    /// `provider/model`.
    pub model: String,
    /// Whether that is another model than the one that was asked, which could not answer.
    pub stand_in: bool,
    /// How it ended; `None` while it runs.
    pub status: Option<Status>,
    /// Why the model ended, where it said so.
    pub finish: Option<headwater_protocol::Finish>,
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

/// A message that waits for the answer before it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Queued {
    /// Its idempotency key.
    pub client_id: String,
    /// The text.
    pub text: String,
    /// The pictures with it.
    #[serde(default)]
    pub images: Vec<ImageId>,
}

/// A command that did not work.
#[derive(Clone, Debug, PartialEq)]
pub struct Problem {
    /// What and why, for a person.
    pub error: Error,
    /// What they had written, to be put back into the composer.
    pub text: Option<String>,
}
