//! Calls to one provider: its address, its headers and the HTTP client.

use super::{endpoint::Endpoint, fault, http};
use headwater_protocol::{Error, ErrorCode};
use reqwest::{
    RequestBuilder, Response, Url,
    header::{ACCEPT, CONTENT_TYPE, HeaderMap},
};
use serde::Serialize;
use std::time::{Duration, SystemTime};

/// The most bytes of an error's body that are read.
const ERROR_BYTES: usize = 64 * 1024;

/// How long the body of an error may take.
const ERROR_PATIENCE: Duration = Duration::from_secs(5);

/// Sends requests to one provider.
#[derive(Clone)]
pub(super) struct ApiClient {
    pub(super) endpoint: Endpoint,
    /// What every request carries, such as the key.
    headers: HeaderMap,
    http: reqwest::Client,
}

/// Why a request got no answer that can be read.
pub(super) enum Failure {
    /// The provider could not be reached.
    Unreachable(Error),
    /// The provider answered with a status that is not a success.
    Refused(Refusal),
}

/// An answer whose status is not a success.
pub(super) struct Refusal {
    /// The HTTP status.
    pub(super) status: u16,
    /// The first 64 KiB of the body.
    pub(super) body: Vec<u8>,
    /// The wait that the provider asks for, in milliseconds.
    retry_after_ms: Option<u64>,
}

impl Refusal {
    /// What the provider says, as one of our errors.
    pub(super) fn error(&self, endpoint: &Endpoint) -> Error {
        fault::from_response(endpoint, self.status, &self.body, self.retry_after_ms)
    }
}

impl Failure {
    /// The failure as one of our errors.
    pub(super) fn into_error(self, endpoint: &Endpoint) -> Error {
        match self {
            Self::Unreachable(error) => error,
            Self::Refused(refusal) => refusal.error(endpoint),
        }
    }
}

impl ApiClient {
    pub(super) fn new(endpoint: Endpoint, headers: HeaderMap, http: reqwest::Client) -> Self {
        Self {
            endpoint,
            headers,
            http,
        }
    }

    /// A `GET` request.
    pub(super) fn get(&self, url: Url) -> RequestBuilder {
        self.http.get(url).headers(self.headers.clone())
    }

    /// A `POST` request with a JSON body, whose answer may be streamed.
    pub(super) fn post(&self, url: Url, body: &impl Serialize) -> Result<RequestBuilder, Error> {
        let body = serde_json::to_vec(body).map_err(|error| {
            Error::new(
                ErrorCode::Internal,
                format!("The request cannot be written: {error}."),
            )
        })?;
        Ok(self
            .http
            .post(url)
            .headers(self.headers.clone())
            .header(CONTENT_TYPE, "application/json")
            .header(ACCEPT, "text/event-stream, application/json")
            .body(body))
    }

    /// Sends a request and waits for the head of its answer, which is a success.
    pub(super) async fn send(&self, request: RequestBuilder) -> Result<Response, Failure> {
        let response = request
            .send()
            .await
            .map_err(|error| Failure::Unreachable(http::unreachable(&error, &self.endpoint.url)))?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        Err(Failure::Refused(Refusal {
            status: status.as_u16(),
            retry_after_ms: http::retry_after_ms(response.headers(), SystemTime::now()),
            body: http::bounded(response, ERROR_BYTES, ERROR_PATIENCE).await,
        }))
    }
}
