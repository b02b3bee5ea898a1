//! The list of models of a provider that is reached over HTTP, fetched now and then.

use super::{endpoint::Endpoint, fault, http};
use headwater_protocol::{Error, ErrorCode, ModelInfo};
use reqwest::RequestBuilder;
use serde_json::Value;
use std::time::{Duration, Instant, SystemTime};

/// How long a list is good.
const FRESH: Duration = Duration::from_secs(60);

/// How long a failure is good: the page asks often, and a dead host answers slowly.
const FAILURE_FRESH: Duration = Duration::from_secs(5);

/// How long a list may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// More than any list of models.
const MOST_BYTES: usize = 8 * 1024 * 1024;

/// A list or a failure, and when it came.
type Fetched = (Instant, Result<Vec<ModelInfo>, Error>);

/// The models that are set, or what was fetched last.
#[derive(Debug, Default)]
pub(super) struct Catalog {
    fixed: Option<Vec<String>>,
    cache: tokio::sync::Mutex<Option<Fetched>>,
}

impl Catalog {
    /// A list that is these models, or is to be fetched.
    pub(super) fn new(fixed: Option<Vec<String>>) -> Self {
        Self {
            fixed,
            ..Self::default()
        }
    }

    /// The list, fetched when it is old. Who asks meanwhile waits for the same answer.
    pub(super) async fn list(
        &self,
        endpoint: &Endpoint,
        fetch: impl Future<Output = Result<Vec<ModelInfo>, Error>>,
    ) -> Result<Vec<ModelInfo>, Error> {
        if let Some(names) = &self.fixed {
            return Ok(names
                .iter()
                .map(|name| info(endpoint, name, None, None))
                .collect());
        }
        let mut cache = self.cache.lock().await;
        if let Some((at, result)) = &*cache {
            let fresh = match result {
                Ok(_) => FRESH,
                Err(_) => FAILURE_FRESH,
            };
            if at.elapsed() < fresh {
                return result.clone();
            }
        }
        let result = fetch.await.map_err(|error| error.at("listing models"));
        *cache = Some((Instant::now(), result.clone()));
        result
    }
}

/// The JSON document that a call gives.
pub(super) async fn document(endpoint: &Endpoint, call: RequestBuilder) -> Result<Value, Error> {
    let response = call
        .timeout(PATIENCE)
        .send()
        .await
        .map_err(|error| http::unreachable(&error, &endpoint.url))?;
    let status = response.status();
    let wait = http::retry_after_ms(response.headers(), SystemTime::now());
    let body = http::bounded(response, MOST_BYTES, PATIENCE).await;
    if !status.is_success() {
        return Err(fault::from_response(endpoint, status.as_u16(), &body, wait));
    }
    serde_json::from_slice(&body).map_err(|_| no_list(endpoint))
}

/// The error for a document that is no list of models.
pub(super) fn no_list(endpoint: &Endpoint) -> Error {
    Error::new(
        ErrorCode::Malformed,
        format!(
            "The provider at {} sent no list of models. Is its base URL right? {}",
            http::place(&endpoint.url),
            endpoint.hint
        ),
    )
}

/// One model of the list.
pub(super) fn info(
    endpoint: &Endpoint,
    id: &str,
    name: Option<&str>,
    context: Option<u32>,
) -> ModelInfo {
    ModelInfo {
        id: id.into(),
        name: name.filter(|name| !name.is_empty()).unwrap_or(id).into(),
        provider: endpoint.name.clone(),
        context,
        note: None,
    }
}
