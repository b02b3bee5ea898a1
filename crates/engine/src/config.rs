//! The configuration of an engine.

mod providers;

use crate::{
    journal::Durability,
    provider::http::CONNECT_TIMEOUT,
    runs::{Deadlines, recovery::Recovery},
    tool::program::ToolConfig,
};
use headwater_protocol::{Error, ErrorCode};
pub use providers::{Kind, ProviderConfig, from_environment, vendors_left};
use std::{path::PathBuf, time::Duration};

/// The configuration of an [`Engine`](crate::Engine). [`Config::new`] has a default for each field.
#[derive(Clone, Debug)]
pub struct Config {
    /// The folder of the database. It is made if it does not exist.
    pub data: PathBuf,
    /// The largest size of the database and the journal in megabytes (MiB); 0 leaves it to the disk.
    pub data_limit_mb: u64,
    /// What tokens have to survive before anybody sees them.
    pub durability: Durability,
    /// The GGUF file of the built-in model. `None` switches it off. Needs the feature `local`.
    pub model: Option<PathBuf>,
    /// The context of the built-in model, in tokens.
    pub context: u32,
    /// How many answers the built-in model writes at once; 0 stands for the number of processors.
    pub parallel: usize,
    /// The model for requests that name none, as `provider/model`.
    pub default_model: Option<String>,
    /// The scenarios of the scripted provider, which is for tests and demonstrations.
    pub script: Option<Script>,
    /// The providers besides the built-in and the scripted one.
    pub providers: Vec<ProviderConfig>,
    /// The programs that models may call.
    pub tools: Vec<ToolConfig>,
    /// The system prompt of conversations that have none of their own.
    pub system: Option<String>,
    /// How long opening a connection to a provider may take.
    pub connect: Duration,
    /// How long to wait for tokens and for whole answers.
    pub deadlines: Deadlines,
    /// The models to ask, in this order, when the chosen one cannot answer, as `provider/model`.
    pub fallback: Vec<String>,
    /// What to do when a provider fails.
    pub recovery: Recovery,
    /// Pings and lifetime of event streams.
    pub delivery: Delivery,
}

/// Where the scenarios of the scripted provider come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Script {
    /// The scenarios that are part of the program.
    Builtin,
    /// Scenarios as TOML.
    Text(String),
}

impl Config {
    /// The defaults for a data folder, without a provider.
    pub fn new(data: impl Into<PathBuf>) -> Self {
        Self {
            data: data.into(),
            data_limit_mb: 0,
            durability: Durability::default(),
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

/// How event streams behave. The log does not depend on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// The pause between two pings. A page that misses three of them reconnects.
    pub ping: Duration,
    /// The longest time that one connection lasts. The reader then resumes, so that resuming is
    /// exercised every day.
    pub lifetime: Duration,
    /// Each frame is as long as a multiple of this many bytes, by spaces behind its JSON; 0 for none. Whoever sees
    /// the lengths of encrypted packets can guess the words of an answer from them
    /// ([Weiss et al., 2024](https://www.usenix.org/conference/usenixsecurity24/presentation/weiss)).
    pub padding: usize,
    /// The shortest pause between two deliveries to one reader. What comes meanwhile comes together, which hides the
    /// lengths of single tokens as well. The first one never waits.
    pub batch: Duration,
}

impl Default for Delivery {
    /// A ping every five seconds, half an hour for a connection, neither padding nor pauses.
    fn default() -> Self {
        Self {
            ping: Duration::from_secs(5),
            lifetime: Duration::from_secs(1800),
            padding: 0,
            batch: Duration::ZERO,
        }
    }
}

/// The error for an invalid setting.
fn wrong(message: String) -> Error {
    Error::new(ErrorCode::InvalidRequest, message).at("reading the configuration")
}
