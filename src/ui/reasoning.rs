//! The model's thinking, folded.

use super::{body::Thoughts, words};
use crate::client::store::MessageView;
use leptos::prelude::*;

/// Shown where the model thought aloud.
#[component]
pub(super) fn Reasoning(message: MessageView) -> impl IntoView {
    let any = Memo::new(move |_| {
        message.version.track();
        message.with_body(|body| !body.reasoning.is_empty())
    });
    let label = Memo::new(move |_| {
        message.state.with(|state| {
            if state.thinking && state.status.is_none() {
                return "Thinking…".to_owned();
            }
            let time = state
                .timing
                .and_then(|timing| timing.first_token?.checked_sub(timing.first_chunk?))
                .filter(|ms| *ms >= 1_000);
            match time {
                Some(ms) => ["Thought for ", &words::elapsed(ms)].concat(),
                None => "Thought".to_owned(),
            }
        })
    });
    view! {
        <Show when=move || any.get()>
            <details class="reasoning">
                <summary>{move || label.get()}</summary>
                <Thoughts message/>
            </details>
        </Show>
    }
    .into_any()
}
