//! Reactive parts of views, each with one type.
//!
//! Each closure in a view has its own type, and each type adds about a kilobyte of the same code.
//! These functions erase the types of the closures, so that there is one type for each kind of
//! change.

use leptos::{ev::MouseEvent, prelude::*};

/// A boolean attribute or a class.
pub(super) fn flag(is: impl Fn() -> bool + Send + Sync + 'static) -> Signal<bool> {
    Signal::derive(is)
}

/// A text or an attribute that changes.
pub(super) fn text(is: impl Fn() -> String + Send + Sync + 'static) -> Signal<String> {
    Signal::derive(is)
}

/// An attribute with the value `true` or `false`.
pub(super) fn word(is: impl Fn() -> bool + Send + Sync + 'static) -> Signal<String> {
    text(move || if is() { "true" } else { "false" }.to_owned())
}

/// A part of the page that is rebuilt when what it reads changes.
pub(super) fn part(view: impl Fn() -> AnyView + Send + Sync + 'static) -> AnyView {
    boxed_part(Box::new(view))
}

fn boxed_part(view: Box<dyn Fn() -> AnyView + Send + Sync>) -> AnyView {
    (move || view()).into_any()
}

/// A part of the page that exists while `shown`. It is built once each time.
pub(super) fn when(
    shown: impl Fn() -> bool + Send + Sync + 'static,
    view: impl Fn() -> AnyView + Send + Sync + 'static,
) -> AnyView {
    let shown = Memo::new(move |_| shown());
    part(move || if shown.get() { view() } else { ().into_any() })
}

/// A click handler.
pub(super) fn click(action: impl FnMut() + Send + 'static) -> Box<dyn FnMut(MouseEvent) + Send> {
    let mut action = action;
    Box::new(move |_| action())
}
