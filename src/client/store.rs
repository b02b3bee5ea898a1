//! What the page shows, as signals. The only module that writes them.
//!
//! Everything a person does is a method here that calls a command of [`crate::api`]; what comes of
//! it returns as events or as a freshly loaded conversation, never as a guess that stays.

mod body;
mod chat;
mod chats;
mod commands;
mod live;
mod message;
mod news;
mod owners;
mod queue;
mod retry;
mod words;

pub use body::Body;
pub use chats::{Chats, PAGE};
pub use message::{AnswerState, MessageView};
pub use queue::Queued;

use super::follow::Link;
use headwater_protocol::{ConversationId, Error, ImageId};
use leptos::prelude::*;
use owners::MessageOwners;

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
    live: StoredValue<live::Live>,
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

/// A command that did not work.
#[derive(Clone, Debug, PartialEq)]
pub struct Problem {
    /// What and why, for a person.
    pub error: Error,
    /// What they had written, to be put back into the composer.
    pub text: Option<String>,
}
