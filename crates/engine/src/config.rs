//! What an engine is set up with.

mod providers;

use crate::{
    provider::http::CONNECT_TIMEOUT,
    runs::{Deadlines, recovery::Recovery},
    tool::program::ToolConfig,
};
use headwater_protocol::{Error, ErrorCode};
pub use providers::{Kind, ProviderConfig, from_environment, vendors_left};
use std::{path::PathBuf, time::Duration};

/// Everything that an [`Engine`](crate::Engine) can be told. [`Config::new`] has a value for each field.
#[derive(Clone, Debug)]
pub struct Config {
    /// Folder of the database.
    pub data: PathBuf,
    /// Largest size of the database in megabytes; 0 for none.
    pub data_limit_mb: u64,
    /// The GGUF file of the built-in model; `None` if it is switched off. Needs the feature `local`.
    pub model: Option<PathBuf>,
    /// Tokens of context that the built-in model may use.
    pub context: u32,
    /// Answers that the built-in model writes at once; 0 for one a processor.
    pub parallel: usize,
    /// The model used where none is chosen, as `provider/model`.
    pub default_model: Option<String>,
    /// The scripted provider: its scenarios in TOML, or the built-in ones.
    pub script: Option<Script>,
    /// The providers, beside the built-in and the scripted one.
    pub providers: Vec<ProviderConfig>,
    /// The programs that models may call.
    pub tools: Vec<ToolConfig>,
    /// System prompt of every conversation that sets none of its own.
    pub system: Option<String>,
    /// How long opening a connection to a provider may take.
    pub connect: Duration,
    /// How long to wait for a provider.
    pub deadlines: Deadlines,
    /// Models to ask when the chosen one cannot answer, as `provider/model`.
    pub fallback: Vec<String>,
    /// What to do about failures of providers.
    pub recovery: Recovery,
    /// How event streams behave.
    pub delivery: Delivery,
}

/// Where scripted answers come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Script {
    /// The scenarios that are part of the program.
    Builtin,
    /// Scenarios as TOML.
    Text(String),
}

impl Config {
    /// The usual settings over a data folder, without a provider.
    pub fn new(data: impl Into<PathBuf>) -> Self {
        Self {
            data: data.into(),
            data_limit_mb: 0,
            model: None,
            context: 8192,
            parallel: 0,
            default_model: None,
            script: None,
            providers: Vec::new(),
            tools: Vec::new(),
            system: None,
            connect: CONNECT_TIMEOUT,
            deadlines: Deadlines::default(),
            fallback: Vec::new(),
            recovery: Recovery::default(),
            delivery: Delivery::default(),
        }
    }
}

/// How the delivery behaves; the log is not touched by any of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// Pause between two pings. A page takes three missing ones for a dead connection.
    pub ping: Duration,
    /// The longest that one connection lasts, so that resuming is exercised every day.
    pub lifetime: Duration,
}

impl Default for Delivery {
    /// A ping every five seconds, half an hour for a connection.
    fn default() -> Self {
        Self {
            ping: Duration::from_secs(5),
            lifetime: Duration::from_secs(1800),
        }
    }
}

/// A setting that makes no sense, in a sentence.
fn wrong(message: String) -> Error {
    Error::new(ErrorCode::InvalidRequest, message).at("reading the configuration")
}
