//! Writes the request.

use crate::server::provider::{
    ChatMessage, ChatRequest, Effort, Image, Part, Role, Sampling, base64,
};
use reqwest::Url;
use serde::Serialize;
use serde_json::{Value, json};
use std::borrow::Cow;

/// What servers and models disagree about in a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shape {
    /// Ask for usage at the end of the stream.
    pub(super) stream_options: bool,
    /// OpenAI's newer name of the limit of tokens.
    pub(super) max_completion_tokens: bool,
    /// Say how to sample.
    pub(super) sampling: bool,
    /// How many words for the effort were refused.
    pub(super) efforts: usize,
}

impl Shape {
    /// The likely shape for an address.
    pub(super) fn for_url(url: &Url) -> Self {
        Self {
            stream_options: true,
            max_completion_tokens: url.host_str() == Some("api.openai.com"),
            sampling: true,
            efforts: 0,
        }
    }

    /// The part of the shape that is the server's and not the model's.
    pub(super) fn of_server(self) -> Self {
        Self {
            sampling: true,
            efforts: 0,
            ..self
        }
    }

    /// What to try instead when a server refused the request with these words.
    pub(super) fn after_refusal(mut self, body: &[u8], sampling: &Sampling) -> Option<Self> {
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
        if self.stream_options && says(&["stream_options", "include_usage"]) {
            self.stream_options = false;
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

/// What a shape depends on.
pub(in crate::server::provider) fn key(request: &ChatRequest) -> String {
    format!("{} {:?}", request.model, request.sampling.effort)
}

/// The word for an effort after so many were refused; `None` if nothing is to be said. Not to think
/// at all goes by several names, and not all models can.
pub(in crate::server::provider) fn effort_word(
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
pub(in crate::server::provider) fn next_effort(refused: usize, said: &str) -> usize {
    match said.contains("value") || said.contains("must be one of") {
        true => refused + 1,
        false => usize::MAX,
    }
}

/// A picture in the form of an address.
pub(in crate::server::provider) fn data_url(image: &Image) -> String {
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
        }
    }
}

/// Writes a request in a shape.
pub(super) fn body(request: &ChatRequest, shape: Shape, prefill: bool) -> Body<'_> {
    let prefill = request
        .prefill
        .as_deref()
        .filter(|text| prefill && !text.is_empty());
    let system = request.system.as_deref();
    let mut messages: Vec<_> = system
        .map(|text| Message::new("system", text))
        .into_iter()
        .collect();
    for message in &request.messages {
        match message.role {
            Role::User => of_person(message, &mut messages),
            Role::Assistant => messages.push(of_model(message)),
        }
    }
    messages.extend(prefill.map(|text| Message::new("assistant", text)));
    let sampling = &request.sampling;
    let limit = sampling.max_tokens;
    Body {
        model: &request.model,
        messages,
        stream: true,
        stream_options: shape.stream_options.then_some(StreamOptions {
            include_usage: true,
        }),
        temperature: sampling.temperature.filter(|_| shape.sampling),
        top_p: sampling.top_p.filter(|_| shape.sampling),
        max_tokens: limit.filter(|_| !shape.max_completion_tokens),
        max_completion_tokens: limit.filter(|_| shape.max_completion_tokens),
        reasoning_effort: effort_word(sampling.effort, shape.efforts),
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

/// The model's turn. What it thought is not wanted back.
fn of_model(message: &ChatMessage) -> Message<'_> {
    let calls = message.parts.iter().filter_map(|part| match part {
        Part::ToolCall { call, arguments } => Some(json!({
            "id": call.id,
            "type": "function",
            "function": {"name": call.name, "arguments": arguments.to_string()},
        })),
        _ => None,
    });
    let tool_calls: Vec<_> = calls.collect();
    let content = match message.text_len() {
        0 if !tool_calls.is_empty() => Content::Nothing(()),
        _ => Content::Text(message.text().into()),
    };
    Message {
        content,
        tool_calls,
        ..Message::new("assistant", "")
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may fail by panic")]
mod tests;
