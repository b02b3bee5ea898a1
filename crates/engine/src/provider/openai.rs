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
    endpoint::Endpoint,
    exchange::{self, Vendor, memory::Memory},
    secret::Secret,
};
use decode::Decoder;
use futures::{FutureExt, future::BoxFuture, stream::BoxStream};
use headwater_protocol::{Error, ModelInfo};
use parking_lot::Mutex;
use request::RequestVariant;
use reqwest::{
    RequestBuilder,
    header::{AUTHORIZATION, HeaderValue},
};
use serde::Deserialize;
use std::sync::Arc;

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
    endpoint: Endpoint,
    authorization: Option<HeaderValue>,
    prefill: bool,
    http: reqwest::Client,
    catalog: Catalog,
    /// The variant of a request that the server took last.
    server: Mutex<RequestVariant>,
    /// The shapes that its models took last.
    shapes: Memory<RequestVariant>,
}

impl OpenAi {
    /// A provider; nothing is sent yet. The client is best made by
    /// [`http_client`](super::http::http_client) and shared by all providers.
    pub fn new(config: OpenAiConfig, http: reqwest::Client) -> Result<Self, Error> {
        let endpoint = Endpoint::new(
            config.name,
            &config.base_url,
            config.api_key,
            HINT,
            "https://api.example.com/v1",
        )?;
        Ok(Self {
            shared: Arc::new(Shared {
                authorization: endpoint.header("Bearer ")?,
                prefill: config.prefill,
                http,
                catalog: Catalog::new(config.models),
                server: Mutex::new(RequestVariant::for_url(&endpoint.url)),
                shapes: Memory::default(),
                endpoint,
            }),
        })
    }
}

impl std::fmt::Debug for OpenAi {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OpenAi")
            .field("name", &self.shared.endpoint.name)
            .field("place", &super::http::place(&self.shared.endpoint.url))
            .finish_non_exhaustive()
    }
}

impl Provider for OpenAi {
    fn models(&self) -> BoxFuture<'_, Result<Vec<ModelInfo>, Error>> {
        let shared = &self.shared;
        let fetch = models::fetch(
            &shared.endpoint,
            &shared.http,
            shared.authorization.as_ref(),
        );
        shared.catalog.list(&shared.endpoint, fetch).boxed()
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
    fn likely(&self) -> RequestVariant {
        *self.server.lock()
    }
}

impl Vendor for Shared {
    type Decoder = Decoder;
    type RequestVariant = RequestVariant;

    fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    fn variant(&self, request: &ChatRequest) -> RequestVariant {
        let known = self.shapes.get(&request::key(request));
        known.unwrap_or_else(|| self.likely())
    }

    fn after_refusal(
        &self,
        request: &ChatRequest,
        variant: RequestVariant,
        said: &[u8],
    ) -> Option<RequestVariant> {
        variant.after_refusal(said, request)
    }

    fn keep_shape(&self, request: &ChatRequest, variant: RequestVariant) {
        let server = variant.of_server();
        *self.server.lock() = server;
        self.shapes.keep(request::key(request), variant, server);
    }

    fn call(
        &self,
        request: &ChatRequest,
        variant: RequestVariant,
    ) -> Result<RequestBuilder, Error> {
        let mut call = self.http.post(self.endpoint.at(&["chat", "completions"]));
        if let Some(value) = &self.authorization {
            call = call.header(AUTHORIZATION, value.clone());
        }
        exchange::with_json(call, &request::body(request, variant, self.prefill))
    }

    fn decoder(&self, _: &ChatRequest, _: RequestVariant) -> Decoder {
        Decoder::new(self.endpoint.clone())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may fail by panic")]
pub(super) mod tests;
