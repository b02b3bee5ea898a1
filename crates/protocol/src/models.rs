//! The models that can be chosen, and the state of their providers.

use serde::{Deserialize, Serialize};

/// A model that can be chosen.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ModelInfo {
    /// `provider/model`, as `start` takes it.
    pub id: String,
    /// The name for people.
    pub name: String,
    /// The provider's name for people.
    pub provider: String,
    /// The size of the context in tokens, if known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub context: Option<u32>,
    /// One line of advice, such as that the model is a toy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

impl ModelInfo {
    /// A model of which only the identifier is known.
    pub fn new(id: impl Into<String>) -> Self {
        let id = id.into();
        Self {
            name: id.clone(),
            id,
            provider: String::new(),
            context: None,
            note: None,
        }
    }
}

/// The provider of all chains. A chain is chosen as the model `chain/NAME`, so no other provider has the name.
pub const CHAIN: &str = "chain";

/// Whether `model` is the name of a chain.
pub fn is_chain(model: &str) -> bool {
    model
        .split_once('/')
        .is_some_and(|(provider, _)| provider == CHAIN)
}

/// All models that can be chosen.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Catalog {
    /// The model that is used if none is chosen, as `provider/model`.
    pub default: String,
    /// The models of all providers that answered.
    pub models: Vec<ModelInfo>,
    /// All configured providers, including those that did not answer.
    pub providers: Vec<ProviderState>,
    /// Environment variables that are not set, and that would each connect another provider.
    #[serde(default)]
    pub connect: Vec<String>,
    /// Whether the built-in model is the only one. The page then says how to connect a larger one.
    pub only_builtin: bool,
}

impl Catalog {
    /// Whether the last thing known of the model's provider is a failure.
    pub fn is_failing(&self, model: &ModelInfo) -> bool {
        self.providers.iter().any(|provider| {
            provider.problem.is_some() && model.id.split('/').next() == Some(provider.name.as_str())
        })
    }

    /// One sentence for each provider that offers no models.
    pub fn problems(&self) -> impl Iterator<Item = &str> {
        let silent = self
            .providers
            .iter()
            .filter(|provider| provider.models == 0);
        silent.filter_map(|provider| provider.problem.as_deref())
    }
}

/// The state of a provider.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ProviderState {
    /// The name in the configuration.
    pub name: String,
    /// The number of models that it offers.
    pub models: usize,
    /// One sentence for people, if something is wrong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
    /// Whether the key is missing or was refused.
    #[serde(default)]
    pub needs_key: bool,
    /// The environment variable from which the key is read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_variable: Option<String>,
    /// The circuit breaker is open: the seconds for which other providers are asked first, because
    /// this one failed repeatedly.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub circuit_open_s: Option<u64>,
}
