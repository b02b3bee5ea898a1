//! Ollama's [own API](https://github.com/ollama/ollama/blob/main/docs/api.md), which reports more
//! than its imitation of OpenAI's.
//!
//! - `host`: the forms of its address.
//! - `request`: the body, and what to leave out after a refusal.
//! - `decode`: turns the lines of an answer into blocks.
//! - `models`: the list.
//! - `pull`: the download of a missing model.

use super::{
    ChatRequest,
    api_client::ApiClient,
    endpoint::Endpoint,
    exchange::{Remedy, Vendor},
    http_provider::{HttpProvider, HttpProviderConfig},
};
use decode::{Decoder, Thinkers};
use headwater_protocol::{Error, ModelInfo};
use request::Think;
use reqwest::{Url, header::HeaderMap};
use serde::Serialize;
use std::sync::Arc;

mod decode;
mod host;
mod models;
mod pull;
mod request;

pub use host::host_url;

/// The hint in errors about a wrong address.
const HINT: &str = "Ollama's is usually http://127.0.0.1:11434, without /v1.";

/// Ollama.
pub struct Ollama {
    pull: bool,
    thinkers: Arc<Thinkers>,
}

impl Ollama {
    /// Makes a provider. The base URL is written in any form that `OLLAMA_HOST` has; see
    /// [`host_url`]. Without one, Ollama runs on this machine. No key is sent. `pull` says whether a
    /// missing model is downloaded, which may take a long time and much disk space.
    ///
    /// # Errors
    /// `invalid_request` for a base URL that is not an address.
    pub fn provider(
        mut config: HttpProviderConfig,
        pull: bool,
        http: reqwest::Client,
    ) -> Result<HttpProvider<Self>, Error> {
        config.base_url = config.base_url.as_deref().map(host_url);
        config.api_key = None;
        let endpoint = Endpoint::new(&config, "http://127.0.0.1:11434", HINT)?;
        let vendor = Self {
            pull,
            thinkers: Arc::default(),
        };
        let client = ApiClient::new(endpoint, HeaderMap::new(), http);
        Ok(HttpProvider::new(vendor, client, config.models))
    }
}

impl Vendor for Ollama {
    type Decoder = Decoder;
    type RequestVariant = Think;

    fn url(&self, endpoint: &Endpoint, _: &ChatRequest) -> Url {
        endpoint.at(&["api", "chat"])
    }

    fn body(&self, request: &ChatRequest, think: Think) -> impl Serialize {
        request::body(request, think, self.can_prefill(&request.model))
    }

    fn decoder(&self, endpoint: &Endpoint, request: &ChatRequest) -> Decoder {
        let thinkers = self.thinkers.clone();
        Decoder::new(endpoint.clone(), request.model.clone(), thinkers)
    }

    async fn models(&self, client: &ApiClient) -> Result<Vec<ModelInfo>, Error> {
        models::fetch(client, &self.thinkers).await
    }

    /// Ollama continues the assistant's last turn. A model that thinks would start thinking again.
    fn can_prefill(&self, model: &str) -> bool {
        !request::always_thinks(model) && !self.thinkers.has(model)
    }

    fn likely_variant(&self, request: &ChatRequest) -> Think {
        Think::for_request(request)
    }

    fn variant_key(&self, request: &ChatRequest) -> String {
        let prefill = request.prefill.is_some();
        format!("{} {:?} {prefill}", request.model, request.sampling.effort)
    }

    fn after_refusal(&self, _: &ChatRequest, think: Think, said: &[u8]) -> Option<Think> {
        think.after_refusal(said)
    }

    fn remedy(
        &self,
        client: &ApiClient,
        request: &ChatRequest,
        error: Error,
        first: bool,
    ) -> Result<Remedy, Error> {
        pull::remedy(client, &request.model, error, self.pull && first)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may fail by panic")]
pub(super) mod tests;
