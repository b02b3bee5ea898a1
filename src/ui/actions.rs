//! The buttons below an answer.

use super::{
    button::{quiet, worded},
    context::{LayoutContext, PageContext},
    icon::{Icon, icon},
    live::{click, flag, part, text, when},
    menu::{item, menu},
    picker,
};
use crate::{
    browser,
    client::store::{Chat, MessageView},
};
use headwater_protocol::{ModelInfo, Status, is_chain};
use leptos::prelude::*;
use std::time::Duration;

/// A button that copies a text and confirms it for a moment.
pub(super) fn copy_button(source: impl Fn() -> String + Send + Sync + 'static) -> AnyView {
    let page = expect_context::<PageContext>();
    let done = RwSignal::new(false);
    view! {
        <button
            type="button"
            class="quiet"
            class:done=flag(move || done.get())
            aria-label="Copy"
            title=text(move || if done.get() { "Copied" } else { "Copy" }.to_owned())
            on:click=click(move || {
                browser::copy(&source());
                done.set(true);
                page.say.set("Copied".to_owned());
                set_timeout(
                    move || {
                        done.try_set(false);
                    },
                    Duration::from_millis(1600),
                );
            })
        >
            {part(move || icon(if done.get() { Icon::Tick } else { Icon::Copy }))}
        </button>
    }
    .into_any()
}

/// What another model can do with an answer.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    /// Write another answer, as another branch.
    Regenerate,
    /// Continue the answer where it broke off.
    Continue,
}

/// A menu of the other models, if there are any. For `words`, see [`menu`].
pub(super) fn other_models(
    message: MessageView,
    action: Action,
    words: Option<&'static str>,
) -> AnyView {
    let chat = expect_context::<Chat>();
    let layout = expect_context::<LayoutContext>();
    let id = match action {
        Action::Regenerate => format!("again-{}", message.id),
        Action::Continue => format!("onward-{}", message.id),
    };
    let model = Memo::new(move |_| message.state.with(|state| state.model.clone()));
    let can = move |other: &ModelInfo| match action {
        Action::Continue => !is_chain(&other.id),
        Action::Regenerate => true,
    };
    let is_other = move |other: &ModelInfo| can(other) && model.with(|model| other.id != *model);
    let any = move || {
        layout
            .catalog
            .with(|catalog| catalog.models.iter().any(is_other))
    };
    let list = id.clone();
    let items = move || {
        let models = layout.catalog.with(|catalog| {
            let models = catalog.models.iter();
            models
                .filter(|other| is_other(other))
                .map(|model| (model.clone(), picker::label(catalog, model)))
                .collect::<Vec<_>>()
        });
        let items = models.into_iter().map(|(model, label)| {
            let chosen = model.id;
            let content = view! {
                <span>{label}</span>
                <small>{model.provider}</small>
            };
            let action = move || match action {
                Action::Regenerate => chat.retry(message.id, Some(chosen.clone())),
                Action::Continue => chat.continue_answer(message.id, Some(chosen.clone())),
            };
            item(list.clone(), "", content.into_any(), action)
        });
        items.collect_view().into_any()
    };
    when(any, move || {
        menu(
            id.clone(),
            "Another model".to_owned(),
            Icon::Fork,
            words,
            items.clone(),
        )
    })
}

/// The button that continues an answer where it broke off.
pub(super) fn continue_button(chat: Chat, message: MessageView, class: &'static str) -> AnyView {
    worded(class, Some(Icon::Continue), "Continue", move || {
        chat.continue_answer(message.id, None)
    })
}

/// Copy, regenerate, another model, and continue if the last answer is incomplete.
#[component]
pub(super) fn AnswerActions(message: MessageView) -> impl IntoView {
    let chat = expect_context::<Chat>();
    let page = expect_context::<PageContext>();
    // Below a failure the button is among its actions.
    let continues = Memo::new(move |_| {
        message.state.with(|state| {
            state.can_continue && matches!(state.status, Some(Status::Ok | Status::Cancelled))
        })
    });
    let last = Memo::new(move |_| page.head.get() == Some(message.id));
    view! {
        {copy_button(move || message.with_body(|body| {
            body.answers.iter().map(headwater_protocol::chat::Answer::visible_text).collect()
        }))}
        {quiet("Regenerate", Icon::Retry, move || chat.retry(message.id, None))}
        {other_models(message, Action::Regenerate, None)}
        {when(move || last.get() && continues.get(), move || continue_button(chat, message, "button small"))}
    }
    .into_any()
}
