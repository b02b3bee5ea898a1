//! The body of a request.

use super::{
    extras,
    variant::{RequestVariant, Thoughts, effort_word, needed},
};
use crate::provider::{ChatMessage, ChatRequest, Image, Part, Role, ToolDefinition, base64};
use serde::Serialize;
use serde_json::{Map, Value, json};
use std::borrow::Cow;

/// The placeholder for reasoning that a server requires in a turn without any: the model called a
/// tool without reasoning, or another model did. Some servers treat an empty text as missing.
const NO_THOUGHTS: &str = "(none)";

/// The placeholder that Google accepts for the signature of another model's tool call:
/// <https://ai.google.dev/gemini-api/docs/thought-signatures>.
const NO_SIGNATURE: &str = "skip_thought_signature_validator";

/// An image as a `data:` URL.
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
    /// Fields that the server sent and needs back.
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
        tools: request.tools.iter().map(function).collect(),
        continue_final_message: prefill.map(|_| true),
        add_generation_prompt: prefill.map(|_| false),
    }
}

/// A tool as a function that the model may call.
pub(in crate::provider) fn function(tool: &ToolDefinition) -> Value {
    json!({"type": "function", "function": {
        "name": tool.name,
        "description": tool.description,
        "parameters": tool.parameters,
    }})
}

/// Writes the person's turn. The results of tools are messages of their own. They come first,
/// because they belong to the calls of the turn before.
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
            // Moonshot refuses a blank part.
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

/// Writes the model's turn, with the fields that its server needs back.
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
