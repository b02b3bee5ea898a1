//! Anthropic's Messages API, and the servers that speak it.
//!
//! - `traits`: what is known about a model by its name.
//! - `variant`: what models disagree about in a request, and what to try when one refuses.
//! - `request`: the body.
//! - `decode`: pieces of an answer to blocks.
//! - `models`: the list.

use super::{
    ChatRequest, Provider, ProviderEvent,
    catalog::Catalog,
    endpoint::Endpoint,
    exchange::{self, Vendor},
    secret::Secret,
};
use decode::Decoder;
use futures::{FutureExt, future::BoxFuture, stream::BoxStream};
use headwater_protocol::{Error, ModelInfo};
use reqwest::{
    RequestBuilder, Url,
    header::{HeaderName, HeaderValue},
};
use serde::Deserialize;
use std::sync::Arc;
use traits::Traits;
use variant::{RequestVariant, Shapes};

mod decode;
mod models;
mod request;
mod traits;
mod variant;

/// The version of the format that is spoken here.
const VERSION: &str = "2023-06-01";

/// The address of Anthropic itself.
const BASE_URL: &str = "https://api.anthropic.com";

/// What to tell whoever set a wrong address.
const HINT: &str = "Anthropic's own is https://api.anthropic.com.";

/// Which server, and how to talk to it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AnthropicConfig {
    /// The provider's name for people.
    pub name: String,
    /// Its address, with or without `/v1`.
    #[serde(default = "base_url")]
    pub base_url: String,
    /// The key.
    #[serde(default)]
    pub api_key: Option<Secret>,
    /// The models to offer; without it the server is asked.
    #[serde(default)]
    pub models: Option<Vec<String>>,
}

impl Default for AnthropicConfig {
    fn default() -> Self {
        Self {
            name: "Anthropic".into(),
            base_url: base_url(),
            api_key: None,
            models: None,
        }
    }
}

fn base_url() -> String {
    BASE_URL.into()
}

/// A provider that speaks Anthropic's Messages API.
#[derive(Clone)]
pub struct Anthropic {
    shared: Arc<Shared>,
}

/// What all answers of a provider share.
struct Shared {
    endpoint: Endpoint,
    key: Option<HeaderValue>,
    http: reqwest::Client,
    catalog: Catalog,
    shapes: Shapes,
}

impl Anthropic {
    /// A provider; nothing is sent yet. The client is best made by
    /// [`http_client`](super::http::http_client) and shared by all providers.
    pub fn new(config: AnthropicConfig, http: reqwest::Client) -> Result<Self, Error> {
        let endpoint = Endpoint::new(
            config.name,
            &config.base_url,
            config.api_key,
            HINT,
            BASE_URL,
        )?;
        Ok(Self {
            shared: Arc::new(Shared {
                key: endpoint.header("")?,
                endpoint,
                http,
                catalog: Catalog::new(config.models),
                shapes: Shapes::default(),
            }),
        })
    }
}

impl std::fmt::Debug for Anthropic {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Anthropic")
            .field("name", &self.shared.endpoint.name)
            .field("place", &super::http::place(&self.shared.endpoint.url))
            .finish_non_exhaustive()
    }
}

impl Provider for Anthropic {
    fn models(&self) -> BoxFuture<'_, Result<Vec<ModelInfo>, Error>> {
        let shared = &self.shared;
        shared
            .catalog
            .list(&shared.endpoint, shared.fetch())
            .boxed()
    }

    fn stream(&self, request: ChatRequest) -> BoxStream<'static, Result<ProviderEvent, Error>> {
        exchange::stream(self.shared.clone(), request)
    }

    fn can_prefill(&self, model: &str) -> bool {
        Traits::of(model).prefill
    }
}

impl Shared {
    /// The address of a call, whether the base address has the version or not.
    fn url(&self, name: &str) -> Url {
        match self.endpoint.ends_with("v1") {
            true => self.endpoint.at(&[name]),
            false => self.endpoint.at(&["v1", name]),
        }
    }

    /// Adds the headers that every call has.
    fn signed(&self, call: RequestBuilder) -> RequestBuilder {
        let call = call.header(HeaderName::from_static("anthropic-version"), VERSION);
        match &self.key {
            Some(key) => call.header(HeaderName::from_static("x-api-key"), key.clone()),
            None => call,
        }
    }
}

impl Vendor for Shared {
    type Decoder = Decoder;
    type RequestVariant = RequestVariant;

    fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    fn variant(&self, request: &ChatRequest) -> RequestVariant {
        self.shapes.get(request)
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
        self.shapes.keep(request, variant);
    }

    fn call(
        &self,
        request: &ChatRequest,
        variant: RequestVariant,
    ) -> Result<RequestBuilder, Error> {
        let call = self.signed(self.http.post(self.url("messages")));
        exchange::with_json(call, &request::body(request, variant))
    }

    fn decoder(&self, request: &ChatRequest, _: RequestVariant) -> Decoder {
        let spaces = request::prefill(request).map_or("", |(_, spaces)| spaces);
        Decoder::new(self.endpoint.clone(), spaces.into())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may fail by panic")]
pub(super) mod tests;
