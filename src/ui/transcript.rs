//! The messages, oldest first.

use super::{answer::AnswerTurn, question::Question};
use crate::{
    chat::Role,
    client::store::{Chat, MessageView},
};
use leptos::prelude::*;

/// One article for each message. Articles are kept while messages come and go around them.
#[component]
pub(super) fn Transcript() -> impl IntoView {
    let chat = expect_context::<Chat>();
    view! {
        <For each=move || chat.messages.get() key=|message| message.id let:message>
            {turn(message)}
        </For>
    }
    .into_any()
}

fn turn(message: MessageView) -> AnyView {
    match message.role {
        Role::User => view! { <Question message/> }.into_any(),
        Role::Assistant => view! { <AnswerTurn message/> }.into_any(),
    }
}
