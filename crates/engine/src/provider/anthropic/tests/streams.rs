//! Recorded-looking streams, and what is left of each.

use super::*;
use crate::provider::{ChatMessage, Part, Role, testing::laws};
use headwater_protocol::{ErrorCode, FinishReason, Usage};
use serde_json::{Value, json};

const FIXTURES: laws::Fixtures = laws::fixtures!["anthropic":
    "text.sse",
    "thinking.sse",
    "tools.sse",
    "length.sse",
    "refusal.sse",
    "error.sse",
    "no-finish.sse",
    "no-stop.sse",
    "server-tools.sse",
    "malformed.sse",
    "crlf.sse",
    "whole.json",
    "other-numbers.sse",
];

fn decoder() -> Decoder {
    Decoder::new(endpoint(), String::new())
}

fn folded(name: &str) -> Folded {
    laws::folded(decoder(), FIXTURES, name)
}

#[test]
fn text_with_the_counts_of_the_cache() {
    assert_eq!(
        folded("text.sse"),
        Folded {
            text: "Grüße 👩‍👩‍👧 日本!\n".into(),
            usage: Some(Usage {
                input: 127,
                output: 12,
                cache_read: 100,
                cache_write: 20,
                ..Usage::default()
            }),
            finish: end(FinishReason::Stop, "end_turn"),
            ..Folded::default()
        }
    );
}

#[test]
fn thoughts_come_with_what_proves_them() {
    assert_eq!(
        folded("thinking.sse"),
        Folded {
            reasoning: "Let me see.".into(),
            signatures: vec![
                json!({"type": "thinking", "signature": "c2lnbmF0dXJl"}),
                json!({"type": "redacted_thinking", "data": "aGlkZGVu"}),
            ],
            text: "Yes.".into(),
            usage: Some(Usage {
                input: 30,
                output: 25,
                reasoning: 20,
                ..Usage::default()
            }),
            finish: end(FinishReason::Stop, "end_turn"),
            ..Folded::default()
        }
    );
}

#[test]
fn tool_calls_with_split_arguments() {
    assert_eq!(
        folded("tools.sse"),
        Folded {
            text: "I look.".into(),
            tools: vec![
                tool("toolu_a", "search", r#"{"query": "}é"}"#),
                tool("toolu_b", "clock", ""),
                tool("toolu_c", "whole", r#"{"a":1}"#),
            ],
            usage: usage(50, 40),
            finish: end(FinishReason::ToolCalls, "tool_use"),
            ..Folded::default()
        }
    );
    let cut = folded("length.sse");
    assert_eq!(cut.tools, [tool("toolu_a", "search", r#"{"query": "half"#)]);
    assert_eq!(cut.tools[0].2, Value::Null);
    assert_eq!(cut.finish, end(FinishReason::Length, "max_tokens"));
}

#[test]
fn ends_of_all_kinds() {
    let refusal = folded("refusal.sse");
    assert_eq!(refusal.text, "I would ");
    assert_eq!(refusal.finish, end(FinishReason::Refusal, "refusal"));
    let tools = folded("server-tools.sse");
    assert_eq!(tools.text, "Found.");
    assert_eq!(tools.finish, end(FinishReason::Other, "pause_turn"));
    let window = folded("crlf.sse");
    assert_eq!(window.text, "a\r\nb");
    let word = "model_context_window_exceeded";
    assert_eq!(window.finish, end(FinishReason::Length, word));
    // The finish is there, whatever is missing behind it.
    let early = folded("no-stop.sse");
    assert_eq!(early.text, "All there");
    assert_eq!(early.finish, end(FinishReason::Stop, "stop_sequence"));
    let cut = folded("no-finish.sse");
    assert_eq!(cut.text, "This goes on and");
    assert_eq!((cut.finish, cut.error), (None, None));
    let bare = format!("{HELLO}{STOP}");
    let bare = fold(&laws::read(decoder(), [bare.as_bytes()]));
    assert_eq!(bare.finish, end(FinishReason::Stop, "message_stop"));
    let nothing = laws::read(decoder(), [STOP.as_bytes()]);
    assert_eq!(fold(&nothing), Folded::default());
}

#[test]
fn errors_in_mid_stream_keep_the_text() {
    let busy = folded("error.sse");
    assert_eq!(busy.text, "Half an answer");
    assert_eq!(busy.usage, usage(9, 1));
    assert_eq!(busy.error, Some(ErrorCode::Overloaded));
    let malformed = folded("malformed.sse");
    assert_eq!(malformed.text, "Fine");
    assert_eq!(malformed.error, Some(ErrorCode::Malformed));
}

#[test]
fn an_answer_that_does_not_stream_is_taken_whole() {
    assert_eq!(
        folded("whole.json"),
        Folded {
            reasoning: "Hm.".into(),
            signatures: vec![json!({"type": "thinking", "signature": "c2ln"})],
            text: "All at once.".into(),
            tools: vec![tool("toolu_a", "clock", r#"{"zone":"utc"}"#)],
            usage: usage(6, 5),
            finish: end(FinishReason::ToolCalls, "tool_use"),
            ..Folded::default()
        }
    );
    let error = |body: &[u8]| fold(&laws::read(decoder(), [body])).error;
    let busy = br#"{"type":"error","error":{"type":"overloaded_error","message":"no"}}"#;
    assert_eq!(error(busy), Some(ErrorCode::Overloaded));
    assert_eq!(error(b"{\"hello\":1}"), Some(ErrorCode::Malformed));
    assert_eq!(error(b"<html>"), Some(ErrorCode::Malformed));
    assert_eq!(error(b"data: 7\n\n"), Some(ErrorCode::Malformed));
}

#[test]
fn white_space_at_the_end_of_a_prefill_is_not_written_twice() {
    for (spaces, pieces, text) in [
        ("", &[" a"][..], " a"),
        (" ", &[" a"], "a"),
        (" ", &["a"], "a"),
        ("\n\n", &["\n", "\nb"], "b"),
        ("\n\n", &["\n", "b\n"], "b\n"),
        ("\n", &["\n\n", "b"], "\nb"),
        (" ", &["\n a"], "\n a"),
        ("\u{a0} ", &["\u{a0}", " ", " é"], " é"),
    ] {
        let mut body = HELLO[..HELLO.find("event: content_block_delta").unwrap()].to_owned();
        for piece in pieces {
            let delta = json!({"type": "text_delta", "text": piece});
            let event = json!({"type": "content_block_delta", "index": 0, "delta": delta});
            body += &format!("data: {event}\n\n");
        }
        let items = laws::read(Decoder::new(endpoint(), spaces.into()), [body.as_bytes()]);
        assert_eq!(fold(&items).text, text, "{spaces:?} {pieces:?}");
    }
}

#[test]
fn many_pieces_cost_linear_time() {
    let piece = |text: &str| {
        let delta = json!({"type": "input_json_delta", "partial_json": text});
        let event = json!({"type": "content_block_delta", "index": 0, "delta": delta});
        format!("data: {event}\n\n")
    };
    let block = json!({"type": "tool_use", "id": "a", "name": "f", "input": {}});
    let first = json!({"type": "content_block_start", "index": 0, "content_block": block});
    let mut body = format!("data: {first}\n\n{}", piece("[\""));
    body += &piece("12345678901234567890").repeat(16_000);
    body += &(piece("\"]") + FINISH);
    let start = std::time::Instant::now();
    let folded = fold(&laws::read(decoder(), body.as_bytes().chunks(1400)));
    assert_eq!(folded.tools[0].1.len(), 320_004);
    assert!(folded.tools[0].2.is_array());
    assert!(start.elapsed().as_secs() < 5);
}

laws::all_laws!(decoder, FIXTURES);

#[test]
fn a_thought_goes_back_if_it_is_whole_also_where_nobody_signs() {
    let event = |value: Value| format!("data: {value}\n\n");
    let start = json!({"type": "content_block_start", "index": 0, "content_block": {"type": "thinking", "thinking": ""}});
    let thought = json!({"type": "thinking_delta", "thinking": "Hm."});
    let delta = json!({"type": "content_block_delta", "index": 0, "delta": thought});
    let signature = json!({"type": "signature_delta", "signature": "s"});
    let signed = json!({"type": "content_block_delta", "index": 0, "delta": signature});
    let stop = json!({"type": "content_block_stop", "index": 0});
    let unsigned = json!({"type": "thinking"});
    let whole = json!({"type": "thinking", "signature": "s"});
    for (events, kept) in [
        (vec![&start, &delta], None),
        // Half a signature proves nothing.
        (vec![&start, &delta, &signed], None),
        (vec![&start, &delta, &signed, &stop], Some(&whole)),
        (vec![&start, &delta, &stop], Some(&unsigned)),
    ] {
        let body: String = events.into_iter().cloned().map(event).collect();
        let folded = fold(&laws::read(decoder(), [body.as_bytes()]));
        assert_eq!(folded.signatures.first(), kept);
        let Some(value) = kept else { continue };
        let said = Part::Reasoning {
            text: folded.reasoning,
            value: value.clone(),
        };
        let mut request = ask("m");
        let role = Role::Assistant;
        let parts = vec![said, Part::Text("So.".into())];
        request.messages.push(ChatMessage { role, parts });
        let back =
            &request::body(&request, RequestVariant::likely(&request))["messages"][1]["content"][0];
        let signature = value.get("signature").cloned().unwrap_or("".into());
        assert_eq!(
            *back,
            json!({"type": "thinking", "thinking": "Hm.", "signature": signature})
        );
    }
}

/// What is left of these events, with an end.
fn told(events: &[Value]) -> Folded {
    let mut body: String = events
        .iter()
        .map(|event| format!("data: {event}\n\n"))
        .collect();
    body += FINISH;
    fold(&laws::read(decoder(), [body.as_bytes()]))
}

fn begin(index: Value, block: Value) -> Value {
    json!({"type": "content_block_start", "index": index, "content_block": block})
}

fn delta(index: Value, delta: Value) -> Value {
    json!({"type": "content_block_delta", "index": index, "delta": delta})
}

#[test]
fn blocks_with_wrong_numbers_lose_nothing() {
    let all = folded("other-numbers.sse");
    assert_eq!(all.text, "I look. It is there.");
    assert_eq!(all.tools, [tool("t", "clock", r#"{"a":1}"#)]);
    let text = |text: &str| json!({"type": "text_delta", "text": text});
    let thinking = |text: &str| json!({"type": "thinking_delta", "thinking": text});
    let no_text = json!({"type": "text", "text": ""});
    for (events, reasoning, answer) in [
        // No beginning.
        (
            vec![delta(json!(0), text("a")), delta(json!(0), text("b"))],
            "",
            "ab",
        ),
        // No numbers.
        (
            vec![
                begin(json!(null), no_text.clone()),
                delta(json!(null), text("a")),
            ],
            "",
            "a",
        ),
        // A thought under the number of a text, and the other way round.
        (
            vec![
                begin(json!(0), no_text.clone()),
                delta(json!(0), thinking("a")),
                delta(json!(0), text("b")),
            ],
            "a",
            "b",
        ),
        (
            vec![
                begin(json!(0), json!({"type": "thinking", "thinking": ""})),
                delta(json!(0), thinking("a")),
                delta(json!(0), text("b")),
            ],
            "a",
            "b",
        ),
        // Text behind the end of its block.
        (
            vec![
                begin(json!(0), no_text.clone()),
                delta(json!(0), text("a")),
                json!({"type": "content_block_stop", "index": 0}),
                delta(json!(0), text("b")),
            ],
            "",
            "ab",
        ),
        // Pieces without their kind.
        (
            vec![
                begin(json!(0), no_text),
                delta(json!(0), json!({"text": "a"})),
            ],
            "",
            "a",
        ),
        // All at the beginning.
        (
            vec![
                json!({"type": "message_start", "message": {"content": [{"type": "text", "text": "a"}]}}),
            ],
            "",
            "a",
        ),
        // Thoughts in the text.
        (
            vec![delta(json!(0), text("Hm.\n</think>\n\nSo."))],
            "Hm.\n",
            "So.",
        ),
        (
            vec![delta(json!(0), text("<thinking>Hm.</thinking>So."))],
            "Hm.",
            "So.",
        ),
        // A list of events.
        (vec![json!([delta(json!(0), text("a"))])], "", "a"),
    ] {
        let folded = told(&events);
        let all = (folded.reasoning.as_str(), folded.text.as_str());
        assert_eq!(all, (reasoning, answer), "{events:?}");
    }
    // A call that begins twice is one.
    let call = begin(
        json!(0),
        json!({"type": "tool_use", "id": "t", "name": "f", "input": {}}),
    );
    let arguments = delta(
        json!(0),
        json!({"type": "input_json_delta", "partial_json": "{\"a\":1}"}),
    );
    let tools = told(&[call.clone(), call, arguments]).tools;
    assert_eq!(tools, [tool("t", "f", r#"{"a":1}"#)]);
}

#[test]
fn a_failure_is_understood_wherever_it_is_told() {
    use ErrorCode::*;
    for (body, code) in [
        (
            "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"rate_limit_error\",\"message\":\"x\"}}\n\n",
            RateLimited,
        ),
        (
            "data: {\"type\":\"error\",\"error\":{\"type\":\"authentication_error\",\"message\":\"x\"}}\n\n",
            Authentication,
        ),
        (
            "data: [{\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\"message\":\"x\"}}]\n\n",
            Overloaded,
        ),
        (
            "error: {\"message\":\"prompt is too long: 9 tokens > 8 maximum\"}\n\n",
            ContextTooLong,
        ),
        ("data: {\"message\":\"Too many requests\"}\n\n", RateLimited),
        ("data: Service unavailable\n\n", Overloaded),
        ("{\"message\":\"Forbidden\"}", Permission),
        ("Bad gateway", ProviderError),
        (
            "data: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"error\"}}\n\n",
            ProviderError,
        ),
        (
            "data: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\"}}\n\ndata: {\"type\":\"message_stop\"}\n\n",
            ProviderError,
        ),
        (
            "data: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"refusal\"}}\n\n",
            Refused,
        ),
    ] {
        let folded = fold(&laws::read(decoder(), [body.as_bytes()]));
        assert_eq!(folded.error, Some(code), "{body}");
    }
}

#[test]
fn pieces_that_hold_all_so_far_are_told_once() {
    let pieces = |kind: &str, name: &str, pieces: [&str; 3]| -> String {
        let pieces = pieces.map(|piece| {
            let delta = json!({"type": kind, name: piece});
            let data = json!({"type": "content_block_delta", "index": 0, "delta": delta});
            format!("data: {data}\n\n")
        });
        pieces.concat()
    };
    let grown = ["It is", "It is so,", "It is so, that is all."];
    let end = "data: {\"type\":\"content_block_stop\",\"index\":0}\n\ndata: {\"type\":\"message_stop\"}\n\n";
    let left = |body: String| fold(&laws::read(decoder(), [(body + end).as_bytes()]));
    assert_eq!(left(pieces("text_delta", "text", grown)).text, grown[2]);
    assert_eq!(
        left(pieces("thinking_delta", "thinking", grown)).reasoning,
        grown[2]
    );
    let same = ["ha", "ha", "ha"];
    assert_eq!(left(pieces("text_delta", "text", same)).text, "hahaha");
    let call = json!({"type": "content_block_start", "index": 0,
        "content_block": {"type": "tool_use", "id": "a", "name": "clock", "input": {}}});
    let grown = ["{\"zone\"", "{\"zone\":\"u", "{\"zone\":\"utc\"}"];
    let body = format!("data: {call}\n\n") + &pieces("input_json_delta", "partial_json", grown);
    assert_eq!(left(body).tools[0].2, json!({"zone": "utc"}));
}
