//! Clocks, pauses and tasks.

use gloo_timers::future::TimeoutFuture;
use std::pin::Pin;

/// Milliseconds since 1970, by the clock of the machine.
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

/// Waits for so many milliseconds.
pub(crate) async fn sleep(ms: u32) {
    TimeoutFuture::new(ms).await;
}

/// Runs a task of the page. It outlives what began it, because a command must reach the server:
/// after each `await` it must ask whether what it wants to change is still there.
pub(crate) fn spawn(task: impl Future<Output = ()> + 'static) {
    // One type for all tasks, so that the code which runs a task is compiled once.
    let task: Pin<Box<dyn Future<Output = ()>>> = Box::pin(task);
    leptos::task::spawn_local(task);
}
