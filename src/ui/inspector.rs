//! The inspector: what a run did, when, and what a reader saw of it at any moment.
//!
//! It follows the run's log like any page, entry by entry, so it is live while the run is written, and shows the
//! same for one that ended long ago. One number, the entry that is looked at, is the moment of all its parts; it
//! stands in the address, so that a moment can be sent to others.

mod list;
mod rows;
mod scrubber;

use super::{
    button::quiet,
    clock,
    icon::{Icon, icon},
    live::{part, text, when},
    words,
};
use crate::{
    base, browser,
    client::{
        follow::Link,
        inspect::{Inspected, Wanted},
        store::Chat,
    },
};
use headwater_protocol::{RunId, Seq};
use leptos::{html, prelude::*};
use list::{List, list};
use rows::Place;
use scrubber::Scrubber;
use std::{sync::Arc, time::Duration};

/// What the filter of the list can choose: types of events, then kinds of spans, as they are on the wire.
const KINDS: [(&str, &[&str]); 2] = [
    (
        "Events",
        &[
            "run_started",
            "span_started",
            "block_started",
            "delta",
            "block_finished",
            "progress",
            "usage",
            "custom",
            "span_finished",
            "run_finished",
        ],
    ),
    (
        "Spans",
        &[
            "chain",
            "agent",
            "chat_model",
            "tool",
            "retriever",
            "prompt",
            "parser",
        ],
    ),
];

/// How many pixels from its end a text still counts as read to the end.
const NEAR_END: i32 = 32;

/// What the address says of a moment: `#seq=812`.
const MOMENT: &str = "#seq=";

/// The address of a run's inspector.
pub(super) fn address(run: RunId) -> String {
    base::address(&["/runs/", &run.to_string()].concat())
}

/// A run with all that it did.
#[component]
pub(super) fn Inspector(run: RunId) -> impl IntoView {
    let chat = expect_context::<Chat>();
    let inspected = Inspected::new(run);
    let playing = RwSignal::new(false);
    share_moment(inspected, playing);
    // The time of a run that is silent goes on.
    let ticks = clock::ticking(Memo::new(move |_| inspected.is_live.get()));
    Effect::new(move |_| inspected.now.set(ticks.get()));
    // What was focused is behind it now.
    Effect::new(move |_| browser::focus_soon("inspector"));

    let back = text(move || {
        let id = chat.id.get();
        let path = id.map_or_else(|| "/".to_owned(), |id| ["/c/", &id.to_string()].concat());
        base::address(&path)
    });
    let export = base::address(&["/api/runs/log?run=", &run.to_string()].concat());
    let plain = export.clone();
    view! {
        <main id="inspector" class="inspector" aria-label="Inspector" tabindex="-1">
            <header class="bar">
                <a class="quiet" href=back aria-label="Back to the chat" title="Back to the chat">
                    {icon(Icon::Left)}
                </a>
                <h1 class="title" dir="auto">{text(move || ["Inspector · ", &chat.title.get()].concat())}</h1>
                <a class="button small" href=export download="" rel="external">"Export"</a>
            </header>
            <div class="inspected">
                <noscript>
                    <p>
                        "The inspector needs scripts. "
                        <a href=plain>"Here is all that it would show, as a file."</a>
                    </p>
                </noscript>
                {part(move || {
                    inspected.problem.get().map(|why| view! { <p class="failure" role="alert">{why.message}</p> }).into_any()
                })}
                <p class="facts">{text(move || facts(inspected))}</p>
                {waterfall(inspected)}
                <Scrubber inspected playing/>
                <div class="both">
                    {entries(inspected)}
                    {moment(inspected)}
                </div>
            </div>
        </main>
    }
    .into_any()
}

/// Keeps the moment and the address the same. While a replay runs, the address waits for its end.
fn share_moment(inspected: Inspected, playing: RwSignal<bool>) {
    let read = move || {
        let seq = browser::hash()
            .strip_prefix(MOMENT)
            .and_then(|seq| seq.parse().ok())
            .filter(|seq| *seq > 0);
        inspected.moment.try_set(seq);
    };
    Effect::new(move |_| {
        read();
        let listener = StoredValue::new_local(Some(browser::on_hash(read)));
        on_cleanup(move || {
            listener.try_update_value(Option::take);
        });
    });
    Effect::new(move |before: Option<()>| {
        let (moment, plays) = (inspected.moment.get(), playing.get());
        if before.is_some() && !plays {
            let seq = moment.map(|seq| [MOMENT, &seq.to_string()].concat());
            browser::set_hash(&seq.unwrap_or_default());
        }
    });
}

/// The run in one line.
fn facts(inspected: Inspected) -> String {
    let link = match inspected.link.get() {
        Link::Offline => Some("no network".to_owned()),
        Link::Reconnecting { attempt } => Some(format!("reconnecting ({attempt})")),
        _ => None,
    };
    if inspected.problem.with(Option::is_some) {
        return String::new();
    }
    let length = inspected.length();
    inspected.with(|record| {
        let state = match record.status() {
            Some(status) => rows::status_word(status),
            None if record.is_empty() => "loading",
            None => "running",
        };
        let mut facts = vec![
            state.to_owned(),
            rows::seconds(length),
            words::counted(record.spans() as u64, "span", "spans"),
            words::counted(record.len(), "entry", "entries"),
        ];
        facts.extend(link);
        facts.join(" · ")
    })
}

/// The spans on lanes of time.
fn waterfall(inspected: Inspected) -> AnyView {
    let count = Memo::new(move |_| inspected.with(|record| record.spans()));
    let only = Memo::new(move |_| inspected.wanted.with(|wanted| wanted.span));
    let chosen = Memo::new(move |_| {
        let only = only.get()?;
        inspected.with(|record| record.bars().position(|bar| bar.span == only))
    });
    let draw = move |range: std::ops::Range<usize>| {
        let moment = inspected
            .moment
            .with(Option::is_some)
            .then(|| inspected.time());
        let (chosen, total) = (chosen.get(), inspected.length());
        inspected.with(|record| {
            let mut html = String::new();
            let bars = record.bars();
            let count = bars.len();
            for (place, bar) in bars.enumerate().skip(range.start).take(range.len()) {
                let chosen = chosen == Some(place);
                let place = Place {
                    place,
                    count,
                    chosen,
                };
                rows::bar(place, bar, total, moment, &mut html);
            }
            html
        })
    };
    let choose = Callback::new(move |place: usize| {
        let span = inspected.untracked(|record| record.bars().nth(place).map(|bar| bar.span));
        inspected.wanted.update(|wanted| {
            wanted.span = span.filter(|span| wanted.span != Some(*span));
        });
    });
    view! {
        <section aria-labelledby="spans">
            <h2 id="spans">"Spans"</h2>
            {list(List {
                name: "spans",
                label: "Spans",
                count,
                chosen,
                near: chosen,
                follows: inspected.is_live,
                rows: Arc::new(draw),
                choose,
            })}
        </section>
    }
    .into_any()
}

/// The entries, and what chooses among them.
fn entries(inspected: Inspected) -> AnyView {
    let count = Memo::new(move |_| {
        inspected.listed.track();
        inspected.with(|record| record.shown().len())
    });
    let near = Memo::new(move |_| {
        count.track();
        inspected.listed.track();
        let moment = inspected.moment.get()?;
        inspected.untracked(|record| {
            let place = record.shown().partition_point(|seq| *seq <= moment);
            place.checked_sub(1)
        })
    });
    let chosen = Memo::new(move |_| {
        inspected.listed.track();
        let (place, moment) = (near.get()?, inspected.moment.get()?);
        let shown = inspected.untracked(|record| record.shown().get(place).copied());
        shown.filter(|seq| *seq == moment).map(|_| place)
    });
    let draw = move |range: std::ops::Range<usize>| {
        let chosen = chosen.get();
        inspected.listed.track();
        inspected.untracked(|record| {
            let mut html = String::new();
            let (shown, count) = (record.shown().iter().enumerate(), record.shown().len());
            for (place, seq) in shown.skip(range.start).take(range.len()) {
                let chosen = chosen == Some(place);
                let place = Place {
                    place,
                    count,
                    chosen,
                };
                if let Some(row) = record.row(*seq) {
                    let bar = row.span.and_then(|span| record.bar(span));
                    rows::entry(place, *seq, row, bar, &mut html);
                }
            }
            html
        })
    };
    let choose = Callback::new(move |place: usize| {
        let seq = inspected.untracked(|record| record.shown().get(place).copied());
        if seq.is_some() {
            inspected.moment.set(seq);
        }
    });
    view! {
        <section aria-labelledby="entries">
            <h2 id="entries">"Entries"</h2>
            {filters(inspected)}
            {when(
                move || count.get() == 0 && inspected.with(|record| !record.is_empty()),
                || view! { <p class="none" role="status">"No entry is like this."</p> }.into_any(),
            )}
            {list(List {
                name: "entries",
                label: "Entries",
                count,
                chosen,
                near,
                follows: inspected.is_live,
                rows: Arc::new(draw),
                choose,
            })}
        </section>
    }
    .into_any()
}

/// What chooses among the entries.
fn filters(inspected: Inspected) -> AnyView {
    let want = move |change: Box<dyn FnOnce(&mut Wanted)>| inspected.wanted.update(change);
    let kinds = KINDS
        .map(|(label, kinds)| {
            let kinds = kinds.iter().map(|kind| {
                let words = kind.replace('_', " ");
                view! { <option value=*kind>{words}</option> }
            });
            view! { <optgroup label=label>{kinds.collect_view()}</optgroup> }
        })
        .collect_view();
    let only = move || {
        let span = inspected.wanted.with(|wanted| wanted.span);
        let name = span
            .map(|span| inspected.untracked(|record| record.bar(span).map(|bar| bar.name.clone())));
        name.flatten().unwrap_or_default()
    };
    view! {
        <div class="filters">
            <select
                aria-label="Kind"
                autocomplete="off"
                prop:value=text(move || inspected.wanted.with(|wanted| wanted.kind.clone()))
                on:change=move |event| {
                    let kind = event_target_value(&event);
                    want(Box::new(|wanted| wanted.kind = kind));
                }
            >
                <option value="">"All kinds"</option>
                {kinds}
            </select>
            <input
                type="search"
                aria-label="Name, tag or text"
                placeholder="Name, tag or text"
                autocomplete="off"
                on:input=move |event| {
                    let words = event_target_value(&event).trim().to_lowercase();
                    want(Box::new(|wanted| wanted.words = words));
                }
            />
            {when(
                move || inspected.wanted.with(|wanted| wanted.span.is_some()),
                move || view! {
                    <span class="only">
                        <span>{text(only)}</span>
                        {quiet("Show all spans", Icon::Close, move || want(Box::new(|wanted| wanted.span = None)))}
                    </span>
                }.into_any(),
            )}
        </div>
    }
    .into_any()
}

/// The entry that is looked at, and the answer as it was then.
fn moment(inspected: Inspected) -> AnyView {
    let raw = Memo::new(move |_| {
        let seq: Seq = inspected.moment.get()?;
        inspected.with(|record| {
            let row = record.row(seq)?;
            let title = ["Entry ", &words::count(seq), " at ", &rows::seconds(row.at)].concat();
            Some((title, rows::pretty(&row.json)))
        })
    });
    let seen: NodeRef<html::Div> = NodeRef::new();
    let drawn = StoredValue::new(0usize);
    let again = RwSignal::new(());
    Effect::new(move |_| {
        inspected.version.track();
        inspected.moment.track();
        again.track();
        let Some(seen) = seen.get() else { return };
        let at_end = seen.scroll_top() + seen.client_height() >= seen.scroll_height() - NEAR_END;
        let is_done = inspected.replayed(|text, anew| {
            let before = if anew { usize::MAX } else { drawn.get_value() };
            browser::grow_parts(&seen, text, before);
            drawn.set_value(text.len());
            if at_end || anew {
                seen.set_scroll_top(seen.scroll_height());
            }
        });
        if !is_done {
            let more = move || {
                again.try_set(());
            };
            set_timeout(more, Duration::ZERO);
        }
    });
    view! {
        <section class="moment">
            {part(move || {
                let title = raw.with(|raw| raw.as_ref().map(|raw| raw.0.clone()));
                title.map(|title| view! {
                    <h2>{title}</h2>
                    <pre tabindex="0" aria-label="The entry as JSON">{text(move || raw.get().map(|raw| raw.1).unwrap_or_default())}</pre>
                }).into_any()
            })}
            <h2 id="seen">"What it had written at this moment"</h2>
            <div class="seen" dir="auto" tabindex="0" role="region" aria-labelledby="seen" node_ref=seen></div>
        </section>
    }
    .into_any()
}
