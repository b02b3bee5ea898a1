//! The list of models.

use super::Shared;
use crate::provider::catalog;
use headwater_protocol::{Error, ModelInfo};
use serde_json::Value;

/// How many models are asked for at once, the most that is allowed.
const PAGE: &str = "1000";

/// More pages than there are.
const MOST_PAGES: usize = 20;

impl Shared {
    /// Asks the server for its models, page by page.
    pub(super) async fn fetch(&self) -> Result<Vec<ModelInfo>, Error> {
        let mut models = Vec::new();
        let mut after: Option<String> = None;
        for _ in 0..MOST_PAGES {
            let mut url = self.url("models");
            url.query_pairs_mut().append_pair("limit", PAGE);
            if let Some(after) = &after {
                url.query_pairs_mut().append_pair("after_id", after);
            }
            let call = self.signed(self.http.get(url));
            let page = catalog::document(&self.endpoint, call).await?;
            let list = page.get("data").and_then(Value::as_array);
            let list = list.ok_or_else(|| catalog::no_list(&self.endpoint))?;
            models.extend(list.iter().filter_map(|model| self.read(model)));
            let more = page.get("has_more").and_then(Value::as_bool) == Some(true);
            let last = page.get("last_id").and_then(Value::as_str);
            // A server that gives the same page again would be asked for ever.
            match last.filter(|last| more && after.as_deref() != Some(last)) {
                Some(last) => after = Some(last.into()),
                None => break,
            }
        }
        Ok(models)
    }

    fn read(&self, model: &Value) -> Option<ModelInfo> {
        let id = model.get("id")?.as_str()?;
        let name = model.get("display_name").and_then(Value::as_str);
        let context = model
            .get("max_input_tokens")
            .and_then(Value::as_u64)
            .and_then(|tokens| u32::try_from(tokens).ok())
            .filter(|tokens| *tokens > 0);
        Some(catalog::info(&self.endpoint, id, name, context))
    }
}
