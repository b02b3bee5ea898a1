//! The body of a request.

use super::{
    models::{self, Thinks},
    variant::{RequestVariant, Thinking},
};
use crate::provider::{ChatRequest, Effort, Part, Role, base64, blocks::is_ours};
use serde::Serialize;
use serde_json::{Value, json};
use std::borrow::Cow;

/// The placeholder that Google accepts for a missing signature, as in a conversation that another
/// model began: <https://ai.google.dev/gemini-api/docs/thought-signatures>.
const NO_SIGNATURE: &str = "skip_thought_signature_validator";

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Body<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    system_instruction: Option<Turn<'a>>,
    contents: Vec<Turn<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tools: Vec<Value>,
    #[serde(skip_serializing_if = "Settings::is_empty")]
    generation_config: Settings,
}

#[derive(Serialize)]
struct Turn<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<&'static str>,
    parts: Vec<Piece<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Piece<'a> {
    #[serde(flatten)]
    content: Content<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    thought: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    thought_signature: Option<&'a str>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
enum Content<'a> {
    Text(&'a str),
    #[serde(rename_all = "camelCase")]
    InlineData {
        mime_type: &'a str,
        data: String,
    },
    FunctionCall {
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<&'a str>,
        name: &'a str,
        args: Cow<'a, Value>,
    },
    FunctionResponse {
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<&'a str>,
        name: &'a str,
        response: Value,
    },
}

#[derive(PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Settings {
    #[serde(skip_serializing_if = "Option::is_none")]
    temperature: Option<f32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    top_p: Option<f32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_output_tokens: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    thinking_config: Option<ThinkingConfig>,
}

impl Settings {
    fn is_empty(&self) -> bool {
        self.temperature.is_none()
            && self.top_p.is_none()
            && self.max_output_tokens.is_none()
            && self.thinking_config.is_none()
    }
}

#[derive(Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
struct ThinkingConfig {
    include_thoughts: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    thinking_budget: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    thinking_level: Option<&'static str>,
}

/// The body of a request.
pub(super) fn body(request: &ChatRequest, variant: RequestVariant, prefill: bool) -> Body<'_> {
    let system = request.system.as_deref().filter(|text| !text.is_empty());
    let first = system.filter(|_| !variant.system).map(|text| Turn {
        role: Some(role(Role::User)),
        parts: vec![Content::Text(text).into()],
    });
    let turns = request.messages.iter().map(|message| Turn {
        role: Some(role(message.role)),
        parts: pieces(&message.parts, variant.signatures, variant.signed),
    });
    let half = request
        .prefill
        .as_deref()
        .filter(|text| prefill && !text.is_empty())
        .map(|text| Turn {
            role: Some(role(Role::Assistant)),
            parts: vec![Content::Text(text).into()],
        });
    let sampling = &request.sampling;
    Body {
        system_instruction: system.filter(|_| variant.system).map(|text| Turn {
            role: None,
            parts: vec![Content::Text(text).into()],
        }),
        contents: merged(first.into_iter().chain(turns).chain(half)),
        tools: tools(request),
        generation_config: Settings {
            temperature: sampling.temperature.filter(|_| variant.sampling),
            top_p: sampling.top_p.filter(|_| variant.sampling),
            max_output_tokens: sampling.max_tokens,
            thinking_config: thinking(request, variant.thinking),
        },
    }
}

fn role(role: Role) -> &'static str {
    match role {
        Role::User => "user",
        Role::Assistant => "model",
    }
}

/// The turns without empty ones, with consecutive turns of the same role merged: the results of all
/// tools must be in one turn.
fn merged<'a>(turns: impl Iterator<Item = Turn<'a>>) -> Vec<Turn<'a>> {
    let mut merged: Vec<Turn<'a>> = Vec::new();
    for turn in turns.filter(|turn| !turn.parts.is_empty()) {
        match merged.last_mut() {
            Some(last) if last.role == turn.role => last.parts.extend(turn.parts),
            _ => merged.push(turn),
        }
    }
    merged
}

/// The parts of a turn. `signatures` says whether its signatures are sent, and `wanted` whether
/// tool calls need one.
fn pieces(parts: &[Part], signatures: bool, wanted: bool) -> Vec<Piece<'_>> {
    let mut pieces: Vec<Piece<'_>> = Vec::new();
    // The signature of the next call.
    let mut signature = None;
    // Parallel calls have one signature, on the first of them.
    let mut signed = false;
    for part in parts {
        match part {
            Part::Text(text) if text.is_empty() => {}
            Part::Text(text) => pieces.push(Content::Text(text).into()),
            Part::Image(image) => pieces.push(
                Content::InlineData {
                    mime_type: &image.media_type,
                    data: base64::encode(&image.data),
                }
                .into(),
            ),
            Part::Reasoning { text, value } => {
                let word = |name: &str| value.get(name)?.as_str().filter(|_| signatures);
                // Without its signature, a thought is of no use to the model.
                match (word("thoughtSignature"), word("part")) {
                    (None, _) => {}
                    (found, Some("call")) => signature = found,
                    (found, Some("text")) => pieces.push(Piece {
                        thought_signature: found,
                        ..Content::Text("").into()
                    }),
                    (found, _) => pieces.push(Piece {
                        thought: Some(true),
                        thought_signature: found,
                        ..Content::Text(text).into()
                    }),
                }
            }
            Part::ToolCall { call, arguments } => {
                let missing = wanted && !signed;
                let thought_signature = signature.take().or(missing.then_some(NO_SIGNATURE));
                signed = true;
                pieces.push(Piece {
                    thought_signature,
                    ..Content::FunctionCall {
                        id: known(&call.id),
                        name: &call.name,
                        args: match arguments {
                            Value::Object(_) => Cow::Borrowed(arguments),
                            _ => Cow::Owned(json!({})),
                        },
                    }
                    .into()
                });
            }
            Part::ToolResult { call, text, failed } => {
                let name = if *failed { "error" } else { "output" };
                pieces.push(
                    Content::FunctionResponse {
                        id: known(&call.id),
                        name: &call.name,
                        response: json!({ name: text }),
                    }
                    .into(),
                );
            }
        }
    }
    pieces
}

/// The identifier of a call, unless it is one of ours.
fn known(id: &str) -> Option<&str> {
    (!id.is_empty() && !is_ours(id)).then_some(id)
}

impl<'a> From<Content<'a>> for Piece<'a> {
    fn from(content: Content<'a>) -> Self {
        Self {
            content,
            thought: None,
            thought_signature: None,
        }
    }
}

fn tools(request: &ChatRequest) -> Vec<Value> {
    if request.tools.is_empty() {
        return Vec::new();
    }
    let declarations: Vec<_> = request
        .tools
        .iter()
        .map(|tool| {
            let mut declaration = json!({"name": tool.name, "description": tool.description});
            // The other field, `parameters`, supports only a subset of JSON Schema.
            if tool.parameters.is_object() {
                declaration["parametersJsonSchema"] = tool.parameters.clone();
            }
            declaration
        })
        .collect();
    vec![json!({ "functionDeclarations": declarations })]
}

fn thinking(request: &ChatRequest, thinking: Thinking) -> Option<ThinkingConfig> {
    let effort = match thinking {
        Thinking::Silent => return None,
        Thinking::Shown => None,
        Thinking::Chosen => request.sampling.effort,
    };
    let mut config = ThinkingConfig {
        include_thoughts: effort != Some(Effort::None),
        ..ThinkingConfig::default()
    };
    match models::thinks(&request.model) {
        Thinks::Never => return None,
        Thinks::Budget { can_be_off } => {
            config.thinking_budget = effort.map(|effort| match effort {
                Effort::None if can_be_off => 0,
                Effort::None => 128,
                Effort::Low => 1024,
                Effort::Medium => 8192,
                Effort::High => 24576,
            });
        }
        Thinks::Level { least, medium } => {
            config.thinking_level = effort.map(|effort| match effort {
                Effort::None => least,
                Effort::Low => "low",
                Effort::Medium if medium => "medium",
                Effort::Medium | Effort::High => "high",
            });
        }
    }
    Some(config)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may fail by panic")]
mod tests;
