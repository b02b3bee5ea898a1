//! The body of a request.

use crate::provider::{
    ChatMessage, ChatRequest, Part, Role,
    exchange::short,
    openai::{
        request::data_url,
        variant::{effort_word, next_effort},
    },
};
use serde_json::{Map, Value, json};

/// The parts of a request that models disagree about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::provider) struct RequestVariant {
    /// How many words for the effort were refused.
    pub(super) efforts: usize,
    /// Whether to ask for a summary of the reasoning.
    pub(super) summary: bool,
    /// Whether to ask for the encrypted reasoning.
    pub(super) encrypted: bool,
    /// Whether the reasoning of earlier turns is sent.
    pub(super) thoughts: bool,
    /// Whether sampling parameters are sent.
    pub(super) sampling: bool,
}

impl Default for RequestVariant {
    fn default() -> Self {
        Self {
            efforts: 0,
            summary: true,
            encrypted: true,
            thoughts: true,
            sampling: true,
        }
    }
}

impl RequestVariant {
    /// The variant to try after a refusal with the body `said`.
    pub(super) fn after_refusal(mut self, request: &ChatRequest, said: &[u8]) -> Option<Self> {
        let said = String::from_utf8_lossy(said).to_lowercase();
        let says = |words: &[&str]| words.iter().any(|word| said.contains(word));
        let sampling = &request.sampling;
        let knobs = sampling.temperature.is_some() || sampling.top_p.is_some();
        let effort = effort_word(sampling.effort, self.efforts).is_some();
        if self.sampling && knobs && says(&["temperature", "top_p"]) {
            self.sampling = false;
        } else if effort && self.summary && says(&["summar"]) {
            self.summary = false;
        } else if self.thoughts
            && has_thoughts(request)
            && says(&[
                "encrypted",
                "rs_",
                "reasoning' was provided",
                "reasoning item",
            ])
        {
            self.thoughts = false;
        } else if self.encrypted && says(&["encrypted", "include"]) {
            self.encrypted = false;
        } else if effort && says(&["reasoning", "effort"]) {
            self.efforts = next_effort(self.efforts, &said);
        } else {
            return None;
        }
        Some(self)
    }
}

fn has_thoughts(request: &ChatRequest) -> bool {
    let parts = request.messages.iter().flat_map(|turn| &turn.parts);
    parts
        .filter_map(|part| match part {
            Part::Reasoning { text, value } => thought(text, value),
            _ => None,
        })
        .next()
        .is_some()
}

/// Writes a request in a variant.
pub(super) fn body(request: &ChatRequest, variant: RequestVariant) -> Value {
    let mut body = Map::new();
    let mut put = |name: &str, value: Value| body.insert(name.into(), value);
    put("model", json!(request.model));
    put("stream", json!(true));
    put("store", json!(false));
    if variant.encrypted {
        put("include", json!(["reasoning.encrypted_content"]));
    }
    let system = request.system.as_deref();
    if let Some(text) = system.filter(|text| !text.is_empty()) {
        put("instructions", json!(text));
    }
    let mut input = Vec::new();
    for message in &request.messages {
        match message.role {
            Role::User => of_person(message, &mut input),
            Role::Assistant => of_model(message, variant, &mut input),
        }
    }
    put("input", Value::Array(input));
    if !request.tools.is_empty() {
        let tools = request.tools.iter().map(|tool| {
            json!({
                "type": "function",
                "name": tool.name,
                "description": tool.description,
                "parameters": tool.parameters,
                // Strict mode supports only a subset of JSON Schema.
                "strict": false,
            })
        });
        put("tools", tools.collect());
    }
    let sampling = &request.sampling;
    if let Some(word) = effort_word(sampling.effort, variant.efforts) {
        let mut reasoning = json!({"effort": word});
        if variant.summary {
            reasoning["summary"] = json!("auto");
        }
        put("reasoning", reasoning);
    }
    if let Some(limit) = sampling.max_tokens {
        put("max_output_tokens", json!(limit));
    }
    if variant.sampling {
        if let Some(temperature) = sampling.temperature {
            put("temperature", short(temperature));
        }
        if let Some(top_p) = sampling.top_p {
            put("top_p", short(top_p));
        }
    }
    Value::Object(body)
}

/// Writes the person's turn. The results of tools are items of their own. They come first, because
/// they belong to the calls of the turn before.
fn of_person(message: &ChatMessage, input: &mut Vec<Value>) {
    let mut content = Vec::new();
    for part in &message.parts {
        match part {
            Part::Text(text) if text.trim().is_empty() => {}
            Part::Text(text) => content.push(json!({"type": "input_text", "text": text})),
            Part::Image(image) => {
                content.push(json!({
                    "type": "input_image",
                    "detail": "auto",
                    "image_url": data_url(image),
                }));
            }
            Part::ToolResult { call, text, .. } => input.push(json!({
                "type": "function_call_output",
                "call_id": call.id,
                "output": text,
            })),
            Part::Reasoning { .. } | Part::ToolCall { .. } => {}
        }
    }
    if !content.is_empty() {
        input.push(json!({"type": "message", "role": "user", "content": content}));
    }
}

/// Writes the model's turn in its original order: reasoning directly before the text or the call
/// that it led to. Reasoning that led to nothing is left out, because the API [refuses
/// it](https://github.com/openai/openai-node/issues/1567).
fn of_model(message: &ChatMessage, variant: RequestVariant, input: &mut Vec<Value>) {
    for part in &message.parts {
        match part {
            Part::Text(text) if text.trim().is_empty() => {}
            Part::Text(text) => {
                // The longer form with parts requires an identifier, which is not stored.
                input.push(json!({"type": "message", "role": "assistant", "content": text}));
            }
            Part::Reasoning { text, value } if variant.thoughts => {
                input.extend(thought(text, value));
            }
            Part::ToolCall { call, arguments } => input.push(json!({
                "type": "function_call",
                "call_id": call.id,
                "name": call.name,
                "arguments": arguments.to_string(),
            })),
            Part::Reasoning { .. } | Part::Image(_) | Part::ToolResult { .. } => {}
        }
    }
    while input.last().is_some_and(|item| item["type"] == "reasoning") {
        input.pop();
    }
}

/// A reasoning item as it was received: encrypted, or as text from a server that encrypts nothing,
/// such as vLLM.
fn thought(text: &str, value: &Value) -> Option<Value> {
    if value.get("type")? != "reasoning" {
        return None;
    }
    let encrypted = value.get("encrypted_content").filter(|it| it.is_string());
    let shown = value.get("shown").is_some() && !text.is_empty();
    let mut item = json!({"type": "reasoning", "summary": []});
    if let Some(parts) = value.get("summary").filter(|parts| parts.is_array()) {
        item["summary"] = parts.clone();
    } else if !text.is_empty() && !shown {
        item["summary"] = json!([{"type": "summary_text", "text": text}]);
    }
    match encrypted {
        Some(encrypted) => item["encrypted_content"] = encrypted.clone(),
        None if shown => item["content"] = json!([{"type": "reasoning_text", "text": text}]),
        None => return None,
    }
    if let Some(id) = value.get("id").filter(|id| id.is_string()) {
        item["id"] = id.clone();
    }
    Some(item)
}
