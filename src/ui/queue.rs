//! Messages that wait for the answer before them.

use super::{
    icon::{Icon, icon},
    page::Desk,
};
use crate::client::store::Chat;
use leptos::prelude::*;

/// What waits, oldest first. Each can be taken back into the text field.
#[component]
pub(super) fn Queue(give_back: Callback<String>) -> impl IntoView {
    let chat = expect_context::<Chat>();
    let desk = expect_context::<Desk>();
    let any = Memo::new(move |_| chat.queue.with(|queue| !queue.is_empty()));
    view! {
        <Show when=move || any.get()>
            <section class="queue" aria-label="Waiting to be sent">
                <ul>
                    <For each=move || chat.queue.get() key=|queued| queued.client_id.clone() let:queued>
                        <li>
                            <span class="text">{queued.text}</span>
                            <button
                                type="button"
                                class="quiet"
                                aria-label="Take back"
                                title="Take back"
                                on:click=move |_| {
                                    if let Some(text) = chat.unqueue(&queued.client_id) {
                                        give_back.run(text);
                                    }
                                }
                            >
                                {icon(Icon::Close)}
                            </button>
                        </li>
                    </For>
                </ul>
                {move || {
                    if desk.running.get() {
                        view! { <p class="hint">"Waits until this answer has ended."</p> }.into_any()
                    } else {
                        view! {
                            <button type="button" class="button small" on:click=move |_| chat.send_queued()>
                                "Go on with these"
                            </button>
                        }
                            .into_any()
                    }
                }}
            </section>
        </Show>
    }
    .into_any()
}
