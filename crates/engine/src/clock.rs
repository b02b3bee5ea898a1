//! The time of day, and lengths of time in settings.

use headwater_protocol::UnixMs;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Now, in milliseconds since 1970; 0 where the clock of the machine is before that.
pub fn now() -> UnixMs {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_millis() as u64)
}

/// The longest time that can be set, in seconds: some three years. Clocks do not go on for ever, and
/// a sum beyond their end is a panic.
pub const MAX_SECONDS: f64 = 1e8;

/// A time of the configuration; `None` for what is no number of seconds, or more than
/// [`MAX_SECONDS`].
pub fn seconds(value: f64) -> Option<Duration> {
    Duration::try_from_secs_f64(value)
        .ok()
        .filter(|_| value <= MAX_SECONDS)
}
