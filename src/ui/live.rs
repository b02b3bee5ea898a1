//! What changes on the page, in types that are the same everywhere.
//!
//! Each closure in a view is a type of its own, and each type brings a kilobyte of code that does
//! the same as the others'. Behind these functions there is one type for every sort of change.

use leptos::{ev::MouseEvent, prelude::*};

/// An attribute or a class that is there or not.
pub(super) fn flag(is: impl Fn() -> bool + Send + Sync + 'static) -> Signal<bool> {
    Signal::derive(is)
}

/// A text or an attribute that changes.
pub(super) fn text(is: impl Fn() -> String + Send + Sync + 'static) -> Signal<String> {
    Signal::derive(is)
}

/// `true` or `false` in an attribute that wants the word.
pub(super) fn word(is: impl Fn() -> bool + Send + Sync + 'static) -> Signal<String> {
    text(move || if is() { "true" } else { "false" }.to_owned())
}

/// A part of the page that is made anew when what it reads changes.
pub(super) fn part(view: impl Fn() -> AnyView + Send + Sync + 'static) -> AnyView {
    boxed_part(Box::new(view))
}

fn boxed_part(view: Box<dyn Fn() -> AnyView + Send + Sync>) -> AnyView {
    (move || view()).into_any()
}

/// A part of the page that is there while `shown`. It is made once each time.
pub(super) fn when(
    shown: impl Fn() -> bool + Send + Sync + 'static,
    view: impl Fn() -> AnyView + Send + Sync + 'static,
) -> AnyView {
    let shown = Memo::new(move |_| shown());
    part(move || if shown.get() { view() } else { ().into_any() })
}

/// What a click does.
pub(super) fn click(deed: impl FnMut() + Send + 'static) -> Box<dyn FnMut(MouseEvent) + Send> {
    let mut deed = deed;
    Box::new(move |_| deed())
}
