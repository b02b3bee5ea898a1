//! Which providers are configured, in the file and by the environment variables of the vendors' own
//! tools.

use super::wrong;
use crate::{clock::seconds, runs::Deadlines};
use headwater_protocol::Error;
use serde::Deserialize;
use std::time::Duration;

/// A `[[provider]]` of the configuration file.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct ProviderConfig {
    /// The first part of the names of its models, before the slash.
    pub name: String,
    /// The API that it speaks.
    #[serde(default)]
    pub kind: Kind,
    /// The base URL. `openai` needs one, with `/v1` if the server wants it. The other kinds default to
    /// the address of their vendor.
    #[serde(default)]
    pub url: Option<String>,
    /// The environment variable that has the key, by default that of the vendor's own tools. Keys
    /// are never in the file, so that it can be shown and kept under version control.
    #[serde(default)]
    pub key_env: Option<String>,
    /// The models to offer. By default the provider is asked for its list.
    #[serde(default)]
    pub models: Option<Vec<String>>,
    /// Whether an `openai` server can continue a half-written answer that is sent to it.
    #[serde(default)]
    pub prefill: bool,
    /// Whether its models are offered tools. Set `false` for servers and models that refuse requests
    /// with tools.
    #[serde(default = "yes")]
    pub tools: bool,
    /// Whether `ollama` downloads a model that it does not have.
    #[serde(default)]
    pub pull: bool,
    /// Seconds that opening a connection may take, in place of the common setting.
    #[serde(default)]
    pub connect: Option<f64>,
    /// Seconds until the first token, in place of the common setting.
    #[serde(default)]
    pub first_token: Option<f64>,
    /// Seconds of silence between two tokens, in place of the common setting.
    #[serde(default)]
    pub between_tokens: Option<f64>,
    /// Seconds for the whole answer, in place of the common setting.
    #[serde(default)]
    pub total: Option<f64>,
}

/// The APIs of providers.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// OpenAI's [Chat Completions](https://platform.openai.com/docs/api-reference/chat), which most
    /// servers speak.
    #[default]
    Openai,
    /// OpenAI's [Responses](https://platform.openai.com/docs/api-reference/responses).
    Responses,
    /// Anthropic's [Messages](https://docs.anthropic.com/en/api/messages).
    Anthropic,
    /// Google's [Gemini](https://ai.google.dev/api/generate-content).
    Gemini,
    /// Ollama's [own API](https://github.com/ollama/ollama/blob/main/docs/api.md).
    Ollama,
}

impl Kind {
    /// The environment variable from which the vendor's own tools read the key.
    fn usual_key(self) -> Option<&'static str> {
        match self {
            Self::Openai | Self::Ollama => None,
            Self::Responses => Some("OPENAI_API_KEY"),
            Self::Anthropic => Some("ANTHROPIC_API_KEY"),
            Self::Gemini => Some("GEMINI_API_KEY"),
        }
    }
}

fn yes() -> bool {
    true
}

impl Default for ProviderConfig {
    fn default() -> Self {
        Self {
            name: String::new(),
            kind: Kind::default(),
            url: None,
            key_env: None,
            models: None,
            prefill: false,
            tools: yes(),
            pull: false,
            connect: None,
            first_token: None,
            between_tokens: None,
            total: None,
        }
    }
}

impl ProviderConfig {
    /// The environment variable from which the key is read.
    pub fn key_variable(&self) -> Option<&str> {
        self.key_env.as_deref().or(self.kind.usual_key())
    }

    /// The time limits for this provider: its own, and `common` for the others.
    ///
    /// # Errors
    /// `invalid_request` for a value that is no number of seconds.
    pub fn deadlines(&self, common: Deadlines) -> Result<Deadlines, Error> {
        let or = |own: Option<Duration>, common| own.unwrap_or(common);
        let first_token = self.seconds("first_token", self.first_token)?;
        let between_tokens = self.seconds("between_tokens", self.between_tokens)?;
        let total = self.seconds("total", self.total)?;
        Ok(Deadlines {
            first_token: or(first_token, common.first_token),
            between_tokens: or(between_tokens, common.between_tokens),
            total: or(total, common.total),
        })
    }

    /// The limit for opening a connection to this provider, if it has its own.
    ///
    /// # Errors
    /// `invalid_request` for a value that is no number of seconds.
    pub fn own_connect(&self) -> Result<Option<Duration>, Error> {
        self.seconds("connect", self.connect)
    }

    fn seconds(&self, field: &str, value: Option<f64>) -> Result<Option<Duration>, Error> {
        let read = |value: f64| {
            seconds(value).ok_or_else(|| {
                wrong(format!(
                    "“{field}” of the provider “{}” must be a number of seconds, not {value}.",
                    self.name
                ))
            })
        };
        value.map(read).transpose()
    }
}

/// The environment variables that would each add a vendor that is not among these providers.
pub fn vendors_left(providers: &[ProviderConfig]) -> Vec<String> {
    [
        ("OPENAI_API_KEY", "openai"),
        ("ANTHROPIC_API_KEY", "anthropic"),
        ("GEMINI_API_KEY", "gemini"),
        ("OLLAMA_HOST", "ollama"),
    ]
    .into_iter()
    .filter(|(variable, name)| {
        !providers
            .iter()
            .any(|known| known.name == *name || known.key_variable() == Some(*variable))
    })
    .map(|(variable, _)| variable.to_owned())
    .collect()
}

/// The providers that the environment configures: a vendor by its key alone, Ollama by its address.
/// `provider_url` adds one more server. `env` looks up a variable.
pub fn from_environment(
    provider_url: Option<&str>,
    env: impl Fn(&str) -> Option<String>,
) -> Vec<ProviderConfig> {
    let set = |name: &str| env(name).filter(|value| !value.trim().is_empty());
    let mut providers = Vec::new();
    if set("OPENAI_API_KEY").is_some() {
        let url = set("OPENAI_BASE_URL");
        providers.push(ProviderConfig {
            name: "openai".into(),
            // Another server under OpenAI's variable most likely speaks the older of its two APIs.
            kind: match url {
                None => Kind::Responses,
                Some(_) => Kind::Openai,
            },
            url,
            key_env: Some("OPENAI_API_KEY".into()),
            ..ProviderConfig::default()
        });
    }
    for (name, kind, key, base) in [
        (
            "anthropic",
            Kind::Anthropic,
            "ANTHROPIC_API_KEY",
            "ANTHROPIC_BASE_URL",
        ),
        ("gemini", Kind::Gemini, "GEMINI_API_KEY", "GEMINI_BASE_URL"),
    ] {
        if set(key).is_some() {
            providers.push(ProviderConfig {
                name: name.into(),
                kind,
                url: set(base),
                ..ProviderConfig::default()
            });
        }
    }
    if let Some(host) = set("OLLAMA_HOST") {
        providers.push(ProviderConfig {
            name: "ollama".into(),
            kind: Kind::Ollama,
            url: Some(host),
            ..ProviderConfig::default()
        });
    }
    if let Some(url) = provider_url {
        providers.push(ProviderConfig {
            name: "custom".into(),
            url: Some(url.to_owned()),
            key_env: Some("HEADWATER_PROVIDER_KEY".into()),
            ..ProviderConfig::default()
        });
    }
    providers
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may fail by panic")]
mod tests {
    use super::*;

    fn found(variables: &[(&str, &str)]) -> Vec<(String, Kind, Option<String>)> {
        let env = |name: &str| {
            let value = variables.iter().find(|(known, _)| *known == name);
            value.map(|(_, value)| (*value).to_owned())
        };
        from_environment(None, env)
            .into_iter()
            .map(|provider| (provider.name, provider.kind, provider.url))
            .collect()
    }

    #[test]
    fn a_key_alone_is_enough() {
        assert_eq!(found(&[]), []);
        assert_eq!(found(&[("OPENAI_API_KEY", "  ")]), []);
        let providers = found(&[
            ("OPENAI_API_KEY", "k"),
            ("ANTHROPIC_API_KEY", "k"),
            ("GEMINI_API_KEY", "k"),
            ("OLLAMA_HOST", "0.0.0.0:11434"),
        ]);
        assert_eq!(
            providers,
            [
                ("openai".into(), Kind::Responses, None),
                ("anthropic".into(), Kind::Anthropic, None),
                ("gemini".into(), Kind::Gemini, None),
                ("ollama".into(), Kind::Ollama, Some("0.0.0.0:11434".into())),
            ]
        );
    }

    #[test]
    fn what_could_be_connected_is_what_is_not() {
        let known = |name: &str, kind| ProviderConfig {
            name: name.into(),
            kind,
            ..ProviderConfig::default()
        };
        let all = vendors_left(&[]);
        assert_eq!(all.len(), 4);
        let left = vendors_left(&[
            known("claude", Kind::Anthropic),
            known("ollama", Kind::Ollama),
        ]);
        assert_eq!(left, ["OPENAI_API_KEY", "GEMINI_API_KEY"]);
    }

    #[test]
    fn another_server_under_openais_name_speaks_chat_completions() {
        let providers = found(&[
            ("OPENAI_API_KEY", "k"),
            ("OPENAI_BASE_URL", "http://127.0.0.1:8000/v1"),
        ]);
        assert_eq!(providers[0].1, Kind::Openai);
    }

    #[test]
    fn a_provider_may_have_its_own_patience() {
        let config: ProviderConfig =
            toml::from_str("name = \"a\"\nkind = \"anthropic\"\nfirst_token = 2.5\nconnect = 1")
                .unwrap();
        let common = Deadlines::default();
        let own = config.deadlines(common).unwrap();
        assert_eq!(own.first_token, Duration::from_millis(2500));
        assert_eq!(own.total, common.total);
        assert_eq!(config.own_connect().unwrap(), Some(Duration::from_secs(1)));
        assert_eq!(config.key_variable(), Some("ANTHROPIC_API_KEY"));
        assert!(!config.pull && !config.prefill && config.tools);
        // The last one is beyond the end of every clock.
        for total in [-1.0, f64::NAN, 1e19] {
            let wrong = ProviderConfig {
                total: Some(total),
                ..config.clone()
            };
            let why = wrong.deadlines(common).unwrap_err();
            assert!(why.message.contains("“total”"), "{why}");
        }
        assert!(toml::from_str::<ProviderConfig>("name = \"a\"\nkind = \"x\"").is_err());
    }
}
