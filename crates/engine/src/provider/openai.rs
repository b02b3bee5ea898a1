//! Any server that speaks OpenAI's
//! [Chat Completions](https://platform.openai.com/docs/api-reference/chat): OpenAI itself, vLLM,
//! llama.cpp, LM Studio, Ollama's `/v1` and many more.
//!
//! These servers agree only roughly on the format. The parts of this module deal with what they add
//! or leave out:
//!
//! - `variant`: the parts of a request that servers disagree about, and what to try after a refusal.
//! - `request`: the body.
//! - `decode`, `content`, `calls`, `words`: turn the chunks of an answer into blocks.
//! - `extras`: the fields that a server needs back with the next request.
//! - `models`: the list.

use super::{
    ChatRequest,
    api_client::ApiClient,
    endpoint::Endpoint,
    exchange::Vendor,
    http_provider::{HttpProvider, HttpProviderConfig},
};
use decode::Decoder;
use headwater_protocol::{Error, ModelInfo};
use parking_lot::Mutex;
use reqwest::{Url, header::AUTHORIZATION};
use serde::Serialize;
use variant::RequestVariant;

mod calls;
mod content;
mod decode;
mod extras;
pub(super) mod models;
mod plain;
pub(super) mod request;
pub(super) mod variant;
mod words;

/// The hint in errors about a wrong address.
pub(super) const HINT: &str = "Most end in /v1.";

/// OpenAI's Chat Completions.
pub struct OpenAi {
    prefill: bool,
    /// The variant that the server accepted last, whatever the model.
    server: Mutex<RequestVariant>,
}

impl OpenAi {
    /// Makes a provider. The configuration needs a base URL, up to and with `/v1`. `prefill` says
    /// whether the server continues a half-written answer. vLLM and llama.cpp do.
    ///
    /// # Errors
    /// `invalid_request` for a base URL that is not an address, or a key that cannot be sent.
    pub fn provider(
        mut config: HttpProviderConfig,
        prefill: bool,
        http: reqwest::Client,
    ) -> Result<HttpProvider<Self>, Error> {
        // There is no usual server, and an empty address is refused.
        config.base_url.get_or_insert_default();
        let endpoint = Endpoint::new(&config, "https://api.example.com/v1", HINT)?;
        let vendor = Self {
            prefill,
            server: Mutex::new(RequestVariant::for_url(&endpoint.url)),
        };
        let headers = endpoint.key_header(AUTHORIZATION, "Bearer ")?;
        let client = ApiClient::new(endpoint, headers, http);
        Ok(HttpProvider::new(vendor, client, config.models))
    }
}

impl Vendor for OpenAi {
    type Decoder = Decoder;
    type RequestVariant = RequestVariant;

    fn url(&self, endpoint: &Endpoint, _: &ChatRequest) -> Url {
        endpoint.at(&["chat", "completions"])
    }

    fn body(&self, request: &ChatRequest, variant: RequestVariant) -> impl Serialize {
        request::body(request, variant, self.prefill)
    }

    fn decoder(&self, endpoint: &Endpoint, _: &ChatRequest) -> Decoder {
        Decoder::new(endpoint.clone())
    }

    async fn models(&self, client: &ApiClient) -> Result<Vec<ModelInfo>, Error> {
        models::fetch(client).await
    }

    fn can_prefill(&self, _: &str) -> bool {
        self.prefill
    }

    fn likely_variant(&self, _: &ChatRequest) -> RequestVariant {
        *self.server.lock()
    }

    fn after_refusal(
        &self,
        request: &ChatRequest,
        variant: RequestVariant,
        said: &[u8],
    ) -> Option<RequestVariant> {
        variant.after_refusal(said, request)
    }

    fn accepted(&self, variant: RequestVariant) -> Option<RequestVariant> {
        *self.server.lock() = variant.of_server();
        Some(variant)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may fail by panic")]
pub(super) mod tests;
