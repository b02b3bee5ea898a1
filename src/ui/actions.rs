//! What can be done with an answer.

use super::{
    browser,
    icon::{Icon, icon},
    layout::Frame,
    menu::menu,
    page::Desk,
};
use crate::{
    client::store::{Chat, MessageView},
    protocol::{FinishReason, Status},
};
use leptos::prelude::*;
use std::time::Duration;

/// A button that puts `text` into the clipboard and says so for a moment.
pub(super) fn copy_button(text: impl Fn() -> String + Send + Sync + 'static) -> AnyView {
    let desk = expect_context::<Desk>();
    let done = RwSignal::new(false);
    view! {
        <button
            type="button"
            class="quiet"
            class:done=move || done.get()
            aria-label="Copy"
            title=move || if done.get() { "Copied" } else { "Copy" }
            on:click=move |_| {
                browser::copy(&text());
                done.set(true);
                desk.say.set("Copied".to_owned());
                set_timeout(
                    move || {
                        done.try_set(false);
                    },
                    Duration::from_millis(1600),
                );
            }
        >
            {move || icon(if done.get() { Icon::Tick } else { Icon::Copy })}
        </button>
    }
    .into_any()
}

/// What to do again, or to go on with.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Deed {
    /// Another answer beside this one.
    Again,
    /// The same answer, from where it broke off.
    Onward,
}

/// A menu of the models to do it with; nothing where there is no choice.
pub(super) fn other_models(message: MessageView, deed: Deed, words: bool) -> impl IntoView {
    let chat = expect_context::<Chat>();
    let frame = expect_context::<Frame>();
    let id = match deed {
        Deed::Again => format!("again-{}", message.id),
        Deed::Onward => format!("onward-{}", message.id),
    };
    move || {
        let models = frame.catalog.with(|catalog| catalog.models.clone());
        if models.len() < 2 {
            return None;
        }
        let hide = id.clone();
        let items = models
            .into_iter()
            .map(|model| {
                let chosen = model.id;
                view! {
                    <button
                        type="button"
                        popovertarget=hide.clone()
                        popovertargetaction="hide"
                        on:click=move |_| match deed {
                            Deed::Again => chat.retry(message.id, Some(chosen.clone())),
                            Deed::Onward => chat.continue_answer(message.id, Some(chosen.clone())),
                        }
                    >
                        <span>{model.name}</span>
                        <small>{model.provider}</small>
                    </button>
                }
            })
            .collect_view()
            .into_any();
        Some(menu(id.clone(), "Another model", Icon::Fork, words, items))
    }
}

/// Copy, and where the answer is the last one: again, with another model, onward.
#[component]
pub(super) fn AnswerActions(message: MessageView) -> impl IntoView {
    let chat = expect_context::<Chat>();
    let desk = expect_context::<Desk>();
    let broke_off = Memo::new(move |_| {
        message.state.with(|state| {
            let long = state
                .finish
                .as_ref()
                .is_some_and(|f| f.reason == FinishReason::Length);
            state.words > 0
                && (state.status == Some(Status::Cancelled)
                    || state.status == Some(Status::Ok) && long)
        })
    });
    let last = Memo::new(move |_| desk.head.get() == Some(message.id));
    view! {
        {copy_button(move || message.with_body(|body| {
            body.answers.iter().map(crate::chat::Answer::visible_text).collect()
        }))}
        <button
            type="button"
            class="quiet"
            aria-label="Regenerate"
            title="Regenerate"
            on:click=move |_| chat.retry(message.id, None)
        >
            {icon(Icon::Again)}
        </button>
        {other_models(message, Deed::Again, false)}
        <Show when=move || last.get() && broke_off.get()>
            <button
                type="button"
                class="button small"
                on:click=move |_| chat.continue_answer(message.id, None)
            >
                {icon(Icon::Onward)}
                "Continue"
            </button>
        </Show>
    }
    .into_any()
}
