//! What the person wrote, and its editor.

use super::{
    actions::copy_button,
    branches::Branches,
    browser,
    icon::{Icon, icon},
};
use crate::client::store::{Chat, MessageView};
use leptos::{either::Either, html, prelude::*};

/// A person's message. Editing it makes another branch; nothing is overwritten.
#[component]
pub(super) fn Question(message: MessageView) -> impl IntoView {
    let editing = RwSignal::new(false);
    let edit_id = format!("edit-{}", message.id);
    let button_id = edit_id.clone();
    view! {
        <article class="turn you" class:editing=move || editing.get() aria-label="You">
            <h2 class="vh" aria-label="You"></h2>
            {move || {
                if editing.get() {
                    Either::Left(view! { <Editor message editing button=button_id.clone()/> })
                } else {
                    Either::Right(view! { <div class="said">{move || message.text.get()}</div> })
                }
            }}
            <div class="actions">
                <Branches message/>
                {copy_button(move || message.text.get_untracked())}
                <button
                    type="button"
                    class="quiet"
                    id=edit_id
                    aria-label="Edit"
                    title="Edit"
                    on:click=move |_| editing.set(true)
                >
                    {icon(Icon::Edit)}
                </button>
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
                aria-label="New wording"
                on:input=move |event| browser::fit(&event_target(&event))
                on:keydown=move |event| {
                    if event.key() == "Escape" {
                        event.prevent_default();
                        close.with_value(|close| close());
                    } else if event.key() == "Enter" && !event.shift_key() && !event.is_composing() {
                        event.prevent_default();
                        submit();
                    }
                }
            >
                {message.text.get_untracked()}
            </textarea>
            <div class="row">
                <p class="hint">"Makes another version. The old one stays."</p>
                <button type="button" class="button" on:click=move |_| close.with_value(|close| close())>
                    "Cancel"
                </button>
                <button type="submit" class="button main">
                    "Ask again"
                </button>
            </div>
        </form>
    }
    .into_any()
}
