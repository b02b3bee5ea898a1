//! The messages, oldest first.

use super::{answer::AnswerTurn, button::worded, live::when, question::Question};
use crate::{
    browser,
    client::store::{Chat, MessageView},
};
use headwater_protocol::chat::Role;
use leptos::prelude::*;

/// One article for each message. Articles are kept when messages are added or removed around them.
#[component]
pub(super) fn Transcript() -> impl IntoView {
    let chat = expect_context::<Chat>();
    let earlier = move || {
        chat.show_earlier();
        // The button disappears when there are no more.
        browser::focus("scroller");
    };
    view! {
        {when(
            move || chat.has_earlier(),
            move || worded("button small earlier", None, "Show earlier messages", earlier),
        )}
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
