//! The chains of the engine, as a provider that lists them.

use crate::provider::{ChatRequest, Provider, ProviderEvent};
use futures::{
    FutureExt, StreamExt,
    future::{self, BoxFuture},
    stream::{self, BoxStream},
};
use headwater_protocol::{Error, ErrorCode, ModelInfo};

/// The names of all chains.
pub(super) struct Chains(pub(super) Vec<String>);

impl Provider for Chains {
    fn models(&self) -> BoxFuture<'_, Result<Vec<ModelInfo>, Error>> {
        let models = self.0.iter().map(ModelInfo::new).collect();
        future::ready(Ok(models)).boxed()
    }

    /// Nobody asks: a run works on a chain itself, and one that does not exist is not found.
    fn stream(&self, request: ChatRequest) -> BoxStream<'static, Result<ProviderEvent, Error>> {
        stream::iter([Err(missing(&request.model))]).boxed()
    }
}

pub(super) fn missing(name: &str) -> Error {
    Error::new(ErrorCode::NotFound, format!("There is no chain “{name}”."))
}
