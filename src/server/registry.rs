//! The providers that are configured, by name.

use super::{
    config::{Config, ProviderConfig, Script},
    provider::{
        Provider,
        http::http_client,
        openai::{OpenAi, OpenAiConfig},
        scripted::Scripted,
        secret::Secret,
    },
};
use crate::{
    api::Catalog,
    protocol::{Error, ErrorCode, ModelInfo},
};
use futures::future::join_all;
use std::{sync::Arc, time::Duration};

/// How long a provider may take to list its models before the page is shown without them.
const LIST_DEADLINE: Duration = Duration::from_secs(4);

/// The name of the built-in model's provider.
pub const BUILTIN: &str = "local";

/// All providers. Their order is the page's, and the first model is the default.
pub struct Registry {
    providers: Vec<(String, Arc<dyn Provider>)>,
    default_model: Option<String>,
}

impl Registry {
    /// Makes the configured providers.
    ///
    /// # Errors
    /// `invalid_request` for two providers of one name or a broken script, with a sentence.
    pub fn new(config: &Config) -> Result<Self, Error> {
        let mut registry = Self {
            providers: Vec::new(),
            default_model: config.default_model.clone(),
        };
        if let Some(script) = &config.script {
            let scripted = match script {
                Script::Builtin => Scripted::builtin(),
                Script::Text(text) => Scripted::from_toml(text)?,
            };
            registry.add("scripted", Arc::new(scripted))?;
        }
        let client = http_client()?;
        for provider in &config.providers {
            registry.add(&provider.name, Arc::new(openai(provider, client.clone())?))?;
        }
        #[cfg(feature = "local")]
        if let Some(path) = &config.model {
            registry.add(BUILTIN, Arc::new(builtin(path, config)))?;
        }
        Ok(registry)
    }

    /// Adds a provider.
    ///
    /// # Errors
    /// `invalid_request` if the name is taken, empty, or has a slash.
    pub fn add(&mut self, name: &str, provider: Arc<dyn Provider>) -> Result<(), Error> {
        let taken = self.providers.iter().any(|(known, _)| known == name);
        if taken || name.is_empty() || name.contains('/') {
            return Err(Error::new(
                ErrorCode::InvalidRequest,
                format!(
                    "“{name}” cannot be the name of a provider: it is taken, empty or has a slash."
                ),
            ));
        }
        self.providers.push((name.to_owned(), provider));
        Ok(())
    }

    /// The provider of a model named `provider/model`, with the provider's own name for it.
    ///
    /// # Errors
    /// `not_found`, with a sentence that names the providers there are.
    pub fn find(&self, full: &str) -> Result<(Arc<dyn Provider>, String), Error> {
        let (name, model) = full.split_once('/').unwrap_or((full, ""));
        self.providers
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, provider)| (provider.clone(), model.to_owned()))
            .ok_or_else(|| {
                let known: Vec<&str> = self
                    .providers
                    .iter()
                    .map(|(name, _)| name.as_str())
                    .collect();
                Error::new(
                    ErrorCode::NotFound,
                    format!(
                        "There is no provider “{name}”. Configured: {}.",
                        known.join(", ")
                    ),
                )
            })
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
        for (name, provider) in &self.providers {
            match models(name, provider).await {
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

    /// Everything that can be chosen now.
    pub async fn catalog(&self) -> Catalog {
        let lists = self
            .providers
            .iter()
            .map(|(name, provider)| models(name, provider));
        let mut catalog = Catalog {
            only_builtin: self.providers.iter().all(|(name, _)| name == BUILTIN),
            ..Catalog::default()
        };
        for list in join_all(lists).await {
            match list {
                Ok(models) => catalog.models.extend(models),
                Err(why) => catalog.problems.push(why.message),
            }
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

async fn models(name: &str, provider: &Arc<dyn Provider>) -> Result<Vec<ModelInfo>, Error> {
    let mut models = tokio::time::timeout(LIST_DEADLINE, provider.models())
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
            model.provider = name.to_owned();
        }
    }
    Ok(models)
}

fn openai(config: &ProviderConfig, client: reqwest::Client) -> Result<OpenAi, Error> {
    let key = config
        .key_env
        .as_deref()
        .and_then(|name| std::env::var(name).ok())
        .filter(|key| !key.trim().is_empty());
    OpenAi::new(
        OpenAiConfig {
            name: config.name.clone(),
            base_url: config.url.clone(),
            api_key: key.map(Secret::new),
            models: config.models.clone(),
            prefill: config.prefill,
        },
        client,
    )
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
