//! The answers of the commands that start, stop or find a run.

use crate::{ConversationId, MessageId, RunId};
use serde::{Deserialize, Serialize};

/// The answer of `start`, `continue` and `retry`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Started {
    /// The run to follow.
    pub run: RunId,
    /// The conversation, which `start` may have made.
    pub conversation: ConversationId,
    /// The assistant's message that the run writes.
    pub message: MessageId,
}

/// The answer of `stop`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stopped {
    /// The conversation of the run.
    pub conversation: ConversationId,
    /// The length of the text that is kept, in bytes.
    pub length: u64,
    /// Milliseconds until the connection to the provider was closed.
    pub provider_closed_ms: u64,
    /// Whether the run had already ended before the stop.
    pub already_finished: bool,
}

/// What a run belongs to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunHead {
    /// The conversation.
    pub conversation: ConversationId,
    /// Its title.
    pub title: String,
    /// `provider/model` as the person chose it.
    pub model: String,
}
