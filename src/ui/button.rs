//! The kinds of buttons.

use super::{
    icon::{Icon, icon},
    live::click,
};
use crate::base;
use leptos::{ev::MouseEvent, prelude::*};

/// An icon button. Its name is its label and its tooltip.
pub(super) fn quiet(
    name: &'static str,
    glyph: Icon,
    action: impl FnMut() + Send + 'static,
) -> AnyView {
    quiet_with(None, name, glyph, true, click(action))
}

/// An icon button that can be focused by its id and that may be disabled.
pub(super) fn quiet_with(
    id: Option<String>,
    name: &'static str,
    glyph: Icon,
    enabled: bool,
    action: Box<dyn FnMut(MouseEvent) + Send>,
) -> AnyView {
    view! {
        <button
            type="button"
            class="quiet"
            id=id
            aria-label=name
            title=name
            disabled=!enabled
            on:click=action
        >
            {icon(glyph)}
        </button>
    }
    .into_any()
}

/// A button with a label, and perhaps an icon before it.
pub(super) fn worded(
    class: &'static str,
    glyph: Option<Icon>,
    words: &'static str,
    action: impl FnMut() + Send + 'static,
) -> AnyView {
    worded_with(class, glyph, words, click(action))
}

fn worded_with(
    class: &'static str,
    glyph: Option<Icon>,
    words: &'static str,
    action: Box<dyn FnMut(MouseEvent) + Send>,
) -> AnyView {
    view! {
        <button type="button" class=class on:click=action>
            {glyph.map(icon)}
            {words}
        </button>
    }
    .into_any()
}

/// A link that looks like a button.
pub(super) fn link(
    class: &'static str,
    glyph: Option<Icon>,
    words: &'static str,
    to: &'static str,
) -> AnyView {
    view! {
        <a class=class href=base::address(to)>
            {glyph.map(icon)}
            {words}
        </a>
    }
    .into_any()
}
