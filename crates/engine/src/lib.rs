//! Headwater's engine: answers of language models as logs that cannot be lost.
//!
//! One idea: *a run is a log, everything else is a cursor on it.* Where to find what:
//!
//! - [`Engine`]: the way in. Open a data folder, start a run, follow it, stop it.
//! - [`config`], [`registry`], [`health`]: what is set up, which providers there are, how they are.
//! - [`provider`]: what a model looks like, and the vendors. [`tool`]: what a model may call.
//! - [`prompt`]: what a model is told of a conversation.
//! - [`runs`]: one task for each run: attempts, deadlines, recovery. [`log`]: order. [`follow`]: a
//!   cursor on a log as frames of an event stream.
//! - [`db`]: the file: schema, connections, and all SQL.
//! - [`lock`]: one process for each folder. [`shutdown`]: the end.
//!
//! It knows no web framework, and can be used without Headwater's app.

pub mod clock;
pub mod config;
pub mod db;
mod engine;
pub mod follow;
pub mod health;
pub mod lock;
pub mod log;
pub mod packed;
pub mod prompt;
pub mod provider;
pub mod registry;
pub mod runs;
pub mod shutdown;
pub mod tool;

pub use config::Config;
pub use db::conversations::{Listing, Window};
pub use engine::{Builder, Engine, StartRun};
