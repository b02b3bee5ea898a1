//! What the page asks the browser for: clock, storage, clipboard, focus, dialogs.
//!
//! On the server every function answers as if nothing was there, so that views need no `cfg`.
//! Nothing here is called while a view is rendered: the server's page and the browser's first one
//! must be the same, so clocks and stored settings come in with effects.

/// Where in the browser's storage our own settings lie.
const PREFIX: &str = "headwater.";

#[cfg(feature = "hydrate")]
mod real {
    use super::PREFIX;
    use leptos::prelude::{document, window};
    use wasm_bindgen::{JsCast, JsValue, closure::Closure};
    pub(crate) use web_sys::File;
    use web_sys::{
        ClipboardEvent, DragEvent, Element, Event, FileList, HtmlElement, HtmlInputElement,
        HtmlTextAreaElement, KeyboardEvent, MouseEvent, Storage,
    };

    /// Milliseconds since 1970.
    pub(crate) fn now() -> u64 {
        js_sys::Date::now() as u64
    }

    /// When the reader's day began, in milliseconds since 1970.
    pub(crate) fn day_start() -> u64 {
        let date = js_sys::Date::new_0();
        date.set_hours(0);
        date.set_minutes(0);
        date.set_seconds(0);
        date.set_milliseconds(0);
        date.get_time() as u64
    }

    /// Calls with the pictures that are chosen in a field's form, pasted into it or dropped on it.
    pub(crate) fn on_pictures(
        field: &HtmlTextAreaElement,
        mut call: impl FnMut(Vec<File>) + 'static,
    ) {
        let Some(form) = field.closest("form").ok().flatten() else {
            return;
        };
        let heard = move |event: Event| {
            let pasted = event
                .dyn_ref::<ClipboardEvent>()
                .and_then(ClipboardEvent::clipboard_data)
                // A table comes as text and as a picture of it.
                .filter(|data| !data.types().includes(&"text/plain".into(), 0));
            let dragged = event
                .dyn_ref::<DragEvent>()
                .and_then(DragEvent::data_transfer)
                .filter(|data| data.types().includes(&"Files".into(), 0));
            if dragged.is_some() {
                // Otherwise the browser leaves the page to show what is dropped.
                event.prevent_default();
            }
            let data = pasted.or(dragged);
            let input = event.target().and_then(|target| target.dyn_into().ok());
            let found = match (data, input) {
                (Some(data), _) => pictures(data.files()),
                (None, Some(input)) => {
                    let input: HtmlInputElement = input;
                    let chosen = pictures(input.files());
                    if !chosen.is_empty() {
                        // So that the same file can be chosen again.
                        input.set_value("");
                    }
                    chosen
                }
                (None, None) => Vec::new(),
            };
            if !found.is_empty() {
                event.prevent_default();
                call(found);
            }
        };
        let heard = Closure::<dyn FnMut(Event)>::new(heard);
        for kind in ["change", "paste", "dragover", "drop"] {
            let _ = form.add_event_listener_with_callback(kind, heard.as_ref().unchecked_ref());
        }
        // It goes with the form, which the page has for as long as it lives.
        heard.forget();
    }

    /// The number that is the value of the button which was clicked.
    pub(crate) fn value_of_button(event: &MouseEvent) -> Option<usize> {
        let target: Element = event.target()?.dyn_into().ok()?;
        let button = target.closest("button").ok().flatten()?;
        button.get_attribute("value")?.parse().ok()
    }

    fn pictures(files: Option<FileList>) -> Vec<File> {
        let files = files.into_iter().flat_map(|files| {
            let all = 0..files.length();
            all.filter_map(move |at| files.get(at))
        });
        files
            .filter(|file| file.type_().starts_with("image/"))
            .collect()
    }

    fn storage() -> Option<Storage> {
        window().local_storage().ok().flatten()
    }

    /// A stored setting.
    pub(crate) fn load(key: &str) -> Option<String> {
        storage()?.get_item(&[PREFIX, key].concat()).ok().flatten()
    }

    /// Stores a setting; a full or forbidden storage is no reason to disturb anybody.
    pub(crate) fn save(key: &str, value: &str) {
        if let Some(storage) = storage() {
            let _ = storage.set_item(&[PREFIX, key].concat(), value);
        }
    }

    /// Forgets a setting.
    pub(crate) fn forget(key: &str) {
        if let Some(storage) = storage() {
            let _ = storage.remove_item(&[PREFIX, key].concat());
        }
    }

    /// Light, dark, or (anything else) what the system says.
    pub(crate) fn set_theme(theme: &str) {
        let Some(root) = document().document_element() else {
            return;
        };
        let _ = match theme {
            "light" | "dark" => root.set_attribute("data-theme", theme),
            _ => root.remove_attribute("data-theme"),
        };
    }

    /// Takes the sidebar away from a wide page, or brings it back. Like the theme this is known
    /// before the first paint, so it is an attribute of the document.
    pub(crate) fn fold_sidebar(folded: bool) {
        save("sidebar", if folded { "folded" } else { "open" });
        if let Some(root) = document().document_element() {
            let _ = match folded {
                true => root.set_attribute("data-sidebar", "folded"),
                false => root.remove_attribute("data-sidebar"),
            };
        }
    }

    /// Puts text into the clipboard, by the old way where the page is not served securely.
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
        if let Ok(html) = document().dyn_into::<web_sys::HtmlDocument>() {
            let _ = html.exec_command("copy");
        }
        area.remove();
    }

    /// An element by its id.
    pub(crate) fn by_id(id: &str) -> Option<Element> {
        document().get_element_by_id(id)
    }

    /// Puts the keyboard's focus on an element without scrolling to it.
    pub(crate) fn focus(id: &str) {
        let Some(element) = by_id(id).and_then(|e| e.dyn_into::<HtmlElement>().ok()) else {
            return;
        };
        let options = web_sys::FocusOptions::new();
        options.set_prevent_scroll(true);
        let _ = element.focus_with_options(&options);
    }

    /// The same once the page has been brought up to date.
    pub(crate) fn focus_soon(id: &'static str) {
        leptos::prelude::request_animation_frame(move || focus(id));
    }

    /// Whether nothing has the keyboard's focus, so that it may be given away.
    pub(crate) fn is_idle() -> bool {
        document()
            .active_element()
            .is_none_or(|element| element.tag_name() == "BODY")
    }

    /// Whether the list of conversations is a drawer over the page, as the style sheet has it.
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

    /// Whether the reader's main pointer is a finger, where a focus would open the keyboard.
    pub(crate) fn is_touch() -> bool {
        matches("(pointer: coarse)")
    }

    /// Keeps the keys that an input method takes for itself, while somebody composes a word, from
    /// everything that listens on this page. The field still gets them: they are not sent, but
    /// what they would do to the page (close a dialog) does not happen either.
    pub(crate) fn leave_composing_alone() {
        let heard = |event: KeyboardEvent| {
            // 229 is how browsers name a key that an input method took, and how Safari names the
            // one that ended the composition, after it has ended.
            if event.is_composing() || event.key_code() == 229 {
                event.stop_immediate_propagation();
                if event.key() == "Escape" {
                    event.prevent_default();
                }
            }
        };
        let heard = Closure::<dyn Fn(KeyboardEvent)>::new(heard);
        // On the way down, so that it comes before every other listener there is or will be.
        let _ = window().add_event_listener_with_callback_and_bool(
            "keydown",
            heard.as_ref().unchecked_ref(),
            true,
        );
        heard.forget();
    }

    /// Whether a menu or a dialog is open, to which the Escape key belongs.
    pub(crate) fn is_covered() -> bool {
        matches!(
            document().query_selector("[popover]:popover-open, dialog[open]"),
            Ok(Some(_))
        )
    }

    /// Opens a `<dialog>` above everything.
    pub(crate) fn open_dialog(id: &str) {
        if let Some(dialog) =
            by_id(id).and_then(|e| e.dyn_into::<web_sys::HtmlDialogElement>().ok())
        {
            let _ = dialog.show_modal();
        }
    }

    /// Closes a `<dialog>`.
    pub(crate) fn close_dialog(id: &str) {
        if let Some(dialog) =
            by_id(id).and_then(|e| e.dyn_into::<web_sys::HtmlDialogElement>().ok())
        {
            dialog.close();
        }
    }

    /// What a field of a form holds.
    pub(crate) fn value(id: &str) -> String {
        property(id, "value").as_string().unwrap_or_default()
    }

    /// What a field for numbers holds, if it is a number.
    pub(crate) fn number(id: &str) -> Option<f64> {
        let number = property(id, "valueAsNumber").as_f64()?;
        (!number.is_nan()).then_some(number)
    }

    /// Fills a field of a form.
    pub(crate) fn set_value(id: &str, value: &str) {
        set_property(id, &value.into());
    }

    /// Fills a field for numbers, as the browser writes them, or empties it.
    pub(crate) fn set_number(id: &str, value: Option<f64>) {
        set_property(id, &value.map_or("".into(), JsValue::from_f64));
    }

    /// Sets the text of an element.
    pub(crate) fn set_text(id: &str, text: &str) {
        if let Some(element) = by_id(id) {
            element.set_text_content(Some(text));
        }
    }

    /// Whether an event began at the element with this id.
    pub(crate) fn is_from(event: &web_sys::Event, id: &str) -> bool {
        event.target().map(JsValue::from) == by_id(id).map(JsValue::from)
    }

    fn property(id: &str, name: &str) -> JsValue {
        let field = by_id(id).map_or(JsValue::UNDEFINED, JsValue::from);
        js_sys::Reflect::get(&field, &name.into()).unwrap_or_default()
    }

    fn set_property(id: &str, value: &JsValue) {
        if let Some(field) = by_id(id) {
            let _ = js_sys::Reflect::set(&field, &"value".into(), value);
        }
    }

    /// Lets a text area grow with its text where the style sheet cannot (`field-sizing`).
    pub(crate) fn fit(area: &HtmlTextAreaElement) {
        if web_sys::css::supports_with_value("field-sizing", "content").unwrap_or(false) {
            return;
        }
        let style = web_sys::HtmlElement::style(area);
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

    /// Says so when the page's program has broken, by uncovering the banner of the shell.
    pub(crate) fn watch_for_crash() {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            before(info);
            if let Some(banner) = by_id("crash") {
                let _ = banner.remove_attribute("hidden");
            }
        }));
    }
}

#[cfg(feature = "hydrate")]
pub(crate) use real::*;

#[cfg(not(feature = "hydrate"))]
mod absent {
    use leptos::web_sys::{Event, HtmlTextAreaElement, MouseEvent};
    pub(crate) use std::convert::Infallible as File;

    pub(crate) fn now() -> u64 {
        0
    }
    pub(crate) fn day_start() -> u64 {
        0
    }
    pub(crate) fn load(_: &str) -> Option<String> {
        let _ = super::PREFIX;
        None
    }
    pub(crate) fn save(_: &str, _: &str) {}
    pub(crate) fn forget(_: &str) {}
    pub(crate) fn set_theme(_: &str) {}
    pub(crate) fn fold_sidebar(_: bool) {}
    pub(crate) fn copy(_: &str) {}
    pub(crate) fn focus(_: &str) {}
    pub(crate) fn focus_soon(_: &'static str) {}
    pub(crate) fn is_idle() -> bool {
        false
    }
    pub(crate) fn is_narrow() -> bool {
        false
    }
    pub(crate) fn is_touch() -> bool {
        false
    }
    pub(crate) fn is_covered() -> bool {
        false
    }
    pub(crate) fn open_dialog(_: &str) {}
    pub(crate) fn close_dialog(_: &str) {}
    pub(crate) fn value(_: &str) -> String {
        String::new()
    }
    pub(crate) fn set_value(_: &str, _: &str) {}
    pub(crate) fn set_text(_: &str, _: &str) {}
    pub(crate) fn is_from(_: &Event, _: &str) -> bool {
        false
    }
    pub(crate) fn set_number(_: &str, _: Option<f64>) {}
    pub(crate) fn number(_: &str) -> Option<f64> {
        None
    }
    pub(crate) fn fit(_: &HtmlTextAreaElement) {}
    pub(crate) fn place(_: &str, _: &str) {}
    pub(crate) fn watch_for_crash() {}
    pub(crate) fn leave_composing_alone() {}
    pub(crate) fn on_pictures(_: &HtmlTextAreaElement, _: impl FnMut(Vec<File>) + 'static) {}
    pub(crate) fn value_of_button(_: &MouseEvent) -> Option<usize> {
        None
    }
}

#[cfg(not(feature = "hydrate"))]
pub(crate) use absent::*;
