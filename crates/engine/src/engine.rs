//! The entry point: an open data folder. `builder` opens it, `commands` and `start` are what can be
//! done in it.

mod builder;
mod commands;
mod conversation_locks;
mod observe;
mod start;

use crate::{
    Config, config::Delivery, lock::Lock, log::Log, observer::Observers, registry::Registry,
    rewrite::Rewrite, runs::recovery::Recovery, shutdown::Shutdown, tool::Tools,
};
pub use builder::Builder;
use conversation_locks::ConversationLocks;
use headwater_protocol::{Error, ErrorCode};
use std::sync::Arc;
use tokio::sync::RwLock;

/// An open data folder, the providers and tools of a [`Config`], and the runs that are being worked on.
///
/// Share it in an [`Arc`]. It needs a tokio runtime.
pub struct Engine {
    /// The logs of all runs, and the database.
    pub log: Arc<Log>,
    /// The providers and chains.
    pub registry: Arc<Registry>,
    /// Pings and the lifetime of event streams.
    pub delivery: Delivery,
    /// What to do about failures of providers.
    pub recovery: Recovery,
    /// The system prompt of conversations without their own.
    pub system: Option<String>,
    /// The tools that models may call.
    pub tools: Tools,
    /// Ends the engine.
    pub shutdown: Shutdown,
    /// What changes the texts of runs before they are in the log.
    rewrite: Option<Arc<dyn Rewrite>>,
    /// The observers of all runs.
    observers: Observers,
    /// Held by commands that need a conversation to stay free, or to keep its runs.
    conversations: ConversationLocks,
    /// Shared by all starts while their runs are in the database and not in the log's memory yet;
    /// held alone by [`Engine::close_lost`], which would take such a run for a lost one.
    starting: RwLock<()>,
    /// Held for as long as the folder is in use.
    lock: Option<Lock>,
}

impl Engine {
    /// Opens a data folder, closes answers that a dead process left open, and makes the providers and
    /// tools of `config`. From then on the engine closes answers that nobody writes.
    ///
    /// # Errors
    /// `storage` (also where another process has the folder) or `invalid_request`, with a sentence
    /// for whoever starts the program.
    pub fn open(config: &Config) -> Result<Arc<Self>, Error> {
        Self::builder(config.clone()).open()
    }

    /// Builds an engine with providers or tools that are not in a [`Config`].
    pub fn builder(config: Config) -> Builder {
        Builder::new(config)
    }

    /// An engine of parts that were made before. Without a lock on the folder.
    fn of(log: Log, registry: Registry, tools: Tools, config: &Config) -> Self {
        Self {
            log: Arc::new(log),
            registry: Arc::new(registry),
            delivery: config.delivery,
            recovery: config.recovery,
            system: config.system.clone(),
            tools,
            shutdown: Shutdown::default(),
            rewrite: None,
            observers: Observers::default(),
            conversations: ConversationLocks::default(),
            starting: RwLock::default(),
            lock: None,
        }
    }

    /// Notes the address of the server in the folder, for other processes that want to open it.
    pub fn publish(&self, address: &str) {
        if let Some(lock) = &self.lock {
            lock.publish(address);
        }
    }

    /// Whether new runs are accepted: the engine is not ending, and its log can be written.
    ///
    /// # Errors
    /// `shutting_down` or `storage`, with a sentence that says why not.
    pub fn ready(&self) -> Result<(), Error> {
        if self.shutdown.draining.is_cancelled() {
            return Err(Error::new(ErrorCode::ShuttingDown, "The server is ending."));
        }
        if !self.log.writer.is_alive() {
            return Err(Error::new(
                ErrorCode::Storage,
                "Nothing can be stored any more.",
            ));
        }
        match self.log.appender.trouble().borrow().as_ref() {
            Some(why) => Err(why.clone()),
            None => Ok(()),
        }
    }
}

/// The error for a task of ours that panicked.
fn failed() -> Error {
    Error::new(
        ErrorCode::Internal,
        "This failed unexpectedly. It is a fault of the server.",
    )
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may fail by panic")]
mod tests;
