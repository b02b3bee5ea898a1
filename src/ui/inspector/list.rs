//! A list of which only the rows in sight are drawn, so that it is as quick with ten thousand rows as with
//! ten.

use crate::{browser, ui::live::text};
use leptos::{ev::KeyboardEvent, html, prelude::*};
use std::{ops::Range, sync::Arc};

/// The height of a row in pixels. The style sheet has the same.
const ROW: usize = 28;

/// The list is drawn anew when it was scrolled by so many rows. As many are drawn above those in sight, and twice as
/// many below.
const STEP: usize = 16;

/// How far the keys for pages go.
const PAGE: usize = 10;

/// A list with rows of one height.
pub(super) struct List {
    /// The beginning of the rows' identifiers, and a class.
    pub(super) name: &'static str,
    /// What it is a list of.
    pub(super) label: &'static str,
    /// How many rows there are.
    pub(super) count: Memo<usize>,
    /// The row that is chosen.
    pub(super) chosen: Memo<Option<usize>>,
    /// The same, or the one before the place where it would be. It is kept in sight.
    pub(super) near: Memo<Option<usize>>,
    /// Whether the end stays in sight while rows come, unless one scrolls away from it or chooses a row.
    pub(super) follows: RwSignal<bool>,
    /// The HTML of some rows. What it reads draws the list anew.
    pub(super) rows: Arc<dyn Fn(Range<usize>) -> String + Send + Sync>,
    /// Chooses a row.
    pub(super) choose: Callback<usize>,
}

/// Shows a list. Its rows can be chosen with the mouse and the keyboard.
pub(super) fn list(list: List) -> AnyView {
    let List {
        name,
        label,
        count,
        chosen,
        near,
        follows,
        rows,
        choose,
    } = list;
    let root: NodeRef<html::Div> = NodeRef::new();
    let whole: NodeRef<html::Div> = NodeRef::new();
    let part: NodeRef<html::Div> = NodeRef::new();
    let first = RwSignal::new(0);
    // How many rows are drawn. A screen may be high.
    let drawn = RwSignal::new(4 * STEP);

    Effect::new(move |before: Option<(Option<usize>, bool)>| {
        // Before what is made of it: else an effect may not hear that it has changed (reactive_graph 0.2).
        let height_of_all = count.get() * ROW;
        let now = (near.get(), follows.get());
        let (Some(root), Some(whole)) = (root.get(), whole.get()) else {
            return (None, false);
        };
        let height = root.client_height();
        let at_end = root.scroll_top() + height >= root.scroll_height() - ROW as i32;
        browser::set_style(&whole, "height", &px(height_of_all));
        let fits = usize::try_from(height).unwrap_or(0) / ROW + 3 * STEP;
        if fits > drawn.get_untracked() {
            drawn.set(fits);
        }
        let (was_near, followed) = before.unwrap_or_default();
        match now {
            (Some(place), _) if was_near != now.0 => bring(&root, place),
            (None, true) if (at_end || !followed) && height > 0 => {
                root.set_scroll_top(root.scroll_height());
            }
            _ => {}
        }
        now
    });
    Effect::new(move |_| {
        let Some(part) = part.get() else { return };
        let begin = first.get().min(count.get());
        let end = (begin + drawn.get()).min(count.get());
        browser::set_style(
            &part,
            "transform",
            &["translateY(", &px(begin * ROW), ")"].concat(),
        );
        part.set_inner_html(&rows(begin..end));
    });
    let scrolled = move || {
        if let Some(root) = root.get_untracked() {
            let top = usize::try_from(root.scroll_top()).unwrap_or(0) / ROW;
            let begin = (top / STEP * STEP).saturating_sub(STEP);
            if begin != first.get_untracked() {
                first.set(begin);
            }
        }
    };
    let pressed = move |event: KeyboardEvent| {
        let Some(last) = count.get_untracked().checked_sub(1) else {
            return;
        };
        let place = near.get_untracked();
        let next = match event.key().as_str() {
            "ArrowDown" => place.map_or(0, |place| place + 1),
            "ArrowUp" => place.map_or(last, |place| place.saturating_sub(1)),
            "PageDown" => place.map_or(0, |place| place + PAGE),
            "PageUp" => place.map_or(last, |place| place.saturating_sub(PAGE)),
            "Home" => 0,
            "End" => last,
            _ => return,
        };
        event.prevent_default();
        let next = next.min(last);
        if chosen.get_untracked() != Some(next) {
            choose.run(next);
        }
    };
    let active = text(move || {
        let first = first.get();
        let in_page = |place: &usize| (first..first + drawn.get()).contains(place);
        let place = chosen.get().filter(in_page);
        let place = place.map(|place| place.to_string());
        place.map_or_else(String::new, |place| [name, "-", &place].concat())
    });
    view! {
        <div
            class=["rows ", name].concat()
            role="listbox"
            aria-label=label
            aria-activedescendant=active
            tabindex="0"
            node_ref=root
            on:scroll=move |_| scrolled()
            on:keydown=pressed
            on:click=move |event| {
                if let Some(root) = root.get_untracked() {
                    let place = browser::height_in(&root, &event) / ROW;
                    if place < count.get_untracked() {
                        choose.run(place);
                    }
                }
            }
        >
            <div role="presentation" class="whole" node_ref=whole>
                <div role="presentation" node_ref=part></div>
            </div>
        </div>
    }
    .into_any()
}

fn px(pixels: usize) -> String {
    [&pixels.to_string(), "px"].concat()
}

/// Scrolls as little as it takes to have a row in sight.
fn bring(root: &leptos::web_sys::Element, place: usize) {
    let (row, top) = ((place * ROW) as i32, root.scroll_top());
    let below = row + ROW as i32 - root.client_height();
    if row < top {
        root.set_scroll_top(row);
    } else if below > top {
        root.set_scroll_top(below);
    }
}
