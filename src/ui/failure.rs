//! What went wrong, under the text that is kept, and what can be done now.

use super::{
    actions::{Deed, onward, other_models},
    clock,
    icon::{Icon, icon},
    live::{click, part, text, when, word},
    page::Desk,
    words,
};
use crate::{
    client::store::{AnswerState, Chat, MessageView},
    protocol::{Error, ErrorCode, Status},
};
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
    let desk = expect_context::<Desk>();
    let last = Memo::new(move |_| desk.head.get() == Some(message.id));
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
    let deed = if kept > 0 { Deed::Onward } else { Deed::Again };
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
                {when(move || kept > 0 && last.get(), move || onward(chat, message, "button main small"))}
                <button
                    type="button"
                    class="button small"
                    class:main=kept == 0
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
                {other_models(message, deed, true)}
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

/// For whoever has to find out: the code, what was being done, the provider's status.
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
