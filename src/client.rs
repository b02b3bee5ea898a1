//! The page's side of a run: where events come from, how they are followed, what they become.
//!
//! ```text
//! transport ──▶ connection ──▶ follow (cursor, backoff, watchdog) ──▶ store (fold, signals) ──▶ ui
//! ```
//! `transport` brings the events, by an event stream, a WebSocket or polls (`choice` says which), and one tab of a
//! browser brings those of all (`relay` is what they tell each other). `inspect` follows a run for the inspector in
//! the same way as `store`. All but `transport` and `connection` (a stream, its watchdog and the clock) compile
//! for the server too, which renders the same page from them.

pub mod choice;
#[cfg(feature = "hydrate")]
mod connection;
pub mod follow;
pub mod inspect;
pub mod relay;
pub mod store;
#[cfg(feature = "hydrate")]
mod transport;
