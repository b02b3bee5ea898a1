//! The body of a request.

use crate::provider::{
    ChatMessage, ChatRequest, Effort, Part, Role, base64, openai::request::function,
};
use serde::Serialize;
use serde_json::{Value, json};

/// The parameter `think`. Models accept different values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::provider) enum Think {
    /// Left out: the model decides.
    Unsaid,
    /// On or off.
    Switch(bool),
    /// How much to think: `low`, `medium` or `high`.
    Level(&'static str),
}

/// Whether a model always thinks, so that the request says how much instead of whether.
pub(super) fn always_thinks(model: &str) -> bool {
    model.contains("gpt-oss")
}

impl Think {
    /// The value for a request.
    pub(super) fn for_request(request: &ChatRequest) -> Self {
        let by_level = always_thinks(&request.model);
        match request.sampling.effort {
            // A prefill comes after the thinking.
            _ if request.prefill.is_some() && !by_level => Self::Switch(false),
            None => Self::Unsaid,
            Some(Effort::None | Effort::Low) if by_level => Self::Level("low"),
            Some(Effort::Medium) if by_level => Self::Level("medium"),
            Some(Effort::High) if by_level => Self::Level("high"),
            Some(effort) => Self::Switch(effort != Effort::None),
        }
    }

    /// The value to try after a refusal with the body `said`.
    pub(super) fn after_refusal(self, said: &[u8]) -> Option<Self> {
        if !String::from_utf8_lossy(said)
            .to_lowercase()
            .contains("think")
        {
            return None;
        }
        match self {
            Self::Unsaid => None,
            Self::Switch(_) => Some(Self::Unsaid),
            Self::Level(_) => Some(Self::Switch(true)),
        }
    }
}

#[derive(Serialize)]
pub(super) struct Body<'a> {
    model: &'a str,
    messages: Vec<Message<'a>>,
    stream: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    think: Option<Value>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tools: Vec<Value>,
    #[serde(skip_serializing_if = "Options::is_empty")]
    options: Options,
}

#[derive(Default, Serialize)]
struct Message<'a> {
    role: &'static str,
    content: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    thinking: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    images: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tool_calls: Vec<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_call_id: Option<&'a str>,
}

#[derive(Serialize)]
struct Options {
    #[serde(skip_serializing_if = "Option::is_none")]
    temperature: Option<f32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    top_p: Option<f32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    num_predict: Option<u32>,
}

impl Options {
    fn is_empty(&self) -> bool {
        self.temperature.is_none() && self.top_p.is_none() && self.num_predict.is_none()
    }
}

/// The body of a request.
pub(super) fn body(request: &ChatRequest, think: Think, prefill: bool) -> Body<'_> {
    let plain = |role, text: &str| Message {
        role,
        content: text.into(),
        ..Message::default()
    };
    let mut messages = Vec::new();
    if let Some(system) = request.system.as_deref().filter(|text| !text.is_empty()) {
        messages.push(plain("system", system));
    }
    for message in &request.messages {
        write(message, &mut messages);
    }
    let half = request.prefill.as_deref();
    if let Some(half) = half.filter(|text| prefill && !text.is_empty()) {
        messages.push(plain("assistant", half));
    }
    Body {
        model: &request.model,
        messages,
        stream: true,
        think: match think {
            Think::Unsaid => None,
            Think::Switch(on) => Some(json!(on)),
            Think::Level(word) => Some(json!(word)),
        },
        // As in Chat Completions.
        tools: request.tools.iter().map(function).collect(),
        options: Options {
            temperature: request.sampling.temperature,
            top_p: request.sampling.top_p,
            num_predict: request.sampling.max_tokens,
        },
    }
}

/// Writes a turn. Each result of a tool is a message of its own, before the rest of the turn.
fn write<'a>(turn: &'a ChatMessage, messages: &mut Vec<Message<'a>>) {
    let mut message = Message {
        role: match turn.role {
            Role::User => "user",
            Role::Assistant => "assistant",
        },
        ..Message::default()
    };
    for part in &turn.parts {
        match part {
            Part::Text(text) => message.content.push_str(text),
            Part::Image(image) => message.images.push(base64::encode(&image.data)),
            // Only reasoning from the server's own field, not from tags in the text.
            Part::Reasoning { text, value } => {
                if value.get("field").is_some_and(|field| field == "thinking") {
                    message.thinking.push_str(text);
                }
            }
            Part::ToolCall { call, arguments } => message.tool_calls.push(json!({
                "id": call.id,
                "function": {"name": call.name, "arguments": match arguments {
                    Value::Object(_) => arguments.clone(),
                    _ => json!({}),
                }},
            })),
            Part::ToolResult { call, text, failed } => messages.push(Message {
                role: "tool",
                content: match failed {
                    true => format!("Error: {text}"),
                    false => text.clone(),
                },
                tool_name: Some(&call.name),
                tool_call_id: Some(&call.id),
                ..Message::default()
            }),
        }
    }
    let results_only = turn
        .parts
        .iter()
        .all(|part| matches!(part, Part::ToolResult { .. }));
    if !results_only || turn.parts.is_empty() {
        messages.push(message);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may fail by panic")]
mod tests;
