//! The list of models.

use crate::provider::{api_client::ApiClient, catalog, endpoint::Endpoint};
use headwater_protocol::{Error, ModelInfo};
use serde_json::Value;

/// Asks the server for its models.
pub(in crate::provider) async fn fetch(client: &ApiClient) -> Result<Vec<ModelInfo>, Error> {
    let endpoint = &client.endpoint;
    let list = catalog::document(client, endpoint.at(&["models"])).await?;
    read(endpoint, &list).ok_or_else(|| catalog::no_list(endpoint))
}

/// Reads a list in all forms that servers use. The newest models come first if the server gives
/// their age.
fn read(endpoint: &Endpoint, list: &Value) -> Option<Vec<ModelInfo>> {
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
        .or_else(|| model.pointer("/meta/n_ctx")?.as_u64());
        let name = model.get("name").and_then(Value::as_str);
        Some(catalog::info(endpoint, id, name, context))
    };
    Some(models.into_iter().filter_map(info).collect())
}

/// Whether a model of the list is a chat model. Lists also contain embedding models and others.
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
