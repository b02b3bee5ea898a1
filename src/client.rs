//! The page's side of a run: where events come from, how they are followed, what they become.
//!
//! ```text
//! EventSource ──▶ source ──▶ follow (cursor, backoff, watchdog) ──▶ store (fold, signals) ──▶ ui
//! ```
//! `inspect` follows a run for the inspector in the same way. `follow`, `store` and `inspect` compile for the
//! server too, which renders the same page from them; `source` and `connection` (a source, its watchdog and the
//! clock) are for the browser only.

#[cfg(feature = "hydrate")]
mod connection;
pub mod follow;
pub mod inspect;
#[cfg(feature = "hydrate")]
mod source;
pub mod store;
