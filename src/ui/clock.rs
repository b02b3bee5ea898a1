//! A clock that runs only while it is needed.

use crate::browser;
use leptos::{leptos_dom::helpers::set_interval_with_handle, prelude::*};
use std::time::Duration;

/// The time in milliseconds since 1970-01-01 UTC, updated every second while `active`. It is 0
/// before that and on the server.
pub(super) fn ticking(active: Memo<bool>) -> ReadSignal<u64> {
    let (now, set_now) = signal(0);
    Effect::new(move |_| {
        if active.get() {
            set_now.set(browser::now());
            if let Ok(timer) = set_interval_with_handle(
                move || set_now.set(browser::now()),
                Duration::from_secs(1),
            ) {
                on_cleanup(move || timer.clear());
            }
        }
    });
    now
}
