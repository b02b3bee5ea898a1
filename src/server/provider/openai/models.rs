//! The list of models.

use super::{Shared, error::from_response};
use crate::{
    protocol::{Error, ErrorCode, ModelInfo},
    server::provider::http,
};
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

/// The last list or failure, and when it came.
pub(super) type Cache = tokio::sync::Mutex<Option<(Instant, Result<Vec<ModelInfo>, Error>)>>;

impl Shared {
    /// The list, fetched when it is old. Who asks meanwhile waits for the same answer.
    pub(super) async fn models(&self) -> Result<Vec<ModelInfo>, Error> {
        if let Some(names) = &self.fixed {
            return Ok(names
                .iter()
                .map(|name| self.info(name, None, None))
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
        let result = self
            .fetch()
            .await
            .map_err(|error| error.at("listing models"));
        *cache = Some((Instant::now(), result.clone()));
        result
    }

    async fn fetch(&self) -> Result<Vec<ModelInfo>, Error> {
        let url = self.url(&["models"]);
        let mut call = self.http.get(url.clone()).timeout(PATIENCE);
        if let Some(value) = &self.authorization {
            call = call.header(reqwest::header::AUTHORIZATION, value.clone());
        }
        let response = call
            .send()
            .await
            .map_err(|error| http::unreachable(&error, &url))?;
        let status = response.status();
        let wait = http::retry_after_ms(response.headers(), SystemTime::now());
        let body = http::bounded(response, MOST_BYTES, PATIENCE).await;
        if !status.is_success() {
            return Err(from_response(&self.who, status.as_u16(), &body, wait));
        }
        let list: Option<Value> = serde_json::from_slice(&body).ok();
        list.as_ref().and_then(|list| self.read(list)).ok_or_else(|| {
            Error::new(
                ErrorCode::Malformed,
                format!(
                    "The provider at {} sent no list of models. Is its base URL right? Most end in /v1.",
                    http::place(&self.who.url)
                ),
            )
        })
    }

    /// Reads a list in the forms that servers use; newest models first where they tell.
    fn read(&self, list: &Value) -> Option<Vec<ModelInfo>> {
        let models = list
            .get("data")
            .or_else(|| list.get("models"))
            .unwrap_or(list)
            .as_array()?;
        let mut models: Vec<_> = models.iter().filter(|model| can_chat(model)).collect();
        models.sort_by_key(|model| {
            std::cmp::Reverse(model.get("created").and_then(Value::as_i64).unwrap_or(0))
        });
        let info = |model: &Value| {
            let id = model.get("id").or_else(|| model.get("name"))?.as_str()?;
            let context = [
                "context_length",
                "context_window",
                "max_model_len",
                "max_context_length",
            ]
            .into_iter()
            .find_map(|name| model.get(name)?.as_u64())
            .or_else(|| model.pointer("/meta/n_ctx")?.as_u64())
            .and_then(|tokens| u32::try_from(tokens).ok());
            let name = model.get("name").and_then(Value::as_str);
            Some(self.info(id, name, context))
        };
        Some(models.into_iter().filter_map(info).collect())
    }

    fn info(&self, id: &str, name: Option<&str>, context: Option<u32>) -> ModelInfo {
        ModelInfo {
            id: id.into(),
            name: name.filter(|name| !name.is_empty()).unwrap_or(id).into(),
            provider: self.who.name.clone(),
            context,
            note: None,
        }
    }
}

/// Whether a model of the list is one to chat with. Lists mix in whatever else a host serves.
fn can_chat(model: &Value) -> bool {
    const OTHER_TYPES: [&str; 8] = [
        "embedding",
        "embeddings",
        "image",
        "audio",
        "rerank",
        "moderation",
        "transcribe",
        "tts",
    ];
    const OTHER_NAMES: [&str; 12] = [
        "embed",
        "whisper",
        "tts-",
        "-tts",
        "dall-e",
        "moderation",
        "transcribe",
        "realtime",
        "gpt-image",
        "sora-",
        "davinci-002",
        "babbage-002",
    ];
    let kind = model
        .get("type")
        .and_then(Value::as_str)
        .unwrap_or_default();
    let id = model
        .get("id")
        .and_then(Value::as_str)
        .unwrap_or_default()
        .to_lowercase();
    !OTHER_TYPES.contains(&kind) && !OTHER_NAMES.iter().any(|part| id.contains(part))
}
