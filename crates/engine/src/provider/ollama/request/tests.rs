use super::*;
use crate::provider::testing::{ask, ask_everything, asked};
use headwater_protocol::ToolCall;

fn written(request: &ChatRequest) -> Value {
    let body = body(request, Think::for_request(request), true);
    serde_json::to_value(body).unwrap()
}

#[test]
fn a_request_holds_what_was_asked_and_no_more() {
    assert_eq!(
        written(&ask("m")),
        json!({"model": "m", "messages": [{"role": "user", "content": "Hello"}], "stream": true})
    );
    let request = ask_everything("m", json!({"type": "object"}));
    assert_eq!(
        written(&request),
        json!({
            "model": "m",
            "messages": [
                {"role": "system", "content": "Be kind."},
                {"role": "user", "content": "Hello", "images": ["Zm9vYg=="]},
                {"role": "assistant", "content": "Half"},
            ],
            "stream": true,
            "think": false,
            "tools": [{"type": "function", "function": {
                "name": "weather",
                "description": "Tells the weather.",
                "parameters": {"type": "object"},
            }}],
            "options": {"temperature": 0.5, "top_p": 0.25, "num_predict": 5},
        })
    );
}

#[test]
fn a_turn_with_tools_goes_back() {
    let mut request = asked("m", None);
    let call = |id: &str| ToolCall {
        id: id.into(),
        name: "weather".into(),
    };
    let result = |id: &str, failed| Part::ToolResult {
        call: call(id),
        text: "Rain".into(),
        failed,
    };
    request.messages.push(ChatMessage {
        role: Role::Assistant,
        parts: vec![
            Part::Reasoning {
                text: "Hm.".into(),
                value: json!({"field": "thinking"}),
            },
            Part::Reasoning {
                text: "In tags.".into(),
                value: Value::Null,
            },
            Part::Text("I look.".into()),
            Part::ToolCall {
                call: call("a"),
                arguments: json!({"city": "Zürich"}),
            },
            Part::ToolCall {
                call: call("b"),
                arguments: Value::Null,
            },
        ],
    });
    request.messages.push(ChatMessage {
        role: Role::User,
        parts: vec![result("a", false), result("b", true)],
    });
    request.messages.push(ChatMessage {
        role: Role::User,
        parts: vec![result("c", false), Part::Text("And now?".into())],
    });
    let tool = |id: &str, content: &str| json!({"role": "tool", "content": content, "tool_name": "weather", "tool_call_id": id});
    let messages = &written(&request)["messages"];
    assert_eq!(
        messages[1],
        json!({
            "role": "assistant",
            "content": "I look.",
            "thinking": "Hm.",
            "tool_calls": [
                {"id": "a", "function": {"name": "weather", "arguments": {"city": "Zürich"}}},
                {"id": "b", "function": {"name": "weather", "arguments": {}}},
            ],
        })
    );
    assert_eq!(
        messages.as_array().unwrap()[2..],
        [
            tool("a", "Rain"),
            tool("b", "Error: Rain"),
            tool("c", "Rain"),
            json!({"role": "user", "content": "And now?"}),
        ]
    );
}

#[test]
fn effort_is_a_switch_or_a_word() {
    for (model, effort, think) in [
        ("qwen3", None, Value::Null),
        ("qwen3", Some(Effort::None), json!(false)),
        ("qwen3", Some(Effort::Low), json!(true)),
        ("qwen3", Some(Effort::High), json!(true)),
        ("gpt-oss:20b", None, Value::Null),
        ("gpt-oss:20b", Some(Effort::None), json!("low")),
        ("gpt-oss:20b", Some(Effort::Low), json!("low")),
        ("me/gpt-oss", Some(Effort::Medium), json!("medium")),
        ("gpt-oss:120b", Some(Effort::High), json!("high")),
    ] {
        let written = written(&asked(model, effort));
        let found = written.get("think").cloned().unwrap_or_default();
        assert_eq!(found, think, "{model} {effort:?}");
    }
}

#[test]
fn a_refusal_shows_what_to_leave_out() {
    let said = b"registry.ollama.ai/library/m does not support thinking";
    let level = Think::Level("high");
    assert_eq!(level.after_refusal(said), Some(Think::Switch(true)));
    assert_eq!(
        level.after_refusal(
            b"json: cannot unmarshal string into Go struct field ChatRequest.think of type bool"
        ),
        Some(Think::Switch(true))
    );
    assert_eq!(Think::Switch(true).after_refusal(said), Some(Think::Unsaid));
    assert_eq!(Think::Unsaid.after_refusal(said), None);
    assert_eq!(level.after_refusal(b"does not support tools"), None);
}
