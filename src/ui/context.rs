//! The contexts that [`layout`](super::layout) and [`page`](super::page) provide to the views below
//! them.

use super::scroll::Scroll;
use crate::{api::list_models, browser};
use headwater_protocol::{Catalog, ConversationId, Error, MessageId, RunId};
use leptos::{prelude::*, task::spawn_local};

/// The id of the dialog with the providers.
pub(super) const PROVIDERS: &str = "providers";

/// What the URL names.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// A new chat.
    New,
    /// A conversation.
    Chat(ConversationId),
    /// A run, in the inspector. Its conversation is on the page behind it.
    Run(RunId),
    /// Nothing: there is no such page.
    Nowhere,
}

impl Place {
    pub(super) fn of(path: &str) -> Self {
        match path.trim_matches('/') {
            "" => Self::New,
            path => match path.split_once('/') {
                Some(("c", id)) => id.parse().map_or(Self::Nowhere, Self::Chat),
                Some(("runs", id)) => id.parse().map_or(Self::Nowhere, Self::Run),
                _ => Self::Nowhere,
            },
        }
    }
}

/// The state that the layout shares with all views.
#[derive(Clone, Copy)]
pub(super) struct LayoutContext {
    /// What the URL names.
    pub(super) place: Memo<Place>,
    /// Whether the drawer with the conversations is open, on small screens.
    pub(super) drawer: RwSignal<bool>,
    /// Why the conversation cannot be shown.
    pub(super) missing: RwSignal<Option<Error>>,
    /// Whether the conversation is being loaded.
    pub(super) loading: RwSignal<bool>,
    /// The models to choose from.
    pub(super) catalog: RwSignal<Catalog>,
}

impl LayoutContext {
    /// The run that is inspected, if it can be.
    pub(super) fn inspected(self) -> Option<RunId> {
        match self.place.get() {
            Place::Run(run) if self.missing.with(Option::is_none) => Some(run),
            _ => None,
        }
    }

    /// Loads the models and the state of the providers again.
    pub(super) fn reload(self) {
        spawn_local(async move {
            if let Ok(catalog) = list_models().await
                && self.catalog.try_with_untracked(|old| *old != catalog) == Some(true)
            {
                self.catalog.set(catalog);
            }
        });
    }

    /// Opens the dialog with the providers.
    pub(super) fn open_providers(self) {
        self.reload();
        browser::open_dialog(PROVIDERS);
    }

    /// Shows the list of conversations: as a drawer on small screens, beside the page on others.
    pub(super) fn open_list(self) {
        if browser::is_narrow() {
            self.drawer.set(true);
        } else {
            browser::fold_sidebar(false);
        }
        browser::focus_soon("sidebar-close");
    }

    /// Hides the list of conversations.
    pub(super) fn close_list(self) {
        if browser::is_narrow() {
            self.drawer.set(false);
        } else {
            browser::fold_sidebar(true);
        }
        browser::focus_soon("sidebar-open");
    }
}

/// The state that the views of the page share.
#[derive(Clone, Copy)]
pub(super) struct PageContext {
    /// The last message.
    pub(super) head: Memo<Option<MessageId>>,
    /// Whether an answer is being written.
    pub(super) running: Memo<bool>,
    /// The time in milliseconds since 1970-01-01 UTC, updated every second while an answer is being
    /// written; 0 on the server.
    pub(super) now: ReadSignal<u64>,
    /// The scroll position in the transcript.
    pub(super) scroll: Scroll,
    /// The next sentence of the announcer.
    pub(super) say: RwSignal<String>,
}
