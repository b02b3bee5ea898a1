//! How the answers of one conversation are asked for.

use serde::{Deserialize, Serialize};

/// What a person may choose for a conversation; `None` leaves the choice to the server or to the
/// provider. Fields of a newer version are passed over.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Settings {
    /// What the model is told before everything else, in place of the server's own words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub system: Option<String>,
    /// From 0, the likeliest word each time, to 2.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub temperature: Option<f64>,
    /// The share of probability to choose from, 0 to 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub top_p: Option<f64>,
    /// The most tokens of one answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_tokens: Option<u32>,
    /// How much to think before answering, for models that can.
    #[serde(skip_serializing_if = "Option::is_none")]
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
