//! The server's side of [`browser`](crate::browser): nothing is there.

use headwater_protocol::{Error, ImageId};
use leptos::web_sys::{ClipboardEvent, DragEvent, Element, Event, HtmlTextAreaElement, MouseEvent};
pub(crate) use std::convert::Infallible as File;
use uuid::Uuid;

pub(crate) struct Channel;

impl Channel {
    pub(crate) fn open(_: &str, _: impl Fn(&str) + 'static) -> Option<Self> {
        None
    }
    pub(crate) fn post(&self, _: &str) {}
}

pub(crate) struct Listener;

pub(crate) fn on_visible(_: impl Fn() + 'static) -> Listener {
    Listener
}
pub(crate) fn on_hash(_: impl Fn() + 'static) -> Listener {
    Listener
}
pub(crate) fn ignore_composing_keys() {}
pub(crate) fn spawn(_: impl Future<Output = ()> + 'static) {}
pub(crate) fn now() -> u64 {
    0
}
pub(crate) fn day_start() -> u64 {
    0
}
pub(crate) async fn sleep(_: u32) {}
pub(crate) fn random_id() -> Uuid {
    Uuid::nil()
}
pub(crate) fn load(_: &str) -> Option<String> {
    None
}
pub(crate) fn save(_: &str, _: &str) {}
pub(crate) fn forget(_: &str) {}
pub(crate) fn load_in_tab(_: &str) -> Option<String> {
    None
}
pub(crate) fn save_in_tab(_: &str, _: &str) {}
pub(crate) fn forget_in_tab(_: &str) {}
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
pub(crate) fn hash() -> String {
    String::new()
}
pub(crate) fn set_hash(_: &str) {}
pub(crate) fn set_style(_: &Element, _: &str, _: &str) {}
pub(crate) fn height_in(_: &Element, _: &MouseEvent) -> usize {
    0
}
pub(crate) fn open_dialog(_: &str) {}
pub(crate) fn close_dialog(_: &str) {}
pub(crate) fn grow_text(_: &Element, _: &str, _: usize) {}
pub(crate) fn grow_parts(_: &Element, _: &str, _: usize) {}
pub(crate) fn fit(_: &HtmlTextAreaElement) {}
pub(crate) fn place(_: &str, _: &str) {}
pub(crate) fn watch_for_crash() {}
pub(crate) fn chosen_images(_: &Event) -> Vec<File> {
    Vec::new()
}
pub(crate) fn pasted_images(_: &ClipboardEvent) -> Vec<File> {
    Vec::new()
}
pub(crate) fn dropped_images(_: &DragEvent) -> Vec<File> {
    Vec::new()
}
pub(crate) async fn upload(file: File) -> Result<ImageId, Error> {
    match file {}
}
