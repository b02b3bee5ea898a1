//! Puts an [`Engine`] together.

use super::Engine;
use crate::{
    Config,
    chain::{self, Chain, Question, Step},
    lock::{self, Holder, Lock},
    log::Log,
    observer::{AnyObserver, Observer, Observers, Options},
    provider::Provider,
    registry::Registry,
    rewrite::Rewrite,
    runs::context::ChainFn,
    tool::{Tool, Tools},
};
use headwater_protocol::Error;
use serde::Serialize;
use std::{
    sync::{Arc, Weak},
    time::Duration,
};

/// How often the engine looks for answers that nobody writes. There should be none.
const LOST: Duration = Duration::from_secs(10);

/// An engine that is not open yet: a [`Config`] with the providers and tools that are made in Rust.
pub struct Builder {
    config: Config,
    providers: Vec<(String, Arc<dyn Provider>)>,
    tools: Vec<Arc<dyn Tool>>,
    chains: Vec<(String, ChainFn)>,
    observers: Vec<(Arc<dyn AnyObserver>, Options)>,
    rewrite: Option<Arc<dyn Rewrite>>,
    lock: Option<Lock>,
}

impl Builder {
    pub(super) fn new(config: Config) -> Self {
        Self {
            config,
            providers: Vec::new(),
            tools: Vec::new(),
            chains: Vec::new(),
            observers: Vec::new(),
            rewrite: None,
            lock: None,
        }
    }

    /// Adds a provider. Its models are named `name/model`. The default model is that of the first
    /// provider that has one: first those of the [`Config`], then the others in the order of this call.
    pub fn provider(mut self, name: impl Into<String>, provider: impl Provider) -> Self {
        self.providers.push((name.into(), Arc::new(provider)));
        self
    }

    /// Adds a tool that models may call.
    pub fn tool(mut self, tool: impl Tool) -> Self {
        self.tools.push(Arc::new(tool));
        self
    }

    /// Adds a chain, which is asked as the model `chain/name`.
    pub fn chain<S>(mut self, name: impl Into<String>, chain: Chain<S>) -> Self
    where
        S: Step<Question>,
        S::Out: Serialize,
    {
        self.chains.push((name.into(), chain::erase(chain)));
        self
    }

    /// Adds an observer of all runs that begin, with the usual [`Options`].
    pub fn observer(self, observer: impl Observer) -> Self {
        self.observer_with(observer, Options::default())
    }

    /// Adds an observer of all runs that begin.
    pub fn observer_with(mut self, observer: impl Observer, options: Options) -> Self {
        self.observers.push((Arc::new(observer), options));
        self
    }

    /// Changes what models and tools write before it is in the log. The last call counts.
    pub fn rewrite(self, rewrite: impl Rewrite) -> Self {
        let rewrite = Some(Arc::new(rewrite) as Arc<dyn Rewrite>);
        Self { rewrite, ..self }
    }

    /// Uses a folder that [`lock::take`] has locked already.
    pub fn locked(mut self, lock: Lock) -> Self {
        self.lock = Some(lock);
        self
    }

    /// Opens the engine.
    ///
    /// # Errors
    /// See [`Engine::open`]; `invalid_request` also for a name that is taken or not allowed, and
    /// `internal` where no thread can be started for an observer.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn open(self) -> Result<Arc<Engine>, Error> {
        let config = &self.config;
        let lock = match self.lock {
            Some(lock) => lock,
            None => match lock::take(&config.data)? {
                Holder::Us(lock) => lock,
                Holder::Other(address) => return Err(lock::in_use(&config.data, &address)),
            },
        };
        let (log, closed) = Log::open_with(&config.data, config.data_limit_mb, config.durability)?;
        if closed > 0 {
            tracing::info!(
                closed,
                "answers that were cut off are kept and can be continued"
            );
        }
        let mut registry = Registry::new(config)?;
        for (name, provider) in self.providers {
            registry.add(&name, provider, config.deadlines)?;
        }
        registry.add_chains(self.chains, config.deadlines)?;
        let mut tools = Tools::new(&config.tools)?;
        for tool in self.tools {
            tools.add(tool)?;
        }
        let engine = Arc::new(Engine {
            lock: Some(lock),
            observers: Observers::start(self.observers)?,
            rewrite: self.rewrite,
            ..Engine::of(log, registry, tools, config)
        });
        tokio::spawn(close_lost(Arc::downgrade(&engine)));
        Ok(engine)
    }
}

/// Closes, from time to time, answers that are stored as running and that nobody writes.
async fn close_lost(engine: Weak<Engine>) {
    loop {
        tokio::time::sleep(LOST).await;
        let Some(engine) = engine.upgrade() else {
            return;
        };
        match engine.close_lost().await {
            Ok(0) => {}
            Ok(count) => tracing::warn!(count, "answers without a task were closed"),
            Err(why) => tracing::warn!(%why, "answers without a task could not be closed"),
        }
    }
}
