//! A text that grows at its end.
//!
//! Leptos replaces a text as a whole. Here what is new is appended, so that a selection stays and a
//! frame costs what arrived in it.

use crate::{
    browser,
    client::store::{Body, MessageView},
};
use leptos::{prelude::*, web_sys::Element};

/// Appends to an element what is new of a text of the answer. `read` hands the whole text on, of
/// which the element has `drawn` bytes already.
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
