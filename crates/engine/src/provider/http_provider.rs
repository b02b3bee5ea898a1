//! The providers that are reached over HTTP.

use super::{
    ChatRequest, Provider, ProviderEvent,
    api_client::ApiClient,
    catalog::Catalog,
    exchange::{Backend, Vendor, reader::read_all},
    http,
    secret::Secret,
};
use futures::{FutureExt, TryFutureExt, future::BoxFuture, stream::BoxStream};
use headwater_protocol::{Error, ModelInfo};
use std::{fmt, sync::Arc};

/// How a provider over HTTP is reached, and which models it offers. What only one vendor knows is an
/// argument of its own.
///
/// Make the client with [`http_client`](super::http::http_client), and share it between all providers.
/// Making a provider sends nothing.
#[derive(Clone, Debug, Default)]
pub struct HttpProviderConfig {
    /// The provider's name for people.
    pub name: String,
    /// The base URL. `None` stands for the vendor's own address, if the vendor has one.
    pub base_url: Option<String>,
    /// The key, if the server wants one.
    pub api_key: Option<Secret>,
    /// The models to offer. If `None`, the server is asked for its list.
    pub models: Option<Vec<String>>,
}

/// A provider that is reached over HTTP. `V` is the vendor whose API it speaks, such as
/// [`OpenAi`](super::openai::OpenAi), and makes it.
#[expect(
    private_bounds,
    reason = "what a vendor must tell is internal; users only name the vendors that are here"
)]
pub struct HttpProvider<V: Vendor> {
    backend: Arc<Backend<V>>,
    catalog: Catalog,
}

#[expect(private_bounds, reason = "as above")]
impl<V: Vendor> HttpProvider<V> {
    /// A provider that offers these models, or those that the server lists.
    pub(super) fn new(vendor: V, client: ApiClient, models: Option<Vec<String>>) -> Self {
        Self {
            backend: Arc::new(Backend::new(vendor, client)),
            catalog: Catalog::new(models),
        }
    }

    /// Decodes the recorded body of an answer to `request`, which arrives in these chunks, split
    /// anywhere. Nothing is sent. An error is the last item.
    pub fn decode<'a>(
        &self,
        request: &ChatRequest,
        chunks: impl IntoIterator<Item = &'a [u8]>,
    ) -> Vec<Result<ProviderEvent, Error>> {
        let endpoint = &self.backend.client.endpoint;
        let decoder = self.backend.vendor.decoder(endpoint, request);
        read_all(endpoint.clone(), decoder, chunks)
    }

    /// What asks the provider.
    #[cfg(test)]
    pub(super) fn backend(&self) -> &Backend<V> {
        &self.backend
    }
}

impl<V: Vendor> fmt::Debug for HttpProvider<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let endpoint = &self.backend.client.endpoint;
        f.debug_struct("HttpProvider")
            .field("name", &endpoint.name)
            .field("place", &http::place(&endpoint.url))
            .finish_non_exhaustive()
    }
}

impl<V: Vendor> Provider for HttpProvider<V> {
    fn models(&self) -> BoxFuture<'_, Result<Vec<ModelInfo>, Error>> {
        let backend = &*self.backend;
        let endpoint = &backend.client.endpoint;
        let fetch = backend.vendor.models(&backend.client);
        let list = self.catalog.list(endpoint, fetch);
        list.inspect_err(|error| backend.key.failed(endpoint, error))
            .boxed()
    }

    fn stream(&self, request: ChatRequest) -> BoxStream<'static, Result<ProviderEvent, Error>> {
        self.backend.stream(request)
    }

    fn can_prefill(&self, model: &str) -> bool {
        self.backend.vendor.can_prefill(model)
    }
}
