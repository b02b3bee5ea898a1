//! The layout that stays when another conversation is opened: the sidebar beside the page.

use super::{
    context::{LayoutContext, Place},
    inspector::Inspector,
    live::{click, flag, part},
    page::Page,
    sidebar::Sidebar,
};
use crate::{
    api::{ApiError, find_run, list_conversations, list_models, load_conversation},
    base, browser,
    client::store::{Chat, Chats, PAGE},
};
use headwater_protocol::{
    Catalog, ConversationId, Error, ErrorCode,
    chat::{Conversation, Summary},
};
use leptos::{ev, prelude::*, task::spawn_local};
use leptos_router::{
    NavigateOptions,
    hooks::{use_location, use_navigate},
};
use serde::{Serialize, de::DeserializeOwned};

/// Loads what the URL names, first on the server and then whenever it changes.
#[component]
pub(super) fn Layout() -> impl IntoView {
    let chat = Chat::new();
    let chats = Chats::new();
    let path = use_location().pathname;
    let layout = LayoutContext {
        place: Memo::new(move |_| path.with(|path| Place::of(base::strip(path)))),
        drawer: RwSignal::new(false),
        missing: RwSignal::new(None),
        loading: RwSignal::new(false),
        catalog: RwSignal::new(Catalog::default()),
    };
    provide_context(chat);
    provide_context(chats);
    provide_context(layout);

    let first = layout.place.get_untracked();
    if first == Place::Nowhere {
        set_not_found();
    }
    let conversation = handed_over(move || load(first));
    let catalog = handed_over(list_models);
    let list = handed_over(|| list_conversations(None, Some(PAGE), None));

    let inspected = Memo::new(move |_| layout.inspected());

    sync_with_address(chat, layout);
    Effect::new(move |_| browser::watch_for_crash());
    // The effect owns the listener.
    Effect::new(move |_| browser::ignore_composing_keys());
    let keys = window_event_listener(ev::keydown, move |event| {
        let ours = event.key() == "Escape" && !event.default_prevented();
        if ours && layout.drawer.get_untracked() && !browser::is_covered() {
            event.prevent_default();
            layout.close_list();
        }
    });
    let size = window_event_listener(ev::resize, move |_| {
        if layout.drawer.get_untracked() && !browser::is_narrow() {
            layout.drawer.set(false);
        }
    });
    on_cleanup(move || {
        keys.remove();
        size.remove();
    });

    view! {
        <a class="skip" href="#message">"Skip to the message box"</a>
        <div class="app" class:drawer=flag(move || layout.drawer.get())>
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
            <div class="scrim" on:click=click(move || layout.drawer.set(false))></div>
            <Suspense>
                {move || Suspend::new(async move {
                    let conversation: Result<Option<Conversation>, ApiError> = taken(&conversation.await);
                    let catalog: Result<Catalog, ApiError> = taken(&catalog.await);
                    untrack(|| {
                        layout.catalog.set(catalog.unwrap_or_default());
                        match conversation {
                            Ok(Some(conversation)) => chat.show(conversation),
                            Ok(None) => {}
                            Err(ApiError(error)) => {
                                set_not_found();
                                layout.missing.set(Some(error));
                            }
                        }
                    });
                    view! {
                        <Page/>
                        {part(move || {
                            let run = inspected.get();
                            run.map(|run| view! { <Inspector run/> }).into_any()
                        })}
                    }
                })}
            </Suspense>
        </div>
    }
    .into_any()
}

/// Data that the server loaded for the page and passes to the browser.
///
/// It is passed as one string of JSON, so that the browser's program needs only one deserializer.
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

/// The error of a page that came without its data.
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
        Place::Run(run) => {
            let conversation = find_run(run).await?.conversation;
            load_conversation(conversation, None, None).await.map(Some)
        }
        Place::Nowhere => Err(ApiError(Error::new(
            ErrorCode::NotFound,
            "There is nothing at this address.",
        ))),
    }
}

/// Keeps the URL and the chat in sync: a new URL loads its conversation, and a new chat gets its
/// URL with its first message. The page itself stays.
fn sync_with_address(chat: Chat, layout: LayoutContext) {
    Effect::new(move |before: Option<Place>| {
        let place = layout.place.get();
        if before.is_some_and(|before| before != place) {
            untrack(|| show(chat, layout, place));
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
        let was_shown = |gone, place| match place {
            Place::Chat(shown) => gone == shown,
            // One whose run cannot be loaded is another matter.
            Place::Run(_) => layout.missing.with_untracked(Option::is_none),
            Place::New | Place::Nowhere => false,
        };
        match (before.flatten(), id, layout.place.get_untracked()) {
            (_, Some(id), Place::New) => navigate(&format!("/c/{id}"), options),
            // It was deleted, here or in another tab.
            (Some(gone), None, place) if was_shown(gone, place) => {
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

fn show(chat: Chat, layout: LayoutContext, place: Place) {
    layout.drawer.set(false);
    layout.missing.set(None);
    layout.loading.set(false);
    let already = match place {
        Place::Chat(id) => chat.id.get() == Some(id),
        // It is the conversation of the run, if one came here from it.
        Place::Run(run) => chat.has(run),
        Place::New | Place::Nowhere => false,
    };
    if already {
        return;
    }
    if place == Place::New {
        chat.clear();
        return;
    }
    layout.loading.set(true);
    spawn_local(async move {
        let loaded = load(place).await;
        // The address has changed meanwhile.
        if layout.place.try_get_untracked() != Some(place) {
            return;
        }
        layout.loading.set(false);
        match loaded {
            Ok(Some(conversation)) => {
                chat.show(conversation);
                chat.follow_running();
            }
            Ok(None) => {}
            Err(ApiError(error)) => {
                layout.missing.set(Some(error));
                chat.clear();
            }
        }
    });
}
