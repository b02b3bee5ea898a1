//! Writes the request.

use super::extras;
use crate::provider::{ChatMessage, ChatRequest, Effort, Image, Part, Role, base64};
use reqwest::Url;
use serde::Serialize;
use serde_json::{Map, Value, json};
use std::borrow::Cow;

/// Where DeepSeek and Kimi look for the thoughts of a turn.
const THOUGHTS: &str = "reasoning_content";

/// In place of thoughts that a server insists on, in a turn that has none of its own: it called a
/// tool without a thought, or another model did. An empty text counts as none with some.
const NO_THOUGHTS: &str = "(none)";

/// What Google lets pass in place of a signature, on calls that another model made:
/// <https://ai.google.dev/gemini-api/docs/thought-signatures>.
const NO_SIGNATURE: &str = "skip_thought_signature_validator";

/// What servers and models disagree about in a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::provider) struct RequestVariant {
    /// Ask for usage at the end of the stream.
    pub(super) stream_options: bool,
    /// OpenAI's newer name of the limit of tokens.
    pub(super) max_completion_tokens: bool,
    /// Say how to sample.
    pub(super) sampling: bool,
    /// How many words for the effort were refused.
    pub(super) efforts: usize,
    /// Whether thoughts and the like go back.
    pub(super) thoughts: Thoughts,
}

/// Whether a model's own thoughts, and what else came with them, go back to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Thoughts {
    /// Where there are any, and [`NO_THOUGHTS`] on other turns with calls if this server is known to
    /// need them.
    Given,
    /// Also [`NO_THOUGHTS`] on each turn with calls that has none.
    Needed,
    /// Also [`NO_SIGNATURE`] on the first call of each turn that has none.
    Signed,
    /// Not at all: the server does not take what it gave.
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

    /// The part of the variant that is the server's and not the model's.
    pub(super) fn of_server(self) -> Self {
        Self {
            sampling: true,
            efforts: 0,
            thoughts: Thoughts::Given,
            ..self
        }
    }

    /// What to try instead when a server refused the request with these words.
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
        // A server that has what it needs can only want less.
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

/// The field that a turn with calls must have, if this is known: the server's own answers had it.
fn needed(request: &ChatRequest, variant: RequestVariant) -> Option<&'static str> {
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

/// The word for an effort after so many were refused; `None` if nothing is to be said. Not to think
/// at all goes by several names, and not all models can.
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

/// How many words for the effort are refused now: one, or all if it is the parameter itself.
pub(in crate::provider) fn next_effort(refused: usize, said: &str) -> usize {
    match said.contains("value") || said.contains("must be one of") {
        true => refused + 1,
        false => usize::MAX,
    }
}

/// A picture in the form of an address.
pub(in crate::provider) fn data_url(image: &Image) -> String {
    let data = base64::encode(&image.data);
    format!("data:{};base64,{data}", image.media_type)
}

/// The body of a request.
#[derive(Serialize)]
pub(super) struct Body<'a> {
    model: &'a str,
    messages: Vec<Message<'a>>,
    stream: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    stream_options: Option<StreamOptions>,
    #[serde(skip_serializing_if = "Option::is_none")]
    temperature: Option<f32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    top_p: Option<f32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_tokens: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_completion_tokens: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reasoning_effort: Option<&'static str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tools: Vec<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    continue_final_message: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    add_generation_prompt: Option<bool>,
}

#[derive(Serialize)]
struct StreamOptions {
    include_usage: bool,
}

#[derive(Serialize)]
struct Message<'a> {
    role: &'static str,
    content: Content<'a>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tool_calls: Vec<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_call_id: Option<&'a str>,
    /// What the server gave to be given back.
    #[serde(flatten)]
    extra: Map<String, Value>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Content<'a> {
    Text(Cow<'a, str>),
    Parts(Vec<Value>),
    Nothing(()),
}

impl<'a> Message<'a> {
    fn new(role: &'static str, text: impl Into<Cow<'a, str>>) -> Self {
        Self {
            role,
            content: Content::Text(text.into()),
            tool_calls: Vec::new(),
            tool_call_id: None,
            extra: Map::new(),
        }
    }
}

/// Writes a request in a variant.
pub(super) fn body(request: &ChatRequest, variant: RequestVariant, prefill: bool) -> Body<'_> {
    let prefill = request
        .prefill
        .as_deref()
        .filter(|text| prefill && !text.is_empty());
    let system = request.system.as_deref();
    let mut messages: Vec<_> = system
        .map(|text| Message::new("system", text))
        .into_iter()
        .collect();
    let needed = needed(request, variant);
    for message in &request.messages {
        match message.role {
            Role::User => of_person(message, &mut messages),
            Role::Assistant => messages.push(of_model(message, variant, needed)),
        }
    }
    messages.extend(prefill.map(|text| Message::new("assistant", text)));
    let sampling = &request.sampling;
    let limit = sampling.max_tokens;
    Body {
        model: &request.model,
        messages,
        stream: true,
        stream_options: variant.stream_options.then_some(StreamOptions {
            include_usage: true,
        }),
        temperature: sampling.temperature.filter(|_| variant.sampling),
        top_p: sampling.top_p.filter(|_| variant.sampling),
        max_tokens: limit.filter(|_| !variant.max_completion_tokens),
        max_completion_tokens: limit.filter(|_| variant.max_completion_tokens),
        reasoning_effort: effort_word(sampling.effort, variant.efforts),
        tools: request
            .tools
            .iter()
            .map(|tool| {
                json!({"type": "function", "function": {
                    "name": tool.name,
                    "description": tool.description,
                    "parameters": tool.parameters,
                }})
            })
            .collect(),
        continue_final_message: prefill.map(|_| true),
        add_generation_prompt: prefill.map(|_| false),
    }
}

/// The person's turn. What tools gave back are messages of their own, which come first because
/// they belong to the calls before them.
fn of_person<'a>(message: &'a ChatMessage, out: &mut Vec<Message<'a>>) {
    let before = out.len();
    out.extend(message.parts.iter().filter_map(|part| match part {
        Part::ToolResult { call, text, .. } => Some(Message {
            tool_call_id: Some(&call.id),
            ..Message::new("tool", text)
        }),
        _ => None,
    }));
    let has_image = message.parts.iter().any(|it| matches!(it, Part::Image(_)));
    if has_image {
        let parts = message.parts.iter().filter_map(|part| match part {
            // Moonshot refuses a part without a word.
            Part::Text(text) if text.trim().is_empty() => None,
            Part::Text(text) => Some(json!({"type": "text", "text": text})),
            Part::Image(image) => {
                Some(json!({"type": "image_url", "image_url": {"url": data_url(image)}}))
            }
            _ => None,
        });
        out.push(Message {
            content: Content::Parts(parts.collect()),
            ..Message::new("user", "")
        });
    } else if out.len() == before || message.text_len() > 0 {
        out.push(Message::new("user", message.text()));
    }
}

/// The model's turn, with what its server gave to be given back.
fn of_model<'a>(
    message: &'a ChatMessage,
    variant: RequestVariant,
    needed: Option<&'static str>,
) -> Message<'a> {
    let thoughts = message.parts.iter().filter_map(|part| match part {
        Part::Reasoning { text, value } if variant.thoughts != Thoughts::Refused => {
            Some((text.as_str(), value))
        }
        _ => None,
    });
    let (mut extra, of_calls) = extras::given_back(thoughts);
    let calls = message.parts.iter().filter_map(|part| match part {
        Part::ToolCall { call, arguments } => {
            let mut written = json!({
                "id": call.id,
                "type": "function",
                "function": {"name": call.name, "arguments": arguments.to_string()},
            });
            for (_, value) in of_calls.iter().filter(|(id, _)| *id == call.id) {
                extras::restore(&mut written, value);
            }
            Some(written)
        }
        _ => None,
    });
    let mut tool_calls: Vec<_> = calls.collect();
    if variant.thoughts == Thoughts::Signed
        && let Some(first) = tool_calls.first_mut()
        && first.get("extra_content").is_none()
    {
        first["extra_content"] = json!({"google": {"thought_signature": NO_SIGNATURE}});
    }
    if let Some(field) = needed.filter(|_| !tool_calls.is_empty()) {
        extra.entry(field).or_insert_with(|| NO_THOUGHTS.into());
    }
    let text = message.text();
    let content = match text.trim() {
        "" if !tool_calls.is_empty() => Content::Nothing(()),
        _ => Content::Text(text.into()),
    };
    Message {
        content,
        tool_calls,
        extra,
        ..Message::new("assistant", "")
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may fail by panic")]
mod tests;
