//! The status line. It depends only on the server's events and the state of the stream.

use super::{
    context::PageContext,
    icon::{Icon, icon},
    inspector::address,
    live::{flag, part, text},
    words,
};
use crate::{
    browser,
    client::{
        follow::Link,
        store::{AnswerState, Chat},
    },
};
use headwater_protocol::{Stage, Status, UnixMs};
use leptos::prelude::*;
use std::time::Duration;

/// From this duration on, in milliseconds, a silence of the provider is mentioned.
const SILENCE: u64 = 5_000;

/// How the line looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tone {
    /// Work is in progress.
    Active,
    /// There is a problem, but the run goes on.
    Warning,
    /// The run has ended.
    Ended,
}

/// What the line says.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Line {
    tone: Tone,
    text: String,
}

/// The state of the last answer. Screen readers do not announce it, because it changes every
/// second. The announcer says what matters.
#[component]
pub(super) fn StatusLine() -> impl IntoView {
    let chat = expect_context::<Chat>();
    let page = expect_context::<PageContext>();
    let caught_up = RwSignal::new(None);
    let thinking_since = RwSignal::new(0);

    let words = Memo::new(move |_| chat.head()?.state.with(|state| state.caught_up_words));
    Effect::new(move |_| {
        let words = words.get();
        caught_up.set(words);
        if words.is_some() {
            let over = move || {
                caught_up.try_set(None);
            };
            set_timeout(over, Duration::from_secs(6));
        }
    });
    let thinking = Memo::new(move |_| chat.head().is_some_and(|m| m.state.with(|s| s.thinking)));
    Effect::new(move |_| {
        let since = if thinking.get() { browser::now() } else { 0 };
        thinking_since.set(since);
    });

    let line = Memo::new(move |_| {
        if chat.sending.get() && !page.running.get() {
            return Some(Line {
                tone: Tone::Active,
                text: "Sending…".to_owned(),
            });
        }
        let message = chat.head()?;
        if message.role != headwater_protocol::chat::Role::Assistant {
            return None;
        }
        if let Some(words) = caught_up.get() {
            return Some(Line {
                tone: Tone::Active,
                text: caught_up_text(words),
            });
        }
        let view = View {
            link: chat.link.get(),
            now: page.now.get(),
            thinking_since: thinking_since.get(),
        };
        message.state.with(|state| describe(state, view))
    });
    let run = Memo::new(move |_| {
        let state = chat.head()?.state;
        state.with(|state| state.run.filter(|_| state.is_running()))
    });
    let tone = move || line.with(|line| line.as_ref().map(|line| line.tone));
    view! {
        <div
            class="state"
            class:live=flag(move || tone() == Some(Tone::Active))
            class:uneasy=flag(move || tone() == Some(Tone::Warning))
            class:empty=flag(move || tone().is_none())
            role="status"
            aria-live="off"
        >
            <span>{text(move || line.get().map(|line| line.text).unwrap_or_default())}</span>
            {part(move || {
                let run = run.get();
                run.map(|run| view! {
                    <a class="quiet" href=address(run) aria-label="Inspect this run" title="Inspect this run">
                        {icon(Icon::Bars)}
                    </a>
                }).into_any()
            })}
        </div>
    }
    .into_any()
}

/// What the page knows besides the state of the answer.
#[derive(Clone, Copy, Default)]
struct View {
    link: Link,
    /// The time; 0 without a clock.
    now: UnixMs,
    thinking_since: UnixMs,
}

impl View {
    /// `text, 12 s`. Only `text` if there is no clock, or if the clocks of server and browser
    /// disagree.
    fn since(self, text: &str, since: UnixMs) -> String {
        match self.now.checked_sub(since) {
            Some(ms) if since > 0 && (1_000..86_400_000).contains(&ms) => {
                [text, ", ", &words::elapsed(ms)].concat()
            }
            _ => text.to_owned(),
        }
    }
}

fn caught_up_text(words: u64) -> String {
    [
        "Caught up: ",
        &words::counted(words, "word", "words"),
        " came while you were away",
    ]
    .concat()
}

/// The sentence for a state. `None` for a successful answer.
fn describe(state: &AnswerState, view: View) -> Option<Line> {
    let (tone, text) = match state.status {
        Some(status) => (Tone::Ended, ended(status, state)?),
        None => running(state, view),
    };
    Some(Line { tone, text })
}

fn ended(status: Status, state: &AnswerState) -> Option<String> {
    Some(match (status, state.stopped_in_ms) {
        (Status::Ok | Status::Superseded, _) => return None,
        (Status::Cancelled, Some(0)) => "Stopped. The provider closed at once.".to_owned(),
        (Status::Cancelled, Some(ms)) => [
            "Stopped. The provider closed after ",
            &words::duration(ms),
            ".",
        ]
        .concat(),
        (Status::Cancelled, None) => "Stopped".to_owned(),
        (Status::Error, _) => "Failed".to_owned(),
        (Status::Interrupted, _) if state.rewound => {
            "Interrupted by a power cut, which took back the last words".to_owned()
        }
        (Status::Interrupted, _) => "Interrupted by a restart".to_owned(),
    })
}

fn running(state: &AnswerState, view: View) -> (Tone, String) {
    if state.stopping {
        return (Tone::Active, "Stopping…".to_owned());
    }
    match view.link {
        Link::Offline => {
            return (
                Tone::Warning,
                "No network. The answer goes on without you.".to_owned(),
            );
        }
        Link::Reconnecting { attempt } => {
            return (Tone::Warning, format!("Reconnecting ({attempt})"));
        }
        Link::Idle | Link::Connecting | Link::Open => {}
    }
    if let Some(stage) = &state.stage {
        return staged(stage, state.stage_since, view);
    }
    let silent = view.now.saturating_sub(state.last_text);
    if state.last_text > 0 && (SILENCE..86_400_000).contains(&silent) {
        let text = ["The provider has been silent for ", &words::elapsed(silent)].concat();
        return (Tone::Warning, text);
    }
    let text = if state.thinking {
        view.since("Thinking", view.thinking_since)
    } else if state.last_text > 0 || state.words > 0 {
        "Writing".to_owned()
    } else {
        "Connecting".to_owned()
    };
    (Tone::Active, text)
}

fn staged(stage: &Stage, since: UnixMs, view: View) -> (Tone, String) {
    let text = match stage {
        Stage::Queued { ahead: 0 } => "Queued, next in line".to_owned(),
        Stage::Queued { ahead } => format!("Queued, {ahead} ahead"),
        Stage::Connecting => view.since("Connecting", since),
        Stage::ReadingPrompt { percent } => format!("Reading the prompt, {percent} %"),
        Stage::Downloading { percent } => format!("Fetching the model, {percent} %"),
        Stage::RunningTool { name } => view.since(&["Running ", name].concat(), since),
        Stage::ContextTrimmed { .. } => "Reading the prompt".to_owned(),
        Stage::Waiting | Stage::Unknown => view.since("Waiting for the first token", since),
        Stage::Retrying {
            in_ms,
            attempt,
            error,
        } => {
            // The page's clock advances in seconds, so it may be up to one second late.
            let left = (since + in_ms).saturating_sub(view.now).min(*in_ms);
            let when = if view.now > 0 && left > 0 {
                [
                    "Trying again in ",
                    &words::elapsed(left.div_ceil(1_000) * 1_000),
                ]
                .concat()
            } else {
                "Trying again".to_owned()
            };
            return (
                Tone::Warning,
                format!("{} {when} (attempt {attempt})", error.message),
            );
        }
    };
    (Tone::Active, text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use headwater_protocol::{Error, ErrorCode};

    fn check(state: &AnswerState, view: View, want: &str) {
        let line = describe(state, view);
        assert_eq!(line.map(|line| line.text).unwrap_or_default(), want);
    }

    #[test]
    fn stages() {
        let view = View {
            link: Link::Open,
            now: 103_200,
            thinking_since: 91_000,
        };
        let at = |stage| AnswerState {
            stage: Some(stage),
            stage_since: 100_000,
            ..AnswerState::default()
        };
        let error = Error::new(ErrorCode::Overloaded, "The provider is busy.");
        for (stage, want) in [
            (Stage::Queued { ahead: 2 }, "Queued, 2 ahead"),
            (Stage::Queued { ahead: 0 }, "Queued, next in line"),
            (Stage::Connecting, "Connecting, 3 s"),
            (
                Stage::ReadingPrompt { percent: 40 },
                "Reading the prompt, 40 %",
            ),
            (Stage::Waiting, "Waiting for the first token, 3 s"),
            (
                Stage::Retrying {
                    in_ms: 6_000,
                    attempt: 2,
                    error,
                },
                "The provider is busy. Trying again in 3 s (attempt 2)",
            ),
        ] {
            check(&at(stage), view, want);
        }
        let thinking = AnswerState {
            thinking: true,
            last_text: 103_000,
            ..AnswerState::default()
        };
        check(&thinking, view, "Thinking, 12 s");
        check(
            &at(Stage::Waiting),
            View::default(),
            "Waiting for the first token",
        );
    }

    #[test]
    fn trouble_comes_first() {
        let writing = AnswerState {
            last_text: 100_000,
            words: 3,
            ..AnswerState::default()
        };
        let view = View {
            link: Link::Open,
            now: 101_000,
            thinking_since: 0,
        };
        check(&writing, view, "Writing");
        check(
            &writing,
            View {
                now: 108_000,
                ..view
            },
            "The provider has been silent for 8 s",
        );
        check(
            &writing,
            View {
                link: Link::Reconnecting { attempt: 2 },
                ..view
            },
            "Reconnecting (2)",
        );
        check(
            &writing,
            View {
                link: Link::Offline,
                ..view
            },
            "No network. The answer goes on without you.",
        );
        let stopping = AnswerState {
            stopping: true,
            ..writing
        };
        check(
            &stopping,
            View {
                link: Link::Offline,
                ..view
            },
            "Stopping…",
        );
    }

    #[test]
    fn ends() {
        let end = |status| AnswerState {
            status: Some(status),
            ..AnswerState::default()
        };
        let mut stopped = end(Status::Cancelled);
        check(&stopped, View::default(), "Stopped");
        stopped.stopped_in_ms = Some(40);
        check(
            &stopped,
            View::default(),
            "Stopped. The provider closed after 40 ms.",
        );
        check(&end(Status::Error), View::default(), "Failed");
        check(
            &end(Status::Interrupted),
            View::default(),
            "Interrupted by a restart",
        );
        check(
            &AnswerState {
                rewound: true,
                ..end(Status::Interrupted)
            },
            View::default(),
            "Interrupted by a power cut, which took back the last words",
        );
        check(&end(Status::Ok), View::default(), "");
        assert_eq!(
            caught_up_text(1_248),
            "Caught up: 1,248 words came while you were away"
        );
    }
}
