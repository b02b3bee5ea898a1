//! The web server over the engine: HTTP, and nothing that would be needed without it.
//!
//! - [`router`]: all addresses. [`state`]: what their handlers share.
//! - [`connections`], [`base_path`], [`guard`]: sockets, where the server is reached, and who may ask. [`policy`]: what browsers may do with the
//!   answers. [`trace`]: the log of requests.
//! - [`forms`], [`status`]: what commands are sent as, and how failures are answered.
//! - [`pages`], [`plain`], `document`: pages with script, pages without, and what those are made of.
//! - [`streams`], [`socket`]: runs as event streams, as polls, and many of them on one WebSocket.
//! - [`probe`]: the connection doctor. [`images`], [`metrics`], [`export`]: the other addresses.
//! - [`config`]: how all of it is set. [`demo`]: a chain that comes with the built-in script.

pub mod base_path;
pub mod config;
pub mod connections;
pub mod demo;
mod document;
pub mod export;
pub mod forms;
pub mod guard;
pub mod images;
pub mod metrics;
pub mod pages;
pub mod plain;
pub(crate) mod policy;
pub mod probe;
pub mod router;
pub mod socket;
pub mod state;
pub mod status;
pub mod streams;
pub mod timing;
pub mod trace;

pub use router::router;
pub use state::engine;
