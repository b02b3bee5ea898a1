//! The frame that stays while conversations come and go: sidebar beside page.

use super::{browser, lost::set_not_found, page::Page, sidebar::Sidebar};
use crate::{
    api::{ApiError, Catalog, list_conversations, list_models, load_conversation},
    chat::Conversation,
    client::store::{Chat, Chats},
    protocol::{ConversationId, Error},
};
use leptos::{ev, prelude::*, task::spawn_local};
use leptos_router::{
    NavigateOptions,
    components::Outlet,
    hooks::{use_location, use_navigate},
};

/// What the address asks for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// A new chat.
    New,
    /// A conversation.
    Chat(ConversationId),
    /// Something that is no conversation's identifier.
    Nowhere,
}

impl Place {
    fn of(path: &str) -> Self {
        match path.trim_matches('/').strip_prefix("c/") {
            None => Self::New,
            Some(id) => id.parse().map_or(Self::Nowhere, Self::Chat),
        }
    }
}

/// What the frame shares with the things in it.
#[derive(Clone, Copy)]
pub(super) struct Frame {
    /// What the address asks for.
    pub(super) place: Memo<Place>,
    /// Whether the drawer with the conversations is open, on small screens.
    pub(super) drawer: RwSignal<bool>,
    /// Why the conversation asked for cannot be shown.
    pub(super) missing: RwSignal<Option<Error>>,
    /// The conversation asked for is on its way.
    pub(super) loading: RwSignal<bool>,
    /// The models to choose from.
    pub(super) catalog: RwSignal<Catalog>,
}

impl Frame {
    /// Shows the list of conversations: as a drawer on small screens, beside the page on others.
    pub(super) fn open_list(self) {
        if browser::is_narrow() {
            self.drawer.set(true);
        } else {
            browser::fold_sidebar(false);
        }
        browser::focus_soon("sidebar-close");
    }

    /// Takes the list away.
    pub(super) fn close_list(self) {
        if browser::is_narrow() {
            self.drawer.set(false);
        } else {
            browser::fold_sidebar(true);
        }
        browser::focus_soon("sidebar-open");
    }
}

/// Loads what the address asks for, once on the server and then whenever it changes.
#[component]
pub(super) fn Layout() -> impl IntoView {
    let chat = Chat::new();
    let chats = Chats::new();
    let path = use_location().pathname;
    let frame = Frame {
        place: Memo::new(move |_| path.with(|path| Place::of(path))),
        drawer: RwSignal::new(false),
        missing: RwSignal::new(None),
        loading: RwSignal::new(false),
        catalog: RwSignal::new(Catalog::default()),
    };
    provide_context(chat);
    provide_context(chats);
    provide_context(frame);

    let first = frame.place.get_untracked();
    let conversation = Resource::new(|| (), move |()| load(first));
    let catalog = Resource::new(|| (), |()| list_models());
    let list = Resource::new(|| (), |()| list_conversations(None));

    go_with_the_address(chat, frame);
    Effect::new(move |_| browser::watch_for_crash());
    let keys = window_event_listener(ev::keydown, move |event| {
        let ours = event.key() == "Escape" && !event.default_prevented();
        if ours && frame.drawer.get_untracked() && !browser::is_covered() {
            event.prevent_default();
            frame.close_list();
        }
    });
    let size = window_event_listener(ev::resize, move |_| {
        if frame.drawer.get_untracked() && !browser::is_narrow() {
            frame.drawer.set(false);
        }
    });
    on_cleanup(move || {
        keys.remove();
        size.remove();
    });

    view! {
        <a class="skip" href="#message">"Skip to the message box"</a>
        <div class="app" class:drawer=move || frame.drawer.get()>
            <Suspense>
                {move || Suspend::new(async move {
                    let list = list.await;
                    untrack(|| match list {
                        Ok(list) => chats.list.set(list),
                        Err(ApiError(error)) => chats.problem.set(Some(error)),
                    });
                    view! { <Sidebar/> }
                })}
            </Suspense>
            <div class="scrim" on:click=move |_| frame.drawer.set(false)></div>
            <Suspense>
                {move || Suspend::new(async move {
                    let (conversation, catalog) = (conversation.await, catalog.await);
                    untrack(|| {
                        frame.catalog.set(catalog.unwrap_or_default());
                        match conversation {
                            Ok(Some(conversation)) => chat.show(conversation),
                            Ok(None) => {}
                            Err(ApiError(error)) => {
                                set_not_found();
                                frame.missing.set(Some(error));
                            }
                        }
                    });
                    view! { <Page/> }
                })}
            </Suspense>
        </div>
        <Outlet/>
    }
    .into_any()
}

async fn load(place: Place) -> Result<Option<Conversation>, ApiError> {
    match place {
        Place::New => Ok(None),
        Place::Chat(id) => load_conversation(id).await.map(Some),
        Place::Nowhere => Err(ApiError(Error::new(
            crate::protocol::ErrorCode::NotFound,
            "There is no such conversation.",
        ))),
    }
}

/// Address and chat follow each other: a new address loads its conversation, and a new chat gets
/// its address with its first message. The page itself stays.
fn go_with_the_address(chat: Chat, frame: Frame) {
    Effect::new(move |before: Option<Place>| {
        let place = frame.place.get();
        if before.is_some_and(|before| before != place) {
            untrack(|| show(chat, frame, place));
        }
        place
    });
    let navigate = use_navigate();
    Effect::new(move |before: Option<Option<ConversationId>>| {
        let id = chat.id.get();
        let options = NavigateOptions {
            scroll: false,
            ..NavigateOptions::default()
        };
        match (before.flatten(), id, frame.place.get_untracked()) {
            (_, Some(id), Place::New) => navigate(&format!("/c/{id}"), options),
            // It was deleted, here or in another tab.
            (Some(gone), None, Place::Chat(shown)) if gone == shown => {
                navigate(
                    "/",
                    NavigateOptions {
                        replace: true,
                        ..options
                    },
                );
            }
            _ => {}
        }
        id
    });
}

fn show(chat: Chat, frame: Frame, place: Place) {
    frame.drawer.set(false);
    frame.missing.set(None);
    frame.loading.set(false);
    let already = match place {
        Place::Chat(id) => chat.id.get() == Some(id),
        Place::New | Place::Nowhere => false,
    };
    if already {
        return;
    }
    if place == Place::New {
        chat.clear();
        return;
    }
    frame.loading.set(true);
    spawn_local(async move {
        let loaded = load(place).await;
        // Whoever has gone on meanwhile does not want this one any more.
        if frame.place.try_get_untracked() != Some(place) {
            return;
        }
        frame.loading.set(false);
        match loaded {
            Ok(Some(conversation)) => {
                chat.show(conversation);
                chat.follow_running();
            }
            Ok(None) => {}
            Err(ApiError(error)) => {
                chat.clear();
                frame.missing.set(Some(error));
            }
        }
    });
}
