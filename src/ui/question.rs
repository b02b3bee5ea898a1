//! A message of the person, with its editor.

use super::{
    actions::copy_button,
    attach::message_images,
    branches::Branches,
    button::{quiet_with, worded},
    icon::Icon,
    live::{click, flag, part},
};
use crate::{
    browser,
    client::store::{Chat, MessageView},
};
use leptos::{html, prelude::*};

/// A message of the person. Editing it makes another branch; nothing is overwritten.
#[component]
pub(super) fn Question(message: MessageView) -> impl IntoView {
    let editing = RwSignal::new(false);
    let edit_id = format!("edit-{}", message.id);
    let button_id = edit_id.clone();
    view! {
        <article class="turn you" class:editing=flag(move || editing.get()) aria-label="You">
            <h2 class="vh" aria-label="You"></h2>
            {part(move || {
                if editing.get() {
                    view! { <Editor message editing button=button_id.clone()/> }.into_any()
                } else {
                    view! {
                        {message_images(message.images)}
                        <div class="said" dir="auto">{message.text}</div>
                    }
                    .into_any()
                }
            })}
            <div class="actions">
                <Branches message/>
                {copy_button(move || message.text.get_untracked())}
                {quiet_with(Some(edit_id), "Edit", Icon::Edit, true, click(move || editing.set(true)))}
            </div>
        </article>
    }
    .into_any()
}

#[component]
fn Editor(message: MessageView, editing: RwSignal<bool>, button: String) -> impl IntoView {
    let chat = expect_context::<Chat>();
    let area: NodeRef<html::Textarea> = NodeRef::new();
    Effect::new(move |_| {
        if let Some(area) = area.get() {
            browser::fit(&area);
            let _ = area.focus();
            let end = area.value().encode_utf16().count() as u32;
            let _ = area.set_selection_range(end, end);
        }
    });
    let close = StoredValue::new(move || {
        editing.set(false);
        let button = button.clone();
        request_animation_frame(move || browser::focus(&button));
    });
    let submit = move || {
        let Some(area) = area.get_untracked() else {
            return;
        };
        let text = area.value();
        if !text.trim().is_empty() {
            close.with_value(|close| close());
            chat.edit(message.id, text);
        }
    };
    view! {
        <form
            class="editor"
            on:submit=move |event| {
                event.prevent_default();
                submit();
            }
        >
            <textarea
                node_ref=area
                rows="2"
                dir="auto"
                aria-label="New wording"
                on:input=move |event| browser::fit(&event_target(&event))
                on:keydown=move |event| {
                    if event.key() == "Escape" {
                        event.prevent_default();
                        close.with_value(|close| close());
                    } else if event.key() == "Enter" && !event.shift_key() {
                        event.prevent_default();
                        submit();
                    }
                }
            >
                {message.text.get_untracked()}
            </textarea>
            <div class="row">
                <p class="hint">"Makes another version. The old one stays."</p>
                {worded("button", None, "Cancel", move || close.with_value(|close| close()))}
                <button type="submit" class="button main">
                    "Ask again"
                </button>
            </div>
        </form>
    }
    .into_any()
}
