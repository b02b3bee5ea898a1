//! The sidebar's list of conversations.

use super::news::{CHANNEL, News};
use crate::{
    api::{self, ApiError},
    browser::{self, Channel, Listener},
};
use headwater_protocol::{
    ConversationId, Error,
    chat::{ListPlace, Summary},
};
use leptos::prelude::*;

/// A search begins when typing has paused for this many milliseconds.
const SEARCH_PAUSE_MS: u32 = 150;

/// The number of conversations that are loaded at a time.
pub const PAGE: usize = 50;

/// The most conversations that are reloaded at once.
const RENEWED: usize = 200;

/// The conversations of the sidebar. Cheap to copy; provided as a context by the app.
#[derive(Clone, Copy)]
pub struct Chats {
    /// The loaded conversations, pinned ones first, then the newest. With a query, those that
    /// contain it.
    pub list: RwSignal<Vec<Summary>>,
    /// The place of the last conversation, if more may follow: see [`Chats::show_more`].
    pub end: RwSignal<Option<ListPlace>>,
    /// The search query; empty to list all conversations.
    pub query: RwSignal<String>,
    /// Why the last command or refresh failed.
    pub problem: RwSignal<Option<Error>>,
    /// The number of the newest request. Answers to older ones are dropped.
    asked: StoredValue<u64>,
    /// The query of the current list.
    listed: StoredValue<String>,
    /// Whether the next refresh reloads the whole list and not only its top.
    renew: StoredValue<bool>,
    /// Whether the next page is being loaded.
    fetching: StoredValue<bool>,
    /// Whether the problem is that of a refresh, so that the next successful one removes it.
    stale: StoredValue<bool>,
    live: StoredValue<Option<Live>>,
}

/// The listeners that keep the list up to date.
struct Live {
    channel: Option<Channel>,
    _listener: Listener,
}

impl Chats {
    /// An empty list in the current owner. Fill it with [`Chats::fill`] (server, hydration) or
    /// [`Chats::refresh`]. In the browser it refreshes itself when any tab begins, ends or changes
    /// something, and when the page comes to the front.
    #[expect(
        clippy::new_without_default,
        reason = "it needs a reactive owner, so it is never implicit"
    )]
    pub fn new() -> Self {
        let chats = Self {
            list: RwSignal::new(Vec::new()),
            end: RwSignal::new(None),
            query: RwSignal::new(String::new()),
            problem: RwSignal::new(None),
            asked: StoredValue::new(0),
            listed: StoredValue::new(String::new()),
            renew: StoredValue::new(false),
            fetching: StoredValue::new(false),
            stale: StoredValue::new(false),
            live: StoredValue::new(None),
        };
        chats.live.set_value(Some(Live {
            channel: Channel::open(CHANNEL, move |message| {
                if let Some((news, id)) = News::decode(message) {
                    if news == News::Deleted {
                        chats.leave_out(id);
                    }
                    chats.renew();
                }
            }),
            _listener: browser::on_visible(move || chats.renew()),
        }));
        chats
    }

    /// Takes over the first page of the list.
    pub fn fill(self, list: Vec<Summary>) {
        self.end.set(end_of(&list, PAGE));
        self.list.set(list);
    }

    /// Reloads the top of the list, where everything new appears.
    pub fn refresh(self) {
        self.ask_after(0);
    }

    /// Loads the page after the last conversation of the list.
    pub fn show_more(self) {
        let Some(end) = self.end.get_untracked() else {
            return;
        };
        if self
            .fetching
            .try_update_value(|on| std::mem::replace(on, true))
            != Some(false)
        {
            return;
        }
        let query = self.listed.get_value();
        browser::spawn(async move {
            let asked = Some(query.clone()).filter(|query| !query.is_empty());
            let answer = api::list_conversations(asked, Some(PAGE), Some(end.to_string())).await;
            if self.fetching.try_set_value(false).is_some()
                || self.end.get_untracked() != Some(end)
                || self.listed.with_value(|listed| *listed != query)
            {
                return;
            }
            match answer {
                Ok(page) => {
                    self.end.set(end_of(&page, PAGE));
                    self.list.update(|list| {
                        // A conversation that was just unpinned may now be in its place.
                        list.retain(|chat| !page.iter().any(|known| known.id == chat.id));
                        list.extend(page);
                    });
                }
                Err(ApiError(error)) => {
                    self.stale.set_value(true);
                    self.problem.set(Some(error));
                }
            }
        });
    }

    /// Lists the conversations that contain `query`, once typing has paused.
    pub fn search(self, query: String) {
        self.query.set(query);
        self.ask_soon();
    }

    /// Renames a conversation.
    pub fn rename(self, id: ConversationId, title: String) {
        let shown = title.clone();
        self.change(id, move |summary| summary.title = shown);
        self.command(id, News::Changed, api::rename_conversation(id, title));
    }

    /// Pins a conversation to the top, or unpins it.
    pub fn pin(self, id: ConversationId, pinned: bool) {
        self.change(id, |summary| summary.pinned = pinned);
        self.command(id, News::Changed, api::pin_conversation(id, pinned));
    }

    /// Deletes a conversation. A [`super::Chat`] that shows it, in any tab, is cleared.
    pub fn delete(self, id: ConversationId) {
        self.leave_out(id);
        self.command(id, News::Deleted, api::delete_conversation(id));
    }

    fn leave_out(self, id: ConversationId) {
        self.list
            .update(|list| list.retain(|summary| summary.id != id));
    }

    /// Shows a change before the server has confirmed it. The refresh that follows corrects it.
    fn change(self, id: ConversationId, change: impl FnOnce(&mut Summary)) {
        self.list.update(|list| {
            if let Some(summary) = list.iter_mut().find(|summary| summary.id == id) {
                change(summary);
            }
        });
    }

    /// Sends a command, notifies the other tabs, and reloads the list.
    fn command(
        self,
        id: ConversationId,
        news: News,
        command: impl Future<Output = Result<(), ApiError>> + 'static,
    ) {
        self.problem.set(None);
        browser::spawn(async move {
            let answer = command.await;
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
            self.renew.set_value(true);
            self.refresh();
        });
    }

    fn tell(self, news: News, id: ConversationId) {
        self.live.with_value(|live| {
            if let Some(channel) = live.as_ref().and_then(|live| live.channel.as_ref()) {
                channel.post(&news.encode(id));
            }
        });
    }

    /// Reloads the whole list, because any of it may have changed.
    fn renew(self) {
        if self.renew.try_set_value(true).is_none() {
            self.ask_soon();
        }
    }

    fn ask_soon(self) {
        self.ask_after(SEARCH_PAUSE_MS);
    }

    /// Loads the list after `pause` milliseconds, unless another request begins meanwhile.
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
            let query = self.query.get_untracked().trim().to_owned();
            let renew = self.renew.get_value();
            let limit = match self.listed.with_value(|listed| *listed == query) {
                true => self.list.with_untracked(|list| how_many(list, PAGE, renew)),
                false => PAGE,
            };
            let asked = Some(query.clone()).filter(|query| !query.is_empty());
            let answer = api::list_conversations(asked, Some(limit), None).await;
            if !newest() {
                return;
            }
            match answer {
                Ok(page) => {
                    if renew {
                        self.renew.set_value(false);
                    }
                    if self.stale.get_value() {
                        self.stale.set_value(false);
                        self.problem.set(None);
                    }
                    let same = self.listed.with_value(|listed| *listed == query);
                    self.listed.set_value(query);
                    let end = self.end.get_untracked().filter(|_| same);
                    let (list, end) = self.list.with_untracked(|old| {
                        renewed(page, limit, if same { old } else { &[] }, end)
                    });
                    if self.end.get_untracked() != end {
                        self.end.set(end);
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

/// How many conversations to load for the top of the list: a page and the pinned ones, because new
/// conversations appear below them.
fn how_many(list: &[Summary], page: usize, all: bool) -> usize {
    let pinned = list.iter().take_while(|chat| chat.pinned).count();
    let listed = if all { list.len() } else { 0 };
    listed.max(pinned + page).min(RENEWED)
}

/// The end of a page of at most `limit` conversations, if more may follow.
fn end_of(page: &[Summary], limit: usize) -> Option<ListPlace> {
    page.last()
        .filter(|_| page.len() >= limit)
        .map(Summary::place)
}

/// The list with its first `limit` conversations replaced, and its end. The conversations after
/// them stay, down to the old end.
fn renewed(
    mut page: Vec<Summary>,
    limit: usize,
    old: &[Summary],
    end: Option<ListPlace>,
) -> (Vec<Summary>, Option<ListPlace>) {
    let Some(last) = end_of(&page, limit) else {
        return (page, None);
    };
    let whole = !old.is_empty() && end.is_none();
    let behind = |chat: &Summary| {
        let place = chat.place();
        place < last && (whole || end.is_some_and(|end| place >= end))
    };
    let first = page.len();
    for chat in old {
        let known = |known: &Summary| known.id == chat.id;
        if behind(chat) && !page[..first].iter().any(known) {
            // Usually at the end. A conversation that was just unpinned may be in another place.
            let place = page.partition_point(|before| before.place() > chat.place());
            // If an answer were still being written in it, it would be at the top.
            let running = false;
            page.insert(
                place,
                Summary {
                    running,
                    ..chat.clone()
                },
            );
        }
    }
    let end = match whole {
        true => None,
        false => Some(end.map_or(last, |end| end.min(last))),
    };
    (page, end)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may fail by panic")]
mod tests;
