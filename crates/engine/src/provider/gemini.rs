//! Google's [Gemini API](https://ai.google.dev/api/generate-content).
//!
//! - `variant`: the parts of a request that models disagree about, and what to try after a refusal.
//! - `request`: the body.
//! - `models`: the list, and what a model's name tells.
//! - `decode`, `parts`: turn the chunks of an answer into blocks.
//!
//! # Signatures
//!
//! Gemini signs its thoughts, and needs each signature back on the part on which it arrived
//! (<https://ai.google.dev/gemini-api/docs/thought-signatures>). That is a thought, a text or a
//! tool call, but only [`Part::Reasoning`](super::Part::Reasoning) has room for a signature. So
//! every signature is stored in a block of reasoning, with the value `{"thoughtSignature": …,
//! "part": "thought" | "text" | "call"}`:
//!
//! - The signature of a thought is the value of the thought's own block.
//! - The signature of a tool call is an empty block directly before the call. It is sent back on that call.
//! - The signature of a text is an empty block after it. It is sent back on an empty text, which is how
//!   Gemini itself often sends it. The block of the text stays open, so that no paragraph is split.

use super::{
    ChatRequest,
    api_client::ApiClient,
    endpoint::Endpoint,
    exchange::{Vendor, memory::Memory},
    http_provider::{HttpProvider, HttpProviderConfig},
};
use decode::Decoder;
use headwater_protocol::{Error, ModelInfo};
use reqwest::{Url, header::HeaderName};
use serde::Serialize;
use variant::RequestVariant;

mod decode;
mod models;
mod parts;
mod request;
mod variant;

/// The address of Google itself.
pub const BASE_URL: &str = "https://generativelanguage.googleapis.com";

/// The hint in errors about a wrong address.
const HINT: &str = "Google's is https://generativelanguage.googleapis.com.";

/// Google's Gemini.
pub struct Gemini {
    /// The models that refused a prefill.
    no_prefill: Memory<()>,
}

impl Gemini {
    /// Makes a provider. The base URL comes with or without the version. An empty one stands for
    /// [`BASE_URL`].
    ///
    /// # Errors
    /// `invalid_request` for a base URL that is not an address, or a key that cannot be sent.
    pub fn provider(
        mut config: HttpProviderConfig,
        http: reqwest::Client,
    ) -> Result<HttpProvider<Self>, Error> {
        config.base_url = config.base_url.filter(|url| !url.trim().is_empty());
        let endpoint = Endpoint::new(&config, BASE_URL, HINT)?;
        let vendor = Self {
            no_prefill: Memory::default(),
        };
        // In a header, because proxies log URLs.
        let headers = endpoint.key_header(HeaderName::from_static("x-goog-api-key"), "")?;
        let client = ApiClient::new(endpoint, headers, http);
        Ok(HttpProvider::new(vendor, client, config.models))
    }
}

/// The URL of a method. The base URL may include the version.
fn url(endpoint: &Endpoint, path: &[&str]) -> Url {
    let versioned = ["v1beta", "v1", "v1alpha"]
        .iter()
        .any(|version| endpoint.ends_with(version));
    let version: &[&str] = if versioned { &[] } else { &["v1beta"] };
    endpoint.at(&[version, path].concat())
}

impl Vendor for Gemini {
    type Decoder = Decoder;
    type RequestVariant = RequestVariant;

    fn url(&self, endpoint: &Endpoint, request: &ChatRequest) -> Url {
        let call = format!("{}:streamGenerateContent", models::bare(&request.model));
        let mut url = url(endpoint, &["models", &call]);
        url.query_pairs_mut().append_pair("alt", "sse");
        url
    }

    fn body(&self, request: &ChatRequest, variant: RequestVariant) -> impl Serialize {
        request::body(request, variant, self.can_prefill(&request.model))
    }

    fn decoder(&self, endpoint: &Endpoint, _: &ChatRequest) -> Decoder {
        Decoder::new(endpoint.clone())
    }

    async fn models(&self, client: &ApiClient) -> Result<Vec<ModelInfo>, Error> {
        models::fetch(client).await
    }

    /// Models of 2026 and later refuse a request that ends with their own turn. Earlier ones
    /// continue it.
    fn can_prefill(&self, model: &str) -> bool {
        models::takes_prefill(model) && self.no_prefill.get(model).is_none()
    }

    fn likely_variant(&self, request: &ChatRequest) -> RequestVariant {
        RequestVariant::for_request(request)
    }

    fn after_refusal(
        &self,
        request: &ChatRequest,
        variant: RequestVariant,
        said: &[u8],
    ) -> Option<RequestVariant> {
        let said = String::from_utf8_lossy(said).to_lowercase();
        if request.prefill.is_some() && said.contains("model turn") {
            // Without the prefill, the model would begin another answer. Next time, the engine asks
            // for a continuation in words.
            self.no_prefill.set(request.model.clone(), ());
            return None;
        }
        variant.after_refusal(&said, request)
    }

    fn accepted(&self, variant: RequestVariant) -> Option<RequestVariant> {
        // Whether signatures are left out depends on the conversation.
        Some(RequestVariant {
            signatures: true,
            ..variant
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may fail by panic")]
pub(super) mod tests;
