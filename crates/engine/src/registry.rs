//! The providers that are configured, by name.

use super::{
    config::{self, Config, Kind, ProviderConfig, Script},
    health::Health,
    provider::{
        HttpProviderConfig, Provider, anthropic::Anthropic, gemini::Gemini, http::http_client_with,
        ollama::Ollama, openai::OpenAi, responses::Responses, scripted::Scripted, secret::Secret,
    },
};
use crate::runs::{Candidate, Deadlines, context::ChainFn};
use chains::Chains;
use futures::future::join_all;
use headwater_protocol::{CHAIN, Catalog, Error, ErrorCode, ModelInfo, ProviderState};
use std::{collections::BTreeMap, sync::Arc, time::Duration};

mod chains;

/// How long a provider may take to list its models before the page is shown without them.
const LIST_DEADLINE: Duration = Duration::from_secs(4);

/// The longest name of a model, in bytes: it is part of logs, requests and maps.
const MAX_NAME: usize = 300;

/// The name of the built-in model's provider.
pub const BUILTIN: &str = "local";

/// All providers. Their order is the page's, and the first model is the default.
pub struct Registry {
    /// How the providers do.
    pub health: Arc<Health>,
    providers: Vec<Known>,
    chains: BTreeMap<String, ChainFn>,
    /// Variables that would each connect another vendor.
    connect: Vec<String>,
    default_model: Option<String>,
    fallback: Vec<String>,
}

/// A provider of the configuration.
struct Known {
    name: String,
    provider: Arc<dyn Provider>,
    deadlines: Deadlines,
    /// Whether its models may call tools.
    tools: bool,
    /// The variable that its key is read from.
    key_variable: Option<String>,
}

impl Registry {
    /// Makes the configured providers.
    ///
    /// # Errors
    /// `invalid_request` for two providers of one name or a broken script, with a sentence.
    pub fn new(config: &Config) -> Result<Self, Error> {
        let mut registry = Self {
            health: Arc::default(),
            providers: Vec::new(),
            chains: BTreeMap::new(),
            connect: config::vendors_left(&config.providers),
            default_model: config.default_model.clone(),
            fallback: config.fallback.clone(),
        };
        let usual = config.deadlines;
        if let Some(script) = &config.script {
            let scripted = match script {
                Script::Builtin => Scripted::builtin(),
                Script::Text(text) => Scripted::from_toml(text)?,
            };
            registry.add("scripted", Arc::new(scripted), usual)?;
        }
        let client = http_client_with(config.connect)?;
        for provider in &config.providers {
            // A limit of its own for connecting needs a client of its own; all others share one.
            let client = match provider.own_connect()? {
                Some(limit) => http_client_with(limit)?,
                None => client.clone(),
            };
            let made = make(provider, client)?;
            registry.add(&provider.name, made, provider.deadlines(usual)?)?;
            if let Some(known) = registry.providers.last_mut() {
                known.tools &= provider.tools;
                known.key_variable = provider.key_variable().map(str::to_owned);
            }
        }
        #[cfg(feature = "local")]
        if let Some(path) = &config.model {
            registry.add(BUILTIN, Arc::new(builtin(path, config)), usual)?;
        }
        for model in &registry.fallback {
            registry.find(model)?;
        }
        Ok(registry)
    }

    /// The names of all providers, in the order in which they are asked for a default model.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.providers.iter().map(|known| known.name.as_str())
    }

    /// Adds a provider.
    ///
    /// # Errors
    /// `invalid_request` if the name is taken, as that of the chains always is, empty, or has a slash.
    pub fn add(
        &mut self,
        name: &str,
        provider: Arc<dyn Provider>,
        deadlines: Deadlines,
    ) -> Result<(), Error> {
        let others = name == CHAIN && self.chains.is_empty();
        let taken = others || self.providers.iter().any(|known| known.name == name);
        if taken || name.is_empty() || name.contains('/') {
            return Err(Error::new(
                ErrorCode::InvalidRequest,
                format!(
                    "“{name}” cannot be the name of a provider: it is taken, empty or has a slash."
                ),
            ));
        }
        self.providers.push(Known {
            name: name.to_owned(),
            tools: provider.can_call_tools(),
            provider,
            deadlines,
            key_variable: None,
        });
        Ok(())
    }

    /// Adds chains, whose names are `chain/name`.
    ///
    /// # Errors
    /// `invalid_request` for a name that is empty, taken or has a slash.
    pub fn add_chains(
        &mut self,
        chains: Vec<(String, ChainFn)>,
        deadlines: Deadlines,
    ) -> Result<(), Error> {
        if chains.is_empty() {
            return Ok(());
        }
        for (name, chain) in chains {
            if name.is_empty() || name.contains('/') || self.chains.contains_key(&name) {
                return Err(Error::new(
                    ErrorCode::InvalidRequest,
                    format!(
                        "“{name}” cannot be the name of a chain: it is taken, empty or has a slash."
                    ),
                ));
            }
            self.chains.insert(name, chain);
        }
        let names = self.chains.keys().cloned().collect();
        self.add(CHAIN, Arc::new(Chains(names)), deadlines)
    }

    /// The model named `provider/model`, as the engine asks it.
    ///
    /// # Errors
    /// `not_found`, with a sentence that names the providers there are; `invalid_request` for a name
    /// that is too long.
    pub fn find(&self, full: &str) -> Result<Candidate, Error> {
        if full.len() > MAX_NAME {
            return Err(Error::new(
                ErrorCode::InvalidRequest,
                format!("The name of a model has {MAX_NAME} bytes at most."),
            ));
        }
        let (name, model) = full.split_once('/').unwrap_or((full, ""));
        let known = self.providers.iter().find(|known| known.name == name);
        let known = known.ok_or_else(|| {
            let names: Vec<&str> = self
                .providers
                .iter()
                .map(|known| known.name.as_str())
                .collect();
            Error::new(
                ErrorCode::NotFound,
                format!(
                    "There is no provider “{name}”. Configured: {}.",
                    names.join(", ")
                ),
            )
        })?;
        let chain = match (name, self.chains.get(model)) {
            (CHAIN, None) => return Err(chains::missing(model)),
            (CHAIN, Some(chain)) => Some(chain.clone()),
            _ => None,
        };
        Ok(Candidate {
            chain,
            provider: known.provider.clone(),
            name: known.name.clone(),
            model: model.to_owned(),
            full: full.to_owned(),
            deadlines: known.deadlines,
            tools: known.tools,
        })
    }

    /// The models that may answer in place of `full`, itself first. Those of providers that have
    /// failed repeatedly come last.
    ///
    /// # Errors
    /// As [`Registry::find`].
    pub fn candidates(&self, full: &str) -> Result<Vec<Candidate>, Error> {
        let mut candidates = vec![self.find(full)?];
        if candidates[0].chain.is_some() {
            // Its steps have models that may take the place of theirs.
            return Ok(candidates);
        }
        for other in self.fallback.iter().filter(|other| *other != full) {
            candidates.push(self.find(other)?);
        }
        candidates.sort_by_key(|candidate| self.health.is_open(&candidate.name));
        Ok(candidates)
    }

    /// The model used where none is chosen.
    ///
    /// # Errors
    /// `not_found` if there is none.
    pub async fn default_model(&self) -> Result<String, Error> {
        if let Some(model) = &self.default_model {
            return Ok(model.clone());
        }
        // The first provider that has a model wins; only as many are asked as needed.
        let mut failure = None;
        for known in &self.providers {
            match known.models().await {
                Ok(models) => {
                    if let Some(model) = models.into_iter().next() {
                        return Ok(model.id);
                    }
                }
                Err(why) => failure = failure.or(Some(why)),
            }
        }
        Err(failure.unwrap_or_else(|| {
            Error::new(
                ErrorCode::NotFound,
                "No model is configured. See “Connect a provider” in the README.",
            )
        }))
    }

    /// Everything that can be chosen now, and how the providers do.
    pub async fn catalog(&self) -> Catalog {
        let only_builtin = self.providers.iter().all(|known| known.name == BUILTIN);
        let mut catalog = Catalog {
            only_builtin,
            connect: self.connect.clone(),
            ..Catalog::default()
        };
        let lists = join_all(self.providers.iter().map(Known::models)).await;
        for (known, list) in self.providers.iter().zip(lists) {
            let trouble = self.health.trouble(&known.name);
            let circuit_open = trouble.as_ref().and_then(|trouble| trouble.circuit_open);
            let mut state = ProviderState {
                name: known.name.clone(),
                key_variable: known.key_variable.clone(),
                problem: trouble.map(|trouble| trouble.last.message),
                circuit_open_s: circuit_open.map(|left| left.as_secs() + 1),
                ..ProviderState::default()
            };
            match list {
                Ok(models) => {
                    state.models = models.len();
                    catalog.models.extend(models);
                }
                Err(why) => {
                    state.needs_key = why.code == ErrorCode::Authentication;
                    state.problem = Some(why.message);
                }
            }
            catalog.providers.push(state);
        }
        catalog.default = match &self.default_model {
            Some(model) => model.clone(),
            None => catalog
                .models
                .first()
                .map(|model| model.id.clone())
                .unwrap_or_default(),
        };
        catalog
    }
}

impl Known {
    async fn models(&self) -> Result<Vec<ModelInfo>, Error> {
        let name = &self.name;
        let mut models = tokio::time::timeout(LIST_DEADLINE, self.provider.models())
            .await
            .unwrap_or_else(|_| {
                Err(Error::new(
                    ErrorCode::Connection,
                    format!("The provider “{name}” does not answer."),
                ))
            })?;
        for model in &mut models {
            model.id = format!("{name}/{}", model.id);
            if model.provider.is_empty() {
                model.provider.clone_from(name);
            }
        }
        Ok(models)
    }
}

/// Makes a provider of the configuration. Its key is read from the environment here, once.
fn make(config: &ProviderConfig, http: reqwest::Client) -> Result<Arc<dyn Provider>, Error> {
    let api_key = config
        .key_variable()
        .and_then(|variable| std::env::var(variable).ok())
        .filter(|key| !key.trim().is_empty())
        .map(Secret::new);
    let shared = HttpProviderConfig {
        name: config.name.clone(),
        base_url: config.url.clone(),
        api_key,
        models: config.models.clone(),
    };
    Ok(match config.kind {
        Kind::Openai if config.url.is_none() => {
            return Err(Error::new(
                ErrorCode::InvalidRequest,
                format!(
                    "The provider “{}” needs a url, such as https://api.example.com/v1.",
                    config.name
                ),
            )
            .at("reading the configuration"));
        }
        Kind::Openai => Arc::new(OpenAi::provider(shared, config.prefill, http)?),
        Kind::Responses => Arc::new(Responses::provider(shared, http)?),
        Kind::Anthropic => Arc::new(Anthropic::provider(shared, http)?),
        Kind::Gemini => Arc::new(Gemini::provider(shared, http)?),
        Kind::Ollama => Arc::new(Ollama::provider(shared, config.pull, http)?),
    })
}

#[cfg(feature = "local")]
fn builtin(path: &std::path::Path, config: &Config) -> super::provider::local::LocalProvider {
    use super::provider::local::{LocalConfig, LocalProvider};
    let mut local = LocalConfig::new(path.to_owned());
    local.max_context = config.context as usize;
    if config.parallel > 0 {
        local.parallel = config.parallel;
    }
    let provider = LocalProvider::new(local);
    provider.warm_up();
    provider
}
