//! How the answers of one conversation are asked for.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// What a person may choose for a conversation; `None` leaves the choice to the server or to the
/// provider. On the wire it is an object of what is chosen; fields of a newer version are passed
/// over, and so is what cannot be read.
///
/// It goes by way of [`Value`], whose reader and writer the browser's program has already.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(from = "Value", into = "Value")]
pub struct Settings {
    /// What the model is told before everything else, in place of the server's own words.
    pub system: Option<String>,
    /// From 0, the likeliest word each time, to 2.
    pub temperature: Option<f64>,
    /// The share of probability to choose from, 0 to 1.
    pub top_p: Option<f64>,
    /// The most tokens of one answer.
    pub max_tokens: Option<u32>,
    /// How much to think before answering, for models that can.
    pub effort: Option<Effort>,
}

impl Settings {
    /// The longest system prompt, in bytes.
    pub const MAX_SYSTEM_BYTES: usize = 32 * 1024;

    /// The highest number of tokens that can be asked for.
    pub const MOST_TOKENS: u32 = 1_000_000;

    /// Whether nothing is chosen.
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
    /// Not at all where that can be chosen, otherwise as little as possible.
    None,
    /// A little.
    Low,
    /// As much as usual.
    Medium,
    /// Much.
    High,
}

impl Effort {
    /// Its word on the wire.
    pub fn word(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
        }
    }

    /// The one with this word.
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
