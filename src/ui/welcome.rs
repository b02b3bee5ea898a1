//! The beginning of a chat: who will answer, and four things to ask.

use super::{icon::mark, layout::Frame, page::Desk, picker};
use crate::client::store::Chat;
use leptos::prelude::*;

/// Such as a model of 135 million parameters manages.
const EXAMPLES: [&str; 4] = [
    "Write a short story about a river.",
    "What is the capital of France?",
    "Explain recursion to a child.",
    "List five ideas for a rainy Sunday.",
];

/// Shown while a chat has no messages.
#[component]
pub(super) fn Welcome() -> impl IntoView {
    let chat = expect_context::<Chat>();
    let frame = expect_context::<Frame>();
    let desk = expect_context::<Desk>();
    let model = Memo::new(move |_| {
        frame.catalog.with(|catalog| {
            let id = picker::chosen(chat, catalog);
            let note = catalog.models.iter().find(|model| model.id == id);
            (picker::name(catalog, &id), note.and_then(|model| model.note.clone()))
        })
    });
    let examples = EXAMPLES
        .into_iter()
        .map(|text| {
            view! {
                <li>
                    <button
                        type="submit"
                        name="text"
                        value=text
                        on:click=move |event| {
                            event.prevent_default();
                            desk.scroll.to_end();
                            chat.send(text.to_owned());
                        }
                    >
                        {text}
                    </button>
                </li>
            }
        })
        .collect_view();
    view! {
        <section class="welcome" aria-labelledby="welcome-title">
            {mark()}
            <h2 id="welcome-title">
                {move || {
                    let (name, _) = model.get();
                    if name.is_empty() { "No model is connected".to_owned() } else { name }
                }}
            </h2>
            {move || frame.catalog.with(advice)}
            <form action="/api/runs/start" method="post">
                <ul class="examples">{examples}</ul>
            </form>
            {move || {
                frame.catalog.with(|catalog| {
                    catalog
                        .problems
                        .iter()
                        .map(|problem| view! { <p class="hint bad">{problem.clone()}</p> })
                        .collect_view()
                })
            }}
        </section>
    }
}

/// How to get a better model, where only the built-in one is there.
fn advice(catalog: &crate::api::Catalog) -> impl IntoView + use<> {
    (catalog.only_builtin || catalog.models.is_empty()).then(|| {
        let first = if catalog.models.is_empty() {
            ""
        } else {
            "A small model that runs inside this server: quick, private, and often wrong. "
        };
        view! {
            <p class="advice">
                {first} "To connect a larger one, set " <code>"OPENAI_API_KEY"</code> " or "
                <code>"HEADWATER_PROVIDER_URL"</code> " and restart."
            </p>
        }
    })
}
