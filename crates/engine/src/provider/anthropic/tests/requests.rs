//! What is sent, and what is sent instead after a refusal.

use super::*;
use crate::provider::{ChatMessage, Effort, Image, Part, Role, ToolDefinition};
use headwater_protocol::ToolCall;
use serde_json::{Value, json};

fn written(request: &ChatRequest) -> Value {
    request::body(request, RequestVariant::likely(request))
}

fn call() -> ToolCall {
    ToolCall {
        id: "call:1".into(),
        name: "search".into(),
    }
}

fn marked(mut block: Value) -> Value {
    block["cache_control"] = json!({"type": "ephemeral"});
    block
}

#[test]
fn a_short_question() {
    assert_eq!(
        written(&ask("claude-haiku-4-5")),
        json!({
            "model": "claude-haiku-4-5",
            "max_tokens": 32_000,
            "stream": true,
            "messages": [{"role": "user", "content": [marked(json!({"type": "text", "text": "Hello"}))]}],
        })
    );
}

#[test]
fn everything_at_once() {
    let part = |text: &str| Part::Text(text.into());
    let thought = |value: Value| Part::Reasoning {
        text: "Hm.".into(),
        value,
    };
    let turn = |role, parts| ChatMessage { role, parts };
    let request = ChatRequest {
        model: "claude-opus-4-1".into(),
        system: Some("Be kind.".into()),
        messages: vec![
            ChatMessage::new(Role::User, "One"),
            ChatMessage::new(Role::User, "Two"),
            turn(
                Role::Assistant,
                vec![
                    thought(json!({"type": "thinking", "signature": "s"})),
                    thought(json!({"type": "redacted_thinking", "data": "d"})),
                    thought(json!({"type": "reasoning", "encrypted_content": "of another"})),
                    thought(Value::Null),
                    part(" \n"),
                    part("I look."),
                    Part::ToolCall {
                        call: call(),
                        arguments: json!({"q": 1}),
                    },
                ],
            ),
            turn(
                Role::User,
                vec![
                    part("And?"),
                    Part::ToolResult {
                        call: call(),
                        text: "nothing".into(),
                        failed: true,
                    },
                ],
            ),
            turn(Role::User, vec![part("  ")]),
            turn(
                Role::User,
                vec![Part::Image(Image {
                    media_type: "image/png".into(),
                    data: bytes::Bytes::from_static(b"png"),
                })],
            ),
        ],
        tools: ["a", "b"]
            .map(|name| ToolDefinition {
                name: name.into(),
                description: "Does it.".into(),
                parameters: json!({"type": "object"}),
            })
            .into(),
        ..ChatRequest::default()
    };
    let body = written(&request);
    assert_eq!(
        body["system"],
        json!([marked(json!({"type": "text", "text": "Be kind."}))])
    );
    let tool = |name: &str| json!({"name": name, "description": "Does it.", "input_schema": {"type": "object"}});
    assert_eq!(body["tools"], json!([tool("a"), marked(tool("b"))]));
    assert_eq!(
        body["messages"],
        json!([
            {"role": "user", "content": [
                {"type": "text", "text": "One"},
                marked(json!({"type": "text", "text": "Two"})),
            ]},
            {"role": "assistant", "content": [
                {"type": "thinking", "thinking": "Hm.", "signature": "s"},
                {"type": "redacted_thinking", "data": "d"},
                {"type": "text", "text": "I look."},
                {"type": "tool_use", "id": "call_3a1", "name": "search", "input": {"q": 1}},
            ]},
            {"role": "user", "content": [
                {"type": "tool_result", "tool_use_id": "call_3a1", "content": "nothing", "is_error": true},
                {"type": "text", "text": "And?"},
                marked(json!({"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "cG5n"}})),
            ]},
        ])
    );
    assert_eq!(body.to_string().matches("cache_control").count(), 4);
}

#[test]
fn long_conversations_have_four_marks_at_most() {
    let mut request = ask("claude-sonnet-4-5");
    for text in ["a", "b", "c"] {
        request
            .messages
            .push(ChatMessage::new(Role::Assistant, text));
        request.messages.push(ChatMessage::new(Role::User, text));
    }
    let body = written(&request);
    assert_eq!(body.to_string().matches("cache_control").count(), 2);
    for last in [4, 6] {
        let mark = &body["messages"][last]["content"][0]["cache_control"];
        assert!(mark.is_object());
    }
}

#[test]
fn thinking_in_the_model_s_own_form() {
    let body = |model: &str, effort, limit| {
        let mut request = ask(model);
        request.sampling.effort = effort;
        request.sampling.max_tokens = limit;
        request.sampling.temperature = Some(0.2);
        request.sampling.top_p = Some(0.9);
        written(&request)
    };
    let low = Some(Effort::Low);
    let old = body("claude-sonnet-4-5", Some(Effort::High), None);
    assert_eq!(
        old["thinking"],
        json!({"type": "enabled", "budget_tokens": 16_000})
    );
    assert_eq!(
        (&old["temperature"], &old["top_p"]),
        (&Value::Null, &Value::Null)
    );
    let tight = body("claude-sonnet-4-5", Some(Effort::High), Some(3000));
    assert_eq!(tight["thinking"]["budget_tokens"], 1500);
    // There is no room for the smallest budget.
    let tiny = body("claude-sonnet-4-5", low, Some(1024));
    assert_eq!(tiny["thinking"], Value::Null);
    assert_eq!(tiny["temperature"], 0.2);
    let new = body("claude-opus-4-6", low, None);
    assert_eq!(
        new["thinking"],
        json!({"type": "adaptive", "display": "summarized"})
    );
    assert_eq!(new["output_config"], json!({"effort": "low"}));
    for (model, thinking) in [
        ("claude-opus-4-8", Value::Null),
        ("claude-sonnet-5", json!({"type": "disabled"})),
    ] {
        assert_eq!(body(model, Some(Effort::None), None)["thinking"], thinking);
        assert_eq!(body(model, None, None)["thinking"], Value::Null);
    }
    let warm = |model: &str| {
        let body = body(model, None, None);
        (body["temperature"].clone(), body["top_p"].clone())
    };
    assert_eq!(warm("claude-3-5-haiku-latest"), (json!(0.2), json!(0.9)));
    assert_eq!(warm("claude-sonnet-4-5"), (json!(0.2), Value::Null));
    assert_eq!(warm("claude-opus-4-7"), (Value::Null, Value::Null));
    let mut hot = ask("glm-4.7");
    hot.sampling.temperature = Some(1.7);
    assert_eq!(written(&hot)["temperature"], 1.0);
}

#[test]
fn a_prefill_goes_without_its_last_spaces_and_without_thinking() {
    let mut request = ask("claude-sonnet-4-5");
    request.sampling.effort = Some(Effort::High);
    request.prefill = Some("Half an \n".into());
    let body = written(&request);
    assert_eq!(
        body["messages"][1],
        json!({"role": "assistant", "content": [{"type": "text", "text": "Half an"}]})
    );
    assert_eq!(body["thinking"], Value::Null);
    assert_eq!(request::prefill(&request), Some(("Half an", " \n")));
    request.prefill = Some(" \n".into());
    assert_eq!(request::prefill(&request), None);
    assert_eq!(written(&request)["messages"].as_array().unwrap().len(), 1);
    request.prefill = Some("Half".into());
    request.model = "claude-opus-4-6".into();
    assert_eq!(request::prefill(&request), None);
}

#[test]
fn a_refusal_shows_what_to_try_instead() {
    let mut request = ask("claude-x");
    request.sampling.effort = Some(Effort::High);
    request.sampling.temperature = Some(0.5);
    let next =
        |variant: RequestVariant, said: &str| variant.after_refusal(&request, said.as_bytes());
    let first = RequestVariant::likely(&request);
    assert_eq!(first.thinking, variant::Thinking::Adaptive);
    let hidden = next(
        first,
        "thinking.adaptive.display: Extra inputs are not permitted",
    )
    .unwrap();
    assert!(!hidden.display && hidden.thinking == first.thinking);
    let second = next(first, "adaptive thinking is not supported on this model").unwrap();
    assert_eq!(second.thinking, variant::Thinking::Budget);
    let third = next(
        second,
        "\"thinking.type.enabled\" is not supported for this model",
    )
    .unwrap();
    assert_eq!(third.thinking, variant::Thinking::Unsaid);
    assert_eq!(next(third, "thinking"), None);
    let mut plain = first;
    plain.knobs = traits::Knobs::Both;
    let one = next(plain, "`temperature` and `top_p` cannot both be specified").unwrap();
    assert_eq!(one.knobs, traits::Knobs::One);
    let none = next(one, "`temperature` is deprecated for this model.").unwrap();
    assert_eq!(none.knobs, traits::Knobs::None);
    let less = next(
        first,
        "max_tokens: 64000 > 8192, which is the maximum allowed number of output tokens",
    )
    .unwrap();
    assert_eq!(request::body(&request, less)["max_tokens"], 4096);
    let bare = next(
        first,
        "messages.1.content.0: Invalid `signature` in `thinking` block",
    )
    .unwrap();
    assert!(!bare.thoughts && bare.thinking == first.thinking);
    assert_eq!(
        next(first, "messages: at least one message is required"),
        None
    );
}

#[test]
fn only_what_says_something_about_the_model_is_remembered() {
    let mut request = ask("claude-x");
    request.sampling.effort = Some(Effort::High);
    let acme = make("http://acme.example".into());
    let backend = acme.backend();
    let likely = backend.first_variant(&request);
    let mut other = likely;
    other.thinking = variant::Thinking::Budget;
    for (short, thoughts, kept) in [
        (true, true, likely),
        (false, false, likely),
        (false, true, other),
    ] {
        let mut taken = other;
        (taken.short, taken.thoughts) = (short, thoughts);
        backend.remember(&request, taken);
        assert_eq!(backend.first_variant(&request), kept);
    }
    request.sampling.effort = None;
    let first = backend.first_variant(&request);
    assert_eq!(first.thinking, variant::Thinking::Unsaid);
}
