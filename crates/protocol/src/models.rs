//! The models that can be chosen, and how their providers are.

use serde::{Deserialize, Serialize};

/// A model that can be chosen in the page.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ModelInfo {
    /// `provider/model`, as `start` takes it.
    pub id: String,
    /// For people.
    pub name: String,
    /// The provider's name for people.
    pub provider: String,
    /// Tokens of context, where known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub context: Option<u32>,
    /// One line of advice, such as that the model is a toy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

impl ModelInfo {
    /// A model with nothing to say about it but its name.
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

/// What can be chosen.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Catalog {
    /// `provider/model` that is used where nothing is chosen.
    pub default: String,
    /// All models of all providers that answered.
    pub models: Vec<ModelInfo>,
    /// All providers, with their state.
    pub providers: Vec<ProviderState>,
    /// Variables that would each connect another vendor.
    #[serde(default)]
    pub connect: Vec<String>,
    /// Whether only the built-in toy is there, so that the page tells how to connect a larger one.
    pub only_builtin: bool,
}

impl Catalog {
    /// Whether the last thing known of a model's provider is that it failed.
    pub fn is_failing(&self, model: &ModelInfo) -> bool {
        self.providers.iter().any(|provider| {
            provider.problem.is_some() && model.id.split('/').next() == Some(provider.name.as_str())
        })
    }

    /// One sentence for each provider that offers nothing.
    pub fn problems(&self) -> impl Iterator<Item = &str> {
        let silent = self
            .providers
            .iter()
            .filter(|provider| provider.models == 0);
        silent.filter_map(|provider| provider.problem.as_deref())
    }
}

/// How a provider does.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ProviderState {
    /// Its name in the configuration.
    pub name: String,
    /// How many models it offers.
    pub models: usize,
    /// One sentence, where something is wrong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
    /// Whether it does not accept the key, or there is none.
    #[serde(default)]
    pub needs_key: bool,
    /// The environment variable that its key is read from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_variable: Option<String>,
    /// For how many seconds others are asked first, because it failed repeatedly.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub circuit_open_s: Option<u64>,
}
