//! The model's reasoning, collapsed.

use super::{
    growing::{escaped, follow},
    live::{text, when},
    words,
};
use crate::client::store::MessageView;
use leptos::{html, prelude::*};

/// Shown if the answer has reasoning.
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

/// The text of the reasoning. It is plain text and not rendered as Markdown.
#[component]
fn Thoughts(message: MessageView) -> impl IntoView {
    let root: NodeRef<html::Div> = NodeRef::new();
    let text = message.with_body(|body| body.reasoning.clone());
    let element = move || root.get().map(|root| root.into());
    follow(message, element, text.len(), |body, show| {
        show(&body.reasoning);
    });
    view! { <div class="thoughts" dir="auto" tabindex="0" node_ref=root inner_html=escaped(&text)></div> }
        .into_any()
}
