//! Ends of runs, sent to a web server.

use crate::{
    observer::{Interest, Observed, Observer, Run, RunFinished},
    provider::http::http_client,
};
use serde_json::json;
use std::time::Duration;

/// How long a server may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// The pauses before a call that failed is tried again.
const PAUSES: [Duration; 3] = [
    Duration::from_millis(500),
    Duration::from_secs(2),
    Duration::from_secs(8),
];

/// Sends a `POST` with JSON to an address when a run has ended: `run`, `conversation`, `message`, `model`,
/// `status`, `usage`, `timing` and `error`, and `text` only if that was asked for
/// ([`Webhook::with_text`]). The header `Idempotency-Key` is the run. A call that fails, or that the server
/// answers with 429 or from 500 on, is tried three times more.
#[derive(Clone, Debug)]
pub struct Webhook {
    address: String,
    has_text: bool,
    client: reqwest::Client,
}

impl Webhook {
    /// Sends to `address`, an `http` or `https` URL.
    ///
    /// # Errors
    /// A URL that cannot be read, or no client for HTTP.
    pub fn new(address: &str) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        let address = reqwest::Url::parse(address)?;
        if !matches!(address.scheme(), "http" | "https") {
            return Err(format!("{address} is no address of the web").into());
        }
        Ok(Self {
            address: address.into(),
            has_text: false,
            client: http_client()?,
        })
    }

    /// Sends the visible text of the answer as well.
    pub fn with_text(self) -> Self {
        Self {
            has_text: true,
            ..self
        }
    }

    /// Sends it once. `Ok(false)` asks for another try.
    async fn send(&self, run: &Run, body: &[u8]) -> Result<bool, String> {
        let sent = self
            .client
            .post(&self.address)
            .timeout(PATIENCE)
            .header("content-type", "application/json")
            .header("idempotency-key", run.run.to_string())
            .body(body.to_vec())
            .send()
            .await;
        match sent {
            Ok(answer) if answer.status().is_success() => Ok(true),
            Ok(answer) if answer.status().is_server_error() || answer.status() == 429 => Ok(false),
            Ok(answer) => Err(format!("the server answered {}", answer.status())),
            Err(_) => Ok(false),
        }
    }
}

impl Observer for Webhook {
    fn interest(&self) -> Interest {
        Interest::RUNS
    }

    async fn run_finished(&self, run: &Run, end: &RunFinished<'_>) -> Observed {
        let mut facts = json!({
            "run": run.run,
            "conversation": run.conversation,
            "message": run.message,
            "model": run.model,
            "status": end.status,
            "usage": end.usage,
            "timing": end.timing,
            "error": end.error,
        });
        if self.has_text {
            facts["text"] = end.answer().visible_text().into();
        }
        let body = serde_json::to_vec(&facts)?;
        for pause in PAUSES.map(Some).into_iter().chain([None]) {
            if self.send(run, &body).await? {
                return Ok(());
            }
            match pause {
                Some(pause) => tokio::time::sleep(pause).await,
                None => break,
            }
        }
        Err("the server does not take it".into())
    }
}
