//! What went wrong, under the text that is kept, and what can be done now.

use super::{
    actions::{Action, onward, other_models},
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

/// The error of an answer that did not end well; nothing for one that was stopped on purpose.
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

/// When trying again makes sense, in milliseconds since 1970.
fn due(state: &AnswerState, error: &Error) -> Option<u64> {
    let wait = error.retry_after_ms?;
    let ended = state.timing.map_or(0, |timing| timing.finished);
    Some(state.accepted + ended + wait)
}

/// The action that helps most, and stands first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Remedy {
    /// The key: how to connect a provider.
    Connect,
    /// Another model.
    Elsewhere,
    /// A new chat, or a model with a longer context.
    Afresh,
    /// On from where it broke off.
    Onward,
    /// The same again.
    Again,
}

impl Remedy {
    /// `choice`: whether there is another model.
    fn of(code: ErrorCode, kept: bool, choice: bool) -> Self {
        match code {
            ErrorCode::Authentication | ErrorCode::Permission => Self::Connect,
            ErrorCode::ContextTooLong => Self::Afresh,
            _ if kept => Self::Onward,
            ErrorCode::Quota | ErrorCode::RateLimited | ErrorCode::NotFound if choice => {
                Self::Elsewhere
            }
            ErrorCode::Quota | ErrorCode::NotFound => Self::Connect,
            _ => Self::Again,
        }
    }
}

/// An alert inside the answer's article.
#[component]
pub(super) fn Failure(message: MessageView) -> impl IntoView {
    let shown = Memo::new(move |_| {
        message.state.with(|state| {
            let error = failure(state)?;
            let due = due(state, &error);
            Some((error, state.words, due))
        })
    });
    part(move || {
        let shown = shown.get();
        shown
            .map(|(error, kept, due)| view! { <Card message error kept due/> })
            .into_any()
    })
}

#[component]
fn Card(message: MessageView, error: Error, kept: u64, due: Option<u64>) -> impl IntoView {
    let chat = expect_context::<Chat>();
    let page = expect_context::<PageContext>();
    let layout = expect_context::<LayoutContext>();
    let last = Memo::new(move |_| page.head.get() == Some(message.id));
    let over = RwSignal::new(false);
    let now = clock::ticking(Memo::new(move |_| due.is_some() && !over.get()));
    // Seconds left, counted up to the next whole one; none without a clock or when it is time.
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
    let remedy = Remedy::of(error.code, kept > 0, choice);
    let class = move |own| match own == remedy {
        true => "button main small",
        false => "button small",
    };
    let action = if kept > 0 {
        Action::Onward
    } else {
        Action::Again
    };
    let models = move || other_models(message, action, Some(class(Remedy::Elsewhere)));
    // It would not fit the second time either.
    let again = (remedy != Remedy::Afresh).then(|| {
        view! {
            <button
                type="button"
                class=class(Remedy::Again)
                aria-disabled=word(move || wait.get().is_some())
                on:click=click(move || {
                    if wait.get_untracked().is_none() {
                        chat.retry(message.id, None);
                    }
                })
            >
                {icon(Icon::Again)}
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
                {(remedy == Remedy::Afresh).then(|| link(class(Remedy::Afresh), Some(Icon::Plus), "New chat", "/"))}
                {when(
                    move || kept > 0 && remedy != Remedy::Afresh && last.get(),
                    move || onward(chat, message, class(Remedy::Onward)),
                )}
                {(remedy == Remedy::Elsewhere).then(models)}
                {again}
                {(remedy != Remedy::Elsewhere).then(models)}
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

/// For a search for the cause: the code, the stage, the provider's status.
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
        for (code, kept, choice, remedy) in [
            (ErrorCode::Authentication, false, true, Remedy::Connect),
            (ErrorCode::Permission, true, true, Remedy::Connect),
            (ErrorCode::Quota, false, true, Remedy::Elsewhere),
            (ErrorCode::Quota, false, false, Remedy::Connect),
            (ErrorCode::RateLimited, false, true, Remedy::Elsewhere),
            (ErrorCode::RateLimited, false, false, Remedy::Again),
            (ErrorCode::ContextTooLong, false, true, Remedy::Afresh),
            (ErrorCode::Truncated, true, true, Remedy::Onward),
            (ErrorCode::Overloaded, false, true, Remedy::Again),
        ] {
            assert_eq!(Remedy::of(code, kept, choice), remedy, "{code:?}");
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
