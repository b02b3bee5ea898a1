//! What the commands that concern a run answer.

use crate::{ConversationId, MessageId, RunId};
use serde::{Deserialize, Serialize};

/// Answer of `start`, `continue` and `retry`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Started {
    /// The run to follow.
    pub run: RunId,
    /// Its conversation.
    pub conversation: ConversationId,
    /// The assistant's message that it writes.
    pub message: MessageId,
}

/// Answer of `stop`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stopped {
    /// The conversation of the run.
    pub conversation: ConversationId,
    /// Length of the kept text in bytes.
    pub length: u64,
    /// How long it took until the provider was closed, in milliseconds.
    pub provider_closed_ms: u64,
    /// Whether the run had already ended by itself.
    pub already_finished: bool,
}
