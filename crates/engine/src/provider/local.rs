//! The built-in model: a GGUF file, run in this process on its own threads.
//!
//! It needs no key and no other program. The file is loaded in the background on first use.
//! Requests that arrive before that wait with
//! [`Stage::Connecting`](headwater_protocol::Stage::Connecting). At most [`LocalConfig::parallel`]
//! answers are computed at once, each on one thread. Other requests wait in order of arrival and
//! see their place in the queue. Dropping a stream removes its request from the queue, or stops its
//! thread before the next matrix: within a few milliseconds for a small model.
//!
//! The keys and values of a conversation are cached, so that its next turn reads only new text. A
//! conversation that outgrows the context loses its oldest turns, and a stage says so.
//!
//! `CANDLE_NUM_THREADS=1` must be in the environment before the first use, because candle's own
//! threads spin and slow down all other threads. `main` sets it.

mod answer;
mod decoder;
mod gguf;
mod halt;
mod loader;
mod model;
mod pool;
mod prompt;
mod sampler;
mod sessions;
mod shape;
mod template;
#[cfg(test)]
mod tests;
mod tokenizer;
mod weights;

pub use model::ModelSummary;
pub use sampler::SamplingDefaults;

use super::{ChatMessage, ChatRequest, Provider, ProviderEvent};
use futures::{
    future::BoxFuture,
    stream::{self, BoxStream, StreamExt},
};
use headwater_protocol::{Error, ErrorCode, ModelInfo};
use loader::Loader;
use parking_lot::Mutex;
use pool::{Pool, Ticket};
use std::{
    path::{Path, PathBuf},
    sync::Arc,
    thread,
};

/// The list calls models with fewer weights than this a toy.
const TOY_PARAMETERS: u64 = 1_000_000_000;

/// The most tokens of context that memory is reserved for, whatever a file claims.
const MAX_CONTEXT: usize = 1 << 20;

/// How the built-in model runs.
#[derive(Clone, Debug, PartialEq)]
pub struct LocalConfig {
    /// The GGUF file.
    pub path: PathBuf,
    /// The most tokens of context, even if the model supports more. Each costs memory in every
    /// cached conversation (45 KiB with the default model). Default: 8192.
    pub max_context: usize,
    /// How many answers are computed at once, each on its own thread. Default: the number of cores.
    pub parallel: usize,
    /// How tokens are sampled, unless a request says otherwise.
    pub sampling: SamplingDefaults,
    /// The most tokens of an answer, unless a request says otherwise. Default: 2048.
    pub max_new_tokens: usize,
    /// The most memory for cached conversations, in bytes. Default: 384 MiB, which is one
    /// conversation of the default model at its full context.
    pub session_cache_bytes: usize,
    /// A seed that makes sampling repeatable, for tests. Default: none.
    pub seed: Option<u64>,
}

impl LocalConfig {
    /// The defaults for a model file.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            max_context: 8192,
            parallel: thread::available_parallelism().map_or(1, usize::from),
            sampling: SamplingDefaults::default(),
            max_new_tokens: 2048,
            session_cache_bytes: 384 << 20,
            seed: None,
        }
    }
}

/// The built-in model as a [`Provider`].
pub struct LocalProvider {
    pool: Arc<Pool>,
    path: PathBuf,
    max_context: usize,
    summary: Arc<Mutex<Option<ModelSummary>>>,
}

impl LocalProvider {
    /// Starts the threads and nothing else: the file is opened on first use, or by
    /// [`Self::warm_up`]. A missing or broken file shows in [`Provider::models`] and in each answer
    /// until it is put right.
    pub fn new(mut config: LocalConfig) -> Self {
        config.max_context = config.max_context.clamp(64, MAX_CONTEXT);
        let loader = Loader::new(config.path.clone(), config.max_context);
        Self::with_loader(config, loader)
    }

    fn with_loader(mut config: LocalConfig, loader: Loader) -> Self {
        config.parallel = config.parallel.clamp(1, 1024);
        Self {
            path: config.path.clone(),
            max_context: config.max_context,
            summary: Arc::default(),
            pool: Pool::start(config, loader),
        }
    }

    /// Begins to load the model in the background, if that has not been done. Returns at once.
    pub fn warm_up(&self) {
        self.pool.loader.start();
    }

    /// How many model threads compute now.
    pub fn busy(&self) -> usize {
        self.pool.busy()
    }

    /// How many requests wait for a model thread.
    pub fn waiting(&self) -> usize {
        self.pool.waiting()
    }

    /// Reads and checks the header of a model file; blocks for some tens of milliseconds.
    ///
    /// # Errors
    /// [`ErrorCode::NotFound`] or [`ErrorCode::InvalidRequest`], with a sentence for people that
    /// names the file, what is wrong with it and what to do.
    pub fn check(path: &Path) -> Result<ModelSummary, Error> {
        model::summary(path)
    }
}

impl Drop for LocalProvider {
    fn drop(&mut self) {
        self.pool.close();
    }
}

impl Provider for LocalProvider {
    fn models(&self) -> BoxFuture<'_, Result<Vec<ModelInfo>, Error>> {
        Box::pin(async {
            let summary = match self.pool.loader.ready() {
                Some(model) => model.summary.clone(),
                None => self.read_summary().await?,
            };
            Ok(vec![self.info(&summary)])
        })
    }

    fn stream(&self, request: ChatRequest) -> BoxStream<'static, Result<ProviderEvent, Error>> {
        // Those of earlier messages were somebody else's to look at.
        if request
            .messages
            .last()
            .is_some_and(ChatMessage::shows_images)
        {
            let error = Error::new(
                ErrorCode::InvalidRequest,
                "The built-in model cannot see images. Choose another model for this question.",
            );
            return stream::once(async { Err(error) }).boxed();
        }
        let pool = self.pool.clone();
        let known = model::short_name(&self.path);
        stream::unfold(Answer::Asked(request), move |answer| {
            let (pool, known) = (pool.clone(), known.clone());
            async move { answer.next(&pool, &known).await }
        })
        .boxed()
    }

    fn can_call_tools(&self) -> bool {
        false
    }

    fn can_prefill(&self, _: &str) -> bool {
        true
    }
}

impl LocalProvider {
    async fn read_summary(&self) -> Result<ModelSummary, Error> {
        let known = self.summary.lock().clone();
        if let Some(summary) = known {
            return Ok(summary);
        }
        let path = self.path.clone();
        let summary = tokio::task::spawn_blocking(move || Self::check(&path))
            .await
            .map_err(|error| halt::internal(&error.to_string()))??;
        *self.summary.lock() = Some(summary.clone());
        Ok(summary)
    }

    fn info(&self, summary: &ModelSummary) -> ModelInfo {
        let context = usize::try_from(summary.context).unwrap_or(usize::MAX);
        let toy = summary.parameters < TOY_PARAMETERS;
        ModelInfo {
            id: summary.id.clone(),
            name: summary.id.clone(),
            provider: "Built in".into(),
            context: u32::try_from(context.min(self.max_context)).ok(),
            note: toy.then(|| {
                "A toy that runs in this server: fluent, fast to try, and often wrong.".into()
            }),
        }
    }
}

/// A stream before and after it is first polled.
enum Answer {
    Asked(ChatRequest),
    Running(Ticket),
    Over,
}

impl Answer {
    async fn next(
        self,
        pool: &Arc<Pool>,
        known: &str,
    ) -> Option<(Result<ProviderEvent, Error>, Self)> {
        let mut ticket = match self {
            Self::Asked(request) => match submit(pool, known, request) {
                Ok(ticket) => ticket,
                Err(error) => return Some((Err(error), Self::Over)),
            },
            Self::Running(ticket) => ticket,
            Self::Over => return None,
        };
        let event = ticket.events.recv().await?;
        let over = matches!(event, Err(_) | Ok(ProviderEvent::Finished { .. }));
        let rest = if over {
            Self::Over
        } else {
            Self::Running(ticket)
        };
        Some((event, rest))
    }
}

fn submit(pool: &Arc<Pool>, known: &str, request: ChatRequest) -> Result<Ticket, Error> {
    if !request.model.is_empty() && request.model != known {
        return Err(Error::new(
            ErrorCode::NotFound,
            format!("The built-in model is {known}; choose it in place of the one asked for."),
        ));
    }
    pool.submit(request)
}
