//! Any server that speaks OpenAI's Chat Completions: OpenAI itself, vLLM, llama.cpp, LM Studio,
//! Ollama's `/v1` and many more.
//!
//! The servers agree on the format only from afar. What they add or leave out is dealt with in the
//! parts of this module:
//!
//! - `request`: the body, and what to leave out for a server that does not know it.
//! - `answer`: the connection.
//! - `reader`: bytes to events, without a socket.
//! - `decode`, `calls`, `think`, `words`: pieces of an answer to blocks.
//! - `error`: what a server says about a failure.
//! - `models`: the list.

use super::{ChatRequest, Provider, ProviderEvent, secret::Secret};
use crate::protocol::{Error, ErrorCode, ModelInfo};
use answer::Answer;
use error::Who;
use futures::{
    FutureExt, StreamExt,
    future::BoxFuture,
    stream::{self, BoxStream},
};
use request::Shape;
use reqwest::{Url, header::HeaderValue};
use serde::Deserialize;
use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

mod answer;
mod calls;
mod decode;
mod error;
mod models;
mod reader;
mod request;
mod think;
mod words;

/// Which server, and how to talk to it.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OpenAiConfig {
    /// The provider's name for people.
    pub name: String,
    /// Its address up to and with `/v1`.
    pub base_url: String,
    /// The key, where it wants one.
    #[serde(default)]
    pub api_key: Option<Secret>,
    /// The models to offer; without it the server is asked.
    #[serde(default)]
    pub models: Option<Vec<String>>,
    /// Whether the server goes on from a half-written answer. vLLM and llama.cpp do.
    #[serde(default)]
    pub prefill: bool,
}

/// A provider that speaks OpenAI's Chat Completions.
#[derive(Clone)]
pub struct OpenAi {
    shared: Arc<Shared>,
}

/// What all answers of a provider share.
struct Shared {
    who: Who,
    authorization: Option<HeaderValue>,
    fixed: Option<Vec<String>>,
    prefill: bool,
    http: reqwest::Client,
    cache: models::Cache,
    /// The shape of a request that the server took last.
    stream_options: AtomicBool,
    max_completion_tokens: AtomicBool,
}

impl OpenAi {
    /// A provider; nothing is sent yet. The client is best made by
    /// [`http_client`](super::http::http_client) and shared by all providers.
    pub fn new(config: OpenAiConfig, http: reqwest::Client) -> Result<Self, Error> {
        let name = &config.name;
        let wrong =
            |why: String| Error::new(ErrorCode::InvalidRequest, why).at("reading the settings");
        let url: Url = config
            .base_url
            .trim()
            .parse()
            .ok()
            .filter(|url: &Url| matches!(url.scheme(), "http" | "https") && url.has_host())
            .ok_or_else(|| {
                wrong(format!(
                    "The base URL of {name} is not an address. It looks like https://api.example.com/v1."
                ))
            })?;
        let key = config.api_key.filter(|key| !key.is_empty());
        let authorization = match &key {
            Some(key) => {
                let mut value =
                    HeaderValue::try_from(format!("Bearer {}", key.expose())).map_err(|_| {
                        wrong(format!(
                            "The key of {name} holds characters that no key has."
                        ))
                    })?;
                value.set_sensitive(true);
                Some(value)
            }
            None => None,
        };
        let shape = Shape::for_url(&url);
        Ok(Self {
            shared: Arc::new(Shared {
                who: Who {
                    name: config.name,
                    url,
                    key,
                },
                authorization,
                fixed: config.models,
                prefill: config.prefill,
                http,
                cache: models::Cache::default(),
                stream_options: AtomicBool::new(shape.stream_options),
                max_completion_tokens: AtomicBool::new(shape.max_completion_tokens),
            }),
        })
    }
}

impl std::fmt::Debug for OpenAi {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OpenAi")
            .field("name", &self.shared.who.name)
            .field("place", &super::http::place(&self.shared.who.url))
            .finish_non_exhaustive()
    }
}

impl Provider for OpenAi {
    fn models(&self) -> BoxFuture<'_, Result<Vec<ModelInfo>, Error>> {
        self.shared.models().boxed()
    }

    fn stream(&self, request: ChatRequest) -> BoxStream<'static, Result<ProviderEvent, Error>> {
        let answer = Answer::new(self.shared.clone(), request);
        stream::unfold(answer, |mut answer| async move {
            let event = answer.next().await?;
            Some((event, answer))
        })
        .boxed()
    }

    fn can_prefill(&self, _: &str) -> bool {
        self.shared.prefill
    }
}

impl Shared {
    /// The address of a call; a query that the base URL has stays.
    fn url(&self, path: &[&str]) -> Url {
        let mut url = self.who.url.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(path);
        }
        url
    }

    fn shape(&self) -> Shape {
        Shape {
            stream_options: self.stream_options.load(Ordering::Relaxed),
            max_completion_tokens: self.max_completion_tokens.load(Ordering::Relaxed),
        }
    }

    fn keep_shape(&self, shape: Shape) {
        self.stream_options
            .store(shape.stream_options, Ordering::Relaxed);
        self.max_completion_tokens
            .store(shape.max_completion_tokens, Ordering::Relaxed);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may fail by panic")]
mod tests;
