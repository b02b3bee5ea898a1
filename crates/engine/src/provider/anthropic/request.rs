//! The body of a request.

use super::{
    traits::{Knobs, Traits},
    variant::{RequestVariant, Thinking},
};
use crate::provider::{ChatMessage, ChatRequest, Effort, Part, Role, base64, exchange::short};
use serde_json::{Map, Value, json};

/// The smallest thinking budget that the API accepts, in tokens
/// (<https://docs.claude.com/en/docs/build-with-claude/extended-thinking>).
const LEAST_BUDGET: u32 = 1024;

/// A token limit that every model accepts.
const SHORT: u32 = 4096;

/// The prefill, and the white space at its end, which the API refuses.
pub(super) fn prefill(request: &ChatRequest) -> Option<(&str, &str)> {
    let whole = request.prefill.as_deref()?;
    let text = whole.trim_end();
    (!text.is_empty() && Traits::of(&request.model).prefill).then(|| (text, &whole[text.len()..]))
}

/// Writes a request in a variant.
pub(super) fn body(request: &ChatRequest, variant: RequestVariant) -> Value {
    let limit = request.sampling.max_tokens.unwrap_or(match variant.short {
        true => SHORT,
        false => Traits::of(&request.model).limit,
    });
    let mut body = Map::new();
    body.insert("model".into(), json!(request.model));
    body.insert("max_tokens".into(), json!(limit));
    body.insert("stream".into(), json!(true));
    body.insert("messages".into(), messages(request, variant));
    if let Some(text) = request.system.as_deref().filter(|text| !is_blank(text)) {
        let mut block = json!({"type": "text", "text": text});
        remember(&mut block);
        body.insert("system".into(), json!([block]));
    }
    if !request.tools.is_empty() {
        let mut tools: Vec<_> = request
            .tools
            .iter()
            .map(|tool| {
                json!({
                    "name": tool.name,
                    "description": tool.description,
                    "input_schema": tool.parameters,
                })
            })
            .collect();
        tools.last_mut().map(remember);
        body.insert("tools".into(), Value::Array(tools));
    }
    let thinks = think(request, variant, limit, &mut body);
    let temperature = request.sampling.temperature.map(|it| it.clamp(0.0, 1.0));
    let top_p = request.sampling.top_p;
    // With thinking, sampling parameters are refused.
    if !thinks && variant.knobs != Knobs::None {
        if let Some(temperature) = temperature {
            body.insert("temperature".into(), short(temperature));
        }
        if let Some(top_p) = top_p.filter(|_| temperature.is_none() || variant.knobs == Knobs::Both)
        {
            body.insert("top_p".into(), short(top_p));
        }
    }
    Value::Object(body)
}

/// Writes how the model is to think. Returns whether it thinks at all.
fn think(
    request: &ChatRequest,
    variant: RequestVariant,
    limit: u32,
    body: &mut Map<String, Value>,
) -> bool {
    let effort = request.sampling.effort;
    match variant.thinking {
        Thinking::Budget if calls_without_thought(body) => false,
        Thinking::Unsaid => false,
        Thinking::Off => {
            body.insert("thinking".into(), json!({"type": "disabled"}));
            false
        }
        Thinking::Adaptive => {
            let mut thinking = json!({"type": "adaptive"});
            if variant.display {
                thinking["display"] = json!("summarized");
            }
            let word = match effort {
                Some(Effort::Medium) => "medium",
                Some(Effort::High) => "high",
                _ => "low",
            };
            body.insert("thinking".into(), thinking);
            body.insert("output_config".into(), json!({"effort": word}));
            true
        }
        Thinking::Budget => {
            let wanted = match effort {
                Some(Effort::Medium) => 8192,
                Some(Effort::High) => 24_576,
                _ => 2048,
            };
            // The budget is part of the token limit, and the answer needs the rest.
            let budget = wanted.min(limit / 2).max(LEAST_BUDGET);
            if effort == Some(Effort::None) || budget >= limit {
                return false;
            }
            let thinking = json!({"type": "enabled", "budget_tokens": budget});
            body.insert("thinking".into(), thinking);
            true
        }
    }
}

/// Whether the last turn has results of tools that were called without signed thinking, as after an
/// answer of another model. Thinking must be off then
/// (<https://docs.claude.com/en/docs/build-with-claude/extended-thinking>).
fn calls_without_thought(body: &Map<String, Value>) -> bool {
    let turns = body.get("messages").and_then(Value::as_array);
    let Some([.., asked, results]) = turns.map(Vec::as_slice) else {
        return false;
    };
    let begins =
        |turn: &Value, kind: &str| turn.pointer("/content/0/type").is_some_and(|it| it == kind);
    let first = asked.pointer("/content/0");
    begins(results, "tool_result") && !first.is_some_and(is_thought)
}

/// The messages, with alternating roles. The last two turns of the person end with a [cache
/// breakpoint](https://docs.claude.com/en/docs/build-with-claude/prompt-caching), so that the next
/// request finds everything before them in the cache.
fn messages(request: &ChatRequest, variant: RequestVariant) -> Value {
    let mut turns: Vec<(Role, Vec<Value>)> = Vec::new();
    for message in &request.messages {
        let mut blocks: Vec<_> = blocks(message, variant).collect();
        // A turn must not end with thinking.
        while blocks.last().is_some_and(is_thought) {
            blocks.pop();
        }
        match turns.last_mut() {
            Some((role, turn)) if *role == message.role => turn.extend(blocks),
            _ if blocks.is_empty() => {}
            _ => turns.push((message.role, blocks)),
        }
    }
    if let Some((text, _)) = prefill(request) {
        let block = json!({"type": "text", "text": text});
        match turns.last_mut() {
            Some((Role::Assistant, turn)) => turn.push(block),
            _ => turns.push((Role::Assistant, vec![block])),
        }
    }
    for (_, turn) in turns.iter_mut().filter(|(role, _)| *role == Role::User) {
        // The results of tools must come before other content.
        turn.sort_by_key(|block| block["type"] != "tool_result");
    }
    turns
        .iter_mut()
        .rev()
        .filter(|(role, _)| *role == Role::User)
        .take(2)
        .filter_map(|(_, turn)| turn.last_mut())
        .for_each(remember);
    turns
        .into_iter()
        .map(|(role, content)| {
            let role = match role {
                Role::User => "user",
                Role::Assistant => "assistant",
            };
            json!({"role": role, "content": content})
        })
        .collect()
}

/// The blocks of a turn. Blank text is left out, because the API refuses it.
fn blocks(message: &ChatMessage, variant: RequestVariant) -> impl Iterator<Item = Value> {
    let role = message.role;
    message.parts.iter().filter_map(move |part| match part {
        Part::Text(text) if is_blank(text) => None,
        Part::Text(text) => Some(json!({"type": "text", "text": text})),
        Part::Image(image) => (role == Role::User).then(|| {
            json!({"type": "image", "source": {
                "type": "base64",
                "media_type": image.media_type,
                "data": base64::encode(&image.data),
            }})
        }),
        Part::Reasoning { text, value } => variant.thoughts.then(|| thought(text, value)).flatten(),
        Part::ToolCall { call, arguments } => Some(json!({
            "type": "tool_use",
            "id": identifier(&call.id),
            "name": call.name,
            "input": if arguments.is_object() { arguments.clone() } else { json!({}) },
        })),
        Part::ToolResult { call, text, failed } => {
            let mut block = json!({
                "type": "tool_result",
                "tool_use_id": identifier(&call.id),
                "content": text,
            });
            if *failed {
                block["is_error"] = json!(true);
            }
            Some(block)
        }
    })
}

/// A block of thinking as it was received. `None` if it broke off or came from another vendor.
/// Anthropic signs every complete block. DeepSeek and others that imitate the API do not, but
/// refuse a turn with tool calls without its thinking
/// (<https://api-docs.deepseek.com/guides/anthropic_api>).
fn thought(text: &str, value: &Value) -> Option<Value> {
    match value.get("type")?.as_str()? {
        "thinking" => {
            let signature = value.get("signature").and_then(Value::as_str);
            let signature = signature.unwrap_or_default();
            (!text.is_empty() || !signature.is_empty())
                .then(|| json!({"type": "thinking", "thinking": text, "signature": signature}))
        }
        "redacted_thinking" => Some(json!({
            "type": "redacted_thinking",
            "data": value.get("data")?.as_str()?,
        })),
        _ => None,
    }
}

fn is_thought(block: &Value) -> bool {
    block["type"] == "thinking" || block["type"] == "redacted_thinking"
}

/// An identifier of a tool call in the [form](https://docs.claude.com/en/api/messages) that
/// Anthropic accepts: `^[a-zA-Z0-9_-]+$`. Other servers use other characters. Each of them is
/// replaced by its code point, so that two identifiers never become one.
fn identifier(id: &str) -> String {
    let mut written = String::with_capacity(id.len());
    for c in id.chars() {
        match c {
            'a'..='z' | 'A'..='Z' | '0'..='9' | '_' | '-' => written.push(c),
            _ => written.push_str(&format!("_{:x}", u32::from(c))),
        }
    }
    written
}

fn is_blank(text: &str) -> bool {
    text.trim().is_empty()
}

/// Sets a cache breakpoint after a block.
fn remember(block: &mut Value) {
    block["cache_control"] = json!({"type": "ephemeral"});
}
