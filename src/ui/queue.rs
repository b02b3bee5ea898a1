//! The queue of messages that are sent when the current answer ends.

use super::{
    button::{quiet, worded},
    context::PageContext,
    icon::Icon,
    live::{part, when},
};
use crate::client::store::{Chat, Queued};
use leptos::prelude::*;

/// The queued messages, oldest first. Each can be taken back into the text field.
#[component]
pub(super) fn Queue(give_back: Callback<String>) -> impl IntoView {
    let chat = expect_context::<Chat>();
    let page = expect_context::<PageContext>();
    let line = move |queued: Queued| {
        let take_back = move || {
            if let Some(text) = chat.unqueue(&queued.client_id) {
                give_back.run(text);
            }
        };
        view! {
            <li>
                <span class="text" dir="auto">{queued.text}</span>
                {quiet("Take back", Icon::Close, take_back)}
            </li>
        }
    };
    let list = move || {
        let lines = chat.queue.get().into_iter().map(line).collect_view();
        let end = if page.running.get() {
            view! { <p class="hint">"Waits until this answer has ended."</p> }.into_any()
        } else {
            worded("button small", None, "Go on with these", move || {
                chat.send_queued()
            })
        };
        view! {
            <section class="queue" aria-label="Waiting to be sent">
                <ul>{lines}</ul>
                {end}
            </section>
        }
        .into_any()
    };
    when(
        move || chat.queue.with(|queue| !queue.is_empty()),
        move || part(list),
    )
}
