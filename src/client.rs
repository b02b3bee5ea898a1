//! The page's side of a run: where events come from, how they are followed, what they become.
//!
//! ```text
//! EventSource ──▶ source ──▶ follow (cursor, backoff, watchdog) ──▶ store (fold, signals) ──▶ ui
//! ```
//! `store` compiles on the server too, because the server renders the same page from it; the
//! other two exist in the browser only, apart from their pure parts.

pub mod follow;
#[cfg(feature = "hydrate")]
pub mod source;
pub mod store;
