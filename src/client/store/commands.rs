//! What a person can do in a conversation.

use super::{Chat, Link, MessageView};
use crate::{chat::Conversation, protocol::MessageId};
use leptos::prelude::*;

impl Chat {
    /// An empty chat, its signals in the current owner.
    #[expect(clippy::new_without_default, reason = "needs a reactive owner, so it is never implicit")]
    pub fn new() -> Self {
        let owner = Owner::current().unwrap_or_default();
        Self {
            id: RwSignal::new(None),
            title: RwSignal::new(String::new()),
            model: RwSignal::new(None),
            messages: RwSignal::new(Vec::new()),
            link: RwSignal::new(Link::Idle),
            queue: RwSignal::new(Vec::new()),
            problem: RwSignal::new(None),
            notice: RwSignal::new(None),
            sending: RwSignal::new(false),
            nursery: StoredValue::new(owner.child()),
        }
    }

    /// Shows a conversation. Messages that are on the screen already keep their views, and an
    /// answer that has been followed further than the one given stays.
    pub fn show(self, conversation: Conversation) {
        let _ = (conversation, self.nursery);
    }

    /// Begins a new conversation.
    pub fn clear(self) {}

    /// Loads the conversation again and shows it.
    pub fn reload(self) {}

    /// Follows the answer that is being written, if there is one. Call it in an `Effect`, so that
    /// it runs in the browser only and after hydration.
    pub fn follow_running(self) {}

    /// Sends a message, or queues it while an answer is being written.
    pub fn send(self, text: String) {
        let _ = text;
    }

    /// Sends what waits in the queue, after a stop or a failure held it.
    pub fn send_queued(self) {}

    /// Takes a message out of the queue and gives its text back.
    pub fn unqueue(self, client_id: &str) -> Option<String> {
        let _ = client_id;
        None
    }

    /// Stops the answer that is being written, keeping what has been painted.
    pub fn stop(self) {}

    /// Goes on with an answer that did not end whole, with another model if one is given.
    pub fn continue_answer(self, message: MessageId, model: Option<String>) {
        let _ = (message, model);
    }

    /// Answers again, as another branch.
    pub fn retry(self, message: MessageId, model: Option<String>) {
        let _ = (message, model);
    }

    /// Sends another version of a person's message, as another branch.
    pub fn edit(self, message: MessageId, text: String) {
        let _ = (message, text);
    }

    /// Shows the branch that contains a message.
    pub fn select(self, message: MessageId) {
        let _ = message;
    }

    /// Takes the problem off the screen.
    pub fn dismiss_problem(self) {}

    /// Whether an answer is being written. Tracked.
    pub fn running(self) -> bool {
        false
    }

    /// The last message on the screen. Tracked.
    pub fn head(self) -> Option<MessageView> {
        self.messages.with(|messages| messages.last().copied())
    }
}
