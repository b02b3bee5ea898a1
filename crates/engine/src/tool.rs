//! Tools, which a model may call while it answers.
//!
//! The engine runs the calls of an answer concurrently, each with its own time limit, and asks the model
//! again with the results. A tool that fails does not end the run: the model reads the error and may
//! try something else.

pub mod program;

use super::provider::ToolDefinition;
use futures::stream::BoxStream;
use headwater_protocol::{Error, ErrorCode};
use program::{Program, ToolConfig};
use serde::Serialize;
use serde_json::Value;
use std::{sync::Arc, time::Duration};

/// The default time limit of a call.
pub const USUAL_LIMIT: Duration = Duration::from_secs(60);

/// The largest result of a call in bytes: about 64,000 tokens, half of a large context.
pub const MAX_OUTPUT: usize = 256 * 1024;

/// What a call yields.
#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    /// A piece of the text that the model reads.
    Text(String),
    /// An event of the tool's own, for observers and whoever follows the run. No model reads it.
    Custom {
        /// Its name.
        name: String,
        /// What it says. Of more than 64 kB the log has the size.
        data: Value,
    },
}

impl Output {
    /// An event of the tool's own. Data that cannot be JSON are null.
    pub fn custom(name: impl Into<String>, data: impl Serialize) -> Self {
        Self::Custom {
            name: name.into(),
            data: serde_json::to_value(data).unwrap_or_default(),
        }
    }
}

impl<T: Into<String>> From<T> for Output {
    fn from(text: T) -> Self {
        Self::Text(text.into())
    }
}

/// A tool that models may call.
///
/// ```
/// # use futures::{StreamExt, stream::{self, BoxStream}};
/// # use headwater_engine::{provider::ToolDefinition, tool::{Output, Tool}};
/// # use headwater_protocol::Error;
/// # use serde_json::{Value, json};
/// struct Clock(ToolDefinition);
///
/// impl Tool for Clock {
///     fn definition(&self) -> &ToolDefinition {
///         &self.0
///     }
///
///     fn call(&self, _: Value) -> BoxStream<'static, Result<Output, Error>> {
///         let asked = Output::custom("asked", json!({ "server": "time.example.org" }));
///         stream::iter([Ok(asked), Ok("It is noon.".into())]).boxed()
///     }
/// }
/// ```
pub trait Tool: Send + Sync + 'static {
    /// The name, description and parameters that models see.
    fn definition(&self) -> &ToolDefinition;

    /// The time limit of a call.
    fn limit(&self) -> Duration {
        USUAL_LIMIT
    }

    /// Starts a call. `arguments` is a JSON object that a model wrote: do not trust it. The stream
    /// yields the output piece by piece, with events between. It ends after the output, or with an error
    /// whose sentence the model reads. The work begins when the stream is first polled. Dropping the stream stops the
    /// call, and must end its work within 100 ms.
    fn call(&self, arguments: Value) -> BoxStream<'static, Result<Output, Error>>;
}

/// All tools that models may call.
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
    /// `invalid_request` if the name is taken or if providers would refuse it, or if the parameters are
    /// no JSON object.
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

    /// The tool that a model calls `name`; see [`meant`].
    pub fn find(&self, name: &str) -> Option<&Arc<dyn Tool>> {
        let names = self.0.iter().map(|tool| tool.definition().name.as_str());
        let name = meant(name, names)?;
        self.0.iter().find(|tool| tool.definition().name == name)
    }

    /// The definitions of all tools.
    pub fn definitions(&self) -> Vec<ToolDefinition> {
        let all = self.0.iter();
        all.map(|tool| tool.definition().clone()).collect()
    }
}

/// The name that a model means by `said`. It is an exact match, or else the only match without regard
/// to white space, case and the prefixes that some servers add (`functions.search`,
/// `default_api:search`).
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
