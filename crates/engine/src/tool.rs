//! Tools: what a model may call while it answers.
//!
//! The engine runs the calls of an answer side by side, each within its own limit, hands what comes
//! back to the model and asks it again. A tool that fails ends no run: the model reads why, and may
//! try something else.

pub mod program;

use super::provider::ToolDefinition;
use futures::stream::BoxStream;
use headwater_protocol::{Error, ErrorCode};
use program::{Program, ToolConfig};
use serde_json::Value;
use std::{sync::Arc, time::Duration};

/// How long a call may take where nothing else is said.
pub const USUAL_LIMIT: Duration = Duration::from_secs(60);

/// What a call may give back at most, in bytes: about 64,000 tokens, half of a large context.
pub const MAX_OUTPUT: usize = 256 * 1024;

/// Something that a model may call.
pub trait Tool: Send + Sync + 'static {
    /// What the model is told of it.
    fn definition(&self) -> &ToolDefinition;

    /// How long a call may take.
    fn limit(&self) -> Duration {
        USUAL_LIMIT
    }

    /// Starts a call. `arguments` is a JSON object, written by a model: nothing in it can be
    /// trusted. The stream yields the output piece by piece and ends with it, or with an error whose
    /// sentence is for the model. It begins its work when it is first polled; dropping it is how a
    /// call is stopped, and must end its work within 100 ms.
    fn call(&self, arguments: Value) -> BoxStream<'static, Result<String, Error>>;
}

/// The tools there are.
#[derive(Clone, Default)]
pub struct Tools(Vec<Arc<dyn Tool>>);

impl Tools {
    /// The tools of the configuration.
    ///
    /// # Errors
    /// `invalid_request`, with a sentence that names the tool.
    pub fn new(configured: &[ToolConfig]) -> Result<Self, Error> {
        let mut tools = Self::default();
        for tool in configured {
            tools.add(Arc::new(Program::new(tool)?))?;
        }
        Ok(tools)
    }

    /// Adds a tool.
    ///
    /// # Errors
    /// `invalid_request` for a name that is taken, or that providers would refuse.
    pub fn add(&mut self, tool: Arc<dyn Tool>) -> Result<(), Error> {
        let ToolDefinition {
            name, parameters, ..
        } = tool.definition();
        let fits = |c: char| c.is_ascii_alphanumeric() || "_-".contains(c);
        let wrong = if name.is_empty() || name.len() > 64 || !name.chars().all(fits) {
            "its name needs 1 to 64 letters, digits, “_” or “-”"
        } else if self.0.iter().any(|tool| tool.definition().name == *name) {
            "another tool has its name"
        } else if !parameters.is_object() {
            "its parameters must be a JSON Schema of an object"
        } else {
            self.0.push(tool);
            return Ok(());
        };
        Err(Error::new(
            ErrorCode::InvalidRequest,
            format!("The tool “{name}” cannot be used: {wrong}."),
        )
        .at("reading the configuration"))
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The tool of a name, as [`meant`] reads it.
    pub fn find(&self, name: &str) -> Option<&Arc<dyn Tool>> {
        let names = self.0.iter().map(|tool| tool.definition().name.as_str());
        let name = meant(name, names)?;
        self.0.iter().find(|tool| tool.definition().name == name)
    }

    /// What the model is told of all of them.
    pub fn definitions(&self) -> Vec<ToolDefinition> {
        let all = self.0.iter();
        all.map(|tool| tool.definition().clone()).collect()
    }
}

/// Which of the names a model means that said `said`: the very name, or the only one that is left
/// when white space, a server's prefix (`functions.search`, `default_api:search`) and capital
/// letters are passed over.
pub fn meant<'a>(said: &str, names: impl Iterator<Item = &'a str> + Clone) -> Option<&'a str> {
    if let Some(name) = names.clone().find(|name| *name == said) {
        return Some(name);
    }
    let bare = said.trim().rsplit(['.', ':', '/']).next()?;
    let mut alike = names.filter(|name| name.eq_ignore_ascii_case(bare));
    let name = alike.next()?;
    alike.next().is_none().then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_a_server_altered_is_still_known() {
        let names = ["search", "web_search", "Clock", "clock"];
        for (said, name) in [
            ("search", Some("search")),
            ("functions.search", Some("search")),
            ("default_api:web_search", Some("web_search")),
            (" Search\n", Some("search")),
            ("clock", Some("clock")),
            // Two are alike.
            ("functions.CLOCK", None),
            ("websearch", None),
            ("", None),
        ] {
            assert_eq!(meant(said, names.iter().copied()), name, "{said:?}");
        }
    }
}
