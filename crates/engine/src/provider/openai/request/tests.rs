use super::*;
use crate::provider::{Effort, Sampling, testing::image_question};
use headwater_protocol::ToolCall;

fn written(request: &ChatRequest, variant: RequestVariant, prefill: bool) -> Value {
    let text = serde_json::to_string(&body(request, variant, prefill)).unwrap();
    serde_json::from_str(&text).unwrap()
}

fn variant(url: &str) -> RequestVariant {
    RequestVariant::for_url(&url.parse().unwrap())
}

#[test]
fn a_request_holds_what_was_asked_and_no_more() {
    let mut request = ChatRequest {
        model: "m".into(),
        messages: vec![ChatMessage::new(Role::User, "Hi\u{0}\"")],
        prefill: Some("Half".into()),
        ..ChatRequest::default()
    };
    let plain = variant("http://localhost:8080/v1");
    assert_eq!(
        written(&request, plain, false),
        json!({
            "model": "m",
            "messages": [{"role": "user", "content": "Hi\u{0}\""}],
            "stream": true,
            "stream_options": {"include_usage": true},
        })
    );
    request.system = Some("Be kind.".into());
    request.sampling = Sampling {
        temperature: Some(0.2),
        top_p: Some(0.9),
        max_tokens: Some(5),
        effort: None,
    };
    let text = serde_json::to_string(&body(&request, plain, true)).unwrap();
    assert!(text.contains("\"temperature\":0.2,\"top_p\":0.9,\"max_tokens\":5"));
    let value = written(&request, plain, true);
    assert_eq!(value["messages"][0]["role"], "system");
    assert_eq!(
        value["messages"][2],
        json!({"role": "assistant", "content": "Half"})
    );
    assert_eq!(value["continue_final_message"], true);
    assert_eq!(value["add_generation_prompt"], false);
    let value = written(&request, variant("https://api.openai.com/v1"), false);
    assert_eq!(value["max_completion_tokens"], 5);
    assert_eq!(value["max_tokens"], Value::Null);
    assert_eq!(value["messages"].as_array().unwrap().len(), 2);
}

#[test]
fn a_refusal_shows_what_to_leave_out() {
    let plain = variant("http://localhost/v1");
    let limited = ChatRequest {
        sampling: Sampling {
            max_tokens: Some(9),
            ..Sampling::default()
        },
        ..ChatRequest::default()
    };
    let next =
        |variant: RequestVariant, body: &str| variant.after_refusal(body.as_bytes(), &limited);
    let without = next(plain, "Extra inputs are not permitted: body.stream_options").unwrap();
    assert!(!without.stream_options);
    assert_eq!(next(without, "stream_options again"), None);
    let newer = next(plain, "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead.").unwrap();
    assert!(newer.max_completion_tokens && newer.stream_options);
    assert_eq!(
        next(newer, "unknown field `max_completion_tokens`"),
        Some(plain)
    );
    assert_eq!(next(plain, "max_tokens is too large: 100000"), None);
    assert_eq!(
        plain.after_refusal(b"unsupported max_tokens", &ChatRequest::default()),
        None
    );
    assert_eq!(next(plain, "no such model"), None);
}

#[test]
fn images_tools_and_what_they_gave() {
    let call = |id: &str| ToolCall {
        id: id.into(),
        name: "search".into(),
    };
    let request = ChatRequest {
        model: "m".into(),
        messages: vec![
            image_question(b"png"),
            ChatMessage {
                role: Role::Assistant,
                parts: vec![
                    Part::Reasoning {
                        text: "Hm.".into(),
                        value: json!({"signature": "s"}),
                    },
                    Part::ToolCall {
                        call: call("a"),
                        arguments: json!({"q": 1}),
                    },
                ],
            },
            ChatMessage {
                role: Role::User,
                parts: vec![
                    Part::Text("And?".into()),
                    Part::ToolResult {
                        call: call("a"),
                        text: "nothing".into(),
                        failed: false,
                    },
                ],
            },
            ChatMessage {
                role: Role::User,
                parts: vec![Part::ToolResult {
                    call: call("b"),
                    text: "late".into(),
                    failed: true,
                }],
            },
        ],
        tools: vec![crate::provider::ToolDefinition {
            name: "search".into(),
            description: "Looks.".into(),
            parameters: json!({"type": "object"}),
        }],
        ..ChatRequest::default()
    };
    let value = written(&request, variant("http://x/v1"), false);
    assert_eq!(
        value["messages"],
        json!([
            {"role": "user", "content": [
                {"type": "text", "text": "What is it?"},
                {"type": "image_url", "image_url": {"url": "data:image/png;base64,cG5n"}},
            ]},
            {"role": "assistant", "content": null, "tool_calls": [
                {"id": "a", "type": "function", "function": {"name": "search", "arguments": "{\"q\":1}"}},
            ]},
            {"role": "tool", "tool_call_id": "a", "content": "nothing"},
            {"role": "user", "content": "And?"},
            {"role": "tool", "tool_call_id": "b", "content": "late"},
        ])
    );
    assert_eq!(
        value["tools"],
        json!([{"type": "function", "function": {
            "name": "search", "description": "Looks.", "parameters": {"type": "object"},
        }}])
    );
}

#[test]
fn an_effort_is_said_until_it_is_refused() {
    let mut request = ChatRequest::default();
    let plain = variant("http://x/v1");
    let word = |request: &ChatRequest, variant| {
        written(request, variant, false)["reasoning_effort"].clone()
    };
    assert_eq!(word(&request, plain), Value::Null);
    request.sampling.effort = Some(Effort::High);
    assert_eq!(word(&request, plain), "high");
    let said = b"Unrecognized request argument supplied: reasoning_effort";
    let without = plain.after_refusal(said, &request).unwrap();
    assert_eq!(word(&request, without), Value::Null);
    assert_eq!(without.after_refusal(said, &request), None);
    assert_eq!(without.of_server(), plain);
    // Not to think is said in other words.
    request.sampling.effort = Some(Effort::None);
    let said = b"Unsupported value: 'reasoning_effort' does not support this with this model.";
    let mut now = plain;
    for wanted in ["none", "minimal", "low"] {
        assert_eq!(word(&request, now), wanted);
        now = now.after_refusal(said, &request).unwrap();
    }
    assert_eq!(word(&request, now), Value::Null);
    // Models that think do not all let others choose.
    request.sampling.temperature = Some(0.5);
    let said = b"Unsupported value: 'temperature' does not support 0.5 with this model.";
    let cold = plain.after_refusal(said, &request).unwrap();
    assert_eq!(written(&request, cold, false)["temperature"], Value::Null);
    assert_eq!(plain.after_refusal(said, &ChatRequest::default()), None);
}

#[test]
fn a_refusal_shows_which_thoughts_are_wanted() {
    let thought = |value: Value| Part::Reasoning {
        text: "Hm.".into(),
        value,
    };
    let call = |id: &str| Part::ToolCall {
        call: ToolCall {
            id: id.into(),
            name: "search".into(),
        },
        arguments: json!({}),
    };
    let said = |parts| ChatRequest {
        messages: vec![ChatMessage {
            role: Role::Assistant,
            parts,
        }],
        ..ChatRequest::default()
    };
    let plain = variant("http://localhost/v1");
    let own = said(vec![
        thought(json!({"field": "reasoning_content"})),
        call("a"),
    ]);
    let foreign = said(vec![call("a"), call("b")]);
    for (request, refusal, thoughts) in [
        (
            &foreign,
            "The `reasoning_content` in the thinking mode must be passed back to the API.",
            Some(Thoughts::Needed),
        ),
        (
            &foreign,
            "thinking is enabled but reasoning_content is missing in assistant tool call message at index 2",
            Some(Thoughts::Needed),
        ),
        (
            &foreign,
            "Function call is missing a thought_signature in functionCall parts.",
            Some(Thoughts::Signed),
        ),
        (
            &own,
            "messages.2.assistant.reasoning_content: property 'messages.2.assistant.reasoning_content' is unsupported",
            Some(Thoughts::Refused),
        ),
        (
            &own,
            "property 'reasoning' is unsupported",
            Some(Thoughts::Refused),
        ),
        (
            &own,
            "the reasoning_content field must not be in the messages",
            Some(Thoughts::Refused),
        ),
        // Nothing of it was sent.
        (&foreign, "property 'reasoning' is unsupported", None),
        (&own, "the model does not exist", None),
    ] {
        let next = plain.after_refusal(refusal.as_bytes(), request);
        assert_eq!(next.map(|variant| variant.thoughts), thoughts, "{refusal}");
    }
    let written = |request: &ChatRequest, thoughts| {
        let variant = RequestVariant { thoughts, ..plain };
        written(request, variant, false)["messages"][0].clone()
    };
    assert_eq!(written(&own, Thoughts::Given)["reasoning_content"], "Hm.");
    assert_eq!(
        written(&own, Thoughts::Refused).get("reasoning_content"),
        None
    );
    assert_eq!(
        written(&foreign, Thoughts::Given).get("reasoning_content"),
        None
    );
    assert_eq!(
        written(&foreign, Thoughts::Needed)["reasoning_content"],
        NO_THOUGHTS
    );
    let signed = written(&foreign, Thoughts::Signed);
    let signature = json!({"google": {"thought_signature": NO_SIGNATURE}});
    assert_eq!(signed["tool_calls"][0]["extra_content"], signature);
    assert_eq!(signed["tool_calls"][1].get("extra_content"), None);
    // What another vendor gave under the same name means nothing here.
    let odd = said(vec![
        thought(json!({"type": "thinking", "signature": "s"})),
        call("a"),
    ]);
    let names: Vec<String> = written(&odd, Thoughts::Given)
        .as_object()
        .unwrap()
        .keys()
        .cloned()
        .collect();
    assert_eq!(names, ["content", "role", "tool_calls"]);
}
