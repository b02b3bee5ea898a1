//! The document: its looks, focus, dialogs and menus.

use super::save;
use leptos::prelude::{document, request_animation_frame, window};
use wasm_bindgen::{JsCast, JsValue};
use web_sys::{
    Element, HtmlDialogElement, HtmlDocument, HtmlElement, HtmlTextAreaElement, MouseEvent, Text,
};

/// Chooses `light` or `dark` colours; with any other word those of the system.
pub(crate) fn set_theme(theme: &str) {
    let Some(root) = document().document_element() else {
        return;
    };
    let _ = match theme {
        "light" | "dark" => root.set_attribute("data-theme", theme),
        _ => root.remove_attribute("data-theme"),
    };
}

/// Hides the sidebar on a wide page, or shows it. Like the theme, this is an attribute of the
/// document, which is set before the first paint.
pub(crate) fn fold_sidebar(folded: bool) {
    save("sidebar", if folded { "folded" } else { "open" });
    if let Some(root) = document().document_element() {
        let _ = match folded {
            true => root.set_attribute("data-sidebar", "folded"),
            false => root.remove_attribute("data-sidebar"),
        };
    }
}

/// Copies text to the clipboard. Pages without TLS have no clipboard and use `execCommand`
/// (<https://developer.mozilla.org/docs/Web/API/Clipboard>).
pub(crate) fn copy(text: &str) {
    if window().is_secure_context() {
        let _ = window().navigator().clipboard().write_text(text);
        return;
    }
    let Some(body) = document().body() else {
        return;
    };
    let Some(area) = document()
        .create_element("textarea")
        .ok()
        .and_then(|element| element.dyn_into::<HtmlTextAreaElement>().ok())
    else {
        return;
    };
    area.set_value(text);
    area.set_class_name("vh");
    let _ = body.append_child(&area);
    area.select();
    if let Ok(html) = document().dyn_into::<HtmlDocument>() {
        let _ = html.exec_command("copy");
    }
    area.remove();
}

/// Finds an element by its id.
pub(crate) fn by_id(id: &str) -> Option<Element> {
    document().get_element_by_id(id)
}

/// Focuses an element without scrolling to it.
pub(crate) fn focus(id: &str) {
    let Some(element) = by_id(id).and_then(|e| e.dyn_into::<HtmlElement>().ok()) else {
        return;
    };
    let options = web_sys::FocusOptions::new();
    options.set_prevent_scroll(true);
    let _ = element.focus_with_options(&options);
}

/// Focuses an element in the next frame, when the page is up to date.
pub(crate) fn focus_soon(id: &'static str) {
    request_animation_frame(move || focus(id));
}

/// Whether nothing is focused.
pub(crate) fn is_idle() -> bool {
    document()
        .active_element()
        .is_none_or(|element| element.tag_name() == "BODY")
}

/// Whether the sidebar is a drawer over the page, by the style sheet's own measure.
pub(crate) fn is_narrow() -> bool {
    matches("(max-width: 50rem)")
}

fn matches(query: &str) -> bool {
    window()
        .match_media(query)
        .ok()
        .flatten()
        .is_some_and(|query| query.matches())
}

/// Whether the main pointer is a finger. Then focusing a field opens the keyboard.
pub(crate) fn is_touch() -> bool {
    matches("(pointer: coarse)")
}

/// Whether a menu or a dialog is open, which then takes the Escape key.
pub(crate) fn is_covered() -> bool {
    matches!(
        document().query_selector("[popover]:popover-open, dialog[open]"),
        Ok(Some(_))
    )
}

/// What stands behind the path in the address, from `#` on.
pub(crate) fn hash() -> String {
    window().location().hash().unwrap_or_default()
}

/// Puts another `#…` into the address, or none. The way back stays the same.
pub(crate) fn set_hash(hash: &str) {
    let path = window().location().pathname().unwrap_or_default();
    if let Ok(history) = window().history() {
        let state = history.state().unwrap_or(JsValue::NULL);
        let _ = history.replace_state_with_url(&state, "", Some(&[&path, hash].concat()));
    }
}

/// Sets a property of an element's style, which the page's policy does not allow as an attribute.
pub(crate) fn set_style(element: &Element, name: &str, value: &str) {
    if let Some(element) = element.dyn_ref::<HtmlElement>() {
        let _ = element.style().set_property(name, value);
    }
}

/// How far below the top of an element's content the mouse is, in pixels.
pub(crate) fn height_in(element: &Element, event: &MouseEvent) -> usize {
    let top = element.get_bounding_client_rect().top();
    (f64::from(event.client_y()) - top).max(0.0) as usize
        + element.scroll_top().unsigned_abs() as usize
}

/// Opens a `<dialog>` above everything.
pub(crate) fn open_dialog(id: &str) {
    if let Some(dialog) = dialog(id) {
        let _ = dialog.show_modal();
    }
}

/// Closes a `<dialog>`.
pub(crate) fn close_dialog(id: &str) {
    if let Some(dialog) = dialog(id) {
        dialog.close();
    }
}

fn dialog(id: &str) -> Option<HtmlDialogElement> {
    by_id(id)?.dyn_into().ok()
}

/// Appends what is new of a growing text to an element that has `drawn` bytes of it. The text node
/// stays, and with it a selection.
pub(crate) fn grow_text(element: &Element, text: &str, drawn: usize) {
    let last = element.last_child();
    let last = last.and_then(|node| node.dyn_into::<Text>().ok());
    match (text.get(drawn..), last) {
        (Some(""), _) => {}
        (Some(new), Some(last)) => drop(last.append_data(new)),
        (Some(_) | None, _) => element.set_text_content(Some(text)),
    }
}

/// The length behind which [`grow_parts`] begins another part, in units of UTF-16.
const PART: u32 = 8 * 1024;

/// The same for a text that may become very long: it is in parts of some kilobytes, and a browser lays out those
/// that change. A part ends with a line.
pub(crate) fn grow_parts(element: &Element, text: &str, drawn: usize) {
    let mut new = match text.get(drawn..) {
        Some(new) if drawn > 0 => new,
        _ => {
            element.set_text_content(None);
            text
        }
    };
    while !new.is_empty() {
        let last = element.last_element_child();
        let last = last.and_then(|part| part.first_child()?.dyn_into::<Text>().ok());
        let length = last.as_ref().map_or(0, |last| last.length());
        let room = (PART - length.min(PART)) as usize;
        let mut from = room.min(new.len());
        while !new.is_char_boundary(from) {
            from += 1;
        }
        let end = new[from..]
            .find('\n')
            .map_or(new.len(), |end| from + end + 1);
        let part = &new[..end];
        match last {
            Some(last) if length < PART || !part_ends(&last) => drop(last.append_data(part)),
            _ => {
                if let Ok(next) = document().create_element("div") {
                    next.set_text_content(Some(part));
                    let _ = element.append_child(&next);
                }
            }
        }
        new = &new[end..];
    }
}

fn part_ends(part: &Text) -> bool {
    part.data().ends_with('\n')
}

/// Makes a text area as high as its text, in browsers without `field-sizing`
/// (<https://developer.mozilla.org/docs/Web/CSS/field-sizing>).
pub(crate) fn fit(area: &HtmlTextAreaElement) {
    if web_sys::css::supports_with_value("field-sizing", "content").unwrap_or(false) {
        return;
    }
    let style = HtmlElement::style(area);
    let _ = style.set_property("height", "auto");
    let _ = style.set_property(
        "height",
        &[&area.scroll_height().to_string(), "px"].concat(),
    );
}

/// Puts an open menu beside the button that opens it: under it, or above in the lower half.
pub(crate) fn place(menu: &str, button: &str) {
    let (Some(menu), Some(button)) = (by_id(menu), by_id(button)) else {
        return;
    };
    let Ok(menu) = menu.dyn_into::<HtmlElement>() else {
        return;
    };
    let size = |value: Result<JsValue, JsValue>| {
        value
            .ok()
            .and_then(|value| value.as_f64())
            .unwrap_or_default()
    };
    let (width, height) = (size(window().inner_width()), size(window().inner_height()));
    let at = button.get_bounding_client_rect();
    let px = |value: f64| [&(value as i32).to_string(), "px"].concat();
    let style = menu.style();
    let (above, under) = if at.bottom() > height * 0.6 {
        (px(height - at.top() + 4.0), "auto".to_owned())
    } else {
        ("auto".to_owned(), px(at.bottom() + 4.0))
    };
    let (left, right) = if at.left() > width * 0.5 {
        ("auto".to_owned(), px(width - at.right()))
    } else {
        (px(at.left()), "auto".to_owned())
    };
    for (name, value) in [
        ("bottom", above),
        ("top", under),
        ("left", left),
        ("right", right),
    ] {
        let _ = style.set_property(name, &value);
    }
}

/// Shows the banner of the shell when the page's program panics.
pub(crate) fn watch_for_crash() {
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        before(info);
        if let Some(banner) = by_id("crash") {
            let _ = banner.remove_attribute("hidden");
        }
    }));
}
