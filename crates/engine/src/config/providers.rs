//! Which providers are set up: in the file, and by the variables that other tools use as well.

use super::wrong;
use crate::{clock::seconds, runs::Deadlines};
use headwater_protocol::Error;
use serde::Deserialize;
use std::time::Duration;

/// A provider of the file.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct ProviderConfig {
    /// Its name here: the part of a model's name before the slash.
    pub name: String,
    /// What it speaks.
    #[serde(default)]
    pub kind: Kind,
    /// Base URL. Only `openai` needs one, with `/v1` where the server wants it; the others have
    /// their vendor's address by default.
    #[serde(default)]
    pub url: Option<String>,
    /// The environment variable that holds the key; by default the one that the vendor's own tools
    /// use. Keys themselves are not in the file, so that it can be shown and kept under version
    /// control.
    #[serde(default)]
    pub key_env: Option<String>,
    /// Models to offer; without it the server is asked.
    #[serde(default)]
    pub models: Option<Vec<String>>,
    /// Whether an `openai` server goes on from a half-written answer.
    #[serde(default)]
    pub prefill: bool,
    /// Whether its models may call tools. Where a server or a model knows none, `false` leaves them
    /// out.
    #[serde(default = "yes")]
    pub tools: bool,
    /// Whether `ollama` fetches a model that it does not have.
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

/// What a provider speaks.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// OpenAI's Chat Completions: most servers there are.
    #[default]
    Openai,
    /// OpenAI's Responses.
    Responses,
    /// Anthropic's Messages.
    Anthropic,
    /// Google's Gemini.
    Gemini,
    /// Ollama's own API.
    Ollama,
}

impl Kind {
    /// The variable that the vendor's own tools read the key from.
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
    /// The variable that the key is read from.
    pub fn key_variable(&self) -> Option<&str> {
        self.key_env.as_deref().or(self.kind.usual_key())
    }

    /// How long to wait for this provider.
    ///
    /// # Errors
    /// `invalid_request` for what is no number of seconds.
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

    /// How long opening a connection to this provider may take, where it has a limit of its own.
    ///
    /// # Errors
    /// `invalid_request` for what is no number of seconds.
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

/// The variables that would each connect a vendor that is not among these providers.
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

/// The providers that variables set up: a key alone is enough for a vendor, an address for a server
/// of one's own. `provider_url` is one more such address; `env` looks a variable up.
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
