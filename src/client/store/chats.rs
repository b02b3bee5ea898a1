//! The sidebar's list of conversations.

use super::{browser, browser::News};
use crate::{
    api::{self, ApiError, change::Change},
    chat::Summary,
    protocol::{ConversationId, Error},
};
use leptos::prelude::*;

/// How long typing must have paused before a search is made.
const SEARCH_PAUSE_MS: u32 = 150;

/// The conversations of the sidebar. Cheap to copy; provided as a context by the app.
#[derive(Clone, Copy)]
pub struct Chats {
    /// What is listed: pinned ones first, then the newest; with a query, those that contain it.
    pub list: RwSignal<Vec<Summary>>,
    /// What is searched for; empty for all.
    pub query: RwSignal<String>,
    /// Why the last command or refresh did not work.
    pub problem: RwSignal<Option<Error>>,
    /// Number of the newest question; the answers to older ones are not shown.
    asked: StoredValue<u64>,
    /// The problem shown is that of a refresh, so the next one that works takes it away.
    stale: StoredValue<bool>,
    #[cfg(feature = "hydrate")]
    page: StoredValue<Page, LocalStorage>,
}

#[cfg(feature = "hydrate")]
#[derive(Default)]
struct Page {
    channel: Option<browser::Channel>,
    _listener: Option<browser::Listener>,
}

impl Chats {
    /// An empty list in the current owner. Fill it with `list.set` (server, hydration) or
    /// [`Chats::refresh`]. In the browser it refreshes itself when any tab begins, ends or changes
    /// something, and when the page comes to the front.
    #[expect(
        clippy::new_without_default,
        reason = "it needs a reactive owner, so it is never implicit"
    )]
    pub fn new() -> Self {
        let chats = Self {
            list: RwSignal::new(Vec::new()),
            query: RwSignal::new(String::new()),
            problem: RwSignal::new(None),
            asked: StoredValue::new(0),
            stale: StoredValue::new(false),
            #[cfg(feature = "hydrate")]
            page: StoredValue::new_local(Page::default()),
        };
        #[cfg(feature = "hydrate")]
        chats.page.set_value(Page {
            channel: browser::Channel::new(move |_, _| chats.ask_soon()),
            _listener: browser::Listener::new("visibilitychange", move |_| {
                if !browser::hidden() {
                    chats.ask_soon();
                }
            }),
        });
        chats
    }

    /// Asks the server for the list.
    pub fn refresh(self) {
        self.ask_after(0);
    }

    /// Lists those that contain `query`, once typing has paused.
    pub fn search(self, query: String) {
        self.query.set(query);
        self.ask_soon();
    }

    /// Renames a conversation.
    pub fn rename(self, id: ConversationId, title: String) {
        let shown = title.clone();
        self.change(id, move |summary| summary.title = shown);
        self.command(
            id,
            News::Changed,
            "/api/conversations/rename",
            Change {
                title: Some(title),
                ..Change::of(id)
            },
        );
    }

    /// Keeps a conversation at the top, or no longer.
    pub fn pin(self, id: ConversationId, pinned: bool) {
        self.change(id, |summary| summary.pinned = pinned);
        self.command(
            id,
            News::Changed,
            "/api/conversations/pin",
            Change {
                pinned: Some(pinned),
                ..Change::of(id)
            },
        );
    }

    /// Deletes a conversation. A [`super::Chat`] that shows it, in any tab, is cleared.
    pub fn delete(self, id: ConversationId) {
        self.list
            .update(|list| list.retain(|summary| summary.id != id));
        self.command(
            id,
            News::Deleted,
            "/api/conversations/delete",
            Change::of(id),
        );
    }

    /// Shows a change before the server has confirmed it; the refresh that follows is the truth.
    fn change(self, id: ConversationId, change: impl FnOnce(&mut Summary)) {
        self.list.update(|list| {
            if let Some(summary) = list.iter_mut().find(|summary| summary.id == id) {
                change(summary);
            }
        });
    }

    fn command(self, id: ConversationId, news: News, path: &'static str, change: Change) {
        self.problem.set(None);
        browser::spawn(async move {
            let answer = change.send(path).await;
            if self.problem.is_disposed() {
                return;
            }
            match answer {
                Ok(()) => self.tell(news, id),
                Err(ApiError(error)) => {
                    self.stale.set_value(false);
                    self.problem.set(Some(error));
                }
            }
            self.refresh();
        });
    }

    fn tell(self, news: News, id: ConversationId) {
        #[cfg(feature = "hydrate")]
        self.page.with_value(|page| {
            if let Some(channel) = &page.channel {
                channel.tell(news, id);
            }
        });
        #[cfg(not(feature = "hydrate"))]
        let _ = (news, id);
    }

    fn ask_soon(self) {
        self.ask_after(SEARCH_PAUSE_MS);
    }

    /// Asks for the list, unless something else is asked meanwhile.
    fn ask_after(self, pause: u32) {
        let asked = self.asked.try_update_value(|asked| {
            *asked += 1;
            *asked
        });
        browser::spawn(async move {
            if pause > 0 {
                browser::sleep(pause).await;
            }
            let newest = || self.asked.try_get_value() == asked && asked.is_some();
            if !newest() {
                return;
            }
            let query = self.query.get_untracked();
            let query = Some(query).filter(|query| !query.trim().is_empty());
            let answer = api::list_conversations(query).await;
            if !newest() {
                return;
            }
            match answer {
                Ok(list) => {
                    if self.stale.get_value() {
                        self.stale.set_value(false);
                        self.problem.set(None);
                    }
                    if self.list.with_untracked(|old| *old != list) {
                        self.list.set(list);
                    }
                }
                Err(ApiError(error)) => {
                    self.stale.set_value(true);
                    self.problem.set(Some(error));
                }
            }
        });
    }
}
