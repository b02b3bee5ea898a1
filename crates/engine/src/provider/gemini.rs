//! Google's Gemini, by its own protocol.
//!
//! - `request`: the body, and what to leave out for a model that does not take it.
//! - `models`: the list, and what a model's name tells.
//! - `decode`: pieces of an answer to blocks.
//!
//! # Signatures
//!
//! Gemini signs what it thought, and wants each signature back on the part where it stood. It may
//! stand on a thought, on a text or on a tool call, but only
//! [`Part::Reasoning`](super::Part::Reasoning) has room for it. So every signature travels in a
//! block of reasoning, with the value
//! `{"thoughtSignature": …, "part": "thought" | "text" | "call"}`:
//!
//! - of a thought: the value of its own block;
//! - of a tool call: an empty block right before the call, and it goes back on that call;
//! - of a text: an empty block behind it, and it goes back as an empty text. The block of the text
//!   itself goes on, so that no paragraph is torn. Gemini itself often sends it like this.

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
use request::RequestVariant;
use reqwest::{RequestBuilder, Url, header::HeaderValue};
use serde::Deserialize;
use std::sync::Arc;

mod decode;
mod models;
mod request;

/// Where Google serves it.
pub const BASE_URL: &str = "https://generativelanguage.googleapis.com";

/// What to tell whoever set a wrong address.
const HINT: &str = "Google's is https://generativelanguage.googleapis.com.";

/// Which server, and how to talk to it.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GeminiConfig {
    /// The provider's name for people.
    pub name: String,
    /// Its address, with or without the version; [`BASE_URL`] if it is empty.
    #[serde(default)]
    pub base_url: String,
    /// The key.
    #[serde(default)]
    pub api_key: Option<Secret>,
    /// The models to offer; without it the server is asked.
    #[serde(default)]
    pub models: Option<Vec<String>>,
}

/// Google's Gemini.
#[derive(Clone)]
pub struct Gemini {
    shared: Arc<Shared>,
}

/// What all answers of a provider share.
struct Shared {
    endpoint: Endpoint,
    key: Option<HeaderValue>,
    http: reqwest::Client,
    catalog: Catalog,
    /// The shapes that were taken, by model and effort.
    shapes: Memory<RequestVariant>,
    /// Models that refused to go on from their own turn.
    no_prefill: Memory<()>,
}

impl Gemini {
    /// A provider; nothing is sent yet. The client is best made by
    /// [`http_client`](super::http::http_client) and shared by all providers.
    pub fn new(config: GeminiConfig, http: reqwest::Client) -> Result<Self, Error> {
        let base_url = match config.base_url.trim() {
            "" => BASE_URL,
            url => url,
        };
        let endpoint = Endpoint::new(config.name, base_url, config.api_key, HINT, BASE_URL)?;
        Ok(Self {
            shared: Arc::new(Shared {
                key: endpoint.header("")?,
                http,
                catalog: Catalog::new(config.models),
                shapes: Memory::default(),
                no_prefill: Memory::default(),
                endpoint,
            }),
        })
    }
}

impl std::fmt::Debug for Gemini {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Gemini")
            .field("name", &self.shared.endpoint.name)
            .field("place", &super::http::place(&self.shared.endpoint.url))
            .finish_non_exhaustive()
    }
}

impl Provider for Gemini {
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

    /// The models of 2026 and later refuse a request that ends with their own turn. Those before
    /// write on from it.
    fn can_prefill(&self, model: &str) -> bool {
        self.shared.can_prefill(model)
    }
}

impl Shared {
    /// The address of a call, behind the version.
    fn at(&self, path: &[&str]) -> Url {
        let versioned = ["v1beta", "v1", "v1alpha"]
            .iter()
            .any(|version| self.endpoint.ends_with(version));
        let version: &[&str] = if versioned { &[] } else { &["v1beta"] };
        self.endpoint.at(&[version, path].concat())
    }

    /// The call with the key, which is never a part of the address.
    fn with_key(&self, call: RequestBuilder) -> RequestBuilder {
        match &self.key {
            Some(key) => call.header("x-goog-api-key", key.clone()),
            None => call,
        }
    }

    fn can_prefill(&self, model: &str) -> bool {
        models::takes_prefill(model) && self.no_prefill.get(model).is_none()
    }
}

impl Vendor for Shared {
    type Decoder = Decoder;
    type RequestVariant = RequestVariant;

    fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    fn variant(&self, request: &ChatRequest) -> RequestVariant {
        self.shapes
            .get(&key(request))
            .unwrap_or_else(|| RequestVariant::for_request(request))
    }

    fn after_refusal(
        &self,
        request: &ChatRequest,
        variant: RequestVariant,
        said: &[u8],
    ) -> Option<RequestVariant> {
        let said = String::from_utf8_lossy(said).to_lowercase();
        if request.prefill.is_some() && said.contains("model turn") {
            // Leaving the half answer out would begin another one. The engine asks in words the
            // next time.
            self.no_prefill.set(request.model.clone(), ());
            return None;
        }
        variant.after_refusal(&said, request)
    }

    fn keep_shape(&self, request: &ChatRequest, variant: RequestVariant) {
        // What one conversation has lost says nothing about the others.
        let signatures = true;
        self.shapes.set(
            key(request),
            RequestVariant {
                signatures,
                ..variant
            },
        );
    }

    fn call(
        &self,
        request: &ChatRequest,
        variant: RequestVariant,
    ) -> Result<RequestBuilder, Error> {
        let call = format!("{}:streamGenerateContent", models::bare(&request.model));
        let mut url = self.at(&["models", &call]);
        url.query_pairs_mut().append_pair("alt", "sse");
        let prefill = self.can_prefill(&request.model);
        exchange::with_json(
            self.with_key(self.http.post(url)),
            &request::body(request, variant, prefill),
        )
    }

    fn decoder(&self, _: &ChatRequest, _: RequestVariant) -> Decoder {
        Decoder::new(self.endpoint.clone())
    }
}

/// What a variant is remembered by.
fn key(request: &ChatRequest) -> String {
    format!("{} {:?}", request.model, request.sampling.effort)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may fail by panic")]
pub(super) mod tests;
