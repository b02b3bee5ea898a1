//! The start of a chat: which model answers, and four example questions.

use super::{
    context::{LayoutContext, PageContext},
    icon::mark,
    live::{part, text},
    picker,
};
use crate::{base, client::store::Chat};
use headwater_protocol::Catalog;
use leptos::prelude::*;

/// Questions that a model of 135 million parameters can answer.
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
    let layout = expect_context::<LayoutContext>();
    let page = expect_context::<PageContext>();
    let model = Memo::new(move |_| {
        layout.catalog.with(|catalog| {
            let id = picker::chosen(chat, catalog);
            let known = catalog.models.iter().find(|model| model.id == id);
            (
                picker::name(catalog, &id),
                known.and_then(|model| model.note.clone()),
            )
        })
    });
    let examples = EXAMPLES
        .into_iter()
        .map(|example| {
            view! {
                <li>
                    <button
                        type="submit"
                        name="text"
                        value=example
                        on:click=move |event| {
                            event.prevent_default();
                            page.scroll.to_end();
                            chat.send(example.to_owned());
                        }
                    >
                        {example}
                    </button>
                </li>
            }
        })
        .collect_view();
    view! {
        <section class="welcome" aria-labelledby="welcome-title">
            {mark()}
            <h2 id="welcome-title">
                {text(move || {
                    let (name, _) = model.get();
                    if name.is_empty() { "No model is connected".to_owned() } else { name }
                })}
            </h2>
            {part(move || {
                let (_, note) = model.get();
                layout.catalog.with(|catalog| advice(catalog, note))
            })}
            <form action=base::address("/api/runs/start") method="post">
                <ul class="examples">{examples}</ul>
            </form>
            {part(move || {
                layout.catalog.with(|catalog| {
                    catalog
                        .problems()
                        .map(|problem| view! { <p class="hint bad">{problem.to_owned()}</p> })
                        .collect_view()
                        .into_any()
                })
            })}
        </section>
    }
    .into_any()
}

/// A note on the model, and how to connect a larger one if the built-in one is the only one.
fn advice(catalog: &Catalog, note: Option<String>) -> AnyView {
    if !catalog.only_builtin && !catalog.models.is_empty() {
        return note
            .map(|note| view! { <p class="advice">{note}</p> })
            .into_any();
    }
    let (first, what) = if catalog.models.is_empty() {
        ("", "a model")
    } else {
        (
            "A small demo model that runs inside this server: quick, private, and often wrong. ",
            "a larger one",
        )
    };
    view! {
        <p class="advice">
            {first} "To connect " {what} ", set " <code>"OPENAI_API_KEY"</code> " or "
            <code>"HEADWATER_PROVIDER_URL"</code> " and restart."
        </p>
    }
    .into_any()
}
