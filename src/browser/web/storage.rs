//! What is kept in the browser: for good, or as long as the tab is open.
//!
//! A storage that is full or forbidden is as good as an empty one.

use leptos::prelude::window;
use web_sys::Storage;

/// All keys begin with this.
const PREFIX: &str = "headwater.";

fn local() -> Option<Storage> {
    window().local_storage().ok().flatten()
}

fn session() -> Option<Storage> {
    window().session_storage().ok().flatten()
}

/// Reads a value that is kept for good.
pub(crate) fn load(key: &str) -> Option<String> {
    get(local(), key)
}

/// Keeps a value for good.
pub(crate) fn save(key: &str, value: &str) {
    set(local(), key, value);
}

/// Removes what [`save`] kept.
pub(crate) fn forget(key: &str) {
    remove(local(), key);
}

/// Reads a value that is kept as long as the tab.
pub(crate) fn load_in_tab(key: &str) -> Option<String> {
    get(session(), key)
}

/// Keeps a value as long as the tab, over reloads.
pub(crate) fn save_in_tab(key: &str, value: &str) {
    set(session(), key, value);
}

/// Removes what [`save_in_tab`] kept.
pub(crate) fn forget_in_tab(key: &str) {
    remove(session(), key);
}

fn get(storage: Option<Storage>, key: &str) -> Option<String> {
    storage?.get_item(&[PREFIX, key].concat()).ok().flatten()
}

fn set(storage: Option<Storage>, key: &str, value: &str) {
    if let Some(storage) = storage {
        let _ = storage.set_item(&[PREFIX, key].concat(), value);
    }
}

fn remove(storage: Option<Storage>, key: &str) {
    if let Some(storage) = storage {
        let _ = storage.remove_item(&[PREFIX, key].concat());
    }
}
