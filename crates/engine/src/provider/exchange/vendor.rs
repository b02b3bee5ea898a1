//! What is specific to a vendor's API.

use super::Decode;
use crate::provider::{ChatRequest, api_client::ApiClient, endpoint::Endpoint};
use futures::stream::BoxStream;
use headwater_protocol::{Error, ModelInfo, Stage};
use reqwest::Url;
use serde::Serialize;

/// Work after which a failed request is sent again, such as the download of a model. It yields its
/// stages, or the error if it fails.
pub(in crate::provider) type Remedy = BoxStream<'static, Result<Stage, Error>>;

/// Writes a vendor's requests and chooses the decoder of its answers.
pub(in crate::provider) trait Vendor: Sized + Send + Sync + 'static {
    /// The decoder of an answer.
    type Decoder: Decode;
    /// The parts of a request that the vendor's servers or models disagree about.
    type RequestVariant: Copy + PartialEq + Send + Sync;

    /// The address that a request is sent to.
    fn url(&self, endpoint: &Endpoint, request: &ChatRequest) -> Url;

    /// The body of a request.
    fn body(&self, request: &ChatRequest, variant: Self::RequestVariant) -> impl Serialize;

    /// A decoder for the answer to this request.
    fn decoder(&self, endpoint: &Endpoint, request: &ChatRequest) -> Self::Decoder;

    /// The models that the provider lists.
    fn models(
        &self,
        client: &ApiClient,
    ) -> impl Future<Output = Result<Vec<ModelInfo>, Error>> + Send;

    /// Whether this model can continue a half-written answer.
    fn can_prefill(&self, model: &str) -> bool {
        let _ = model;
        false
    }

    /// The variant to try first if none was accepted before.
    fn likely_variant(&self, request: &ChatRequest) -> Self::RequestVariant;

    /// The key under which an accepted variant is remembered. It contains everything in a request
    /// that [`Vendor::likely_variant`] depends on.
    fn variant_key(&self, request: &ChatRequest) -> String {
        format!("{} {:?}", request.model, request.sampling.effort)
    }

    /// The variant to try after the server refused this one with status 400 or 422 and the body
    /// `said`. No variant is tried twice.
    fn after_refusal(
        &self,
        request: &ChatRequest,
        variant: Self::RequestVariant,
        said: &[u8],
    ) -> Option<Self::RequestVariant>;

    /// Called with a variant that the server accepted. Returns the variant to try first for later
    /// requests with the same key. `None` if the variant was only needed for this conversation.
    fn accepted(&self, variant: Self::RequestVariant) -> Option<Self::RequestVariant> {
        Some(variant)
    }

    /// What to do about a failure before the request is sent again, or the error to end with.
    /// `first` is false after another remedy for the same request.
    fn remedy(
        &self,
        client: &ApiClient,
        request: &ChatRequest,
        error: Error,
        first: bool,
    ) -> Result<Remedy, Error> {
        let _ = (client, request, first);
        Err(error)
    }
}
