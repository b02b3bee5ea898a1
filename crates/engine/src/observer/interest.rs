//! What an observer wants to see.

use headwater_protocol::SpanKind;
use std::ops::BitOr;

/// A set of kinds of what happens. What an observer does not want to see is not built for it: text is not
/// even copied, and an observer that wants none is not woken by it. Of the other entries, which are few, it
/// reads what it has to know of the spans.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interest(u16);

impl Interest {
    /// Nothing.
    pub const NONE: Self = Self(0);
    /// Beginnings and ends of runs.
    pub const RUNS: Self = Self(1);
    /// Chains, agents, prompts and parsers.
    pub const CHAINS: Self = Self(1 << 1);
    /// Calls of models, without their tokens.
    pub const MODELS: Self = Self(1 << 2);
    /// The tokens of models: text, reasoning, refusals and arguments of calls.
    pub const TOKENS: Self = Self(1 << 3);
    /// Calls of tools, without their output.
    pub const TOOLS: Self = Self(1 << 4);
    /// Searches for documents.
    pub const RETRIEVERS: Self = Self(1 << 5);
    /// Attempts that failed and are followed by another one.
    pub const RETRIES: Self = Self(1 << 6);
    /// Messages of tools, chains and observers of one's own.
    pub const CUSTOM: Self = Self(1 << 7);
    /// Errors that end a span or a run.
    pub const ERRORS: Self = Self(1 << 8);
    /// The output of tools as it comes.
    pub const TOOL_OUTPUT: Self = Self(1 << 9);
    /// Every entry as it is in the log.
    pub const ENTRIES: Self = Self(1 << 10);
    /// All but [`Interest::ENTRIES`], which would say the same again.
    pub const ALL: Self = Self((1 << 10) - 1);

    /// Whether all of `other` is in it.
    pub fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// All of it but `other`.
    pub fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// The interest that spans of a kind belong to.
    pub fn of(kind: SpanKind) -> Self {
        match kind {
            SpanKind::ChatModel => Self::MODELS,
            SpanKind::Tool => Self::TOOLS,
            SpanKind::Retriever => Self::RETRIEVERS,
            SpanKind::Chain
            | SpanKind::Agent
            | SpanKind::Prompt
            | SpanKind::Parser
            | SpanKind::Unknown => Self::CHAINS,
        }
    }
}

impl BitOr for Interest {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}
