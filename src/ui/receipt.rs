//! The time and the tokens of an answer, in one line that expands.

use super::{
    context::LayoutContext,
    icon::{Icon, icon},
    inspector::address,
    live::part,
    words,
};
use crate::client::store::{AnswerState, MessageView};
use headwater_protocol::{Timing, Usage};
use leptos::prelude::*;

/// Shown when the answer has ended.
#[component]
pub(super) fn Receipt(message: MessageView) -> impl IntoView {
    let layout = expect_context::<LayoutContext>();
    let state = Memo::new(move |_| {
        message
            .state
            .with(|state| (state.status.is_some() && state.timing.is_some()).then(|| state.clone()))
    });
    part(move || {
        let Some(state) = state.get() else {
            return ().into_any();
        };
        let timing = state.timing.unwrap_or_default();
        let name = layout.catalog.with(|catalog| {
            let known = catalog.models.iter().find(|model| model.id == state.model);
            known.map_or_else(
                || words::model_name(&state.model).to_owned(),
                |m| m.name.clone(),
            )
        });
        let mut glance = parts(&state, &timing);
        if state.stand_in {
            glance.insert(0, ["answered by ", &name].concat());
        }
        let glance = if glance.is_empty() {
            vec!["Receipt".to_owned()]
        } else {
            glance
        };
        let glance = glance
            .into_iter()
            .map(|part| view! { <span>{part}</span> })
            .collect_view();
        let title = [&name, ". Open for more."].concat();
        let rows = rows(&timing, &state.usage)
            .into_iter()
            .map(|(what, how)| view! { <dt>{what}</dt><dd>{how}</dd> })
            .collect_view();
        let inspect = state.run.map(|run| {
            view! { <a class="button small" href=address(run)>{icon(Icon::Bars)} "Inspect this run"</a> }
        });
        view! {
            <details class="receipt">
                <summary title=title>{glance}</summary>
                <dl>
                    <dt>"Model"</dt>
                    <dd>{name}</dd>
                    {rows}
                </dl>
                {inspect}
            </details>
        }
        .into_any()
    })
}

/// The parts of the line.
fn parts(state: &AnswerState, timing: &Timing) -> Vec<String> {
    let mut parts = Vec::new();
    if let Some(first) = timing.first_token {
        parts.push(["first token ", &words::duration(first)].concat());
    }
    if let Some(rate) = speed(timing, &state.usage) {
        parts.push([&rate, " tokens/s"].concat());
    }
    if state.usage.input > 0 || state.usage.output > 0 {
        let about = if state.usage.estimated { "about " } else { "" };
        let (read, wrote) = (
            words::count(state.usage.input),
            words::count(state.usage.output),
        );
        parts.push([about, &read, " → ", &wrote, " tokens"].concat());
    }
    if state.reconnects > 0 {
        parts.push(words::counted(
            state.reconnects.into(),
            "reconnect",
            "reconnects",
        ));
    }
    parts
}

/// Tokens per second between the first and the last token.
fn speed(timing: &Timing, usage: &Usage) -> Option<String> {
    let ms = timing.last_token?.checked_sub(timing.first_token?)?;
    words::rate(usage.output.checked_sub(1)?, ms)
}

/// The rows of the expanded table.
fn rows(timing: &Timing, usage: &Usage) -> Vec<(&'static str, String)> {
    let times = [
        ("Ready to ask after", timing.asked),
        ("Left the queue after", timing.queued),
        ("Provider reached after", timing.connected),
        ("First sign of life after", timing.first_chunk),
        ("First token after", timing.first_token),
        ("Last token after", timing.last_token),
        ("Ended after", Some(timing.finished)),
        ("Usual pause between pieces", timing.gap_p50),
        ("Longest pauses (1 in 100)", timing.gap_p99),
    ];
    let counts = [
        ("Pieces", timing.chunks),
        ("Read from the provider's cache", usage.cache_read),
        ("Written to the provider's cache", usage.cache_write),
        ("Tokens of thinking", usage.reasoning),
    ];
    times
        .into_iter()
        .filter_map(|(what, ms)| Some((what, words::duration(ms?))))
        .chain(
            counts
                .into_iter()
                .filter(|(_, n)| *n > 0)
                .map(|(what, n)| (what, words::count(n))),
        )
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_glance() {
        let timing = Timing {
            first_token: Some(240),
            last_token: Some(6_100),
            ..Timing::default()
        };
        let state = AnswerState {
            usage: Usage {
                input: 38,
                output: 212,
                ..Usage::default()
            },
            reconnects: 2,
            ..AnswerState::default()
        };
        assert_eq!(
            parts(&state, &timing).join(" · "),
            "first token 0.24 s · 36 tokens/s · 38 → 212 tokens · 2 reconnects"
        );
    }

    #[test]
    fn nothing_known_is_nothing_said() {
        assert!(parts(&AnswerState::default(), &Timing::default()).is_empty());
    }
}
