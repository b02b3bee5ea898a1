//! The list of models:
//! <https://github.com/ollama/ollama/blob/main/docs/api.md#list-local-models>.

use super::decode::Thinkers;
use crate::provider::{api_client::ApiClient, catalog};
use headwater_protocol::{Error, ModelInfo};
use serde_json::Value;

/// Asks the server for the models that it has; the latest come first. Those that think are added to
/// `thinkers`.
pub(super) async fn fetch(
    client: &ApiClient,
    thinkers: &Thinkers,
) -> Result<Vec<ModelInfo>, Error> {
    let endpoint = &client.endpoint;
    let list = catalog::document(client, endpoint.at(&["api", "tags"])).await?;
    let models = list
        .get("models")
        .and_then(Value::as_array)
        .ok_or_else(|| catalog::no_list(endpoint))?;
    let info = |model: &Value| {
        let id = model.get("name").or_else(|| model.get("model"))?.as_str()?;
        if words(model, "/capabilities").any(|word| word == "thinking") {
            thinkers.add(id);
        }
        Some(catalog::info(endpoint, id, None, None))
    };
    Ok(models
        .iter()
        .filter(|model| can_chat(model))
        .filter_map(info)
        .collect())
}

/// The strings of an array in the description of a model.
fn words<'a>(model: &'a Value, pointer: &str) -> impl Iterator<Item = &'a str> {
    let list = model.pointer(pointer).and_then(Value::as_array);
    list.into_iter().flatten().filter_map(Value::as_str)
}

/// Whether a model of the list is a chat model and not an embedding model.
fn can_chat(model: &Value) -> bool {
    // Newer servers list the capabilities of a model.
    if model.get("capabilities").is_some_and(Value::is_array) {
        return words(model, "/capabilities").any(|word| word == "completion");
    }
    let family = model.pointer("/details/family").and_then(Value::as_str);
    let name = model
        .get("name")
        .and_then(Value::as_str)
        .unwrap_or_default()
        .to_lowercase();
    let numbers = |family: &str| family.contains("bert") || family.contains("embed");
    !family
        .into_iter()
        .chain(words(model, "/details/families"))
        .chain([name.as_str()])
        .any(numbers)
}
