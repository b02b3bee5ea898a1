//! The model's thinking, folded.

use super::{
    body::Thoughts,
    live::{text, when},
    words,
};
use crate::client::store::MessageView;
use leptos::prelude::*;

/// Shown where the model thought aloud.
#[component]
pub(super) fn Reasoning(message: MessageView) -> impl IntoView {
    let any = Memo::new(move |_| {
        message.version.track();
        message.with_body(|body| !body.reasoning.is_empty())
    });
    let label = text(move || {
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
        {when(
            move || any.get(),
            move || {
                view! {
                    <details class="reasoning">
                        <summary>{label}</summary>
                        <Thoughts message/>
                    </details>
                }
                    .into_any()
            },
        )}
    }
    .into_any()
}
