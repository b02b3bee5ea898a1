//! What comes of an answer, from fixtures of our own making.

use super::*;
use serde_json::{Value, json};

fn decoder() -> Decoder {
    Decoder::new(endpoint())
}

const FIXTURES: laws::Fixtures = laws::fixtures!["gemini":
    "text.sse",
    "thinking.sse",
    "calls.sse",
    "signed.sse",
    "blocked.sse",
    "safety.sse",
    "max-tokens.sse",
    "malformed-call.sse",
    "error.sse",
    "cut.sse",
    "no-parts.sse",
    "not-json.sse",
    "list.json",
    "growing.sse",
    "image.sse",
];

fn folded(name: &str) -> Folded {
    laws::folded(decoder(), FIXTURES, name)
}

fn read(body: &str) -> Folded {
    fold(&laws::read(decoder(), [body.as_bytes()]))
}

fn usage(input: u64, output: u64, reasoning: u64) -> Option<Usage> {
    Some(Usage {
        input,
        output,
        reasoning,
        ..Usage::default()
    })
}

fn signed(signature: &str, part: &str) -> Value {
    json!({"thoughtSignature": signature, "part": part})
}

#[test]
fn plain_text_with_counts_in_every_chunk() {
    assert_eq!(
        folded("text.sse"),
        Folded {
            text: "Grüße 👩‍👩‍👧 日本!\n".into(),
            usage: Some(Usage {
                input: 9,
                output: 7,
                cache_read: 4,
                ..Usage::default()
            }),
            finish: end(FinishReason::Stop, "STOP"),
            ..Folded::default()
        }
    );
    assert_eq!(
        folded("list.json"),
        Folded {
            text: "All at once.".into(),
            usage: usage(4, 3, 0),
            finish: end(FinishReason::Stop, "STOP"),
            ..Folded::default()
        }
    );
    let bare = folded("no-parts.sse");
    assert_eq!(bare.text, "Fine.");
    assert_eq!(bare.usage, usage(2, 1, 0));
    assert_eq!(bare.finish, end(FinishReason::Stop, "STOP"));
}

#[test]
fn thoughts_are_reasoning_and_count_as_output() {
    assert_eq!(
        folded("thinking.sse"),
        Folded {
            reasoning: "**Look**\nSeven it is.".into(),
            text: "Seven apples.".into(),
            signatures: vec![signed("c2lnLXRleHQ=", "text")],
            usage: usage(12, 36, 33),
            finish: end(FinishReason::Stop, "STOP"),
            ..Folded::default()
        }
    );
}

#[test]
fn calls_come_whole_and_their_signature_goes_before_them() {
    assert_eq!(
        folded("calls.sse"),
        Folded {
            reasoning: "I need the weather.".into(),
            text: "I look. ".into(),
            tools: vec![
                tool("c00000001", "weather", r#"{"city":"Zürich","days":2}"#),
                tool("c00000002", "weather", r#"{"city":"}\"{"}"#),
                tool("k3x9", "clock", "{}"),
            ],
            signatures: vec![signed("c2lnLWNhbGw=", "call")],
            usage: usage(40, 42, 12),
            finish: end(FinishReason::ToolCalls, "STOP"),
            ..Folded::default()
        }
    );
    let (_, bytes) = FIXTURES[2];
    let items = laws::read(decoder(), [bytes]);
    let kinds: Vec<_> = items
        .iter()
        .filter_map(|item| match item {
            Ok(ProviderEvent::BlockStarted { kind, .. }) => Some(*kind),
            _ => None,
        })
        .collect();
    use headwater_protocol::BlockKind::*;
    assert_eq!(
        kinds,
        [Reasoning, Text, Reasoning, ToolInput, ToolInput, ToolInput]
    );
}

#[test]
fn every_signature_is_kept_where_it_stood() {
    let signed_parts = folded("signed.sse");
    assert_eq!(
        signed_parts.signatures,
        [
            signed("c2lnLTE=", "thought"),
            signed("c2lnLTI=", "thought"),
            signed("c2lnLTM=", "text"),
            signed("c2lnLTQ=", "thought"),
        ]
    );
    assert_eq!(signed_parts.reasoning, "First. Then.More.");
    assert_eq!(signed_parts.text, "Signed and on.");
    // A signature tears no text into two blocks.
    let items = laws::read(decoder(), [FIXTURES[3].1]);
    let texts = items.iter().filter(|item| {
        matches!(
            item,
            Ok(ProviderEvent::BlockStarted { kind, .. }) if *kind == headwater_protocol::BlockKind::Text
        )
    });
    assert_eq!(texts.count(), 1);
}

#[test]
fn filters_are_told_apart_from_failures() {
    let blocked = folded("blocked.sse");
    assert_eq!(blocked.error, Some(ErrorCode::ContentFiltered));
    assert_eq!(blocked.usage, usage(6, 0, 0));
    let items = laws::read(decoder(), [FIXTURES[4].1]);
    let error = items.last().unwrap().as_ref().unwrap_err();
    assert_eq!(
        error.message,
        "A content filter of Acme stopped the prompt. Its reason: PROHIBITED_CONTENT."
    );
    assert!(!error.retryable);
    let safety = folded("safety.sse");
    assert_eq!(safety.text, "Once upon");
    assert_eq!(safety.finish, end(FinishReason::ContentFilter, "SAFETY"));
    let failed = folded("error.sse");
    assert_eq!(failed.text, "Half an answer");
    assert_eq!(failed.usage, usage(3, 2, 0));
    assert_eq!(failed.error, Some(ErrorCode::Overloaded));
    let malformed = folded("not-json.sse");
    assert_eq!(malformed.text, "Fine");
    assert_eq!(malformed.error, Some(ErrorCode::Malformed));
}

#[test]
fn the_end_is_what_the_provider_says() {
    let cut = folded("cut.sse");
    assert_eq!((cut.finish, cut.error), (None, None));
    assert_eq!(cut.text, "This goes on");
    assert_eq!(cut.usage, usage(3, 4, 2));
    let long = folded("max-tokens.sse");
    assert_eq!(long.finish, end(FinishReason::Length, "MAX_TOKENS"));
    let malformed = folded("malformed-call.sse");
    assert_eq!(malformed.text, "Let me");
    assert_eq!(malformed.error, Some(ErrorCode::ProviderError));
    assert_eq!(read(""), Folded::default());
    assert_eq!(read("data: {}\n\n"), Folded::default());
    for (word, reason) in [
        ("STOP", FinishReason::Stop),
        ("MAX_TOKENS", FinishReason::Length),
        ("SAFETY", FinishReason::ContentFilter),
        ("RECITATION", FinishReason::ContentFilter),
        ("LANGUAGE", FinishReason::ContentFilter),
        ("BLOCKLIST", FinishReason::ContentFilter),
        ("PROHIBITED_CONTENT", FinishReason::ContentFilter),
        ("SPII", FinishReason::ContentFilter),
        ("FUNCTION_CALL", FinishReason::ToolCalls),
        ("OTHER", FinishReason::Other),
        ("NEW_IN_2030", FinishReason::Other),
    ] {
        let content = json!({"parts": [{"text": "x"}]});
        let body = json!({"candidates": [{"content": content, "finishReason": word}]});
        let folded = read(&format!("data: {body}\n\n"));
        assert_eq!(folded.finish, end(reason, word));
    }
}

#[test]
fn what_is_not_the_protocol_is_an_error() {
    for body in [
        "data: 7\n\n",
        "data: [\n\n",
        "{\"hello\":1}",
        "{}}",
        "[1,2]",
        "<html>",
    ] {
        assert_eq!(read(body).error, Some(ErrorCode::Malformed), "{body}");
    }
    // Errors come as an object, in a list, and from a proxy as an event of that name.
    let refused = r#"{"error":{"code":429,"message":"x","status":"RESOURCE_EXHAUSTED"}}"#;
    for body in [
        refused.to_owned(),
        format!("[{refused}]"),
        format!("data: {refused}\n\n"),
        format!("event: error\ndata: {refused}\n\n"),
    ] {
        assert_eq!(read(&body).error, Some(ErrorCode::RateLimited), "{body}");
    }
}

#[test]
fn half_an_emoji_breaks_no_answer() {
    let body = HELLO.replace("Hello", "\\ud83d") + &HELLO.replace("Hello", "\\udc4d") + STOP;
    let folded = read(&body);
    assert_eq!(folded.text, "\u{fffd}\u{fffd}");
    assert_eq!(folded.finish, end(FinishReason::Stop, "STOP"));
}

#[test]
fn only_the_first_candidate_is_listened_to() {
    let body = json!({"candidates": [
        {"index": 1, "content": {"parts": [{"text": "No"}]}, "finishReason": "STOP"},
        {"index": 0, "content": {"parts": [{"text": "Yes"}, {"odd": 1}, 7]}},
    ]});
    let folded = read(&format!("data: {body}\n\n"));
    assert_eq!((folded.text.as_str(), folded.finish), ("Yes", None));
}

laws::all_laws!(decoder, FIXTURES);

#[test]
fn twenty_thousand_chunks_cost_linear_time() {
    laws::linear_time(decoder(), HELLO, STOP);
}

#[test]
fn no_text_is_lost_and_none_told_twice() {
    let kite = folded("growing.sse");
    let told = (kite.reasoning.as_str(), kite.text.as_str());
    assert_eq!(told, ("Look up.", "A kite is up."));
    let response = |candidate: Value| format!("data: {}\n\n", json!({"candidates": [candidate]}));
    let text = |text: &str| json!({"parts": [{"text": text}]});
    for (body, told) in [
        (response(json!({"index": 1, "content": text("a")})), "a"),
        (response(json!({"content": {"parts": {"text": "a"}}})), "a"),
        (
            format!(
                "data: [{}]\n\n",
                json!({"candidates": [{"content": text("a")}]})
            ),
            "a",
        ),
        (
            response(json!({"content": text("a"), "finishReason": "FINISH_REASON_UNSPECIFIED"}))
                + &response(json!({"content": text("b")})),
            "ab",
        ),
        (
            response(json!({"content": text("They ask.\n</think>\n\nYes.")})),
            "Yes.",
        ),
    ] {
        assert_eq!(read(&(body.clone() + STOP)).text, told, "{body}");
    }
    let thought = response(json!({"content": {"parts": [{"thought": "Hm."}]}}));
    assert_eq!(read(&(thought + STOP)).reasoning, "Hm.");
    let call = json!({"functionCall": {"id": "a", "name": "f", "args": {}}});
    let call = response(json!({"content": {"parts": [call]}}));
    assert_eq!(read(&(call.repeat(2) + STOP)).tools.len(), 1);
}

#[test]
fn what_is_not_words_is_shown_or_said() {
    let all = folded("image.sse");
    assert_eq!(all.images, ["image/png"]);
    for part in ["Here.", "```python\nprint(1)\n```", "```\n1\n```", "sound"] {
        assert!(all.text.contains(part), "{part}: {}", all.text);
    }
}

#[test]
fn an_end_without_a_word_is_no_answer() {
    let ended = |candidate: Value| {
        let body = json!({"candidates": [candidate]});
        match laws::read(decoder(), [format!("data: {body}\n\n").as_bytes()]).pop() {
            Some(Err(error)) => error,
            other => panic!("{other:?}"),
        }
    };
    let error = ended(json!({"content": {"parts": [{"text": ""}]}, "finishReason": "STOP"}));
    assert_eq!(
        (error.code, error.retryable),
        (ErrorCode::ProviderError, true)
    );
    let error = ended(json!({"finishReason": "MAX_TOKENS"}));
    assert_eq!((error.code, error.retryable), (ErrorCode::Truncated, false));
    let error = ended(json!({"finishReason": "NO_IMAGE"}));
    assert!(error.message.contains("NO_IMAGE"), "{error}");
    let said = "Malformed function call: f(";
    let error = ended(json!({"finishReason": "MALFORMED_FUNCTION_CALL", "finishMessage": said}));
    assert!(error.message.contains(said), "{error}");
}

#[test]
fn a_failure_is_understood_wherever_it_is_told() {
    let long = r#"{"error":{"code":400,"message":"The input token count (9) exceeds the maximum number of tokens allowed (8).","status":"INVALID_ARGUMENT"}}"#;
    for (body, code) in [
        (format!("error: {long}\n\n"), ErrorCode::ContextTooLong),
        (format!("data: [{long}]\n\n"), ErrorCode::ContextTooLong),
        (format!(": hi\n\n{long}\n\n"), ErrorCode::ContextTooLong),
        (
            "data: Service unavailable\n\n".into(),
            ErrorCode::Overloaded,
        ),
        (
            "{\"message\":\"Too many requests\"}".into(),
            ErrorCode::RateLimited,
        ),
        ("upstream connect error".into(), ErrorCode::ProviderError),
    ] {
        assert_eq!(read(&body).error, Some(code), "{body}");
    }
}
