//! The failure of an answer, below the text that is kept, with the actions that may help.

use super::{
    actions::{Action, continue_button, other_models},
    button::{link, worded},
    clock,
    context::{LayoutContext, PageContext},
    icon::{Icon, icon},
    live::{click, part, text, when, word},
    words,
};
use crate::client::store::{AnswerState, Chat, MessageView};
use headwater_protocol::{Error, ErrorCode, Status};
use leptos::prelude::*;

/// The error of an answer that failed. `None` if it was stopped on purpose.
fn failure(state: &AnswerState) -> Option<Error> {
    match state.status? {
        Status::Error | Status::Interrupted => {}
        Status::Ok | Status::Cancelled | Status::Superseded => return None,
    }
    Some(state.error.clone().unwrap_or_else(|| {
        Error::new(
            ErrorCode::Interrupted,
            "The server was restarted while this was being written.",
        )
    }))
}

/// The earliest time for another attempt, in milliseconds since 1970-01-01 UTC.
fn due(state: &AnswerState, error: &Error) -> Option<u64> {
    let wait = error.retry_after_ms?;
    let ended = state.timing.map_or(0, |timing| timing.finished);
    Some(state.accepted + ended + wait)
}

/// The action that helps most. Its button comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Remedy {
    /// Set a key: how to connect a provider.
    Connect,
    /// Ask another model.
    OtherModel,
    /// Begin a new chat, or ask a model with a larger context.
    NewChat,
    /// Continue where the answer broke off.
    Continue,
    /// Ask the same model again.
    Retry,
}

impl Remedy {
    /// The remedy for an error. `can_continue` says whether there is text to go on with, and `choice` whether
    /// there is another model.
    fn of(code: ErrorCode, can_continue: bool, choice: bool) -> Self {
        match code {
            ErrorCode::Authentication | ErrorCode::Permission => Self::Connect,
            ErrorCode::ContextTooLong => Self::NewChat,
            _ if can_continue => Self::Continue,
            ErrorCode::Quota | ErrorCode::RateLimited | ErrorCode::NotFound if choice => {
                Self::OtherModel
            }
            ErrorCode::Quota | ErrorCode::NotFound => Self::Connect,
            _ => Self::Retry,
        }
    }
}

/// An alert in the answer's article.
#[component]
pub(super) fn Failure(message: MessageView) -> impl IntoView {
    let shown = Memo::new(move |_| {
        message.state.with(|state| {
            let error = failure(state)?;
            let due = due(state, &error);
            Some((error, state.words, state.can_continue, due))
        })
    });
    part(move || {
        let shown = shown.get();
        shown
            .map(|(error, kept, can_continue, due)| view! { <Card message error kept can_continue due/> })
            .into_any()
    })
}

#[component]
fn Card(
    message: MessageView,
    error: Error,
    kept: u64,
    can_continue: bool,
    due: Option<u64>,
) -> impl IntoView {
    let chat = expect_context::<Chat>();
    let page = expect_context::<PageContext>();
    let layout = expect_context::<LayoutContext>();
    let last = Memo::new(move |_| page.head.get() == Some(message.id));
    let over = RwSignal::new(false);
    let now = clock::ticking(Memo::new(move |_| due.is_some() && !over.get()));
    // The remaining seconds, rounded up; `None` without a clock or when the time has come.
    let wait = Memo::new(move |_| {
        let (due, now) = (due?, now.get());
        (now > 0 && due > now).then(|| (due - now).div_ceil(1_000) * 1_000)
    });
    Effect::new(move |_| {
        if due.is_some_and(|due| now.get() >= due) {
            over.set(true);
        }
    });
    let choice = layout
        .catalog
        .with_untracked(|catalog| catalog.models.len() > 1);
    let remedy = Remedy::of(error.code, can_continue, choice);
    let class = move |own| match own == remedy {
        true => "button main small",
        false => "button small",
    };
    let action = if can_continue {
        Action::Continue
    } else {
        Action::Regenerate
    };
    let models = move || other_models(message, action, Some(class(Remedy::OtherModel)));
    // The conversation would not fit the second time either.
    let again = (remedy != Remedy::NewChat).then(|| {
        view! {
            <button
                type="button"
                class=class(Remedy::Retry)
                aria-disabled=word(move || wait.get().is_some())
                on:click=click(move || {
                    if wait.get_untracked().is_none() {
                        chat.retry(message.id, None);
                    }
                })
            >
                {icon(Icon::Retry)}
                {text(move || match wait.get() {
                    Some(ms) => ["Retry in ", &words::elapsed(ms)].concat(),
                    None => "Retry".to_owned(),
                })}
            </button>
        }
    });
    let details = details(&error);
    view! {
        <div class="failure" role="alert">
            <p class="what">
                {icon(Icon::Alert)}
                <span>
                    {error.message.clone()}
                    {(kept > 0).then(|| [" ", &kept_words(kept)].concat())}
                </span>
            </p>
            <div class="row">
                {(remedy == Remedy::Connect)
                    .then(|| {
                        worded(
                            class(Remedy::Connect),
                            Some(Icon::Plug),
                            "How to connect a provider",
                            move || layout.open_providers(),
                        )
                    })}
                {(remedy == Remedy::NewChat).then(|| link(class(Remedy::NewChat), Some(Icon::Plus), "New chat", "/"))}
                {when(
                    move || can_continue && remedy != Remedy::NewChat && last.get(),
                    move || continue_button(chat, message, class(Remedy::Continue)),
                )}
                {(remedy == Remedy::OtherModel).then(models)}
                {again}
                {(remedy != Remedy::OtherModel).then(models)}
            </div>
            <details>
                <summary>"Details"</summary>
                <p>{details}</p>
            </details>
        </div>
    }
    .into_any()
}

fn kept_words(kept: u64) -> String {
    [&words::counted(kept, "word is", "words are"), " kept."].concat()
}

/// Details for troubleshooting: the code, the stage and the provider's status.
fn details(error: &Error) -> String {
    let code = serde_json::to_string(&error.code).unwrap_or_default();
    let code = code.trim_matches('"');
    let mut text = ["Code ", code].concat();
    if !error.stage.is_empty() {
        text.push_str(", while ");
        text.push_str(&error.stage);
    }
    if let Some(status) = error.status {
        text.push_str(", HTTP status ");
        text.push_str(&status.to_string());
    }
    text.push_str(if error.retryable {
        ". The same request may succeed later."
    } else {
        ". The same request will fail again until something is changed."
    });
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stop_is_no_failure() {
        let mut state = AnswerState {
            status: Some(Status::Cancelled),
            ..AnswerState::default()
        };
        assert_eq!(failure(&state), None);
        state.status = Some(Status::Interrupted);
        assert_eq!(
            failure(&state).map(|error| error.code),
            Some(ErrorCode::Interrupted)
        );
    }

    #[test]
    fn what_helps_most_stands_first() {
        for (code, can_continue, choice, remedy) in [
            (ErrorCode::Authentication, false, true, Remedy::Connect),
            (ErrorCode::Permission, true, true, Remedy::Connect),
            (ErrorCode::Quota, false, true, Remedy::OtherModel),
            (ErrorCode::Quota, false, false, Remedy::Connect),
            (ErrorCode::RateLimited, false, true, Remedy::OtherModel),
            (ErrorCode::RateLimited, false, false, Remedy::Retry),
            (ErrorCode::ContextTooLong, false, true, Remedy::NewChat),
            (ErrorCode::Truncated, true, true, Remedy::Continue),
            (ErrorCode::Overloaded, false, true, Remedy::Retry),
        ] {
            assert_eq!(Remedy::of(code, can_continue, choice), remedy, "{code:?}");
        }
    }

    #[test]
    fn details_are_a_sentence() {
        let mut error = Error::new(ErrorCode::RateLimited, "Too many requests.").at("connecting");
        error.status = Some(429);
        assert_eq!(
            details(&error),
            "Code rate_limited, while connecting, HTTP status 429. The same request may succeed later."
        );
        assert_eq!(kept_words(1), "1 word is kept.");
    }
}
