//! The control that goes through a run in its own time.

use super::rows::seconds;
use crate::{
    browser,
    client::inspect::Inspected,
    ui::{
        button::worded,
        icon::{Icon, icon},
        live::{click, part, text, when},
    },
};
use headwater_protocol::Seq;
use leptos::prelude::*;

/// The pause between two steps of a replay, in milliseconds.
const STEP_MS: u32 = 33;

/// How much faster than its true pace a run can be replayed.
const SPEEDS: [(&str, &str); 4] = [("1", "1×"), ("2", "2×"), ("4", "4×"), ("8", "8×")];

/// Play and pause, the time, and the pace.
#[component]
pub(super) fn Scrubber(inspected: Inspected, playing: RwSignal<bool>) -> impl IntoView {
    let speed = RwSignal::new(1);
    let total = Memo::new(move |_| inspected.length());
    // A replay that was paused and begun again is another one.
    let turn = StoredValue::new(0u32);
    let time = Memo::new(move |_| inspected.time());
    let toggle = move || {
        let plays = !playing.get_untracked();
        playing.set(plays);
        turn.update_value(|turn| *turn += 1);
        if plays {
            let mine = turn.get_value();
            let goes_on = move || {
                playing.try_get_untracked() == Some(true) && turn.try_get_value() == Some(mine)
            };
            browser::spawn(play(inspected, playing, speed, goes_on));
        }
    };
    let label = text(move || if playing.get() { "Pause" } else { "Replay" }.to_owned());
    let speeds = SPEEDS
        .map(|(value, words)| view! { <option value=value>{words}</option> })
        .collect_view();
    view! {
        <div class="scrubber">
            <button type="button" class="round" aria-label=label title=label on:click=click(toggle)>
                {part(move || icon(if playing.get() { Icon::Pause } else { Icon::Play }))}
            </button>
            <input
                id="run-time"
                type="range"
                min="0"
                autocomplete="off"
                aria-label="Time of the run"
                aria-valuetext=text(move || seconds(time.get()))
                max=text(move || total.get().to_string())
                prop:value=text(move || {
                    // The browser keeps the value within the limits that it has.
                    total.track();
                    time.get().to_string()
                })
                on:keydown=move |event| {
                    // A step of the keys is an entry at another time, not a millisecond.
                    let at = time.get_untracked();
                    let seq = match event.key().as_str() {
                        "ArrowRight" | "ArrowUp" => inspected.untracked(|record| record.at(at) + 1),
                        "ArrowLeft" | "ArrowDown" => {
                            inspected.untracked(|record| record.at(at.saturating_sub(1)))
                        }
                        _ => return,
                    };
                    event.prevent_default();
                    let last = inspected.untracked(|record| record.len());
                    inspected.moment.set(Some(seq.min(last).max(1)));
                }
                on:input=move |event| {
                    if let Ok(ms) = event_target_value(&event).parse() {
                        inspected.moment.set(Some(inspected.untracked(|record| record.at(ms))));
                    }
                }
            />
            <span class="clock">
                {text(move || [&seconds(time.get()), " of ", &seconds(total.get())].concat())}
            </span>
            <select
                aria-label="Pace"
                autocomplete="off"
                prop:value=text(move || speed.get().to_string())
                on:change=move |event| speed.set(event_target_value(&event).parse().unwrap_or(1))
            >
                {speeds}
            </select>
            {when(
                move || inspected.moment.with(Option::is_some),
                move || {
                    worded("button small", None, "Show all", move || {
                        playing.set(false);
                        inspected.moment.set(None);
                        // The button is gone.
                        browser::focus("run-time");
                    })
                },
            )}
        </div>
    }
    .into_any()
}

/// Moves the moment through the run until its end, or until somebody pauses. Who moves it meanwhile goes on from
/// there.
async fn play(
    inspected: Inspected,
    playing: RwSignal<bool>,
    speed: RwSignal<u64>,
    goes_on: impl Fn() -> bool,
) {
    let seq_at = |ms: u64| inspected.untracked(|record| record.at(ms));
    let at_of = |seq: Seq| inspected.untracked(|record| record.row(seq).map_or(0, |row| row.at));
    let last = inspected.untracked(|record| record.len());
    let begin = inspected.moment.get_untracked().filter(|seq| *seq < last);
    let mut seq = begin.unwrap_or(1);
    let mut at = at_of(seq);
    inspected.moment.set(Some(seq));
    let mut now = browser::now();
    loop {
        browser::sleep(STEP_MS).await;
        if !goes_on() {
            return;
        }
        let before = std::mem::replace(&mut now, browser::now());
        let moment = inspected.moment.get_untracked().unwrap_or(seq);
        if moment != seq {
            at = at_of(moment);
        }
        at += now.saturating_sub(before) * speed.get_untracked();
        seq = seq_at(at);
        inspected.moment.set(Some(seq));
        let (end, ended) = inspected.untracked(|record| {
            let end = record.duration();
            (end, record.status().is_some())
        });
        if at >= end && ended {
            return playing.set(false);
        }
        // A run that goes on is not overtaken.
        at = at.min(end);
    }
}
