//! The settings of one conversation, which are sent to the model with its messages.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// The settings that a person can choose for a conversation. `None` leaves the choice to the
/// server's configuration, and then to the provider. On the wire, only chosen fields are written.
/// Unknown and unreadable fields are ignored when read.
///
/// Serde goes by way of [`Value`], because the browser's program already contains its code.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(from = "Value", into = "Value")]
pub struct Settings {
    /// The system prompt, in place of the configured one.
    pub system: Option<String>,
    /// The sampling temperature: from 0, which always takes the likeliest token, to 2.
    pub temperature: Option<f64>,
    /// Nucleus sampling: only the likeliest tokens with this total probability are considered, 0 to
    /// 1.
    pub top_p: Option<f64>,
    /// The most tokens of one answer.
    pub max_tokens: Option<u32>,
    /// How much a reasoning model thinks before it answers.
    pub effort: Option<Effort>,
}

impl Settings {
    /// The longest system prompt, in bytes.
    pub const MAX_SYSTEM_BYTES: usize = 32 * 1024;

    /// The highest [`max_tokens`](Self::max_tokens) that is accepted.
    pub const MOST_TOKENS: u32 = 1_000_000;

    /// Whether every choice is left to the server.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl From<Value> for Settings {
    fn from(value: Value) -> Self {
        Self {
            system: value["system"].as_str().map(str::to_owned),
            temperature: value["temperature"].as_f64(),
            top_p: value["top_p"].as_f64(),
            max_tokens: value["max_tokens"]
                .as_u64()
                .and_then(|most| most.try_into().ok()),
            effort: value["effort"].as_str().and_then(Effort::of),
        }
    }
}

impl From<Settings> for Value {
    fn from(settings: Settings) -> Self {
        let fields = [
            ("system", settings.system.map(Self::from)),
            ("temperature", settings.temperature.map(Self::from)),
            ("top_p", settings.top_p.map(Self::from)),
            ("max_tokens", settings.max_tokens.map(Self::from)),
            ("effort", settings.effort.map(|effort| effort.word().into())),
        ];
        let mut chosen = Map::new();
        for (name, value) in fields {
            if let Some(value) = value {
                chosen.insert(name.to_owned(), value);
            }
        }
        Self::Object(chosen)
    }
}

/// How much a model thinks before it answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Effort {
    /// Not at all if the provider allows that, otherwise as little as possible.
    None,
    /// A little.
    Low,
    /// A medium amount.
    Medium,
    /// A lot.
    High,
}

impl Effort {
    /// The word on the wire.
    pub fn word(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
        }
    }

    /// The effort that `word` stands for, if there is one.
    pub fn of(word: &str) -> Option<Self> {
        [Self::None, Self::Low, Self::Medium, Self::High]
            .into_iter()
            .find(|effort| effort.word() == word)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may fail by panic")]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_written_is_read_again() {
        let settings = Settings {
            system: Some("Be brief.".into()),
            temperature: Some(0.7),
            max_tokens: Some(5),
            effort: Some(Effort::None),
            ..Settings::default()
        };
        let json = serde_json::to_value(&settings).unwrap();
        assert_eq!(
            json,
            json!({"system": "Be brief.", "temperature": 0.7, "max_tokens": 5, "effort": "none"})
        );
        assert_eq!(serde_json::from_value::<Settings>(json).unwrap(), settings);
        assert_eq!(serde_json::to_string(&Settings::default()).unwrap(), "{}");
    }

    #[test]
    fn what_is_not_known_is_passed_over() {
        for json in [
            json!({"mood": 1, "effort": "extreme"}),
            json!(null),
            json!([1]),
        ] {
            assert!(serde_json::from_value::<Settings>(json).unwrap().is_empty());
        }
        for effort in [Effort::None, Effort::Low, Effort::Medium, Effort::High] {
            assert_eq!(serde_json::to_value(effort).unwrap(), effort.word());
        }
    }
}
