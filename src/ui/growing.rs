//! Text that grows at its end.
//!
//! Leptos replaces the whole text when it changes. Here, new text is appended, so that a selection
//! stays and a frame costs only what arrived.

use crate::{
    browser,
    client::store::{Body, MessageView},
};
use leptos::{prelude::*, web_sys::Element};

/// Appends the new part of a text of the answer to an element. `read` passes on the whole text. The
/// element has its first `drawn` bytes already.
pub(super) fn follow(
    message: MessageView,
    element: impl Fn() -> Option<Element> + 'static,
    mut drawn: usize,
    mut read: impl FnMut(&Body, &mut dyn FnMut(&str)) + 'static,
) {
    Effect::new(move |_| {
        message.version.track();
        let Some(element) = element() else { return };
        message.with_body(|body| {
            read(body, &mut |text| {
                browser::grow_text(&element, text, drawn);
                drawn = text.len();
            });
        });
    });
}

/// A text as the content of an element.
pub(super) fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}
