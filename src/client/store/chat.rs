//! The conversation on the screen, and how it is replaced without flicker.

use super::{
    Chat, Inner, Link, MessageOwners, MessageView, Problem, Queued, live, retry::with_retries,
};
use crate::{api, browser};
use headwater_protocol::{
    ConversationId, ErrorCode, MessageId, RunId,
    chat::{Conversation, Message, Role},
};
use leptos::prelude::*;

/// Milliseconds after which the signals of a removed message are disposed of. No view reads them
/// any more by then.
const DISPOSE_AFTER_MS: u32 = 1_000;

impl Chat {
    /// An empty chat. Its signals belong to the current owner.
    #[expect(
        clippy::new_without_default,
        reason = "it needs a reactive owner, so it is never implicit"
    )]
    pub fn new() -> Self {
        let messages = RwSignal::new(Vec::<MessageView>::new());
        let chat = Self {
            id: RwSignal::new(None),
            title: RwSignal::new(String::new()),
            model: RwSignal::new(None),
            settings: RwSignal::new(String::new()),
            messages,
            link: RwSignal::new(Link::Idle),
            queue: RwSignal::new(Vec::new()),
            images: RwSignal::new(Vec::new()),
            uploading: RwSignal::new(0),
            problem: RwSignal::new(None),
            notice: RwSignal::new(None),
            sending: RwSignal::new(false),
            covered: RwSignal::new(false),
            is_running: Memo::new(move |_| {
                let last = messages.with(|messages| messages.last().copied());
                last.is_some_and(|last| {
                    last.state
                        .with(|state| state.run.is_some() && state.status.is_none())
                })
            }),
            inner: StoredValue::new(Inner {
                owners: MessageOwners::new(),
                pending: None,
                edition: 0,
                screen: 0,
                unconfirmed: false,
                hydrated: false,
                fetching: false,
            }),
            live: StoredValue::new(Default::default()),
        };
        live::listen(chat);
        chat
    }

    /// Shows a conversation. Messages on the screen keep their views, and an answer that has been
    /// followed further than the given one is left alone.
    pub fn show(self, conversation: Conversation) {
        let same = self.id.get_untracked() == Some(conversation.id);
        let followed = self.messages.with_untracked(|messages| {
            messages
                .iter()
                .find(|view| view.running().is_some())
                .map(|view| view.id)
        });
        let known = |id| conversation.messages.iter().any(|message| message.id == id);
        if same && followed.is_some_and(|id| !known(id)) {
            // The conversation was loaded before the answer began, or another branch has been
            // chosen since. Only the server knows which.
            self.reload();
        } else {
            self.present(conversation);
        }
    }

    /// Begins a new conversation.
    pub fn clear(self) {
        self.turn_to(None);
        self.title.set(String::new());
        self.settings.set(String::new());
        self.set_messages(Vec::new());
        self.follow_if_hydrated();
    }

    /// Loads the conversation again and shows it.
    pub fn reload(self) {
        let Some(id) = self.id.get_untracked() else {
            return;
        };
        let edition = self.edition();
        browser::spawn(async move {
            let loaded = with_retries(4, || api::load_conversation(id, None, None)).await;
            if self.edition_or_gone() != Some(edition) {
                return;
            }
            match loaded {
                Ok(conversation) => self.present(conversation),
                // The screen is still right. The status line and the next command say that the
                // server cannot be reached.
                Err(error) if error.code == ErrorCode::Connection => {}
                Err(error) => self.problem.set(Some(Problem { error, text: None })),
            }
        });
    }

    /// Follows the answer that is being written, if there is one. Call it in an `Effect`, so that
    /// it runs in the browser only and after hydration.
    pub fn follow_running(self) {
        let first = self
            .inner
            .try_update_value(|inner| !std::mem::replace(&mut inner.hydrated, true));
        if first == Some(true) && self.queue.with_untracked(Vec::is_empty) {
            self.queue.set(self.stored_queue());
        }
        live::follow(self);
    }

    /// Whether one of the answers on the screen is of this run.
    pub fn has(self, run: RunId) -> bool {
        let is_of = |view: &MessageView| view.state.with_untracked(|state| state.run == Some(run));
        self.messages
            .with_untracked(|messages| messages.iter().any(is_of))
    }

    /// Whether an answer is being written. Tracked.
    pub fn running(self) -> bool {
        self.is_running.get()
    }

    /// The last message on the screen. Tracked.
    pub fn head(self) -> Option<MessageView> {
        self.messages.with(|messages| messages.last().copied())
    }

    /// Removes the problem from the screen.
    pub fn dismiss_problem(self) {
        self.problem.set(None);
    }

    /// Shows a conversation that is known to be at least as recent as the screen.
    pub(super) fn present(self, conversation: Conversation) {
        if self.id.get_untracked() != Some(conversation.id) {
            self.turn_to(Some(conversation.id));
            self.model.set(conversation.model);
        }
        if self
            .title
            .with_untracked(|title| *title != conversation.title)
        {
            self.title.set(conversation.title);
        }
        let settings = super::commands::json(conversation.settings);
        if self.settings.with_untracked(|known| *known != settings) {
            self.settings.set(settings);
        }
        // Earlier messages stay, because the ancestors of a message never change.
        let first = conversation.messages.first();
        let mut views = self.shown_to(first.and_then(|message| message.parent));
        for message in conversation.messages {
            views.push(match self.view(message.id) {
                Some(mut view) => {
                    view.update(message);
                    view
                }
                None => self.make(message),
            });
        }
        let pending = self.inner.try_update_value(|inner| {
            inner.unconfirmed = false;
            inner.pending
        });
        views.extend(pending.flatten());
        self.set_messages(views);
        self.follow_if_hydrated();
    }

    /// The messages on the screen up to `last`. Empty if it is not on the screen.
    fn shown_to(self, last: Option<MessageId>) -> Vec<MessageView> {
        self.messages.with_untracked(|messages| {
            let at = messages.iter().position(|view| Some(view.id) == last);
            at.map_or_else(Vec::new, |at| messages[..=at].to_vec())
        })
    }

    /// Whether there are messages before the first one on the screen. Tracked.
    pub fn has_earlier(self) -> bool {
        self.messages
            .with(|messages| messages.first().is_some_and(|first| first.parent.is_some()))
    }

    /// Loads some of the messages before the first one on the screen, if there are any.
    pub fn show_earlier(self) {
        let first = self
            .messages
            .with_untracked(|messages| messages.first().copied());
        let (Some(id), Some(first)) = (self.id.get_untracked(), first) else {
            return;
        };
        let busy = |inner: &mut Inner| std::mem::replace(&mut inner.fetching, true);
        if first.parent.is_none() || self.inner.try_update_value(busy) != Some(false) {
            return;
        }
        browser::spawn(async move {
            let loaded = api::load_conversation(id, Some(first.id), None).await;
            if self.screen().is_none() {
                return;
            }
            self.inner.update_value(|inner| inner.fetching = false);
            let shown = self.messages.get_untracked();
            if shown.first() != Some(&first) {
                return;
            }
            match loaded {
                Ok(earlier) => {
                    let views = earlier
                        .messages
                        .into_iter()
                        .map(|message| self.make(message));
                    self.set_messages(views.chain(shown).collect());
                }
                Err(api::ApiError(error)) => {
                    self.problem.set(Some(Problem { error, text: None }));
                }
            }
        });
    }

    /// Empties the screen for another conversation.
    fn turn_to(self, id: Option<ConversationId>) {
        self.inner.update_value(|inner| {
            inner.pending = None;
            inner.edition += 1;
            inner.screen += 1;
        });
        self.id.set(id);
        self.problem.set(None);
        self.images.set(Vec::new());
        self.uploading.set(0);
        self.notice.set(None);
        self.sending.set(false);
        if self.inner.with_value(|inner| inner.hydrated) {
            self.queue.set(self.stored_queue());
        }
    }

    fn follow_if_hydrated(self) {
        if self.inner.with_value(|inner| inner.hydrated) {
            self.follow_running();
        }
    }

    /// Puts these messages on the screen and removes the others.
    pub(super) fn set_messages(self, views: Vec<MessageView>) {
        let stay: Vec<MessageId> = views.iter().map(|view| view.id).collect();
        let same = |old: &Vec<MessageView>| old.iter().map(|view| view.id).eq(stay.iter().copied());
        if self.messages.with_untracked(same) {
            // The rows are the same; only data that commands look up may have changed.
            self.messages.update_untracked(|messages| *messages = views);
            return;
        }
        self.messages.set(views);
        let stay: std::collections::HashSet<MessageId> = stay.into_iter().collect();
        let gone = self
            .inner
            .try_update_value(|inner| inner.owners.remove(|id| stay.contains(&id)));
        let gone = gone.unwrap_or_default();
        if !gone.is_empty() {
            browser::spawn(async move {
                browser::sleep(DISPOSE_AFTER_MS).await;
                drop(gone);
            });
        }
    }

    /// A view of a message that is not on the screen yet.
    pub(super) fn make(self, message: Message) -> MessageView {
        let owner = self
            .inner
            .try_update_value(|inner| inner.owners.add(message.id));
        match owner {
            Some(owner) => owner.with(|| MessageView::new(message)),
            None => MessageView::new(message),
        }
    }

    /// A view of a person's message that the server does not know yet.
    pub(super) fn make_pending(self, parent: Option<MessageId>, message: &Queued) -> MessageView {
        let id = MessageId(browser::random_id());
        let view = self.make(Message {
            id,
            parent,
            role: Role::User,
            created: browser::now(),
            text: message.text.clone(),
            images: message.images.clone(),
            answers: Vec::new(),
            branches: vec![id],
        });
        self.inner.update_value(|inner| inner.pending = Some(view));
        view
    }

    /// A message on the screen.
    pub(super) fn view(self, id: MessageId) -> Option<MessageView> {
        self.messages
            .with_untracked(|messages| messages.iter().find(|view| view.id == id).copied())
    }

    /// The message that is being written.
    pub(super) fn running_view(self) -> Option<MessageView> {
        let last = self
            .messages
            .with_untracked(|messages| messages.last().copied());
        last.filter(|last| last.running().is_some())
    }

    /// See [`Inner::edition`].
    pub(super) fn edition(self) -> u64 {
        self.inner.with_value(|inner| inner.edition)
    }

    /// The edition; `None` if the chat itself is gone.
    pub(super) fn edition_or_gone(self) -> Option<u64> {
        self.inner.try_with_value(|inner| inner.edition)
    }

    /// Makes all loads in progress out of date.
    pub(super) fn next_edition(self) {
        self.inner.update_value(|inner| {
            inner.edition += 1;
            inner.pending = None;
        });
    }

    /// See [`Inner::screen`]; `None` if the chat itself is gone.
    pub(super) fn screen(self) -> Option<u64> {
        self.inner.try_with_value(|inner| inner.screen)
    }
}
