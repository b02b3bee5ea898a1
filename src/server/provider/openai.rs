//! Any server that speaks OpenAI's Chat Completions: OpenAI itself, vLLM, llama.cpp, LM Studio,
//! Ollama's `/v1` and many more.
//!
//! The servers agree on the format only from afar. What they add or leave out is dealt with in the
//! parts of this module:
//!
//! - `request`: the body, and what to leave out for a server that does not know it.
//! - `decode`, `calls`, `words`: pieces of an answer to blocks.
//! - `extras`: what a server wants back with the next request.
//! - `models`: the list.

use super::{
    ChatRequest, Provider, ProviderEvent,
    catalog::Catalog,
    exchange::{self, Vendor, memory::Memory},
    secret::Secret,
    who::Who,
};
use crate::protocol::{Error, ModelInfo};
use decode::Decoder;
use futures::{FutureExt, future::BoxFuture, stream::BoxStream};
use request::Shape;
use reqwest::{
    RequestBuilder,
    header::{AUTHORIZATION, HeaderValue},
};
use serde::Deserialize;
use std::sync::{Arc, Mutex, PoisonError};

mod calls;
mod decode;
mod extras;
pub(super) mod models;
pub(super) mod request;
mod words;

/// What to tell whoever set a wrong address.
pub(super) const HINT: &str = "Most end in /v1.";

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
    prefill: bool,
    http: reqwest::Client,
    catalog: Catalog,
    /// The shape of a request that the server took last.
    server: Mutex<Shape>,
    /// The shapes that its models took last.
    shapes: Memory<Shape>,
}

impl OpenAi {
    /// A provider; nothing is sent yet. The client is best made by
    /// [`http_client`](super::http::http_client) and shared by all providers.
    pub fn new(config: OpenAiConfig, http: reqwest::Client) -> Result<Self, Error> {
        let who = Who::new(
            config.name,
            &config.base_url,
            config.api_key,
            HINT,
            "https://api.example.com/v1",
        )?;
        Ok(Self {
            shared: Arc::new(Shared {
                authorization: who.header("Bearer ")?,
                prefill: config.prefill,
                http,
                catalog: Catalog::new(config.models),
                server: Mutex::new(Shape::for_url(&who.url)),
                shapes: Memory::default(),
                who,
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
        let shared = &self.shared;
        let fetch = models::fetch(&shared.who, &shared.http, shared.authorization.as_ref());
        shared.catalog.list(&shared.who, fetch).boxed()
    }

    fn stream(&self, request: ChatRequest) -> BoxStream<'static, Result<ProviderEvent, Error>> {
        exchange::stream(self.shared.clone(), request)
    }

    fn can_prefill(&self, _: &str) -> bool {
        self.shared.prefill
    }
}

impl Shared {
    /// What the server takes, whatever the model.
    fn likely(&self) -> Shape {
        *self.server.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Vendor for Shared {
    type Decoder = Decoder;
    type Shape = Shape;

    fn who(&self) -> &Who {
        &self.who
    }

    fn shape(&self, request: &ChatRequest) -> Shape {
        let known = self.shapes.get(&request::key(request));
        known.unwrap_or_else(|| self.likely())
    }

    fn after_refusal(&self, request: &ChatRequest, shape: Shape, said: &[u8]) -> Option<Shape> {
        shape.after_refusal(said, request)
    }

    fn keep_shape(&self, request: &ChatRequest, shape: Shape) {
        let server = shape.of_server();
        *self.server.lock().unwrap_or_else(PoisonError::into_inner) = server;
        self.shapes.keep(request::key(request), shape, server);
    }

    fn call(&self, request: &ChatRequest, shape: Shape) -> Result<RequestBuilder, Error> {
        let mut call = self.http.post(self.who.at(&["chat", "completions"]));
        if let Some(value) = &self.authorization {
            call = call.header(AUTHORIZATION, value.clone());
        }
        exchange::with_json(call, &request::body(request, shape, self.prefill))
    }

    fn decoder(&self, _: &ChatRequest, _: Shape) -> Decoder {
        Decoder::new(self.who.clone())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may fail by panic")]
pub(super) mod tests;
