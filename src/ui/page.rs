//! The page of one chat: its title, transcript, status and composer.

use super::{
    announcer::Announcer,
    button::{link, quiet_with},
    clock,
    composer::Composer,
    context::{LayoutContext, PageContext},
    icon::{Icon, icon},
    live::{click, flag, part, text, when, word},
    providers::Providers,
    scroll::Scroll,
    settings::{SettingsDialog, SettingsForm},
    status::StatusLine,
    transcript::Transcript,
    welcome::Welcome,
};
use crate::{
    base, browser,
    client::store::{Chat, Chats},
};
use leptos::{ev, prelude::*};
use leptos_meta::Title;

/// One chat, new or old.
#[component]
pub(super) fn Page() -> impl IntoView {
    let chat = expect_context::<Chat>();
    let chats = expect_context::<Chats>();
    let layout = expect_context::<LayoutContext>();
    let running = Memo::new(move |_| chat.running());
    let page = PageContext {
        head: Memo::new(move |_| chat.head().map(|message| message.id)),
        running,
        now: clock::ticking(running),
        scroll: Scroll::new(chat, running),
        say: RwSignal::new(String::new()),
    };
    provide_context(page);
    let fresh = Memo::new(move |_| {
        chat.messages.with(Vec::is_empty)
            && layout.missing.with(Option::is_none)
            && !layout.loading.get()
    });

    // What the server sent is on the page; from here on it is followed.
    let behind = Memo::new(move |_| layout.inspected().is_some());
    Effect::new(move |_| {
        chat.covered.set(behind.get());
        untrack(|| chat.follow_running());
    });
    // The sidebar tells of what has changed: a new chat, its name, an answer that began or ended.
    // Its end also told something about its provider.
    let listed = Memo::new(move |_| (chat.id.get(), chat.title.get(), running.get()));
    Effect::new(move |before: Option<()>| {
        listed.track();
        if before.is_some() {
            untrack(|| {
                chats.refresh();
                if !running.get() {
                    layout.reload();
                }
            });
        }
    });
    let keys = window_event_listener(ev::keydown, move |event| {
        let ours = event.key() == "Escape" && !event.default_prevented();
        let covered = behind.get_untracked() || browser::is_covered();
        if ours && running.get_untracked() && !covered {
            event.prevent_default();
            chat.stop();
        }
    });
    on_cleanup(move || keys.remove());

    let form = SettingsForm::new(chat);
    let scroller = page.scroll.scroller;
    let column = page.scroll.column;
    let title = Memo::new(move |_| chat.title.get());
    // The server writes the title into the head when the page is done, and outside of its signals:
    // it must be text by then.
    #[cfg(feature = "ssr")]
    let named = title.get_untracked();
    #[cfg(not(feature = "ssr"))]
    let named = move || title.get();
    view! {
        <Title text=named/>
        <main
            class="page"
            class:fresh=flag(move || fresh.get())
            class:behind=flag(move || behind.get())
            inert=flag(move || layout.drawer.get() || behind.get())
        >
            <Head title form/>
            <div
                id="scroller"
                class="scroller"
                class:waiting=flag(move || layout.loading.get())
                role="log"
                aria-label="Conversation"
                aria-live="off"
                aria-busy=word(move || running.get())
                tabindex="0"
                node_ref=scroller
                on:scroll=move |_| page.scroll.moved()
            >
                <div class="column" node_ref=column>
                    {when(move || fresh.get(), || view! { <Welcome/> }.into_any())}
                    {part(move || {
                        let error = layout.missing.get();
                        error.map(|error| view! { <Missing text=error.message/> }).into_any()
                    })}
                    <Transcript/>
                    <StatusLine/>
                </div>
            </div>
            <div class="dock">
                <Jump/>
                <Composer/>
            </div>
            <Announcer/>
            <SettingsDialog form/>
            <Providers/>
        </main>
    }
    .into_any()
}

/// The bar at the top.
#[component]
fn Head(title: Memo<String>, form: SettingsForm) -> impl IntoView {
    let chat = expect_context::<Chat>();
    let layout = expect_context::<LayoutContext>();
    view! {
        <header class="bar" class:set=flag(move || chat.settings.with(|json| !json.is_empty()))>
            <button
                type="button"
                class="quiet opener"
                id="sidebar-open"
                aria-label="Show conversations"
                aria-controls="sidebar"
                aria-expanded=word(move || layout.drawer.get())
                on:click=click(move || layout.open_list())
            >
                {icon(Icon::Panel)}
            </button>
            <h1 class="title" dir="auto">
                {text(move || {
                    let title = title.get();
                    if title.is_empty() { "New chat".to_owned() } else { title }
                })}
            </h1>
            {quiet_with(
                Some("sliders".to_owned()),
                "Settings of this chat",
                Icon::Sliders,
                true,
                click(move || form.open()),
            )}
            <a class="quiet again" href=base::address("/") aria-label="Begin another chat" title="New chat">
                {icon(Icon::Plus)}
            </a>
        </header>
    }
    .into_any()
}

/// Shown in place of a conversation that does not exist.
#[component]
fn Missing(text: String) -> impl IntoView {
    view! {
        <div class="missing">
            <h2>"There is nothing to show here"</h2>
            <p>{text}</p>
            <p>
                {link("button", None, "Begin a new chat", "/")}
            </p>
        </div>
    }
    .into_any()
}

/// The button that scrolls to the end.
#[component]
fn Jump() -> impl IntoView {
    let page = expect_context::<PageContext>();
    let away = page.scroll.away;
    view! {
        <button
            type="button"
            class="jump"
            class:on=flag(move || away.get())
            on:click=click(move || page.scroll.to_end())
        >
            {icon(Icon::Down)}
            "Jump to latest"
        </button>
    }
    .into_any()
}
