//! What is sent, and what is sent instead after a refusal.

use super::*;
use crate::provider::{ChatMessage, Effort, Part, Role, Sampling, ToolDefinition, testing::laws};
use headwater_protocol::ToolCall;
use serde_json::{Value, json};

fn written(request: &ChatRequest) -> Value {
    request::body(request, RequestVariant::default())
}

fn thought(value: Value) -> Part {
    Part::Reasoning {
        text: "Hm.".into(),
        value,
    }
}

#[test]
fn a_short_question() {
    assert_eq!(
        written(&ask("m")),
        json!({
            "model": "m",
            "stream": true,
            "store": false,
            "include": ["reasoning.encrypted_content"],
            "input": [{"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Hello"}]}],
        })
    );
}

#[test]
fn everything_at_once() {
    let call = ToolCall {
        id: "call_1".into(),
        name: "search".into(),
    };
    let encrypted = json!({"type": "reasoning", "id": "rs_1", "encrypted_content": "e"});
    let request = ChatRequest {
        model: "m".into(),
        system: Some("Be kind.".into()),
        messages: vec![
            image_question(b"png"),
            ChatMessage {
                role: Role::Assistant,
                parts: vec![
                    thought(encrypted),
                    thought(json!({"type": "thinking", "signature": "of another"})),
                    thought(Value::Null),
                    Part::Text("I look.".into()),
                    Part::ToolCall {
                        call: call.clone(),
                        arguments: json!({"q": 1}),
                    },
                ],
            },
            ChatMessage {
                role: Role::User,
                parts: vec![
                    Part::Text("And?".into()),
                    Part::ToolResult {
                        call,
                        text: "nothing".into(),
                        failed: false,
                    },
                ],
            },
        ],
        tools: vec![ToolDefinition {
            name: "search".into(),
            description: "Looks.".into(),
            parameters: json!({"type": "object"}),
        }],
        sampling: Sampling {
            temperature: Some(0.2),
            top_p: Some(0.9),
            max_tokens: Some(9),
            effort: Some(Effort::Medium),
        },
        ..ChatRequest::default()
    };
    assert_eq!(
        written(&request),
        json!({
            "model": "m",
            "stream": true,
            "store": false,
            "include": ["reasoning.encrypted_content"],
            "instructions": "Be kind.",
            "input": [
                {"type": "message", "role": "user", "content": [
                    {"type": "input_text", "text": "What is it?"},
                    {"type": "input_image", "detail": "auto", "image_url": "data:image/png;base64,cG5n"},
                ]},
                {"type": "reasoning", "id": "rs_1", "encrypted_content": "e",
                 "summary": [{"type": "summary_text", "text": "Hm."}]},
                {"type": "message", "role": "assistant", "content": "I look."},
                {"type": "function_call", "call_id": "call_1", "name": "search", "arguments": "{\"q\":1}"},
                {"type": "function_call_output", "call_id": "call_1", "output": "nothing"},
                {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "And?"}]},
            ],
            "tools": [{"type": "function", "name": "search", "description": "Looks.",
                       "parameters": {"type": "object"}, "strict": false}],
            "reasoning": {"effort": "medium", "summary": "auto"},
            "max_output_tokens": 9,
            "temperature": 0.2,
            "top_p": 0.9,
        })
    );
}

#[test]
fn a_refusal_shows_what_to_leave_out() {
    let mut request = ask("m");
    request.sampling.effort = Some(Effort::None);
    request.sampling.temperature = Some(0.5);
    let next =
        |variant: RequestVariant, said: &str| variant.after_refusal(&request, said.as_bytes());
    let first = RequestVariant::default();
    let quiet = next(first, "Your organization must be verified to generate reasoning summaries. param: reasoning.summary").unwrap();
    let reasoning = request::body(&request, quiet)["reasoning"].clone();
    assert_eq!(reasoning, json!({"effort": "none"}));
    let value =
        "Unsupported value: 'none' is not supported with this model. param: reasoning.effort";
    let less = next(quiet, value).unwrap();
    assert_eq!(
        request::body(&request, less)["reasoning"]["effort"],
        "minimal"
    );
    let without = next(
        quiet,
        "Unsupported parameter: 'reasoning.effort' is not supported with this model.",
    )
    .unwrap();
    assert_eq!(request::body(&request, without)["reasoning"], Value::Null);
    assert_eq!(
        next(without, "Unsupported parameter: 'reasoning.effort'"),
        None
    );
    let plain = next(first, "Encrypted content is not supported with this model.").unwrap();
    assert_eq!(request::body(&request, plain)["include"], Value::Null);
    assert!(plain.thoughts);
    let cold = next(
        first,
        "Unsupported parameter: 'temperature' is not supported with this model.",
    )
    .unwrap();
    assert_eq!(request::body(&request, cold)["temperature"], Value::Null);
    assert_eq!(next(first, "The model does not exist"), None);
    // Old thoughts that cannot be read any more are left out.
    let mut old = request.clone();
    old.messages.push(ChatMessage {
        role: Role::Assistant,
        parts: vec![thought(
            json!({"type": "reasoning", "encrypted_content": "e"}),
        )],
    });
    let bare = first
        .after_refusal(&old, b"The encrypted content could not be verified.")
        .unwrap();
    assert!(bare.encrypted);
    assert_eq!(
        request::body(&old, bare)["input"].as_array().unwrap().len(),
        1
    );
}

#[test]
fn thoughts_go_back_in_the_form_in_which_they_came() {
    let back = |item: Value, then: Part| {
        let body = json!({"status": "completed", "output": [item]}).to_string();
        let folded = fold(&laws::read(Decoder::new(endpoint()), [body.as_bytes()]));
        let mut parts: Vec<Part> = folded
            .signatures
            .into_iter()
            .map(|value| Part::Reasoning {
                text: folded.reasoning.clone(),
                value,
            })
            .collect();
        parts.push(then);
        let mut request = ask("m");
        let role = Role::Assistant;
        request.messages.push(ChatMessage { role, parts });
        written(&request)["input"].as_array().unwrap()[1..].to_vec()
    };
    let words = Part::Text("So.".into());
    let summary = |text: &str| json!({"type": "summary_text", "text": text});
    for item in [
        json!({"type": "reasoning", "id": "rs_1", "encrypted_content": "e", "summary": []}),
        json!({"type": "reasoning", "id": "rs_1", "encrypted_content": "e", "summary": [summary("A.")]}),
        json!({"type": "reasoning", "id": "rs_1", "encrypted_content": "e", "summary": [summary("A."), summary("B.")]}),
        json!({"type": "reasoning", "id": "rs_1", "summary": [], "content": [{"type": "reasoning_text", "text": "Two and two."}]}),
    ] {
        assert_eq!(back(item.clone(), words.clone())[0], item);
        // Nothing came of it.
        assert_eq!(back(item, Part::Text(String::new())), [] as [Value; 0]);
    }
    // Of what was summed up and not encrypted, nobody has the thoughts.
    let lost = json!({"type": "reasoning", "id": "rs_1", "summary": [summary("A.")]});
    assert_eq!(back(lost, words).len(), 1);
}
