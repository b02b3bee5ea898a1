//! How the answers of this chat are asked for.

use super::{browser, dialog::sheet, live::text};
use crate::client::store::Chat;
use headwater_protocol::{
    Error,
    chat::{Effort, Settings},
};
use leptos::{ev, prelude::*};

/// The dialog's id.
const ID: &str = "settings";

/// The form. Its fields belong to the browser: they are filled when the dialog opens and read when
/// they are saved, so that they are text for the program and no views. Cancel and the cross belong
/// to forms of their own, which do nothing but close the dialog.
///
/// It comes with the page and never changes, so that the browser's program does without it.
const FORM: &str = if cfg!(feature = "ssr") {
    include_str!("settings/form.html")
} else {
    ""
};

/// Opens the dialog with what is set now: what was typed before and not saved is gone.
pub(super) fn open(chat: Chat) {
    let json = chat.settings.get_untracked();
    let settings: Settings = serde_json::from_slice(json.as_bytes()).unwrap_or_default();
    browser::set_value("set-system", settings.system.as_deref().unwrap_or_default());
    browser::set_value("set-effort", settings.effort.map_or("", Effort::word));
    browser::set_number("set-temperature", settings.temperature);
    browser::set_number("set-top-p", settings.top_p);
    browser::set_number("set-most", settings.max_tokens.map(f64::from));
    browser::set_text("set-problem", "");
    browser::open_dialog(ID);
}

/// The dialog.
#[component]
pub(super) fn SettingsDialog() -> impl IntoView {
    let chat = expect_context::<Chat>();
    let save = move |event: ev::SubmitEvent| {
        if !browser::is_from(&event, "set") {
            return;
        }
        event.prevent_default();
        let settings = read();
        let length = settings.system.as_ref().map_or(0, String::len);
        if length > Settings::MAX_SYSTEM_BYTES {
            browser::set_text("set-problem", &too_long(length));
            return;
        }
        let done = |error: Option<Error>| match error {
            Some(error) => browser::set_text("set-problem", &error.message),
            None => browser::close_dialog(ID),
        };
        chat.set_up(settings, Box::new(done));
    };
    sheet(
        ID,
        "Settings of this chat",
        text(|| FORM.to_owned()),
        Box::new(save),
    )
}

fn too_long(bytes: usize) -> String {
    format!(
        "The system prompt has {} kB. At most {} kB are possible.",
        bytes.div_ceil(1024),
        Settings::MAX_SYSTEM_BYTES / 1024
    )
}

fn read() -> Settings {
    Settings {
        system: Some(browser::value("set-system")).filter(|text| !text.trim().is_empty()),
        temperature: browser::number("set-temperature"),
        top_p: browser::number("set-top-p"),
        max_tokens: browser::number("set-most").map(|most| most as u32),
        effort: Effort::of(&browser::value("set-effort")),
    }
}
