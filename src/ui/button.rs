//! The buttons that look alike.

use super::{
    icon::{Icon, icon},
    live::click,
};
use leptos::{ev::MouseEvent, prelude::*};

/// Only an icon, with its name for whoever cannot see it or hovers over it.
pub(super) fn quiet(
    name: &'static str,
    sign: Icon,
    deed: impl FnMut() + Send + 'static,
) -> AnyView {
    quiet_with(None, name, sign, true, click(deed))
}

/// The same with an id for the focus, and not always to be pressed.
pub(super) fn quiet_with(
    id: Option<String>,
    name: &'static str,
    sign: Icon,
    enabled: bool,
    deed: Box<dyn FnMut(MouseEvent) + Send>,
) -> AnyView {
    view! {
        <button
            type="button"
            class="quiet"
            id=id
            aria-label=name
            title=name
            disabled=!enabled
            on:click=deed
        >
            {icon(sign)}
        </button>
    }
    .into_any()
}

/// Words, with or without an icon before them.
pub(super) fn worded(
    class: &'static str,
    sign: Option<Icon>,
    words: &'static str,
    deed: impl FnMut() + Send + 'static,
) -> AnyView {
    worded_with(class, sign, words, click(deed))
}

fn worded_with(
    class: &'static str,
    sign: Option<Icon>,
    words: &'static str,
    deed: Box<dyn FnMut(MouseEvent) + Send>,
) -> AnyView {
    view! {
        <button type="button" class=class on:click=deed>
            {sign.map(icon)}
            {words}
        </button>
    }
    .into_any()
}

/// A way to another page that looks like a button.
pub(super) fn link(
    class: &'static str,
    sign: Option<Icon>,
    words: &'static str,
    to: &'static str,
) -> AnyView {
    view! {
        <a class=class href=to>
            {sign.map(icon)}
            {words}
        </a>
    }
    .into_any()
}
