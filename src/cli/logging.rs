//! The log. It goes to standard error, so that standard output stays clean.

use crate::server::config::LogFormat;
use headwater_protocol::Error;
use std::{
    io::{self, IsTerminal},
    panic,
    sync::OnceLock,
};
use tracing_subscriber::EnvFilter;

/// The format of the log, once it is known.
static FORMAT: OnceLock<LogFormat> = OnceLock::new();

/// Starts the log in `format`. The environment variable `HEADWATER_LOG` says what is logged
/// ([syntax](https://docs.rs/tracing-subscriber/0.3/tracing_subscriber/filter/struct.EnvFilter.html#directives));
/// without it, `default` does. Only the first call has an effect.
pub(super) fn init(format: LogFormat, default: &str) {
    if FORMAT.set(format).is_err() {
        return;
    }
    let filter =
        EnvFilter::try_from_env("HEADWATER_LOG").unwrap_or_else(|_| EnvFilter::new(default));
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr);
    // It only fails if the program that uses this crate as a library has set up its own log.
    let _ = match format {
        // Its default respects `NO_COLOR`, but does not check for a terminal.
        LogFormat::Text if io::stderr().is_terminal() => log.try_init(),
        LogFormat::Text => log.with_ansi(false).try_init(),
        LogFormat::Json => {
            // The standard hook writes lines of text.
            panic::set_hook(Box::new(
                |why| tracing::error!(%why, "a fault of the program"),
            ));
            log.json()
                .flatten_event(true)
                .with_span_list(false)
                .try_init()
        }
    };
}

/// Reports the failure that ends the program.
pub(super) fn report(why: &Error) {
    match FORMAT.get() {
        Some(LogFormat::Json) => tracing::error!("{why}"),
        _ => eprintln!("headwater: {why}"),
    }
}
