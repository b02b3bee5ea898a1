//! Logs when a provider refuses its key.

use super::endpoint::Endpoint;
use headwater_protocol::{Error, ErrorCode};
use std::sync::atomic::{AtomicBool, Ordering};

/// Whether a provider has refused its key since its last answer.
#[derive(Debug, Default)]
pub(super) struct KeyStatus {
    is_refused: AtomicBool,
}

impl KeyStatus {
    /// Notes a failure. A refused key is logged once, not with each request. The provider's message
    /// is left out, because it may quote the conversation.
    pub(super) fn failed(&self, endpoint: &Endpoint, error: &Error) {
        let sentence = match (error.code, &endpoint.key) {
            (ErrorCode::Authentication, None) => "The provider wants a key, and none is set.",
            (ErrorCode::Authentication, Some(_)) => {
                "The provider does not accept its key. Is it right, and still valid?"
            }
            (ErrorCode::Permission, None) => "The provider denies access, and no key is set.",
            (ErrorCode::Permission, Some(_)) => {
                "The provider denies access. May its key do this there?"
            }
            _ => return,
        };
        if !self.is_refused.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                provider = endpoint.name,
                status = error.status,
                "{sentence}"
            );
        }
    }

    /// Notes that the provider answered, so that the next refusal is logged again.
    pub(super) fn worked(&self, endpoint: &Endpoint) {
        if self.is_refused.swap(false, Ordering::Relaxed) {
            tracing::info!(
                provider = endpoint.name,
                "The provider answers again: its key is accepted."
            );
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may fail by panic")]
mod tests {
    use crate::provider::{
        HttpProviderConfig, Provider,
        http::http_client,
        openai::OpenAi,
        secret::Secret,
        testing::{KEY, all, config, log::Log, server::*},
    };
    use std::sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    };

    #[tokio::test]
    async fn a_refused_key_is_logged_once_until_it_works_again() {
        let log = Log::capture();
        let is_valid = Arc::new(AtomicBool::new(false));
        let copy = is_valid.clone();
        let server = Server::deciding(move |request| match copy.load(Ordering::Relaxed) {
            true => whole(concat!(
                "data: {\"choices\":[{\"delta\":{\"content\":\"Hi\"},",
                "\"finish_reason\":\"stop\"}]}\n\n"
            )),
            // It quotes the whole request, key and question included.
            false => status("401 Unauthorized", "", request),
        })
        .await;
        let config = config(server.url("/v1"));
        let acme = OpenAi::provider(config, false, http_client().unwrap()).unwrap();
        let warnings = || log.lines("does not accept its key");
        assert!(acme.models().await.is_err());
        for _ in 0..2 {
            assert!(all(&acme).await.pop().unwrap().is_err());
        }
        assert_eq!(warnings().len(), 1, "{}", log.text());
        is_valid.store(true, Ordering::Relaxed);
        assert!(all(&acme).await.iter().all(Result::is_ok));
        assert_eq!(log.lines("its key is accepted").len(), 1);
        is_valid.store(false, Ordering::Relaxed);
        assert!(all(&acme).await.pop().unwrap().is_err());
        assert_eq!(warnings().len(), 2, "{}", log.text());
        for line in warnings() {
            assert!(line.contains("WARN") && line.contains("provider=\"Acme\" status=401"));
        }
        assert!(!log.text().contains(&KEY[..8]) && !log.text().contains("Hello"));
    }

    #[tokio::test]
    async fn a_missing_key_and_a_denied_access_are_told_apart() {
        for (line, key, sentence) in [
            ("401 Unauthorized", "", "wants a key, and none is set"),
            ("403 Forbidden", KEY, "May its key do this there?"),
            ("403 Forbidden", "", "denies access, and no key is set"),
            ("429 Slow", KEY, ""),
        ] {
            let log = Log::capture();
            let server = Server::saying(status(line, "", "{}")).await;
            let config = HttpProviderConfig {
                api_key: Some(Secret::new(key)),
                ..config(server.url("/v1"))
            };
            let acme = OpenAi::provider(config, false, http_client().unwrap()).unwrap();
            all(&acme).await;
            let warnings = log.lines("WARN");
            assert_eq!(warnings.len(), usize::from(!sentence.is_empty()), "{line}");
            assert!(warnings.iter().all(|warning| warning.contains(sentence)));
        }
    }
}
