//! The name, the address and the key of a provider that is reached over HTTP.

use super::{http_provider::HttpProviderConfig, secret::Secret};
use headwater_protocol::{Error, ErrorCode};
use reqwest::{
    Url,
    header::{HeaderMap, HeaderName, HeaderValue},
};

/// How a provider is named and reached.
#[derive(Clone, Debug)]
pub(super) struct Endpoint {
    /// The provider's name for people.
    pub(super) name: String,
    /// The base address.
    pub(super) url: Url,
    /// The key, which is sent with requests and removed from what is quoted.
    pub(super) key: Option<Secret>,
    /// A sentence that helps to correct a wrong address.
    pub(super) hint: &'static str,
}

impl Endpoint {
    /// Checks the configuration. `usual` is the base URL for a configuration without one, and the
    /// example in errors. An empty key counts as none.
    pub(super) fn new(
        config: &HttpProviderConfig,
        usual: &str,
        hint: &'static str,
    ) -> Result<Self, Error> {
        let name = config.name.clone();
        let url = config
            .base_url
            .as_deref()
            .unwrap_or(usual)
            .trim()
            .parse()
            .ok()
            .filter(|url: &Url| matches!(url.scheme(), "http" | "https") && url.has_host())
            .ok_or_else(|| {
                wrong(format!(
                    "The base URL of {name} is not an address. It looks like {usual}."
                ))
            })?;
        Ok(Self {
            name,
            url,
            key: config.api_key.clone().filter(|key| !key.is_empty()),
            hint,
        })
    }

    /// The header that carries the key, behind a prefix such as `Bearer `. Without a key there are
    /// no headers.
    pub(super) fn key_header(&self, name: HeaderName, prefix: &str) -> Result<HeaderMap, Error> {
        let mut headers = HeaderMap::new();
        if let Some(key) = &self.key {
            let value = format!("{prefix}{}", key.expose());
            let mut value = HeaderValue::try_from(value).map_err(|_| {
                wrong(format!(
                    "The key of {} holds characters that no key has.",
                    self.name
                ))
            })?;
            value.set_sensitive(true);
            headers.insert(name, value);
        }
        Ok(headers)
    }

    /// The address of a call. The base address keeps its query.
    pub(super) fn at(&self, path: &[&str]) -> Url {
        let mut url = self.url.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(path);
        }
        url
    }

    /// Whether this is the last part of the base address's path.
    pub(super) fn ends_with(&self, part: &str) -> bool {
        self.url
            .path_segments()
            .and_then(|parts| parts.rev().find(|part| !part.is_empty()))
            .is_some_and(|last| last == part)
    }

    /// The error for a failure at the end of an answer that the provider says nothing about.
    pub(super) fn broke_off(&self) -> Error {
        Error::new(
            ErrorCode::ProviderError,
            format!("{} broke off its answer.", self.name),
        )
        .at("reading the answer")
    }

    /// The error for data that is not this provider's protocol.
    pub(super) fn malformed(&self) -> Error {
        Error::new(
            ErrorCode::Malformed,
            format!("{} sent something that is not its protocol.", self.name),
        )
        .at("reading the answer")
    }
}

fn wrong(why: String) -> Error {
    Error::new(ErrorCode::InvalidRequest, why).at("reading the settings")
}
