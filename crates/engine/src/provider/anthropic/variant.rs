//! The parts of a request that models disagree about, and what to try after a refusal.

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
    /// As much as the model decides for an effort.
    Adaptive,
    /// Up to a number of tokens.
    Budget,
}

/// The parts of a request that models disagree about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::provider) struct RequestVariant {
    /// How the model is told to think.
    pub(super) thinking: Thinking,
    /// Whether another value of `thinking` was refused before.
    other_refused: bool,
    /// Whether to ask for the text of the thinking.
    pub(super) display: bool,
    /// Whether the thinking of earlier turns is sent.
    pub(super) thoughts: bool,
    /// Which sampling parameters are sent.
    pub(super) knobs: Knobs,
    /// Whether the token limit is low, if the person set none.
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

    /// The variant to try after a refusal with the body `said`.
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
                // If thinking cannot be switched off, a low effort is the next best.
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

/// How much thinking the person asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wish {
    None,
    Off,
    On,
}

impl Wish {
    fn of(request: &ChatRequest) -> Self {
        match request.sampling.effort {
            // Thinking is not allowed with a prefill: the answer has begun already.
            _ if prefill(request).is_some() => Self::None,
            None => Self::None,
            Some(Effort::None) => Self::Off,
            Some(_) => Self::On,
        }
    }
}

/// The key of an accepted variant: the model, and how much thinking was asked for.
pub(super) fn key(request: &ChatRequest) -> String {
    format!("{} {:?}", request.model, Wish::of(request))
}
