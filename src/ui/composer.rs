//! The form in which the person writes. It works without script.

use super::{
    attach::{attach, attach_button, attached},
    button::{quiet, worded},
    context::{LayoutContext, PageContext, Place},
    icon::{Icon, icon},
    live::{click, flag, part, text, when},
    picker::Picker,
    queue::Queue,
    words,
};
use crate::{base, browser, client::store::Chat};
use headwater_protocol::{ErrorCode, MAX_TEXT_BYTES};
use leptos::{ev, html, prelude::*};

/// The key of a chat's draft in the browser's local storage.
fn draft_key(place: Place) -> Option<String> {
    match place {
        Place::New => Some("draft.new".to_owned()),
        Place::Chat(id) => Some(format!("draft.{id}")),
        Place::Run(_) | Place::Nowhere => None,
    }
}

/// The longest draft that is stored, in bytes.
const LONGEST_DRAFT: usize = 100_000;

fn keep_draft(place: Place, text: &str) {
    let Some(key) = draft_key(place) else { return };
    if text.trim().is_empty() {
        browser::forget(&key);
    } else if text.len() <= LONGEST_DRAFT {
        browser::save(&key, text);
    }
}

/// The text field with its buttons.
///
/// The value of the field belongs to the browser and is read when it is needed. So text that was
/// typed before hydration stays.
#[component]
pub(super) fn Composer() -> impl IntoView {
    let chat = expect_context::<Chat>();
    let layout = expect_context::<LayoutContext>();
    let page = expect_context::<PageContext>();
    let area: NodeRef<html::Textarea> = NodeRef::new();
    let any = RwSignal::new(false);
    let too_long = RwSignal::new(None::<usize>);

    let look = move || {
        let Some(area) = area.get_untracked() else {
            return;
        };
        let text = area.value();
        let any_image = chat.images.with_untracked(|images| !images.is_empty());
        any.set(any_image || !text.trim().is_empty());
        too_long.set((text.len() > MAX_TEXT_BYTES).then_some(text.len()));
        browser::fit(&area);
    };
    let fill = move |text: &str| {
        if let Some(area) = area.get_untracked() {
            area.set_value(text);
            look();
        }
    };
    // Returned text is joined with what has been typed since: before it what could not be
    // sent, after it what was taken out of the queue.
    let give_back = move |text: String, first: bool| {
        let typed = area
            .get_untracked()
            .map(|area| area.value())
            .unwrap_or_default();
        let both = match (typed.trim().is_empty(), first) {
            (true, _) => text,
            (false, true) => [&text, "\n\n", &typed].concat(),
            (false, false) => [&typed, "\n\n", &text].concat(),
        };
        fill(&both);
        keep_draft(layout.place.get_untracked(), &both);
        browser::focus("message");
    };
    let submit = move || {
        let Some(field) = area.get_untracked() else {
            return;
        };
        let text = field.value();
        let any_image = chat.images.with_untracked(|images| !images.is_empty());
        let coming = chat.uploading.get_untracked() > 0;
        if coming || (text.trim().is_empty() && !any_image) || text.len() > MAX_TEXT_BYTES {
            browser::focus("message");
            return;
        }
        fill("");
        chat.dismiss_problem();
        page.scroll.to_end();
        chat.send(text);
        if !browser::is_touch() {
            browser::focus("message");
        }
    };

    // Each chat has its own draft. A new chat that gets its address stays the same chat.
    Effect::new(move |before: Option<Option<Place>>| {
        let place = layout.place.get();
        let field = area.get()?;
        match before.flatten() {
            None => {
                let stored = draft_key(place).and_then(|key| browser::load(&key));
                match stored {
                    Some(stored) if field.value().is_empty() => fill(&stored),
                    _ => {
                        look();
                        keep_draft(place, &field.value());
                    }
                }
                if browser::is_idle() && !browser::is_touch() {
                    browser::focus("message");
                }
            }
            Some(Place::New) if matches!(place, Place::Chat(id) if chat.id.get_untracked() == Some(id)) =>
            {
                browser::forget("draft.new");
                keep_draft(place, &field.value());
            }
            Some(before) if before != place => {
                fill(
                    &draft_key(place)
                        .and_then(|key| browser::load(&key))
                        .unwrap_or_default(),
                );
                if !browser::is_touch() {
                    browser::focus("message");
                }
            }
            Some(_) => {}
        }
        Some(place)
    });
    // The stored draft is removed only when the server has the text.
    Effect::new(move |before: Option<()>| {
        if !chat.sending.get()
            && before.is_some()
            && let Some(field) = area.get_untracked()
        {
            keep_draft(layout.place.get_untracked(), &field.value());
        }
    });
    Effect::new(move |_| {
        chat.images.track();
        look();
    });
    Effect::new(move |_| {
        let text = chat
            .problem
            .with(|problem| problem.as_ref().and_then(|p| p.text.clone()));
        if let Some(text) = text {
            give_back(text, true);
        }
    });

    let on_key = move |event: ev::KeyboardEvent| {
        if event.key() == "Enter" && !event.shift_key() {
            event.prevent_default();
            submit();
        }
    };
    view! {
        <Problem/>
        <Queue give_back=Callback::new(move |text| give_back(text, false))/>
        <form
            class="composer"
            class:running=flag(move || page.running.get())
            action=base::address("/api/runs/start")
            method="post"
            on:submit=move |event| {
                event.prevent_default();
                submit();
            }
            on:paste=move |event| attach(chat, browser::pasted_images(&event))
            on:dragover=move |event| attach(chat, browser::dropped_images(&event))
            on:drop=move |event| attach(chat, browser::dropped_images(&event))
        >
            {attached(chat)}
            {part(move || hidden("conversation", chat.id.get().map(|id| id.to_string())))}
            {part(move || hidden("parent", page.head.get().map(|id| id.to_string())))}
            <textarea
                id="message"
                name="text"
                dir="auto"
                node_ref=area
                rows="1"
                aria-label="Message"
                aria-describedby="message-hint"
                placeholder="Write a message"
                autocomplete="off"
                enterkeyhint="send"
                on:input=move |_| {
                    look();
                    if let Some(field) = area.get_untracked() {
                        keep_draft(layout.place.get_untracked(), &field.value());
                    }
                }
                on:keydown=on_key
            ></textarea>
            <div class="row">
                <Picker/>
                {attach_button(chat)}
                {when(move || page.running.get(), move || stop_button(chat))}
                <button
                    type="submit"
                    class="round send"
                    class:aside=flag(move || page.running.get() && !any.get())
                    aria-label="Send"
                    title=text(move || send_title(page.running.get()).to_owned())
                >
                    {icon(Icon::Send)}
                </button>
            </div>
            <p id="message-hint" class="vh">"Enter sends, Shift and Enter breaks the line, Escape stops an answer."</p>
        </form>
        {part(move || {
            let bytes = too_long.get();
            bytes.map(|bytes| view! { <p class="hint bad" role="alert">{long_text(bytes)}</p> }).into_any()
        })}
    }
    .into_any()
}

fn send_title(running: bool) -> &'static str {
    if running {
        "Send when this answer has ended"
    } else {
        "Send (Enter)"
    }
}

/// A hidden field of the form.
fn hidden(name: &'static str, value: Option<String>) -> AnyView {
    value
        .map(|value| view! { <input type="hidden" name=name value=value/> })
        .into_any()
}

fn stop_button(chat: Chat) -> AnyView {
    view! {
        <button
            type="button"
            class="round stop"
            aria-label="Stop"
            title="Stop (Esc)"
            on:click=click(move || chat.stop())
        >
            {icon(Icon::Stop)}
        </button>
    }
    .into_any()
}

fn long_text(bytes: usize) -> String {
    format!(
        "This message is {} kB long. At most {} kB can be sent.",
        words::count(bytes.div_ceil(1024) as u64),
        MAX_TEXT_BYTES / 1024
    )
}

/// Why the last command failed. The text of an unsent message is back in the field.
#[component]
fn Problem() -> impl IntoView {
    let chat = expect_context::<Chat>();
    let renew = move || {
        chat.dismiss_problem();
        chat.reload();
    };
    view! {
        {part(move || {
            let notice = chat.notice.get();
            notice.map(|notice| view! { <p class="notice" role="alert">{notice}</p> }).into_any()
        })}
        {part(move || {
            let problem = chat.problem.get();
            problem.map(|problem| {
                let stale = problem.error.code == ErrorCode::Conflict;
                view! {
                    <div class="problem" role="alert">
                        <p>{problem.error.message}</p>
                        {stale.then(|| worded("button small", None, "Show what is new", renew))}
                        {quiet("Dismiss", Icon::Close, move || chat.dismiss_problem())}
                    </div>
                }
            })
            .into_any()
        })}
    }
    .into_any()
}
