//! What an answer cost: tokens and time.

use crate::UnixMs;
use serde::{Deserialize, Serialize};

/// Tokens, cumulative over one span or summed over a run's spans.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Usage {
    /// Tokens of the prompt, including those from the cache.
    pub input: u64,
    /// Tokens that the model wrote, including reasoning.
    pub output: u64,
    /// How many tokens of the input were read from the provider's cache.
    #[serde(skip_serializing_if = "is_zero")]
    pub cache_read: u64,
    /// How many tokens of the input were written to the provider's cache.
    #[serde(skip_serializing_if = "is_zero")]
    pub cache_write: u64,
    /// How many tokens of the output were reasoning.
    #[serde(skip_serializing_if = "is_zero")]
    pub reasoning: u64,
    /// Whether the counts are our estimate, because the provider sent none.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub estimated: bool,
}

impl Usage {
    /// The sum of two counts; estimated if one of them is. It saturates, because a provider may
    /// send any number.
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

/// When the parts of a run happened, in milliseconds since the run was accepted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Timing {
    /// When the run was accepted: the one absolute time.
    pub accepted: UnixMs,
    /// When the first request was ready to be sent. What came before is Headwater's own time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub asked: Option<u64>,
    /// When the run left the queue.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub queued: Option<u64>,
    /// When the provider accepted the request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connected: Option<u64>,
    /// When the first event of any kind arrived.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_chunk: Option<u64>,
    /// When the first token of content arrived.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_token: Option<u64>,
    /// When the last token of content arrived.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_token: Option<u64>,
    /// The median pause between two chunks of content, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gap_p50: Option<u64>,
    /// The 99th percentile of these pauses, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gap_p99: Option<u64>,
    /// The number of chunks of content.
    pub chunks: u64,
    /// When the run ended.
    pub finished: u64,
}
