//! The list of models (<https://ai.google.dev/api/models>), and what their names tell.

use super::url;
use crate::provider::{api_client::ApiClient, catalog, endpoint::Endpoint};
use headwater_protocol::{Error, ModelInfo};
use serde_json::Value;

/// Asks the server for its models, page by page.
pub(super) async fn fetch(client: &ApiClient) -> Result<Vec<ModelInfo>, Error> {
    let endpoint = &client.endpoint;
    let mut first = url(endpoint, &["models"]);
    first.query_pairs_mut().append_pair("pageSize", "1000");
    let mut models = Vec::new();
    catalog::pages(client, first, "pageToken", |page| {
        match page.get("models").and_then(Value::as_array) {
            Some(list) => models.extend(list.iter().filter_map(|model| info(endpoint, model))),
            // A page may be empty, but an answer with neither models nor a next page is something
            // else.
            None if models.is_empty() && page.get("nextPageToken").is_none() => {
                return Err(catalog::no_list(endpoint));
            }
            None => {}
        }
        let next = page.get("nextPageToken").and_then(Value::as_str);
        Ok(next.map(str::to_owned))
    })
    .await?;
    Ok(models)
}

/// A model of the list, if it is a chat model.
fn info(endpoint: &Endpoint, model: &Value) -> Option<ModelInfo> {
    let id = bare(model.get("name")?.as_str()?);
    let answers = model
        .get("supportedGenerationMethods")?
        .as_array()?
        .iter()
        .any(|method| method == "generateContent");
    if !answers || makes_other_things(id) {
        return None;
    }
    let name = model.get("displayName").and_then(Value::as_str);
    let context = model.get("inputTokenLimit").and_then(Value::as_u64);
    Some(catalog::info(endpoint, id, name, context))
}

/// The name without its collection, such as `models/`.
pub(super) fn bare(name: &str) -> &str {
    name.strip_prefix("models/").unwrap_or(name)
}

/// Whether a model produces something other than text, or needs another API.
fn makes_other_things(id: &str) -> bool {
    const OTHERS: [&str; 11] = [
        "embedding",
        "-tts",
        "image",
        "audio",
        "-live",
        "imagen",
        "veo-",
        "computer-use",
        "deep-research",
        "lyria",
        "nano-banana",
    ];
    OTHERS.iter().any(|part| id.contains(part))
}

/// How the amount of thinking is set for a model
/// (<https://ai.google.dev/gemini-api/docs/thinking>).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Thinks {
    /// It does not think.
    Never,
    /// By a number of tokens, as in generation 2.5. `can_be_off`: thinking can be switched off.
    Budget { can_be_off: bool },
    /// By a level, since generation 3: the lowest level, and whether `medium` is supported.
    Level { least: &'static str, medium: bool },
}

/// How a model thinks, by its name.
pub(super) fn thinks(model: &str) -> Thinks {
    let model = bare(model);
    let pro = model.contains("pro");
    let level = Thinks::Level {
        least: if pro { "low" } else { "minimal" },
        medium: !model.starts_with("gemini-3-pro"),
    };
    match model.strip_prefix("gemini-") {
        Some(rest) if rest.starts_with("2.5") => Thinks::Budget { can_be_off: !pro },
        Some(rest) if rest.starts_with("1.") || rest.starts_with("2.") => Thinks::Never,
        // A name without a number means the newest model.
        Some(_) => level,
        None => Thinks::Never,
    }
}

/// Whether a model continues a prefill. The names are those of models known to do so; later models
/// refuse.
pub(super) fn takes_prefill(model: &str) -> bool {
    const KNOWN: [&str; 5] = [
        "gemini-1.5-",
        "gemini-2.0-",
        "gemini-2.5-",
        "gemini-3-",
        "gemini-3.1-",
    ];
    let model = bare(model);
    KNOWN.iter().any(|start| model.starts_with(start))
}

/// Whether a model refuses its own tool calls without their signatures.
pub(super) fn wants_signatures(model: &str) -> bool {
    matches!(thinks(model), Thinks::Level { .. })
}
