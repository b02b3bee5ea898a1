//! Ollama, by its own protocol, which tells more than its imitation of OpenAI's.
//!
//! - `host`: the forms in which its address is written.
//! - `request`: the body, and what to leave out for a model that does not take it.
//! - `decode`: lines of an answer to blocks.
//! - `models`: the list.
//! - `pull`: fetching a model that is not there.

use super::{
    ChatRequest, Provider, ProviderEvent,
    catalog::Catalog,
    endpoint::Endpoint,
    exchange::{self, Vendor, memory::Memory},
};
use decode::{Decoder, Thinkers};
use futures::{FutureExt, future::BoxFuture, stream::BoxStream};
use headwater_protocol::{Error, ModelInfo};
use request::Think;
use reqwest::RequestBuilder;
use serde::Deserialize;
use std::sync::Arc;

mod decode;
mod host;
mod models;
mod pull;
mod request;

pub use host::host_url;

/// What to tell whoever set a wrong address.
const HINT: &str = "Ollama's is usually http://127.0.0.1:11434, without /v1.";

/// Which server, and how to talk to it.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OllamaConfig {
    /// The provider's name for people.
    pub name: String,
    /// Its address in any form that `OLLAMA_HOST` takes; see [`host_url`]. If it is empty, this
    /// machine is meant.
    #[serde(default)]
    pub base_url: String,
    /// The models to offer; without it the server is asked.
    #[serde(default)]
    pub models: Option<Vec<String>>,
    /// Whether a model that is not there is fetched, which may take long and much room.
    #[serde(default)]
    pub pull: bool,
}

/// An Ollama server.
#[derive(Clone)]
pub struct Ollama {
    shared: Arc<Shared>,
}

/// What all answers of a provider share.
struct Shared {
    endpoint: Endpoint,
    pull: bool,
    http: reqwest::Client,
    catalog: Catalog,
    /// What was taken about thinking, by model and effort.
    shapes: Memory<Think>,
    thinkers: Arc<Thinkers>,
}

impl Ollama {
    /// A provider; nothing is sent yet. The client is best made by
    /// [`http_client`](super::http::http_client) and shared by all providers.
    pub fn new(config: OllamaConfig, http: reqwest::Client) -> Result<Self, Error> {
        let base_url = host_url(&config.base_url);
        let endpoint = Endpoint::new(config.name, &base_url, None, HINT, "http://127.0.0.1:11434")?;
        Ok(Self {
            shared: Arc::new(Shared {
                pull: config.pull,
                http,
                catalog: Catalog::new(config.models),
                shapes: Memory::default(),
                thinkers: Arc::default(),
                endpoint,
            }),
        })
    }
}

impl std::fmt::Debug for Ollama {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ollama")
            .field("name", &self.shared.endpoint.name)
            .field("place", &super::http::place(&self.shared.endpoint.url))
            .finish_non_exhaustive()
    }
}

impl Provider for Ollama {
    fn models(&self) -> BoxFuture<'_, Result<Vec<ModelInfo>, Error>> {
        let shared = &self.shared;
        shared
            .catalog
            .list(&shared.endpoint, shared.fetch())
            .boxed()
    }

    fn stream(&self, request: ChatRequest) -> BoxStream<'static, Result<ProviderEvent, Error>> {
        pull::stream(self.shared.clone(), request)
    }

    /// Ollama writes on from an assistant's last turn. A model that thinks would begin with that
    /// anew.
    fn can_prefill(&self, model: &str) -> bool {
        self.shared.can_prefill(model)
    }
}

impl Shared {
    fn can_prefill(&self, model: &str) -> bool {
        !request::always_thinks(model) && !self.thinkers.has(model)
    }
}

impl Vendor for Shared {
    type Decoder = Decoder;
    type RequestVariant = Think;

    fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    fn variant(&self, request: &ChatRequest) -> Think {
        self.shapes
            .get(&key(request))
            .unwrap_or_else(|| Think::for_request(request))
    }

    fn after_refusal(&self, _: &ChatRequest, think: Think, said: &[u8]) -> Option<Think> {
        think.after_refusal(said)
    }

    fn keep_shape(&self, request: &ChatRequest, think: Think) {
        self.shapes.set(key(request), think);
    }

    fn call(&self, request: &ChatRequest, think: Think) -> Result<RequestBuilder, Error> {
        let prefill = self.can_prefill(&request.model);
        exchange::with_json(
            self.http.post(self.endpoint.at(&["api", "chat"])),
            &request::body(request, think, prefill),
        )
    }

    fn decoder(&self, request: &ChatRequest, _: Think) -> Decoder {
        Decoder::new(
            self.endpoint.clone(),
            request.model.clone(),
            self.thinkers.clone(),
        )
    }
}

/// What a variant is remembered by.
fn key(request: &ChatRequest) -> String {
    format!("{} {:?}", request.model, request.sampling.effort)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may fail by panic")]
pub(super) mod tests;
