//! The sidebar's list of conversations.

use crate::{
    chat::Summary,
    protocol::{ConversationId, Error},
};
use leptos::prelude::*;

/// The conversations of the sidebar. Cheap to copy; provided as a context by the app.
#[derive(Clone, Copy)]
pub struct Chats {
    /// What is listed: pinned ones first, then the newest; with a query, those that contain it.
    pub list: RwSignal<Vec<Summary>>,
    /// What is searched for; empty for all.
    pub query: RwSignal<String>,
    /// Why the last command or refresh did not work.
    pub problem: RwSignal<Option<Error>>,
}

impl Chats {
    /// An empty list in the current owner. Fill it with `list.set` (server, hydration) or
    /// [`Chats::refresh`].
    #[expect(clippy::new_without_default, reason = "needs a reactive owner, so it is never implicit")]
    pub fn new() -> Self {
        Self {
            list: RwSignal::new(Vec::new()),
            query: RwSignal::new(String::new()),
            problem: RwSignal::new(None),
        }
    }

    /// Asks the server for the list.
    pub fn refresh(self) {}

    /// Lists those that contain `query`, once typing has paused.
    pub fn search(self, query: String) {
        let _ = query;
    }

    /// Renames a conversation.
    pub fn rename(self, id: ConversationId, title: String) {
        let _ = (id, title);
    }

    /// Keeps a conversation at the top, or no longer.
    pub fn pin(self, id: ConversationId, pinned: bool) {
        let _ = (id, pinned);
    }

    /// Deletes a conversation. A [`super::Chat`] that shows it, in any tab, is cleared.
    pub fn delete(self, id: ConversationId) {
        let _ = id;
    }
}
