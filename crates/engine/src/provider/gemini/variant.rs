//! The parts of a request that models disagree about, and what to try after a refusal.

use super::models::{self, Thinks};
use crate::provider::{ChatRequest, Effort};

/// The parts of a request that models disagree about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::provider) struct RequestVariant {
    /// What is said about thinking.
    pub(super) thinking: Thinking,
    /// Whether the system prompt has a field of its own. Otherwise it comes before the first turn.
    pub(super) system: bool,
    /// Whether temperature and `top_p` are sent. The latest models refuse them.
    pub(super) sampling: bool,
    /// Whether signatures are sent back. They become invalid when the key or the server changes.
    pub(super) signatures: bool,
    /// Whether each turn with calls needs a signature, its own or a placeholder.
    pub(super) signed: bool,
}

/// What is said about thinking.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Thinking {
    /// How much to think, and whether to show it.
    Chosen,
    /// Only that the thinking is to be shown.
    Shown,
    /// Nothing.
    Silent,
}

impl RequestVariant {
    /// The likely variant.
    pub(super) fn for_request(request: &ChatRequest) -> Self {
        Self {
            thinking: match (models::thinks(&request.model), request.sampling.effort) {
                (Thinks::Never, _) => Thinking::Silent,
                (_, None) => Thinking::Shown,
                (_, Some(_)) => Thinking::Chosen,
            },
            system: !request.model.contains("gemma"),
            sampling: true,
            signatures: true,
            signed: models::wants_signatures(&request.model),
        }
    }

    /// The variant to try after a refusal with the message `said`, in lower case.
    pub(super) fn after_refusal(self, said: &str, request: &ChatRequest) -> Option<Self> {
        let says = |needles: &[&str]| needles.iter().any(|needle| said.contains(needle));
        let of_signature = says(&["thought_signature", "thought signature", "thoughtsignature"]);
        if !self.signed && of_signature && says(&["missing", "required", "must "]) {
            return Some(Self {
                signed: true,
                ..self
            });
        }
        if self.thinking != Thinking::Silent && says(&["thinking"]) {
            let thinking = match self.thinking {
                // Without thinking, there is nothing to show.
                Thinking::Chosen if request.sampling.effort != Some(Effort::None) => {
                    Thinking::Shown
                }
                _ => Thinking::Silent,
            };
            return Some(Self { thinking, ..self });
        }
        if self.system
            && request.system.is_some()
            && says(&[
                "developer instruction",
                "system instruction",
                "system_instruction",
            ])
        {
            return Some(Self {
                system: false,
                ..self
            });
        }
        if self.signatures
            && says(&[
                "invalid thought signature",
                "corrupted thought signature",
                "thought signature is not valid",
            ])
        {
            return Some(Self {
                signatures: false,
                ..self
            });
        }
        let sampling = &request.sampling;
        // A value that is merely too high names the parameter as well.
        if self.sampling
            && (sampling.temperature.is_some() || sampling.top_p.is_some())
            && says(&["temperature", "top_p", "topp", "sampling parameter"])
            && says(&[
                "not supported",
                "unsupported",
                "deprecated",
                "not allowed",
                "unknown name",
            ])
        {
            return Some(Self {
                sampling: false,
                ..self
            });
        }
        None
    }
}
