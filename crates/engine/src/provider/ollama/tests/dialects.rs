//! What comes of an answer, from fixtures of our own making.

use super::*;
use serde_json::json;

fn decoder() -> Decoder {
    Decoder::new(endpoint(), "m".into(), Arc::default())
}

const FIXTURES: laws::Fixtures = laws::fixtures!["ollama":
    "text.ndjson",
    "thinking.ndjson",
    "think-tag.ndjson",
    "calls.ndjson",
    "length.ndjson",
    "error.ndjson",
    "busy.ndjson",
    "cut.ndjson",
    "old.ndjson",
    "load.ndjson",
    "whole.ndjson",
    "not-json.ndjson",
    "closing-tag.ndjson",
    "image.ndjson",
];

fn folded(name: &str) -> Folded {
    laws::folded(decoder(), FIXTURES, name)
}

fn read(body: &str) -> Folded {
    fold(&laws::read(decoder(), [body.as_bytes()]))
}

#[test]
fn plain_text_with_counts_at_the_end() {
    assert_eq!(
        folded("text.ndjson"),
        Folded {
            text: "Grüße 👩‍👩‍👧 日本!\n".into(),
            usage: usage(11, 5),
            finish: end(FinishReason::Stop, "stop"),
            ..Folded::default()
        }
    );
    assert_eq!(
        folded("old.ndjson"),
        Folded {
            text: "Old servers.".into(),
            usage: usage(7, 4),
            finish: end(FinishReason::Stop, "done"),
            ..Folded::default()
        }
    );
    // A server that does not stream sends one line.
    assert_eq!(
        folded("whole.ndjson"),
        Folded {
            reasoning: "Hm.".into(),
            signatures: vec![json!({"field": "thinking"})],
            text: "All at once.".into(),
            usage: usage(6, 5),
            finish: end(FinishReason::Stop, "stop"),
            ..Folded::default()
        }
    );
}

#[test]
fn thinking_is_found_beside_the_text_and_in_it() {
    assert_eq!(
        folded("thinking.ndjson"),
        Folded {
            reasoning: "Let me see.".into(),
            signatures: vec![json!({"field": "thinking"})],
            text: "Seven <think> apples.".into(),
            usage: usage(20, 9),
            finish: end(FinishReason::Stop, "stop"),
            ..Folded::default()
        }
    );
    assert_eq!(
        folded("think-tag.ndjson"),
        Folded {
            reasoning: "A < B so.".into(),
            text: "Seven.".into(),
            usage: usage(20, 12),
            finish: end(FinishReason::Stop, "stop"),
            ..Folded::default()
        }
    );
}

#[test]
fn a_model_that_thinks_is_remembered() {
    for (name, thinks) in [
        ("text.ndjson", false),
        ("think-tag.ndjson", true),
        ("cut.ndjson", true),
    ] {
        let thinkers = Arc::<Thinkers>::default();
        let decoder = Decoder::new(endpoint(), "m".into(), thinkers.clone());
        laws::folded(decoder, FIXTURES, name);
        assert_eq!(thinkers.has("m"), thinks, "{name}");
        assert!(!thinkers.has("other"));
    }
}

#[test]
fn calls_come_whole() {
    assert_eq!(
        folded("calls.ndjson"),
        Folded {
            text: "I look.".into(),
            tools: vec![
                tool("c00000001", "weather", r#"{"city":"Zürich","days":2}"#),
                tool("c00000002", "weather", r#"{"city":"}\"{"}"#),
                tool("call_k3x9ab", "clock", "{}"),
            ],
            usage: usage(90, 40),
            finish: end(FinishReason::ToolCalls, "stop"),
            ..Folded::default()
        }
    );
    // Arguments as text, none, and half of them.
    let call = |arguments: serde_json::Value| {
        let call = json!([{"function": {"name": "f", "arguments": arguments}}]);
        let line = json!({"message": {"tool_calls": call}, "done": false});
        read(&format!("{line}\n")).tools[0].2.clone()
    };
    assert_eq!(call(json!("{\"a\":1}")), json!({"a": 1}));
    assert_eq!(call(json!(null)), json!({}));
    assert_eq!(call(json!("{\"a\"")), json!("{\"a\""));
}

#[test]
fn errors_in_mid_stream_keep_the_text() {
    let failed = folded("error.ndjson");
    assert_eq!(failed.text, "Half an answer");
    assert_eq!(failed.error, Some(ErrorCode::ProviderError));
    let busy = folded("busy.ndjson");
    assert_eq!(busy.error, Some(ErrorCode::Overloaded));
    let malformed = folded("not-json.ndjson");
    assert_eq!(malformed.text, "Fine");
    assert_eq!(malformed.error, Some(ErrorCode::Malformed));
}

#[test]
fn the_end_is_what_the_provider_says() {
    let cut = folded("cut.ndjson");
    assert_eq!((cut.finish, cut.error), (None, None));
    assert_eq!(cut.text, "This goes on");
    assert_eq!(cut.reasoning, "Hm.");
    let long = folded("length.ndjson");
    assert_eq!(long.finish, end(FinishReason::Length, "length"));
    // Nothing was asked, so there is no answer.
    let load = folded("load.ndjson");
    assert_eq!(
        (load.finish, load.error),
        (None, Some(ErrorCode::ProviderError))
    );
    assert_eq!(read(""), Folded::default());
    assert_eq!(read("{}\n"), Folded::default());
    // What follows the end is nobody's.
    assert_eq!(read(&format!("{HELLO}{STOP}{HELLO}")).text, "Hello");
    // The last line counts without its end if it is whole.
    let body = format!("{HELLO}{}", STOP.trim_end());
    assert_eq!(read(&body).finish, end(FinishReason::Stop, "stop"));
    assert_eq!(read(&body[..body.len() - 1]).finish, None);
    for body in ["<html>", "[1]", "7\n", "{\"a\":1}}\n"] {
        let folded = read(body);
        assert_eq!(folded.finish, None, "{body}");
        assert!(folded.error.is_some() || body == "7\n", "{body}");
    }
}

#[test]
fn other_ends_of_lines_and_blank_lines_change_nothing() {
    for (name, bytes) in FIXTURES {
        let text = std::str::from_utf8(bytes).unwrap();
        let whole = laws::read(decoder(), [*bytes]);
        for other in [
            text.replace('\n', "\r\n"),
            text.replace('\n', "\n\n"),
            text.replace('\n', "\r\n \r\n"),
            format!("\n\n {text}"),
        ] {
            assert_eq!(laws::read(decoder(), [other.as_bytes()]), whole, "{name}");
            let single = other.as_bytes().chunks(1);
            assert_eq!(laws::read(decoder(), single), whole, "{name}");
        }
    }
}

laws::all_laws!(decoder, FIXTURES);

#[test]
fn twenty_thousand_lines_cost_linear_time() {
    laws::linear_time(decoder(), HELLO, STOP);
}

#[test]
fn no_text_is_lost_and_none_told_twice() {
    let ant = folded("closing-tag.ndjson");
    let told = (ant.reasoning.as_str(), ant.text.as_str());
    assert_eq!(told, ("Six legs.\n", "An ant."));
    let line =
        |message: serde_json::Value| format!("{}\n", json!({"message": message, "done": false}));
    let end = "{\"done\":true,\"done_reason\":\"stop\"}\n";
    for (body, reasoning, text) in [
        (
            ["It", "It is", "It is so."]
                .map(|text| line(json!({"content": text})))
                .concat(),
            "",
            "It is so.",
        ),
        (
            line(json!({"reasoning": "Hm.", "content": "So."})),
            "Hm.",
            "So.",
        ),
        (
            line(json!({"thinking": "Hm.", "reasoning": "Hm.", "content": "So."})),
            "Hm.",
            "So.",
        ),
        (
            "{\"response\":\"So.\",\"thinking\":\"Hm.\",\"done\":false}\n".into(),
            "Hm.",
            "So.",
        ),
        (
            line(json!({"content": "<thinking>Hm.</thinking>So."})),
            "Hm.",
            "So.",
        ),
    ] {
        let folded = read(&(body.clone() + end));
        let told = (folded.reasoning.as_str(), folded.text.as_str());
        assert_eq!(told, (reasoning, text), "{body}");
    }
}

#[test]
fn images_are_shown_and_calls_come_once() {
    let all = folded("image.ndjson");
    assert_eq!(
        (all.text.as_str(), all.images),
        ("Here.", vec!["image/png".to_owned()])
    );
    assert_eq!(all.tools, [tool("a", "f", "{\"x\":1}")]);
}

#[test]
fn a_failure_is_understood_wherever_it_is_told() {
    for (body, code) in [
        ("error: overloaded\n\n", ErrorCode::Overloaded),
        (
            "event: error\ndata: {\"error\":\"overloaded\"}\n\n",
            ErrorCode::Overloaded,
        ),
        (
            "{\"error\":{\"message\":\"the input length exceeds the context length\"}}\n",
            ErrorCode::ContextTooLong,
        ),
        (
            "[{\"error\":\"too many requests\"}]",
            ErrorCode::RateLimited,
        ),
        (
            "{\"message\":\"Unauthorized\"}\n",
            ErrorCode::Authentication,
        ),
        ("{\"detail\":\"Forbidden\"}\n", ErrorCode::Permission),
        ("Internal Server Error", ErrorCode::ProviderError),
        (
            "{\"done\":true,\"done_reason\":\"error\"}\n",
            ErrorCode::ProviderError,
        ),
        (
            "{\"done\":true,\"done_reason\":\"stop\"}\n",
            ErrorCode::ProviderError,
        ),
    ] {
        assert_eq!(read(body).error, Some(code), "{body}");
    }
    let half = format!("{HELLO}Internal Server Error\n");
    assert_eq!(read(&half).error, Some(ErrorCode::ProviderError));
}
