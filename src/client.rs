//! The page's side of a run: where events come from, how they are followed, what they become.
//!
//! ```text
//! EventSource ──▶ source ──▶ follow (cursor, backoff, watchdog) ──▶ store (fold, signals) ──▶ ui
//! ```
//! `follow` and `store` compile for the server too, which renders the same page from them; `source`
//! is for the browser only.

pub mod follow;
#[cfg(feature = "hydrate")]
mod source;
pub mod store;
