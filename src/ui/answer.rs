//! An answer: a note on trimmed context, the reasoning, the text, the failure and the receipt.

use super::{
    actions::AnswerActions,
    attach::message_images,
    body::AnswerBody,
    branches::Branches,
    context::PageContext,
    failure::Failure,
    live::{flag, when, word},
    reasoning::Reasoning,
    receipt::Receipt,
    tools::ToolCards,
    words,
};
use crate::client::store::{AnswerState, MessageView};
use leptos::prelude::*;

/// The assistant's message.
#[component]
pub(super) fn AnswerTurn(message: MessageView) -> impl IntoView {
    let page = expect_context::<PageContext>();
    let running = Memo::new(move |_| message.state.with(is_running));
    let trimmed = Memo::new(move |_| message.state.with(|state| state.trimmed));
    // Before the first word, nothing else on the page moves.
    let blank = Memo::new(move |_| {
        message
            .state
            .with(|state| is_running(state) && state.words == 0 && !state.thinking)
    });
    let live = Memo::new(move |_| running.get() && page.head.get() == Some(message.id));
    view! {
        <article
            class="turn answer"
            class:running=flag(move || live.get())
            aria-label="Assistant"
            aria-busy=word(move || live.get())
        >
            <h2 class="vh" aria-label="Assistant"></h2>
            {when(
                move || trimmed.get() > 0,
                move || view! { <p class="trimmed">{left_out(trimmed.get())}</p> }.into_any(),
            )}
            <Reasoning message/>
            <ToolCards message/>
            <AnswerBody message live/>
            {message_images(message.images)}
            {when(move || blank.get() && live.get(), ripple)}
            <Failure message/>
            <footer class="foot">
                <div class="actions">
                    <AnswerActions message/>
                    <Branches message/>
                </div>
                <Receipt message/>
            </footer>
        </article>
    }
    .into_any()
}

fn ripple() -> AnyView {
    view! {
        <div class="wave" aria-hidden="true">
            <i></i>
            <i></i>
            <i></i>
        </div>
    }
    .into_any()
}

fn is_running(state: &AnswerState) -> bool {
    state.run.is_some() && state.status.is_none()
}

fn left_out(messages: u32) -> String {
    let what = match messages {
        1 => "The oldest message".to_owned(),
        n => format!("The {} oldest messages", words::count(n.into())),
    };
    let (verb, was) = if messages == 1 {
        (" did not fit", " and was")
    } else {
        (" did not fit", " and were")
    };
    [&what, verb, " into the model's context", was, " left out."].concat()
}

#[cfg(test)]
mod tests {
    use super::left_out;

    #[test]
    fn says_how_many_were_left_out() {
        assert_eq!(
            left_out(4),
            "The 4 oldest messages did not fit into the model's context and were left out."
        );
        assert_eq!(
            left_out(1),
            "The oldest message did not fit into the model's context and was left out."
        );
    }
}
