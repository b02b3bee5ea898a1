//! The browser itself.

mod events;
mod files;
mod locks;
mod page;
mod storage;
mod time;

pub(crate) use events::{Channel, Listener, ignore_composing_keys, on_hash, on_visible};
pub(crate) use files::{File, chosen_images, dropped_images, pasted_images, upload};
pub(crate) use locks::{Claim, Held, has_locks, lock};
pub(crate) use page::*;
pub(crate) use storage::{forget, forget_in_tab, load, load_in_tab, save, save_in_tab};
pub(crate) use time::{day_start, now, sleep, spawn};

use leptos::prelude::window;
use uuid::Uuid;
use wasm_bindgen::JsValue;
use wasm_bindgen_futures::JsFuture;

/// Whether the tab is in the background.
pub(crate) fn is_hidden() -> bool {
    leptos::prelude::document().hidden()
}

/// Whether the browser believes that there is a network.
pub(crate) fn is_online() -> bool {
    window().navigator().on_line()
}

/// Whether all requests of this page share one connection, as they do from HTTP/2 on. Otherwise browsers open
/// six to a host.
pub(crate) fn shares_connection() -> bool {
    let protocol = || {
        let entries = window().performance()?.get_entries_by_type("navigation");
        let key = JsValue::from("nextHopProtocol");
        js_sys::Reflect::get(&entries.get(0), &key)
            .ok()?
            .as_string()
    };
    protocol().is_some_and(|protocol| matches!(protocol.as_str(), "h2" | "h3"))
}

/// A random identifier: of a command, or of a message that the server does not know yet.
pub(crate) fn random_id() -> Uuid {
    let mut bytes = [0; 16];
    if let Ok(crypto) = window().crypto() {
        let _ = crypto.get_random_values_with_u8_array(&mut bytes);
    }
    uuid::Builder::from_random_bytes(bytes).into_uuid()
}

/// The SHA-256 hash of a text in hexadecimal. `None` where the browser's cryptography is not
/// available: on the address of another machine without TLS
/// (<https://developer.mozilla.org/docs/Web/API/Crypto/subtle>).
pub(crate) async fn sha256(text: String) -> Option<String> {
    let subtle = window().crypto().ok()?.subtle();
    if JsValue::from(&subtle).is_undefined() {
        return None;
    }
    let promise = subtle
        .digest_with_str_and_u8_array("SHA-256", text.as_bytes())
        .ok()?;
    let digest = js_sys::Uint8Array::new(&JsFuture::from(promise).await.ok()?).to_vec();
    Some(data_encoding::HEXLOWER.encode(&digest))
}
