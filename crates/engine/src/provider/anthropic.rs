//! Anthropic's [Messages API](https://docs.claude.com/en/api/messages), and the servers that speak
//! it.
//!
//! - `traits`: what is known about a model by its name.
//! - `variant`: the parts of a request that models disagree about, and what to try after a refusal.
//! - `request`: the body.
//! - `decode`, `blocks`: turn the events of an answer into blocks.
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
use reqwest::{
    Url,
    header::{HeaderName, HeaderValue},
};
use serde::Serialize;
use traits::Traits;
use variant::RequestVariant;

mod blocks;
mod decode;
mod models;
mod open_block;
mod request;
mod traits;
mod variant;

/// The [version](https://docs.claude.com/en/api/versioning) of the API.
const VERSION: HeaderValue = HeaderValue::from_static("2023-06-01");

/// Anthropic's own address.
const BASE_URL: &str = "https://api.anthropic.com";

/// The hint in errors about a wrong address.
const HINT: &str = "Anthropic's own is https://api.anthropic.com.";

/// Anthropic's Messages API.
pub struct Anthropic(());

impl Anthropic {
    /// Makes a provider. The base URL comes with or without `/v1`.
    ///
    /// # Errors
    /// `invalid_request` for a base URL that is not an address, or a key that cannot be sent.
    pub fn provider(
        config: HttpProviderConfig,
        http: reqwest::Client,
    ) -> Result<HttpProvider<Self>, Error> {
        let endpoint = Endpoint::new(&config, BASE_URL, HINT)?;
        let mut headers = endpoint.key_header(HeaderName::from_static("x-api-key"), "")?;
        headers.insert(HeaderName::from_static("anthropic-version"), VERSION);
        let client = ApiClient::new(endpoint, headers, http);
        Ok(HttpProvider::new(Self(()), client, config.models))
    }
}

/// The address of an endpoint. The base address may include the version.
fn url(endpoint: &Endpoint, name: &str) -> Url {
    match endpoint.ends_with("v1") {
        true => endpoint.at(&[name]),
        false => endpoint.at(&["v1", name]),
    }
}

impl Vendor for Anthropic {
    type Decoder = Decoder;
    type RequestVariant = RequestVariant;

    fn url(&self, endpoint: &Endpoint, _: &ChatRequest) -> Url {
        url(endpoint, "messages")
    }

    fn body(&self, request: &ChatRequest, variant: RequestVariant) -> impl Serialize {
        request::body(request, variant)
    }

    fn decoder(&self, endpoint: &Endpoint, request: &ChatRequest) -> Decoder {
        let spaces = request::prefill(request).map_or("", |(_, spaces)| spaces);
        Decoder::new(endpoint.clone(), spaces.into())
    }

    async fn models(&self, client: &ApiClient) -> Result<Vec<ModelInfo>, Error> {
        models::fetch(client).await
    }

    fn can_prefill(&self, model: &str) -> bool {
        Traits::of(model).prefill
    }

    fn likely_variant(&self, request: &ChatRequest) -> RequestVariant {
        RequestVariant::likely(request)
    }

    fn variant_key(&self, request: &ChatRequest) -> String {
        variant::key(request)
    }

    fn after_refusal(
        &self,
        request: &ChatRequest,
        variant: RequestVariant,
        said: &[u8],
    ) -> Option<RequestVariant> {
        variant.after_refusal(request, said)
    }

    fn accepted(&self, variant: RequestVariant) -> Option<RequestVariant> {
        // Whether the answer must be short, and whether the model accepts earlier reasoning,
        // depends on the conversation.
        (variant.thoughts && !variant.short).then_some(variant)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may fail by panic")]
pub(super) mod tests;
