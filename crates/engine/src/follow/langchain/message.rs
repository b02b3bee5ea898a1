//! Messages, documents and prompts as JSON: the fields of langchain-core's own classes, as `model_dump` gives them.

use headwater_protocol::{
    Usage,
    chat::{self, Role},
};
use serde_json::{Map, Value, json};

/// What a person said.
pub(super) fn human(content: impl Into<Value>) -> Value {
    plain("human", content.into())
}

/// What a model is told beside the conversation.
pub(super) fn system(content: &str) -> Value {
    plain("system", content.into())
}

fn plain(kind: &str, content: Value) -> Value {
    json!({
        "content": content,
        "additional_kwargs": {},
        "response_metadata": {},
        "type": kind,
        "name": null,
        "id": null,
    })
}

/// A message of a conversation.
pub(super) fn of_chat(message: &chat::Message) -> Value {
    match message.role {
        Role::Assistant => {
            let mut said = plain("ai", message.visible_text().into());
            said["tool_calls"] = json!([]);
            said["invalid_tool_calls"] = json!([]);
            said["usage_metadata"] = Value::Null;
            said
        }
        Role::User if message.images.is_empty() => human(message.text.as_str()),
        Role::User => {
            let images = message.images.iter();
            let images = images.map(|id| json!({ "type": "image", "url": id.address() }));
            let text = json!({ "type": "text", "text": message.text });
            human(std::iter::once(text).chain(images).collect::<Vec<_>>())
        }
    }
}

/// A piece of a model's message, of which the fields in `own` are not empty.
pub(super) fn chunk(id: &str, own: Value) -> Value {
    let mut whole = json!({
        "content": "",
        "additional_kwargs": {},
        "response_metadata": {},
        "type": "AIMessageChunk",
        "name": null,
        "id": id,
        "tool_calls": [],
        "invalid_tool_calls": [],
        "usage_metadata": null,
        "tool_call_chunks": [],
        "chunk_position": null,
    });
    if let (Some(whole), Value::Object(own)) = (whole.as_object_mut(), own) {
        whole.extend(own);
    }
    whole
}

/// A message that was put together from chunks, as the next model reads it.
pub(super) fn whole(chunk: &Value) -> Value {
    let mut said = chunk.clone();
    if let Some(fields) = said.as_object_mut() {
        fields.remove("tool_call_chunks");
        fields.remove("chunk_position");
        fields.insert("type".into(), "ai".into());
    }
    said
}

/// A piece of a call: its name and identifier at first, and then its arguments as they are written.
pub(super) fn call_chunk(name: Option<&str>, args: &str, id: Option<&str>, index: usize) -> Value {
    json!({
        "name": name,
        "args": args,
        "id": id,
        "index": index,
        "type": "tool_call_chunk",
    })
}

/// The tokens that a call of a model used.
pub(super) fn usage(usage: Usage) -> Value {
    let mut counts = json!({
        "input_tokens": usage.input,
        "output_tokens": usage.output,
        "total_tokens": usage.input.saturating_add(usage.output),
    });
    let details = |all: [(&str, u64); 2]| {
        let counted = all.into_iter().filter(|(_, tokens)| *tokens > 0);
        let counted: Map<_, _> = counted.map(|(name, n)| (name.into(), n.into())).collect();
        Some(counted).filter(|counted| !counted.is_empty())
    };
    let read = [
        ("cache_read", usage.cache_read),
        ("cache_creation", usage.cache_write),
    ];
    if let Some(read) = details(read) {
        counts["input_token_details"] = read.into();
    }
    if let Some(written) = details([("reasoning", usage.reasoning), ("", 0)]) {
        counts["output_token_details"] = written.into();
    }
    counts
}

/// What a tool gave to the model that called it.
pub(super) fn tool_result(content: &str, name: &str, call: &str, status: &str) -> Value {
    let mut result = plain("tool", content.into());
    result["name"] = name.into();
    result["tool_call_id"] = call.into();
    result["artifact"] = Value::Null;
    result["status"] = status.into();
    result
}

/// What a retriever found: any JSON as documents. An object with the text of a document in `page_content` or in
/// `text` keeps its other fields as metadata.
pub(super) fn documents(found: &Value) -> Value {
    match found {
        Value::Array(all) => all.iter().map(document).collect(),
        one => json!([document(one)]),
    }
}

fn document(found: &Value) -> Value {
    let text = ["page_content", "text"];
    let text = text.iter().find(|name| found[**name].is_string());
    let (content, metadata) = match (found, text) {
        (Value::String(text), _) => (text.clone(), json!({})),
        (Value::Object(fields), Some(name)) => {
            let content = found[*name].as_str().unwrap_or_default().to_owned();
            let metadata = match fields.get("metadata") {
                Some(metadata @ Value::Object(_)) => metadata.clone(),
                _ => {
                    let others = fields.iter().filter(|(field, _)| field != name);
                    let others = others.map(|(field, value)| (field.clone(), value.clone()));
                    Value::Object(others.collect())
                }
            };
            (content, metadata)
        }
        (other, _) => (other.to_string(), json!({})),
    };
    json!({ "id": null, "metadata": metadata, "page_content": content, "type": "Document" })
}

/// The messages of a prompt: a text, or an object with `text` and perhaps `system`. `None` for anything else.
pub(super) fn messages(prompt: &Value) -> Option<Vec<Value>> {
    if let Value::String(text) = prompt {
        return Some(vec![human(text.as_str())]);
    }
    let text = human(prompt.get("text")?.as_str()?);
    let told = prompt.get("system").and_then(Value::as_str).map(system);
    Some(told.into_iter().chain([text]).collect())
}
