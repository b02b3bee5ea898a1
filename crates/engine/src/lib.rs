//! Headwater's engine: answers of language models as logs that cannot be lost.
//!
//! One idea: *a run is a log, everything else is a cursor on it.* A run answers one message. Its
//! log is numbered 1, 2, 3 … without a gap and ends with exactly one
//! [`RunFinished`](headwater_protocol::Event::RunFinished), whatever happens to the provider, the
//! disk or the process. Readers come and go with a cursor; none of them starts, slows or stops a run.
//!
//! # A tour
//!
//! Open a folder, ask, and read the answer as it comes. `Script::Builtin` stands in for a model here;
//! [`config::from_environment`] connects those whose keys are set.
//!
//! ```
//! use futures::StreamExt;
//! use headwater_engine::{Config, Engine, StartRun, config::Script};
//! use headwater_protocol::{Event, chat::Answer};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let folder = tempfile::tempdir()?;
//! # let folder = folder.path();
//! let mut config = Config::new(folder);
//! config.script = Some(Script::Builtin);
//! let engine = Engine::open(&config)?;
//!
//! let question = StartRun { text: "Hello".into(), ..StartRun::default() };
//! let started = engine.start(question).await?;
//!
//! let mut answer = Answer::default();
//! let mut entries = Box::pin(engine.follow(started.run, 0).await?);
//! while let Some(entry) = entries.next().await {
//!     answer.apply(entry.seq, &entry.event);
//!     if let Event::Delta { text, .. } = entry.event {
//!         print!("{text}");
//!     }
//! }
//! assert!(answer.visible_text().starts_with("Hello!"));
//! # Ok(())
//! # }
//! ```
//!
//! A reader that was away comes back with the number of the last entry it has, and misses nothing. A
//! run that is stopped keeps what was read:
//!
//! ```
//! # use futures::StreamExt;
//! # use headwater_engine::{Config, Engine, StartRun, config::Script};
//! # use headwater_protocol::{Event, Status, chat::Answer};
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let folder = tempfile::tempdir()?;
//! # let mut config = Config::new(folder.path());
//! # config.script = Some(Script::Builtin);
//! # let engine = Engine::open(&config)?;
//! # let model = Some("scripted/stall".to_owned());
//! # let question = StartRun { text: "Hello".into(), model, ..StartRun::default() };
//! # let started = engine.start(question).await?;
//! let mut answer = Answer::default();
//! let mut first = Box::pin(engine.follow(started.run, 0).await?);
//! while answer.visible_text().is_empty() {
//!     let entry = first.next().await.ok_or("the log has an end")?;
//!     answer.apply(entry.seq, &entry.event);
//! }
//! drop(first); // The run goes on.
//!
//! engine.stop(started.run, Some(answer.seq)).await?;
//! let mut second = Box::pin(engine.follow(started.run, answer.seq).await?);
//! while let Some(entry) = second.next().await {
//!     answer.apply(entry.seq, &entry.event);
//! }
//! assert_eq!(answer.status, Some(Status::Cancelled));
//! # Ok(())
//! # }
//! ```
//!
//! - A provider of your own: implement [`provider::Provider`] and hand it to
//!   [`Engine::builder`]; `examples/custom_provider.rs` is a whole one. Deadlines, retries, stops and
//!   the log are the engine's.
//! - A tool of your own: implement [`tool::Tool`], and [`Builder::tool`].
//! - A chain of your own, of steps, models and tools: [`chain`], and [`Builder::chain`].
//! - An observer of your own, which sees what runs do: [`observer`], and [`Builder::observer`].
//! - A web front end: [`Engine::event_stream`] gives the frames of an event stream, and
//!   [`Engine::langchain_stream`] those of LangChain's events.
//!
//! # Where to find what
//!
//! - [`Engine`]: the way in. [`config`]: what it is set up with.
//! - [`registry`], [`health`]: the providers there are, and which of them fail at the moment.
//! - [`provider`]: what a model looks like, and the vendors. [`tool`]: what a model may call.
//! - [`prompt`]: what a model is told of a conversation.
//! - [`runs`]: one task for each run: attempts, deadlines, recovery.
//! - [`chain`]: steps in Rust that are composed, each a span of the run's log.
//! - [`observer`]: code that sees what runs do.
//! - [`rewrite`]: changes what is written before it is in the log, such as a mask for secrets.
//! - [`log`]: order. [`packed`]: a log as bytes. [`follow`]: a cursor on a log.
//! - [`db`]: the file: schema, connections, and all SQL.
//! - [`lock`]: one process for each folder. [`shutdown`]: the end.
//!
//! The feature `local`, on by default, is the built-in model; without it the crate needs no tensors
//! and no tokenizer.

pub mod chain;
pub mod clock;
pub mod config;
pub mod db;
mod engine;
pub mod files;
pub mod follow;
pub mod health;
pub mod journal;
pub mod lock;
pub mod log;
pub mod observer;
pub mod packed;
pub mod prompt;
pub mod provider;
pub mod registry;
pub mod rewrite;
pub mod runs;
pub mod shutdown;
pub mod tool;

pub use config::Config;
pub use db::conversations::{Listing, StartRun, Window};
pub use engine::{Builder, Engine};
