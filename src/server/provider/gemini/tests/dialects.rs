//! What comes of an answer, from fixtures of our own making.

use super::*;
use serde_json::{Value, json};

fn decoder() -> Decoder {
    Decoder::new(who())
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
    use crate::protocol::BlockKind::*;
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
            Ok(ProviderEvent::BlockStarted { kind, .. }) if *kind == crate::protocol::BlockKind::Text
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
    assert_eq!(
        malformed.finish,
        end(FinishReason::Other, "MALFORMED_FUNCTION_CALL")
    );
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
        ("MALFORMED_FUNCTION_CALL", FinishReason::Other),
        ("UNEXPECTED_TOOL_CALL", FinishReason::Other),
        ("FUNCTION_CALL", FinishReason::ToolCalls),
        ("OTHER", FinishReason::Other),
        ("NEW_IN_2030", FinishReason::Other),
    ] {
        let body = json!({"candidates": [{"finishReason": word}]});
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
    let body = HELLO.repeat(20_000) + STOP;
    let start = std::time::Instant::now();
    let folded = fold(&laws::read(decoder(), body.as_bytes().chunks(1400)));
    assert_eq!(folded.text.len(), 100_000);
    assert!(folded.finish.is_some());
    assert!(start.elapsed().as_secs() < 5);
}
