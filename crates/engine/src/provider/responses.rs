//! OpenAI's [Responses API](https://platform.openai.com/docs/api-reference/responses), and the
//! servers that speak it.
//!
//! The server is asked to store nothing. Every request carries the whole conversation, including
//! the model's reasoning in its encrypted form.
//!
//! - `request`: the body, and what to leave out for a model that refuses it.
//! - `decode`, `items`, `blocks`: turn the events of an answer into blocks.

use super::{
    ChatRequest,
    api_client::ApiClient,
    endpoint::Endpoint,
    exchange::Vendor,
    http_provider::{HttpProvider, HttpProviderConfig},
    openai,
};
use decode::Decoder;
use headwater_protocol::{Error, ModelInfo};
use request::RequestVariant;
use reqwest::{Url, header::AUTHORIZATION};
use serde::Serialize;

mod blocks;
mod decode;
mod items;
mod request;

/// The address of OpenAI itself.
const BASE_URL: &str = "https://api.openai.com/v1";

/// OpenAI's Responses API.
pub struct Responses(());

impl Responses {
    /// Makes a provider. The base URL goes up to and with `/v1`.
    ///
    /// # Errors
    /// `invalid_request` for a base URL that is not an address, or a key that cannot be sent.
    pub fn provider(
        config: HttpProviderConfig,
        http: reqwest::Client,
    ) -> Result<HttpProvider<Self>, Error> {
        let endpoint = Endpoint::new(&config, BASE_URL, openai::HINT)?;
        let headers = endpoint.key_header(AUTHORIZATION, "Bearer ")?;
        let client = ApiClient::new(endpoint, headers, http);
        Ok(HttpProvider::new(Self(()), client, config.models))
    }
}

impl Vendor for Responses {
    type Decoder = Decoder;
    type RequestVariant = RequestVariant;

    fn url(&self, endpoint: &Endpoint, _: &ChatRequest) -> Url {
        endpoint.at(&["responses"])
    }

    fn body(&self, request: &ChatRequest, variant: RequestVariant) -> impl Serialize {
        request::body(request, variant)
    }

    fn decoder(&self, endpoint: &Endpoint, _: &ChatRequest) -> Decoder {
        Decoder::new(endpoint.clone())
    }

    async fn models(&self, client: &ApiClient) -> Result<Vec<ModelInfo>, Error> {
        openai::models::fetch(client).await
    }

    fn likely_variant(&self, _: &ChatRequest) -> RequestVariant {
        RequestVariant::default()
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
        // Whether the model accepts earlier reasoning depends on the conversation.
        variant.thoughts.then_some(variant)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may fail by panic")]
pub(super) mod tests;
