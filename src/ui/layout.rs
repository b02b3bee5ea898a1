//! The frame that stays while conversations come and go: sidebar beside page.

use super::{
    browser,
    live::{click, flag},
    page::Page,
    providers,
    sidebar::Sidebar,
};
use crate::{
    api::{ApiError, Catalog, list_conversations, list_models, load_conversation},
    chat::{Conversation, Summary},
    client::store::{Chat, Chats, PAGE},
    protocol::{ConversationId, Error, ErrorCode},
};
use leptos::{ev, prelude::*, task::spawn_local};
use leptos_router::{
    NavigateOptions,
    hooks::{use_location, use_navigate},
};
use serde::{Serialize, de::DeserializeOwned};

/// What the address asks for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// A new chat.
    New,
    /// A conversation.
    Chat(ConversationId),
    /// Nothing that there is.
    Nowhere,
}

impl Place {
    fn of(path: &str) -> Self {
        match path.trim_matches('/') {
            "" => Self::New,
            path => {
                let id = path.strip_prefix("c/").and_then(|id| id.parse().ok());
                id.map_or(Self::Nowhere, Self::Chat)
            }
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
    /// Asks how the providers do now.
    pub(super) fn renew(self) {
        spawn_local(async move {
            if let Ok(catalog) = list_models().await
                && self.catalog.try_with_untracked(|old| *old != catalog) == Some(true)
            {
                self.catalog.set(catalog);
            }
        });
    }

    /// Shows the providers and how they do.
    pub(super) fn open_providers(self) {
        self.renew();
        browser::open_dialog(providers::ID);
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
    if first == Place::Nowhere {
        set_not_found();
    }
    let conversation = handed_over(move || load(first));
    let catalog = handed_over(list_models);
    let list = handed_over(|| list_conversations(None, Some(PAGE), None));

    go_with_the_address(chat, frame);
    Effect::new(move |_| browser::watch_for_crash());
    Effect::new(move |_| browser::leave_composing_alone());
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
        <div class="app" class:drawer=flag(move || frame.drawer.get())>
            <Suspense>
                {move || Suspend::new(async move {
                    let list: Result<Vec<Summary>, ApiError> = taken(&list.await);
                    untrack(|| match list {
                        Ok(list) => chats.fill(list),
                        Err(ApiError(error)) => chats.problem.set(Some(error)),
                    });
                    view! { <Sidebar/> }
                })}
            </Suspense>
            <div class="scrim" on:click=click(move || frame.drawer.set(false))></div>
            <Suspense>
                {move || Suspend::new(async move {
                    let conversation: Result<Option<Conversation>, ApiError> = taken(&conversation.await);
                    let catalog: Result<Catalog, ApiError> = taken(&catalog.await);
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
    }
    .into_any()
}

/// What the server knows when it renders, for the browser to take over as it is.
///
/// It crosses as one string, so that the page's program reads all JSON from bytes and needs its
/// readers only once.
fn handed_over<F>(ask: impl Fn() -> F + Send + Sync + 'static) -> Resource<String>
where
    F: Future<Output: Serialize> + Send + 'static,
{
    Resource::new(
        || (),
        move |()| {
            #[cfg(feature = "ssr")]
            let asked = {
                let answer = ask();
                async move { serde_json::to_string(&answer.await).unwrap_or_default() }
            };
            // It is in the page already.
            #[cfg(not(feature = "ssr"))]
            let asked = {
                let _ = &ask;
                std::future::ready(String::new())
            };
            asked
        },
    )
}

fn taken<T: DeserializeOwned>(json: &str) -> Result<T, ApiError> {
    serde_json::from_slice(json.as_bytes()).unwrap_or_else(|_| Err(ApiError(lost())))
}

/// The page came without what it was to show.
fn lost() -> Error {
    Error::new(
        ErrorCode::Internal,
        "The page is not whole. Please load it again.",
    )
}

/// Answers 404 while the server renders.
fn set_not_found() {
    #[cfg(feature = "ssr")]
    if let Some(response) = use_context::<leptos_axum::ResponseOptions>() {
        response.set_status(axum::http::StatusCode::NOT_FOUND);
    }
}

async fn load(place: Place) -> Result<Option<Conversation>, ApiError> {
    match place {
        Place::New => Ok(None),
        Place::Chat(id) => load_conversation(id, None, None).await.map(Some),
        Place::Nowhere => Err(ApiError(Error::new(
            ErrorCode::NotFound,
            "There is nothing at this address.",
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
