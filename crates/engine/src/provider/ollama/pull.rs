//! Fetches a model that is not there, where that is wanted, and asks again.

use super::Shared;
use crate::provider::{
    ChatRequest, ProviderEvent,
    endpoint::Endpoint,
    exchange, fault, http,
    sse::{self, lines::Lines},
};
use bytes::Bytes;
use futures::{
    StreamExt,
    stream::{self, BoxStream},
};
use headwater_protocol::{Error, ErrorCode, Stage};
use serde_json::{Value, json};
use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, SystemTime},
};
use tokio::time::{Instant, timeout};

type Item = Result<ProviderEvent, Error>;

/// How often progress is told that does not change a percentage, so that nobody takes a large
/// download for a dead connection.
const STILL_HERE: Duration = Duration::from_secs(5);

/// How long a download may say nothing. While Ollama checks what it fetched, no line comes.
const SILENCE: Duration = Duration::from_secs(600);

/// How much of an error's body is read.
const ERROR_BYTES: usize = 64 * 1024;

/// How long the body of an error may take.
const ERROR_PATIENCE: Duration = Duration::from_secs(5);

/// The answer to a request, if need be after a download.
pub(super) fn stream(shared: Arc<Shared>, request: ChatRequest) -> BoxStream<'static, Item> {
    let answer = Answer {
        inner: exchange::stream(shared.clone(), request.clone()),
        may_pull: shared.pull,
        pull: None,
        shared,
        request,
    };
    stream::unfold(answer, |mut answer| async move {
        let item = answer.next().await?;
        Some((item, answer))
    })
    .boxed()
}

struct Answer {
    shared: Arc<Shared>,
    request: ChatRequest,
    inner: BoxStream<'static, Item>,
    may_pull: bool,
    pull: Option<Pull>,
}

impl Answer {
    async fn next(&mut self) -> Option<Item> {
        loop {
            if let Some(pull) = &mut self.pull {
                match pull.next(&self.shared, &self.request.model).await {
                    Some(Ok(stage)) => return Some(Ok(ProviderEvent::Stage(stage))),
                    Some(Err(error)) => {
                        self.pull = None;
                        self.inner = stream::empty().boxed();
                        return Some(Err(error));
                    }
                    None => {
                        self.pull = None;
                        self.inner = exchange::stream(self.shared.clone(), self.request.clone());
                    }
                }
            }
            match self.inner.next().await {
                Some(Err(error)) if is_missing(&self.shared.endpoint, &error) => {
                    if !std::mem::take(&mut self.may_pull) {
                        return Some(Err(missing(
                            &self.shared.endpoint,
                            &self.request.model,
                            error,
                        )));
                    }
                    self.pull = Some(Pull::new((STILL_HERE, SILENCE)));
                }
                item => return item,
            }
        }
    }
}

/// Whether the model is what was not found, and not the address.
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
    /// [`STILL_HERE`] and [`SILENCE`].
    patience: (Duration, Duration),
    state: State,
    lines: Option<Lines>,
    /// The bytes that are there and the bytes in all, by layer.
    layers: HashMap<String, (u64, u64)>,
    told: Option<(u8, Instant)>,
    /// When the last bytes came.
    heard: Option<Instant>,
}

enum State {
    Start,
    Asking,
    Reading(BoxStream<'static, reqwest::Result<Bytes>>),
}

impl Pull {
    fn new(patience: (Duration, Duration)) -> Self {
        Self {
            patience,
            state: State::Start,
            lines: None,
            layers: HashMap::new(),
            told: None,
            heard: None,
        }
    }

    /// The next progress; `None` once the model is there.
    async fn next(&mut self, shared: &Shared, model: &str) -> Option<Result<Stage, Error>> {
        self.step(shared, model)
            .await
            .map_err(|error| error.at("fetching the model"))
            .transpose()
    }

    async fn step(&mut self, shared: &Shared, model: &str) -> Result<Option<Stage>, Error> {
        let endpoint = &shared.endpoint;
        loop {
            match &mut self.state {
                State::Start => {
                    self.state = State::Asking;
                    return Ok(self.tell());
                }
                State::Asking => self.state = State::Reading(open(shared, model).await?),
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
                        // Blank lines mean nothing, and no line else decides anything.
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

    /// The progress if it is worth telling. It never goes back, although new layers come to light
    /// on the way.
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
    shared: &Shared,
    model: &str,
) -> Result<BoxStream<'static, reqwest::Result<Bytes>>, Error> {
    let endpoint = &shared.endpoint;
    let call = shared.http.post(endpoint.at(&["api", "pull"]));
    let body = json!({"model": model, "stream": true});
    let response = exchange::with_json(call, &body)?
        .send()
        .await
        .map_err(|error| http::unreachable(&error, &endpoint.url))?;
    let status = response.status();
    if status.is_success() {
        return Ok(response.bytes_stream().boxed());
    }
    let wait = http::retry_after_ms(response.headers(), SystemTime::now());
    let body = http::bounded(response, ERROR_BYTES, ERROR_PATIENCE).await;
    let mut error = match serde_json::from_slice(&body) {
        Ok(line) if says_unknown(&line) => failed(endpoint, model, &line),
        _ => fault::from_response(endpoint, status.as_u16(), &body, wait),
    };
    error.status = Some(status.as_u16());
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
    use crate::provider::ollama::{Ollama, OllamaConfig};

    #[tokio::test]
    async fn a_silent_download_is_waited_for_but_not_for_ever() {
        let ollama = Ollama::new(OllamaConfig::default(), reqwest::Client::new()).unwrap();
        let millis = Duration::from_millis;
        let mut pull = Pull::new((millis(20), millis(300)));
        let said = "{\"status\":\"pulling\",\"digest\":\"a\",\"total\":2,\"completed\":1}\n";
        let body = stream::iter([Ok(Bytes::from(said))]).chain(stream::pending());
        pull.state = State::Reading(body.boxed());
        let mut stages = Vec::new();
        let error = loop {
            match pull.next(&ollama.shared, "m").await.unwrap() {
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
