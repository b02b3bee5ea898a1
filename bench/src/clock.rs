//! The one clock that the upstream and the readers share.

use std::{
    sync::OnceLock,
    time::{Duration, Instant},
};

static START: OnceLock<Instant> = OnceLock::new();

/// Nanoseconds of the monotonic clock since the first call.
pub(crate) fn now() -> u64 {
    START.get_or_init(Instant::now).elapsed().as_nanos() as u64
}

/// Sleeps until [`now`] is `due`.
pub(crate) async fn sleep_until(due: u64) {
    let start = *START.get_or_init(Instant::now);
    tokio::time::sleep_until((start + Duration::from_nanos(due)).into()).await;
}

/// Nanoseconds as milliseconds.
pub(crate) fn ms(nanoseconds: u64) -> f64 {
    nanoseconds as f64 / 1e6
}
