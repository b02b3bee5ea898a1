use super::*;
use crate::provider::{
    ChatMessage,
    testing::{ask, ask_everything, asked},
};
use headwater_protocol::ToolCall;

fn written(request: &ChatRequest) -> Value {
    let body = body(request, RequestVariant::for_request(request), true);
    serde_json::to_value(body).unwrap()
}

fn call(id: &str) -> ToolCall {
    ToolCall {
        id: id.into(),
        name: "weather".into(),
    }
}

#[test]
fn a_request_holds_what_was_asked_and_no_more() {
    assert_eq!(
        written(&ask("gemini-2.0-flash")),
        json!({"contents": [{"role": "user", "parts": [{"text": "Hello"}]}]})
    );
    let request = ask_everything(
        "gemini-2.0-flash",
        json!({"type": "object", "additionalProperties": false}),
    );
    assert_eq!(
        written(&request),
        json!({
            "systemInstruction": {"parts": [{"text": "Be kind."}]},
            "contents": [
                {"role": "user", "parts": [
                    {"text": "Hello"},
                    {"inlineData": {"mimeType": "image/png", "data": "Zm9vYg=="}},
                ]},
                {"role": "model", "parts": [{"text": "Half"}]},
            ],
            "tools": [{"functionDeclarations": [{
                "name": "weather",
                "description": "Tells the weather.",
                "parametersJsonSchema": {"type": "object", "additionalProperties": false},
            }]}],
            "generationConfig": {"temperature": 0.5, "topP": 0.25, "maxOutputTokens": 5},
        })
    );
}

#[test]
fn effort_is_a_budget_or_a_level() {
    use Effort::{High, Medium};
    for (model, effort, config) in [
        ("gemini-2.0-flash", Some(High), Value::Null),
        ("gemma-3-27b-it", None, Value::Null),
        ("gemini-2.5-flash", None, json!({"includeThoughts": true})),
        (
            "gemini-2.5-flash",
            Some(Effort::None),
            json!({"includeThoughts": false, "thinkingBudget": 0}),
        ),
        (
            "gemini-2.5-pro",
            Some(Effort::None),
            json!({"includeThoughts": false, "thinkingBudget": 128}),
        ),
        (
            "gemini-2.5-pro",
            Some(High),
            json!({"includeThoughts": true, "thinkingBudget": 24576}),
        ),
        (
            "gemini-3-pro-preview",
            Some(Effort::None),
            json!({"includeThoughts": false, "thinkingLevel": "low"}),
        ),
        (
            "gemini-3-pro-preview",
            Some(Medium),
            json!({"includeThoughts": true, "thinkingLevel": "high"}),
        ),
        (
            "models/gemini-3.6-flash",
            Some(Medium),
            json!({"includeThoughts": true, "thinkingLevel": "medium"}),
        ),
        (
            "gemini-flash-latest",
            Some(Effort::None),
            json!({"includeThoughts": false, "thinkingLevel": "minimal"}),
        ),
    ] {
        let written = written(&asked(model, effort));
        let found = written.pointer("/generationConfig/thinkingConfig");
        assert_eq!(found.cloned().unwrap_or_default(), config, "{model}");
    }
}

#[test]
fn a_turn_with_tools_goes_back_with_its_signatures() {
    let mut request = asked("gemini-3-pro-preview", None);
    let reasoning = |text: &str, value: Value| Part::Reasoning {
        text: text.into(),
        value,
    };
    let signed = |signature: &str, part: &str| json!({"thoughtSignature": signature, "part": part});
    let calls = |id: &str| Part::ToolCall {
        call: call(id),
        arguments: json!({"city": "Zürich"}),
    };
    let result = |id: &str, failed| Part::ToolResult {
        call: call(id),
        text: "Rain".into(),
        failed,
    };
    request.messages.extend([
        ChatMessage {
            role: Role::Assistant,
            parts: vec![
                reasoning("Unsigned.", Value::Null),
                reasoning("Signed.", signed("one", "thought")),
                Part::Text("I look.".into()),
                reasoning("", signed("two", "text")),
                reasoning("", signed("three", "call")),
                calls("call_1"),
                calls("k3x9"),
            ],
        },
        ChatMessage {
            role: Role::User,
            parts: vec![result("call_1", false)],
        },
        ChatMessage {
            role: Role::User,
            parts: vec![result("k3x9", true), Part::Text(String::new())],
        },
        ChatMessage::new(Role::Assistant, ""),
        ChatMessage::new(Role::User, "Go on."),
    ]);
    let contents = &written(&request)["contents"];
    assert_eq!(
        contents[1],
        json!({"role": "model", "parts": [
            {"text": "Signed.", "thought": true, "thoughtSignature": "one"},
            {"text": "I look."},
            {"text": "", "thoughtSignature": "two"},
            {"functionCall": {"name": "weather", "args": {"city": "Zürich"}}, "thoughtSignature": "three"},
            {"functionCall": {"id": "k3x9", "name": "weather", "args": {"city": "Zürich"}}},
        ]})
    );
    assert_eq!(
        contents[2],
        json!({"role": "user", "parts": [
            {"functionResponse": {"name": "weather", "response": {"output": "Rain"}}},
            {"functionResponse": {"id": "k3x9", "name": "weather", "response": {"error": "Rain"}}},
            {"text": "Go on."},
        ]})
    );
    assert_eq!(contents.as_array().unwrap().len(), 3);
    // Signatures that a server refused stay away.
    let variant = RequestVariant {
        signatures: false,
        ..RequestVariant::for_request(&request)
    };
    let written = serde_json::to_value(body(&request, variant, true)).unwrap();
    assert_eq!(
        written["contents"][1]["parts"],
        json!([
            {"text": "I look."},
            {"functionCall": {"name": "weather", "args": {"city": "Zürich"}}, "thoughtSignature": NO_SIGNATURE},
            {"functionCall": {"id": "k3x9", "name": "weather", "args": {"city": "Zürich"}}},
        ])
    );
}

#[test]
fn a_call_without_a_signature_is_excused_where_one_is_wanted() {
    for (model, signature) in [
        ("gemini-3-flash-preview", json!(NO_SIGNATURE)),
        ("gemini-2.5-flash", Value::Null),
    ] {
        let mut request = asked(model, None);
        let made = Part::ToolCall {
            call: call("call_1"),
            arguments: Value::Null,
        };
        request.messages.push(ChatMessage {
            role: Role::Assistant,
            parts: vec![made.clone(), made],
        });
        let parts = &written(&request)["contents"][1]["parts"];
        assert_eq!(parts[0]["thoughtSignature"], signature);
        assert_eq!(parts[0]["functionCall"]["args"], json!({}));
        assert_eq!(parts[1]["thoughtSignature"], Value::Null);
    }
}

#[test]
fn a_refusal_shows_what_to_leave_out() {
    let mut request = asked("gemini-3-flash-preview", Some(Effort::Medium));
    request.system = Some("Be kind.".into());
    request.sampling.temperature = Some(9.0);
    let variant = RequestVariant::for_request(&request);
    let next = |variant: RequestVariant, said: &str| variant.after_refusal(said, &request);
    let shown = next(variant, "thinking level medium is not supported").unwrap();
    assert_eq!(shown.thinking, Thinking::Shown);
    let silent = next(shown, "thinking_config").unwrap();
    assert_eq!(silent.thinking, Thinking::Silent);
    assert_eq!(next(silent, "thinking again"), None);
    assert!(
        !next(variant, "developer instruction is not enabled")
            .unwrap()
            .system
    );
    assert!(!next(variant, "top_p is deprecated").unwrap().sampling);
    assert_eq!(next(variant, "temperature must be at most 2"), None);
    assert_eq!(next(variant, "missing a thought_signature"), None);
    assert!(
        !next(variant, "corrupted thought signature.")
            .unwrap()
            .signatures
    );
    // A model whose name does not tell that it wants signatures.
    let other = RequestVariant::for_request(&asked("m", None));
    let said = "function call is missing a thought_signature in functioncall parts.";
    let signed = other.after_refusal(said, &request).unwrap();
    assert_eq!((other.signed, signed.signed), (false, true));
    assert_eq!(signed.after_refusal(said, &request), None);
    let none = asked("gemini-3-pro-preview", Some(Effort::None));
    let variant = RequestVariant::for_request(&none);
    let other = variant.after_refusal("thinking level", &none).unwrap();
    assert_eq!(other.thinking, Thinking::Silent);
    assert!(!RequestVariant::for_request(&asked("gemma-3-1b-it", None)).system);
}
