//! The list of models of a provider that is reached over HTTP, and its cache.

use super::{api_client::ApiClient, endpoint::Endpoint, http};
use headwater_protocol::{Error, ErrorCode, ModelInfo};
use reqwest::Url;
use serde_json::Value;
use std::time::{Duration, Instant};

/// How long a list is used before it is fetched again.
const FRESH: Duration = Duration::from_secs(60);

/// How long a failure is used: the page asks often, and a dead host answers slowly.
const FAILURE_FRESH: Duration = Duration::from_secs(5);

/// How long a document may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// The most bytes of a document. No list of models is that long.
const MAX_BYTES: usize = 8 * 1024 * 1024;

/// The most pages of a list.
const MAX_PAGES: usize = 20;

/// A list or a failure, and when it came.
type Fetched = (Instant, Result<Vec<ModelInfo>, Error>);

/// The models of the configuration, or the list that was fetched last.
#[derive(Debug, Default)]
pub(super) struct Catalog {
    fixed: Option<Vec<String>>,
    cache: tokio::sync::Mutex<Option<Fetched>>,
}

impl Catalog {
    /// A list of these models, or one that is fetched.
    pub(super) fn new(fixed: Option<Vec<String>>) -> Self {
        Self {
            fixed,
            ..Self::default()
        }
    }

    /// The list, fetched if it is old. Concurrent callers wait for the same answer.
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

/// Fetches a JSON document.
pub(super) async fn document(client: &ApiClient, url: Url) -> Result<Value, Error> {
    let endpoint = &client.endpoint;
    let response = client
        .send(client.get(url).timeout(PATIENCE))
        .await
        .map_err(|failure| failure.into_error(endpoint))?;
    let body = http::bounded(response, MAX_BYTES, PATIENCE).await;
    serde_json::from_slice(&body).map_err(|_| no_list(endpoint))
}

/// Fetches a list that comes in pages. `parameter` is the part of the query that asks for a page;
/// `read` takes a page and returns what names the next one.
pub(super) async fn pages(
    client: &ApiClient,
    url: Url,
    parameter: &str,
    mut read: impl FnMut(&Value) -> Result<Option<String>, Error>,
) -> Result<(), Error> {
    let mut next: Option<String> = None;
    for _ in 0..MAX_PAGES {
        let mut url = url.clone();
        if let Some(next) = &next {
            url.query_pairs_mut().append_pair(parameter, next);
        }
        let following = read(&document(client, url).await?)?;
        // A server that names the same page again would be asked for ever.
        match following.filter(|page| !page.is_empty() && next.as_ref() != Some(page)) {
            Some(page) => next = Some(page),
            None => break,
        }
    }
    Ok(())
}

/// The error for a document that is not a list of models.
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

/// A model of the list. `context` is its context window in tokens.
pub(super) fn info(
    endpoint: &Endpoint,
    id: &str,
    name: Option<&str>,
    context: Option<u64>,
) -> ModelInfo {
    ModelInfo {
        id: id.into(),
        name: name.filter(|name| !name.is_empty()).unwrap_or(id).into(),
        provider: endpoint.name.clone(),
        context: context.and_then(|tokens| u32::try_from(tokens).ok()),
        note: None,
    }
}
