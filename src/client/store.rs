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
    /// `None` for a new chat, until its first message is sent.
    pub id: RwSignal<Option<ConversationId>>,
    /// The title of the conversation; empty for a new chat.
    pub title: RwSignal<String>,
    /// `provider/model` for the next message; `None` is the server's default.
    pub model: RwSignal<Option<String>>,
    /// The settings for the next answer: JSON of [`headwater_protocol::chat::Settings`], or an empty
    /// text if nothing is chosen.
    pub settings: RwSignal<String>,
    /// The loaded messages of the current branch, oldest first. The list changes when messages come
    /// or go, never when text arrives: that is inside each [`MessageView`].
    pub messages: RwSignal<Vec<MessageView>>,
    /// The state of the running answer's stream.
    pub link: RwSignal<Link>,
    /// Messages typed while an answer was being written. They are sent one by one when it ends.
    pub queue: RwSignal<Vec<Queued>>,
    /// The images of the next message.
    pub images: RwSignal<Vec<ImageId>>,
    /// How many images are being uploaded. The message cannot be sent before they are there.
    pub uploading: RwSignal<usize>,
    /// Why the last command failed.
    pub problem: RwSignal<Option<Problem>>,
    /// What the server says of its own state while it streams, such as that its disk is full.
    pub notice: RwSignal<Option<String>>,
    /// Whether the answer to a command is still awaited.
    pub sending: RwSignal<bool>,
    /// Whether something lies over the chat. Its running answer is not followed meanwhile, because a browser opens
    /// few connections to one server.
    pub covered: RwSignal<bool>,
    /// See [`Chat::running`].
    is_running: Memo<bool>,
    /// State that no view reads.
    inner: StoredValue<Inner>,
    live: StoredValue<live::Live>,
}

struct Inner {
    /// Owns the signals of the messages.
    owners: MessageOwners,
    /// The person's message that is being sent. It is on the screen already.
    pending: Option<MessageView>,
    /// The number of changes that this page has made or asked for. A conversation that was requested
    /// before the last one is out of date when it arrives.
    edition: u64,
    /// The number of conversations that have been on the screen. What was begun for an earlier one
    /// must not change this one.
    screen: u64,
    /// Something on the screen was made up by this page, so the conversation must be loaded again.
    unconfirmed: bool,
    /// The page has taken over what the server rendered.
    hydrated: bool,
    /// Earlier messages are being loaded.
    fetching: bool,
}

/// A command that was refused or did not reach the server.
#[derive(Clone, Debug, PartialEq)]
pub struct Problem {
    /// What went wrong.
    pub error: Error,
    /// The text of the message, to be put back into the composer.
    pub text: Option<String>,
}
