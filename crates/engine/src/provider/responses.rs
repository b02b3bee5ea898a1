//! OpenAI's Responses API, and the servers that speak it.
//!
//! Nothing is stored at the server: every request carries the whole conversation, and the model's
//! thoughts go along in the encrypted form in which they came.
//!
//! - `request`: the body, and what to leave out for a model that refuses it.
//! - `decode`: pieces of an answer to blocks.

use super::{
    ChatRequest, Provider, ProviderEvent,
    catalog::Catalog,
    endpoint::Endpoint,
    exchange::{self, Vendor, memory::Memory},
    openai::{self, request::key},
    secret::Secret,
};
use decode::Decoder;
use futures::{FutureExt, future::BoxFuture, stream::BoxStream};
use headwater_protocol::{Error, ModelInfo};
use request::RequestVariant;
use reqwest::{
    RequestBuilder,
    header::{AUTHORIZATION, HeaderValue},
};
use serde::Deserialize;
use std::sync::Arc;

mod blocks;
mod decode;
mod request;

/// The address of OpenAI itself.
const BASE_URL: &str = "https://api.openai.com/v1";

/// Which server, and how to talk to it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ResponsesConfig {
    /// The provider's name for people.
    pub name: String,
    /// Its address up to and with `/v1`.
    #[serde(default = "base_url")]
    pub base_url: String,
    /// The key, where it wants one.
    #[serde(default)]
    pub api_key: Option<Secret>,
    /// The models to offer; without it the server is asked.
    #[serde(default)]
    pub models: Option<Vec<String>>,
}

impl Default for ResponsesConfig {
    fn default() -> Self {
        Self {
            name: "OpenAI".into(),
            base_url: base_url(),
            api_key: None,
            models: None,
        }
    }
}

fn base_url() -> String {
    BASE_URL.into()
}

/// A provider that speaks OpenAI's Responses API.
#[derive(Clone)]
pub struct Responses {
    shared: Arc<Shared>,
}

/// What all answers of a provider share.
struct Shared {
    endpoint: Endpoint,
    authorization: Option<HeaderValue>,
    http: reqwest::Client,
    catalog: Catalog,
    /// The shapes that the models took last.
    shapes: Memory<RequestVariant>,
}

impl Responses {
    /// A provider; nothing is sent yet. The client is best made by
    /// [`http_client`](super::http::http_client) and shared by all providers.
    pub fn new(config: ResponsesConfig, http: reqwest::Client) -> Result<Self, Error> {
        let endpoint = Endpoint::new(
            config.name,
            &config.base_url,
            config.api_key,
            openai::HINT,
            BASE_URL,
        )?;
        Ok(Self {
            shared: Arc::new(Shared {
                authorization: endpoint.header("Bearer ")?,
                endpoint,
                http,
                catalog: Catalog::new(config.models),
                shapes: Memory::default(),
            }),
        })
    }
}

impl std::fmt::Debug for Responses {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Responses")
            .field("name", &self.shared.endpoint.name)
            .field("place", &super::http::place(&self.shared.endpoint.url))
            .finish_non_exhaustive()
    }
}

impl Provider for Responses {
    fn models(&self) -> BoxFuture<'_, Result<Vec<ModelInfo>, Error>> {
        let shared = &self.shared;
        let key = shared.authorization.as_ref();
        let fetch = openai::models::fetch(&shared.endpoint, &shared.http, key);
        shared.catalog.list(&shared.endpoint, fetch).boxed()
    }

    fn stream(&self, request: ChatRequest) -> BoxStream<'static, Result<ProviderEvent, Error>> {
        exchange::stream(self.shared.clone(), request)
    }
}

impl Vendor for Shared {
    type Decoder = Decoder;
    type RequestVariant = RequestVariant;

    fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    fn variant(&self, request: &ChatRequest) -> RequestVariant {
        self.shapes.get(&key(request)).unwrap_or_default()
    }

    fn after_refusal(
        &self,
        request: &ChatRequest,
        variant: RequestVariant,
        said: &[u8],
    ) -> Option<RequestVariant> {
        variant.after_refusal(request, said)
    }

    fn keep_shape(&self, request: &ChatRequest, variant: RequestVariant) {
        // Whether old thoughts are taken is a matter of the conversation. What else was left out for
        // its sake says nothing about the model.
        if variant.thoughts {
            self.shapes
                .keep(key(request), variant, RequestVariant::default());
        }
    }

    fn call(
        &self,
        request: &ChatRequest,
        variant: RequestVariant,
    ) -> Result<RequestBuilder, Error> {
        let mut call = self.http.post(self.endpoint.at(&["responses"]));
        if let Some(value) = &self.authorization {
            call = call.header(AUTHORIZATION, value.clone());
        }
        exchange::with_json(call, &request::body(request, variant))
    }

    fn decoder(&self, _: &ChatRequest, _: RequestVariant) -> Decoder {
        Decoder::new(self.endpoint.clone())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may fail by panic")]
pub(super) mod tests;
