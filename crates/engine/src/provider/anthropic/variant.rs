//! What models disagree about in a request, and what to try when one refuses.

use super::{
    request::prefill,
    traits::{Knobs, Traits},
};
use crate::provider::{ChatRequest, Effort};

/// How a model is told to think.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Thinking {
    /// The request says nothing about thinking.
    Unsaid,
    /// Not at all.
    Off,
    /// As much as the model finds right for an effort.
    Adaptive,
    /// Up to a number of tokens.
    Budget,
}

/// What models disagree about in a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::provider) struct RequestVariant {
    /// How the model is told to think.
    pub(super) thinking: Thinking,
    /// Whether another value of `thinking` was refused before.
    other_refused: bool,
    /// Whether to ask for the text of the thoughts.
    pub(super) display: bool,
    /// Whether the thoughts of earlier turns are sent.
    pub(super) thoughts: bool,
    /// Which settings of sampling are sent.
    pub(super) knobs: Knobs,
    /// Whether the limit of tokens is low, if the person set none.
    pub(super) short: bool,
}

impl RequestVariant {
    /// The likely variant for a request.
    pub(super) fn likely(request: &ChatRequest) -> Self {
        let traits = Traits::of(&request.model);
        let thinking = match Wish::of(request) {
            Wish::None => Thinking::Unsaid,
            Wish::Off if traits.thinks_unasked => Thinking::Off,
            Wish::Off => Thinking::Unsaid,
            Wish::On if traits.adaptive => Thinking::Adaptive,
            Wish::On => Thinking::Budget,
        };
        Self {
            thinking,
            other_refused: false,
            display: true,
            thoughts: true,
            knobs: traits.knobs,
            short: false,
        }
    }

    /// What to try instead when a model refused the request with these words.
    pub(super) fn after_refusal(mut self, request: &ChatRequest, said: &[u8]) -> Option<Self> {
        let said = String::from_utf8_lossy(said).to_lowercase();
        let says = |words: &[&str]| words.iter().any(|word| said.contains(word));
        let sampling = &request.sampling;
        let knobs = sampling.temperature.is_some() || sampling.top_p.is_some();
        if knobs && self.knobs != Knobs::None && says(&["temperature", "top_p"]) {
            self.knobs = match self.knobs {
                Knobs::Both if says(&["both"]) => Knobs::One,
                _ => Knobs::None,
            };
        } else if sampling.max_tokens.is_none()
            && !self.short
            && says(&["maximum allowed number of output", "exceed context limit"])
        {
            self.short = true;
        } else if self.thoughts && says(&["signature", "thinking block", "thinking` block"]) {
            self.thoughts = false;
        } else if self.display && self.thinking == Thinking::Adaptive && says(&["display"]) {
            self.display = false;
        } else if says(&["thinking", "effort", "output_config", "budget_tokens"]) {
            self.thinking = match self.thinking {
                Thinking::Unsaid => return None,
                // A model that cannot be told not to think can be told to think little.
                Thinking::Off => Thinking::Adaptive,
                _ if self.other_refused => Thinking::Unsaid,
                Thinking::Adaptive => Thinking::Budget,
                Thinking::Budget => Thinking::Adaptive,
            };
            self.other_refused = true;
        } else {
            return None;
        }
        Some(self)
    }
}

/// What the person wants of the thinking.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wish {
    None,
    Off,
    On,
}

impl Wish {
    fn of(request: &ChatRequest) -> Self {
        match request.sampling.effort {
            // A model that goes on from a half-written answer has thought already, and may not.
            _ if prefill(request).is_some() => Self::None,
            None => Self::None,
            Some(Effort::None) => Self::Off,
            Some(_) => Self::On,
        }
    }
}

/// What an accepted variant is remembered by: the model, and what is wanted of its thinking.
pub(super) fn key(request: &ChatRequest) -> String {
    format!("{} {:?}", request.model, Wish::of(request))
}
