//! Downloads a missing model, if that is configured.

use crate::provider::{
    api_client::{ApiClient, Failure},
    endpoint::Endpoint,
    exchange::Remedy,
    fault, http,
    sse::{self, lines::Lines},
};
use bytes::Bytes;
use futures::{
    StreamExt,
    stream::{self, BoxStream},
};
use headwater_protocol::{Error, ErrorCode, Stage};
use serde_json::{Value, json};
use std::{collections::HashMap, time::Duration};
use tokio::time::{Instant, timeout};

/// How often progress is reported although the percentage is the same, so that a large download
/// does not look like a dead connection.
const STILL_HERE: Duration = Duration::from_secs(5);

/// How long a download may be silent. Ollama sends nothing while it verifies the downloaded data.
const SILENCE: Duration = Duration::from_secs(600);

/// The download of a model, if it is missing and it `may_pull`; otherwise the error to end with.
pub(super) fn remedy(
    client: &ApiClient,
    model: &str,
    error: Error,
    may_pull: bool,
) -> Result<Remedy, Error> {
    if !is_missing(&client.endpoint, &error) {
        return Err(error);
    }
    if !may_pull {
        return Err(missing(&client.endpoint, model, error));
    }
    let pull = Pull::new(client.clone(), model.into(), (STILL_HERE, SILENCE));
    Ok(stream::unfold(pull, |mut pull| async move {
        let stage = pull.next().await?;
        Some((stage, pull))
    })
    .boxed())
}

/// Whether the model was not found, and not the address.
fn is_missing(endpoint: &Endpoint, error: &Error) -> bool {
    error.code == ErrorCode::NotFound
        && error
            .message
            .starts_with(&format!("{} does not have this model.", endpoint.name))
}

fn missing(endpoint: &Endpoint, model: &str, error: Error) -> Error {
    let model = http::quote(model, None);
    Error {
        message: format!(
            "{} does not have the model {model}. The command `ollama pull {model}` fetches it.",
            endpoint.name
        ),
        ..error
    }
}

/// A download.
struct Pull {
    client: ApiClient,
    model: String,
    /// [`STILL_HERE`] and [`SILENCE`].
    patience: (Duration, Duration),
    state: State,
    lines: Option<Lines>,
    /// The downloaded bytes and the total bytes of each layer.
    layers: HashMap<String, (u64, u64)>,
    told: Option<(u8, Instant)>,
    /// When the last bytes arrived.
    heard: Option<Instant>,
}

enum State {
    Start,
    Asking,
    Reading(BoxStream<'static, reqwest::Result<Bytes>>),
}

impl Pull {
    fn new(client: ApiClient, model: String, patience: (Duration, Duration)) -> Self {
        Self {
            client,
            model,
            patience,
            state: State::Start,
            lines: None,
            layers: HashMap::new(),
            told: None,
            heard: None,
        }
    }

    /// The next progress. `None` when the download is complete.
    async fn next(&mut self) -> Option<Result<Stage, Error>> {
        self.step()
            .await
            .map_err(|error| error.at("fetching the model"))
            .transpose()
    }

    async fn step(&mut self) -> Result<Option<Stage>, Error> {
        loop {
            let (endpoint, model) = (&self.client.endpoint, &self.model);
            match &mut self.state {
                State::Start => {
                    self.state = State::Asking;
                    return Ok(self.tell());
                }
                State::Asking => self.state = State::Reading(open(&self.client, model).await?),
                State::Reading(body) => {
                    let lines = self
                        .lines
                        .get_or_insert_with(|| Lines::ended_by_lf(sse::MAX_BYTES));
                    let line = lines.next_line()?.map(serde_json::from_slice::<Value>);
                    match line {
                        Some(Ok(line)) if line.get("status") == Some(&json!("success")) => {
                            return Ok(None);
                        }
                        Some(Ok(line)) if line.get("error").is_some() => {
                            return Err(failed(endpoint, model, &line));
                        }
                        Some(Ok(line)) => {
                            self.count(&line);
                            if let Some(stage) = self.tell() {
                                return Ok(Some(stage));
                            }
                        }
                        // Other lines, such as blank ones, are ignored.
                        Some(Err(_)) => {}
                        None => match timeout(self.patience.0, body.next()).await {
                            Ok(Some(Ok(bytes))) => {
                                lines.push(&bytes);
                                self.heard = Some(Instant::now());
                            }
                            Ok(Some(Err(_)) | None) => return Err(broken(endpoint, model)),
                            Err(_) => {
                                let heard = self.heard.get_or_insert_with(Instant::now);
                                if heard.elapsed() > self.patience.1 {
                                    return Err(broken(endpoint, model));
                                }
                                if let Some(stage) = self.tell() {
                                    return Ok(Some(stage));
                                }
                            }
                        },
                    }
                }
            }
        }
    }

    /// Takes the counts of one layer.
    fn count(&mut self, line: &Value) {
        let number = |name: &str| line.get(name).and_then(Value::as_u64);
        if let (Some(digest), Some(total)) =
            (line.get("digest").and_then(Value::as_str), number("total"))
        {
            let completed = number("completed").unwrap_or(0).min(total);
            self.layers.insert(digest.into(), (completed, total));
        }
    }

    /// The progress, if it is worth reporting. It never goes back, although new layers appear
    /// during the download.
    fn tell(&mut self) -> Option<Stage> {
        let sum = |part: fn(&(u64, u64)) -> u64| {
            let parts = self.layers.values().map(part);
            parts.fold(0, u64::saturating_add)
        };
        let (completed, total) = (sum(|layer| layer.0), sum(|layer| layer.1));
        let percent = u8::try_from(u128::from(completed) * 100 / u128::from(total.max(1)))
            .unwrap_or(100)
            .min(100);
        let percent = match self.told {
            Some((before, at)) if percent <= before && at.elapsed() < self.patience.0 => {
                return None;
            }
            Some((before, _)) => percent.max(before),
            None => percent,
        };
        self.told = Some((percent, Instant::now()));
        Some(Stage::Downloading { percent })
    }
}

async fn open(
    client: &ApiClient,
    model: &str,
) -> Result<BoxStream<'static, reqwest::Result<Bytes>>, Error> {
    let endpoint = &client.endpoint;
    let body = json!({"model": model, "stream": true});
    let call = client.post(endpoint.at(&["api", "pull"]), &body)?;
    let refusal = match client.send(call).await {
        Ok(response) => return Ok(response.bytes_stream().boxed()),
        Err(Failure::Unreachable(error)) => return Err(error),
        Err(Failure::Refused(refusal)) => refusal,
    };
    let mut error = match serde_json::from_slice(&refusal.body) {
        Ok(line) if says_unknown(&line) => failed(endpoint, model, &line),
        _ => refusal.error(endpoint),
    };
    error.status = Some(refusal.status);
    Err(error)
}

fn says_unknown(line: &Value) -> bool {
    let said = line.get("error").map(Value::to_string).unwrap_or_default();
    said.contains("file does not exist") || said.contains("not found")
}

fn failed(endpoint: &Endpoint, model: &str, line: &Value) -> Error {
    if !says_unknown(line) {
        return fault::from_object(endpoint, line);
    }
    let model = http::quote(model, None);
    Error::new(
        ErrorCode::NotFound,
        format!(
            "{} does not have the model {model}, and nobody offers one of that name. Is it right?",
            endpoint.name
        ),
    )
}

fn broken(endpoint: &Endpoint, model: &str) -> Error {
    let model = http::quote(model, None);
    Error::new(
        ErrorCode::Connection,
        format!(
            "{} broke off the download of {model}. Another attempt goes on from there.",
            endpoint.name
        ),
    )
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may fail by panic")]
mod tests {
    use super::*;
    use crate::provider::{HttpProviderConfig, ollama::Ollama};

    #[tokio::test]
    async fn a_silent_download_is_waited_for_but_not_for_ever() {
        let config = HttpProviderConfig::default();
        let ollama = Ollama::provider(config, false, reqwest::Client::new()).unwrap();
        let client = ollama.backend().client.clone();
        let millis = Duration::from_millis;
        let mut pull = Pull::new(client, "m".into(), (millis(20), millis(300)));
        let said = "{\"status\":\"pulling\",\"digest\":\"a\",\"total\":2,\"completed\":1}\n";
        let body = stream::iter([Ok(Bytes::from(said))]).chain(stream::pending());
        pull.state = State::Reading(body.boxed());
        let mut stages = Vec::new();
        let error = loop {
            match pull.next().await.unwrap() {
                Ok(stage) => stages.push(stage),
                Err(error) => break error,
            }
        };
        assert_eq!(error.code, ErrorCode::Connection);
        assert!((2..=20).contains(&stages.len()), "{stages:?}");
        assert!(
            stages
                .iter()
                .all(|stage| *stage == Stage::Downloading { percent: 50 })
        );
    }
}
