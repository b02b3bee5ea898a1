//! The parts of a request that servers and models disagree about, and what to try after a refusal.

use crate::provider::{ChatRequest, Effort, Part};
use reqwest::Url;

/// The field in which DeepSeek and Kimi expect the reasoning of a turn.
pub(super) const THOUGHTS: &str = "reasoning_content";

/// The parts of a request that servers and models disagree about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::provider) struct RequestVariant {
    /// Whether to ask for the counts of tokens at the end of the stream.
    pub(super) stream_options: bool,
    /// Whether the token limit is sent under OpenAI's newer name.
    pub(super) max_completion_tokens: bool,
    /// Whether temperature and `top_p` are sent.
    pub(super) sampling: bool,
    /// How many of the words for the effort were refused; see [`effort_word`].
    pub(super) efforts: usize,
    /// Which reasoning is sent back.
    pub(super) thoughts: Thoughts,
}

/// Which reasoning, and which fields that came with it, are sent back to a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Thoughts {
    /// All there is. Other turns with calls get a placeholder if the server is known to require
    /// reasoning there.
    Given,
    /// Like `Given`, and each turn with calls but without reasoning gets a placeholder.
    Needed,
    /// Like `Given`, and the first call of each turn without a signature gets a placeholder for it.
    Signed,
    /// None: the server refuses its own reasoning.
    Refused,
}

impl RequestVariant {
    /// The likely variant for an address.
    pub(super) fn for_url(url: &Url) -> Self {
        Self {
            stream_options: true,
            max_completion_tokens: url.host_str() == Some("api.openai.com"),
            sampling: true,
            efforts: 0,
            thoughts: Thoughts::Given,
        }
    }

    /// The part of the variant that depends on the server and not on the model.
    pub(super) fn of_server(self) -> Self {
        Self {
            sampling: true,
            efforts: 0,
            thoughts: Thoughts::Given,
            ..self
        }
    }

    /// The variant to try after a refusal with this body.
    pub(super) fn after_refusal(mut self, body: &[u8], request: &ChatRequest) -> Option<Self> {
        let sampling = &request.sampling;
        let said = String::from_utf8_lossy(body).to_lowercase();
        let says = |words: &[&str]| words.iter().any(|word| said.contains(word));
        let is_unknown = says(&[
            "unsupported",
            "unknown",
            "unrecognized",
            "not support",
            "not permitted",
            "unexpected",
            "instead",
        ]);
        let knobs = sampling.temperature.is_some() || sampling.top_p.is_some();
        let of_thoughts = says(&[
            THOUGHTS,
            "reasoning_details",
            "thinking_blocks",
            "extra_content",
            "provider_specific_fields",
            "thought_signature",
            "thought signature",
            "'reasoning'",
            "`reasoning`",
            "\"reasoning\"",
            "\\\"reasoning\\\"",
            ".reasoning",
        ]);
        let of_signature = says(&["thought_signature", "thought signature"]);
        // A server that got everything it needs can only want less.
        let has_all = !of_signature && needed(request, self).is_some();
        let lacks = says(&["passed back", "missing", "required", "must ", "need"]);
        if self.stream_options && says(&["stream_options", "include_usage"]) {
            self.stream_options = false;
        } else if self.thoughts == Thoughts::Given
            && of_thoughts
            && has_calls(request)
            && lacks
            && !has_all
            && !is_unknown
        {
            self.thoughts = match of_signature {
                true => Thoughts::Signed,
                false => Thoughts::Needed,
            };
        } else if self.thoughts != Thoughts::Refused && of_thoughts && has_thoughts(request) {
            self.thoughts = Thoughts::Refused;
        } else if effort_word(sampling.effort, self.efforts).is_some()
            && says(&["reasoning_effort", "reasoning effort"])
        {
            self.efforts = next_effort(self.efforts, &said);
        } else if sampling.max_tokens.is_some() && is_unknown && said.contains(self.limit_name()) {
            // A limit that is merely too high names the parameter as well.
            self.max_completion_tokens = !self.max_completion_tokens;
        } else if self.sampling && knobs && is_unknown && says(&["temperature", "top_p"]) {
            self.sampling = false;
        } else {
            return None;
        }
        Some(self)
    }

    fn limit_name(self) -> &'static str {
        match self.max_completion_tokens {
            true => "max_completion_tokens",
            false => "max_tokens",
        }
    }
}

fn parts(request: &ChatRequest) -> impl Iterator<Item = &Part> {
    request.messages.iter().flat_map(|turn| &turn.parts)
}

fn has_calls(request: &ChatRequest) -> bool {
    parts(request).any(|part| matches!(part, Part::ToolCall { .. }))
}

fn has_thoughts(request: &ChatRequest) -> bool {
    parts(request).any(|part| matches!(part, Part::Reasoning { .. }))
}

/// The reasoning field that a turn with calls must have, if the server's own answers had it.
pub(super) fn needed(request: &ChatRequest, variant: RequestVariant) -> Option<&'static str> {
    let had = || {
        parts(request).any(|part| {
            matches!(part, Part::Reasoning { value, .. }
                if value.get("field").is_some_and(|field| field == THOUGHTS))
        })
    };
    match variant.thoughts {
        Thoughts::Refused => None,
        Thoughts::Needed => Some(THOUGHTS),
        Thoughts::Given | Thoughts::Signed => had().then_some(THOUGHTS),
    }
}

/// The word for an effort after so many words were refused; `None` if the parameter is left out.
/// There are several words for not thinking at all, and not all models can.
pub(in crate::provider) fn effort_word(
    effort: Option<Effort>,
    refused: usize,
) -> Option<&'static str> {
    let words: &[_] = match effort? {
        Effort::None => &["none", "minimal", "low"],
        Effort::Low => &["low"],
        Effort::Medium => &["medium"],
        Effort::High => &["high"],
    };
    words.get(refused).copied()
}

/// How many words for the effort are refused after this refusal: one more, or all of them if the
/// server refuses the parameter itself.
pub(in crate::provider) fn next_effort(refused: usize, said: &str) -> usize {
    match said.contains("value") || said.contains("must be one of") {
        true => refused + 1,
        false => usize::MAX,
    }
}
