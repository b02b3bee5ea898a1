//! What an answer cost: tokens and time.

use crate::UnixMs;
use serde::{Deserialize, Serialize};

/// Tokens, cumulative over one span or summed over a run's spans.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Usage {
    /// Tokens of the prompt.
    pub input: u64,
    /// Tokens written, reasoning included.
    pub output: u64,
    /// Of the input, how many came from the provider's cache.
    #[serde(skip_serializing_if = "is_zero")]
    pub cache_read: u64,
    /// Of the input, how many were written to the provider's cache.
    #[serde(skip_serializing_if = "is_zero")]
    pub cache_write: u64,
    /// Of the output, how many were reasoning.
    #[serde(skip_serializing_if = "is_zero")]
    pub reasoning: u64,
    /// Whether we counted because the provider did not say.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub estimated: bool,
}

impl Usage {
    /// The counts of two spans together; estimated if one of them is. They are what providers say,
    /// which may be any number.
    pub fn plus(self, other: Self) -> Self {
        Self {
            input: self.input.saturating_add(other.input),
            output: self.output.saturating_add(other.output),
            cache_read: self.cache_read.saturating_add(other.cache_read),
            cache_write: self.cache_write.saturating_add(other.cache_write),
            reasoning: self.reasoning.saturating_add(other.reasoning),
            estimated: self.estimated || other.estimated,
        }
    }
}

fn is_zero(n: &u64) -> bool {
    *n == 0
}

/// When things happened: milliseconds since the run was accepted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Timing {
    /// When the run was accepted.
    pub accepted: UnixMs,
    /// When it left the queue.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub queued: Option<u64>,
    /// When the provider was reached.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connected: Option<u64>,
    /// The first sign of life.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_chunk: Option<u64>,
    /// The first token of content.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_token: Option<u64>,
    /// The last token of content.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_token: Option<u64>,
    /// Median pause between two pieces of content, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gap_p50: Option<u64>,
    /// The pause that one in a hundred exceeds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gap_p99: Option<u64>,
    /// Pieces of content.
    pub chunks: u64,
    /// The end.
    pub finished: u64,
}
