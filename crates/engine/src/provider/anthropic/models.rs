//! The list of models: <https://docs.claude.com/en/api/models-list>.

use super::url;
use crate::provider::{api_client::ApiClient, catalog, endpoint::Endpoint};
use headwater_protocol::{Error, ModelInfo};
use serde_json::Value;

/// The number of models per page: the most that the API allows.
const PAGE: &str = "1000";

/// Asks the server for its models, page by page.
pub(super) async fn fetch(client: &ApiClient) -> Result<Vec<ModelInfo>, Error> {
    let endpoint = &client.endpoint;
    let mut first = url(endpoint, "models");
    first.query_pairs_mut().append_pair("limit", PAGE);
    let mut models = Vec::new();
    catalog::pages(client, first, "after_id", |page| {
        let list = page.get("data").and_then(Value::as_array);
        let list = list.ok_or_else(|| catalog::no_list(endpoint))?;
        models.extend(list.iter().filter_map(|model| info(endpoint, model)));
        let has_more = page.get("has_more").and_then(Value::as_bool) == Some(true);
        let last = page.get("last_id").and_then(Value::as_str);
        Ok(last.filter(|_| has_more).map(str::to_owned))
    })
    .await?;
    Ok(models)
}

fn info(endpoint: &Endpoint, model: &Value) -> Option<ModelInfo> {
    let id = model.get("id")?.as_str()?;
    let name = model.get("display_name").and_then(Value::as_str);
    let context = model.get("max_input_tokens").and_then(Value::as_u64);
    let context = context.filter(|tokens| *tokens > 0);
    Some(catalog::info(endpoint, id, name, context))
}
