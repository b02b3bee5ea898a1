//! What is particular to a vendor's API.

use super::Decode;
use crate::provider::{ChatRequest, api_client::ApiClient, endpoint::Endpoint};
use futures::stream::BoxStream;
use headwater_protocol::{Error, ModelInfo, Stage};
use reqwest::Url;
use serde::Serialize;

/// What makes a failed request worth sending again, such as the download of a model: its stages
/// until it is done, or why it failed.
pub(in crate::provider) type Remedy = BoxStream<'static, Result<Stage, Error>>;

/// How a vendor is asked, and what reads its answers.
pub(in crate::provider) trait Vendor: Sized + Send + Sync + 'static {
    /// What reads its answers.
    type Decoder: Decode;
    /// What its servers or models disagree about in a request.
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

    /// The variant to try first where none was accepted before.
    fn likely_variant(&self, request: &ChatRequest) -> Self::RequestVariant;

    /// What an accepted variant is remembered by: all of a request that
    /// [`Vendor::likely_variant`] depends on.
    fn variant_key(&self, request: &ChatRequest) -> String {
        format!("{} {:?}", request.model, request.sampling.effort)
    }

    /// The variant to try after the server refused this one with a status 400 or 422 and these
    /// words. A variant that was tried is not tried again.
    fn after_refusal(
        &self,
        request: &ChatRequest,
        variant: Self::RequestVariant,
        said: &[u8],
    ) -> Option<Self::RequestVariant>;

    /// Called with a variant that the server accepted. Returns what to try first for later requests
    /// of the same key; `None` if the variant says nothing about them, because something was left
    /// out for the sake of this conversation alone.
    fn accepted(&self, variant: Self::RequestVariant) -> Option<Self::RequestVariant> {
        Some(variant)
    }

    /// What to do about a failure before the request is sent once more, or the error to end with.
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
