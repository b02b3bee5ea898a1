//! Every dialect, from fixtures of our own making.

use super::*;
use proptest::prelude::*;
use serde_json::json;

fn decoder() -> Decoder {
    Decoder::new(endpoint())
}

/// What comes of a body that arrives in these chunks.
pub(super) fn read<'a>(chunks: impl IntoIterator<Item = &'a [u8]>) -> Vec<Item> {
    laws::read(decoder(), chunks)
}

const FIXTURES: laws::Fixtures = laws::fixtures!["openai":
    "openai.sse",
    "reasoning-content.sse",
    "reasoning-both-names.sse",
    "usage-in-every-chunk.sse",
    "think.sse",
    "tools.sse",
    "tools-whole-same-index.sse",
    "tools-no-index.sse",
    "content-parts.sse",
    "content-filter.sse",
    "refusal.sse",
    "error-object.sse",
    "error-event.sse",
    "no-finish.sse",
    "done-only.sse",
    "malformed.sse",
    "groq.sse",
    "crlf.sse",
    "whole.json",
    "closing-tag.sse",
    "reasoning-details.sse",
    "error-field.sse",
    "growing.sse",
    "other-choice.sse",
    "image.sse",
    "repeated-message.sse",
    "error-beside-choices.sse",
];

pub(super) fn fixture(name: &str) -> &'static [u8] {
    FIXTURES.iter().find(|(known, _)| *known == name).unwrap().1
}

fn folded(name: &str) -> Folded {
    fold(&read([fixture(name)]))
}

#[test]
fn half_an_emoji_does_not_break_the_answer() {
    let body = concat!(
        r#"data: {"choices":[{"index":0,"delta":{"content":"a \ud83d"}}]}"#,
        "\n\n",
        r#"data: {"choices":[{"index":0,"delta":{"content":"\udc4d b"},"finish_reason":"stop"}]}"#,
        "\n\ndata: [DONE]\n\n"
    );
    let folded = fold(&read([body.as_bytes()]));
    assert_eq!(folded.text, "a \u{fffd}\u{fffd} b");
    assert_eq!(folded.finish, end(FinishReason::Stop, "stop"));
}

#[test]
fn plain_text_with_usage_at_the_end() {
    let items = read([fixture("openai.sse")]);
    assert_eq!(
        fold(&items),
        Folded {
            text: "Grüße 👩‍👩‍👧 日本!\n".into(),
            usage: Some(Usage {
                input: 12,
                output: 7,
                cache_read: 8,
                reasoning: 2,
                ..Usage::default()
            }),
            finish: end(FinishReason::Stop, "stop"),
            ..Folded::default()
        }
    );
    // The empty role chunk is no content.
    assert!(matches!(items[0], Ok(ProviderEvent::BlockStarted { .. })));
    assert_eq!(items.len(), 1 + 3 + 3);
}

#[test]
fn reasoning_under_its_various_names() {
    assert_eq!(
        folded("reasoning-content.sse"),
        Folded {
            reasoning: "Let me see.".into(),
            signatures: vec![serde_json::json!({"field": "reasoning_content"})],
            text: "Yes.".into(),
            usage: Some(Usage {
                input: 20,
                output: 9,
                cache_read: 16,
                reasoning: 5,
                ..Usage::default()
            }),
            finish: end(FinishReason::Stop, "stop"),
            ..Folded::default()
        }
    );
    assert_eq!(
        folded("reasoning-both-names.sse"),
        Folded {
            reasoning: "Hmm.".into(),
            signatures: vec![serde_json::json!({"field": "reasoning_content"})],
            text: "No.".into(),
            usage: usage(5, 6),
            finish: end(FinishReason::Length, "length"),
            ..Folded::default()
        }
    );
    assert_eq!(
        folded("content-parts.sse"),
        Folded {
            reasoning: "So. Well.".into(),
            text: "Answer.".into(),
            usage: usage(1, 2),
            finish: end(FinishReason::Stop, "stop"),
            ..Folded::default()
        }
    );
    assert_eq!(
        folded("think.sse"),
        Folded {
            reasoning: "A < B and so.".into(),
            text: "Use <think> as text.".into(),
            finish: end(FinishReason::Stop, "stop"),
            ..Folded::default()
        }
    );
}

#[test]
fn usage_is_never_summed() {
    let counts = folded("usage-in-every-chunk.sse");
    assert_eq!(counts.usage, usage(713, 4));
    assert_eq!(counts.text, "one two three");
    assert_eq!(folded("groq.sse").usage, usage(4, 1));
}

#[test]
fn tool_calls_stay_apart() {
    let tools = folded("tools.sse");
    assert_eq!(
        tools.tools,
        [
            tool("call_a", "search", r#"{"query": "a"}"#),
            tool("call_b", "search", r#"{"query": "}é"}"#),
            tool("call_c", "clock", ""),
        ]
    );
    assert_eq!(tools.finish, end(FinishReason::ToolCalls, "tool_calls"));
    let same = folded("tools-whole-same-index.sse");
    assert_eq!(
        same.tools,
        [
            tool("call_a", "search", r#"{"q":1}"#),
            tool("call_b", "search", r#"{"q":2}"#),
        ]
    );
    assert_eq!(same.text, "I look.");
    assert_eq!(same.finish, end(FinishReason::ToolCalls, "stop"));
    let none = folded("tools-no-index.sse");
    assert_eq!(
        none.tools,
        [
            tool("c00000001", "search", r#"{"q":1}"#),
            tool("c00000002", "search", r#"{"q":2}"#),
            tool("c00000003", "clock", r#"{"zone":"utc"}"#),
            tool("call_z", "broken", r#"{"half":"#),
        ]
    );
    assert_eq!(none.tools[3].2, Value::Null);
}

#[test]
fn pieces_with_ever_new_identifiers_are_one_call() {
    let piece = |id: &str, name: &str, arguments: &str| {
        let call = serde_json::json!({"index": 0, "id": id, "function": {"name": name, "arguments": arguments}});
        format!(
            "data: {}\n\n",
            serde_json::json!({"choices": [{"delta": {"tool_calls": [call]}}]})
        )
    };
    let body = piece("a", "f", "{\"x\"") + &piece("b", "", ":1") + &piece("c", "", "}");
    assert_eq!(
        fold(&read([body.as_bytes()])).tools,
        [(
            ToolCall {
                id: "a".into(),
                name: "f".into()
            },
            "{\"x\":1}".into(),
            // The stream is cut, so that nothing was closed.
            Value::Null
        )]
    );
}

#[test]
fn refusals_and_filters() {
    let refusal = folded("refusal.sse");
    assert_eq!(refusal.refusal, "I would rather not.");
    assert_eq!(refusal.finish, end(FinishReason::Refusal, "stop"));
    let filter = folded("content-filter.sse");
    assert_eq!(filter.text, "Once");
    assert_eq!(
        filter.finish,
        end(FinishReason::ContentFilter, "content_filter")
    );
}

#[test]
fn errors_in_mid_stream_keep_the_text() {
    let object = folded("error-object.sse");
    assert_eq!(object.error, Some(ErrorCode::Overloaded));
    assert_eq!(object.text, "Half an answer");
    assert_eq!(object.usage, usage(3, 2));
    let event = folded("error-event.sse");
    assert_eq!(event.error, Some(ErrorCode::RateLimited));
    let malformed = folded("malformed.sse");
    assert_eq!(malformed.error, Some(ErrorCode::Malformed));
    assert_eq!(malformed.text, "Fine");
}

#[test]
fn the_end_is_what_the_provider_says() {
    let cut = folded("no-finish.sse");
    assert_eq!((cut.finish, cut.error), (None, None));
    assert_eq!(cut.text, "This goes on <b and");
    let done = folded("done-only.sse");
    assert_eq!(done.finish, end(FinishReason::Stop, "[DONE]"));
    // Nothing at all is no answer, even with the mark of the end.
    assert_eq!(fold(&read([&b"data: [DONE]\n\n"[..]])), Folded::default());
    assert_eq!(fold(&read([&b""[..]])), Folded::default());
    assert_eq!(
        fold(&read([&b": ping\n\n: ping\n\n"[..]])),
        Folded::default()
    );
    assert_eq!(folded("crlf.sse").text, "a\r\nb");
    assert_eq!(folded("crlf.sse").finish, end(FinishReason::Stop, "stop"));
    let odd = br#"data: {"choices":[{"delta":{"content":"x"},"finish_reason":"moon"}]}"#;
    assert_eq!(
        fold(&read([&odd[..]])).finish,
        end(FinishReason::Other, "moon")
    );
}

#[test]
fn an_answer_that_does_not_stream_is_taken_whole() {
    assert_eq!(
        folded("whole.json"),
        Folded {
            reasoning: "Hm.".into(),
            text: "All at once.".into(),
            tools: vec![tool("call_a", "clock", "{}")],
            usage: usage(6, 5),
            finish: end(FinishReason::ToolCalls, "stop"),
            ..Folded::default()
        }
    );
    let error = |body: &[u8]| fold(&read([body])).error;
    assert_eq!(
        error(br#"{"error":{"message":"no","type":"overloaded_error"}}"#),
        Some(ErrorCode::Overloaded)
    );
    assert_eq!(error(b"{\"hello\":1}"), Some(ErrorCode::Malformed));
    assert_eq!(error(b"{}}"), Some(ErrorCode::Malformed));
    assert_eq!(error(b"<!doctype html>"), Some(ErrorCode::Malformed));
    assert_eq!(error(b"data: 7\n\n"), Some(ErrorCode::Malformed));
}

laws::all_laws!(decoder, FIXTURES);

#[test]
fn sixteen_thousand_pieces_of_arguments_cost_linear_time() {
    let piece = |arguments: &str| {
        format!(
            "data: {}\n\n",
            serde_json::json!({"choices": [{"delta": {"tool_calls": [{"index": 0, "function": {"arguments": arguments}}]}}]})
        )
    };
    let mut body = String::from(
        "data: {\"choices\":[{\"delta\":{\"tool_calls\":[{\"index\":0,\"id\":\"a\",\"function\":{\"name\":\"f\"}}]}}]}\n\n",
    );
    body += &piece("[\"");
    body += &piece("12345678901234567890").repeat(16_000);
    body += &piece("\"]");
    body += "data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"tool_calls\"}]}\n\n";
    let start = std::time::Instant::now();
    let folded = fold(&read(body.as_bytes().chunks(1400)));
    assert_eq!(folded.tools[0].1.len(), 320_004);
    assert!(folded.tools[0].2.is_array());
    assert!(start.elapsed().as_secs() < 5);
}

proptest! {
    #[test]
    fn text_in_any_pieces_is_sorted_the_same(
        pieces in proptest::collection::vec("[a<>/ \n]|<think>|</think>|thi|é", 0..12),
    ) {
        // A piece that begins with all before it, if that is long enough, repeats it (see `pieces`).
        let mut before = String::new();
        for piece in &pieces {
            let repeats = before.len() >= 4 && piece.len() > before.len();
            prop_assume!(!(repeats && piece.starts_with(&before)));
            before += piece;
        }
        let stream = |pieces: &[String]| {
            let mut body = String::new();
            for piece in pieces {
                let chunk = serde_json::json!({"choices": [{"delta": {"content": piece}}]});
                body += &format!("data: {chunk}\n\n");
            }
            let folded = fold(&read([(body + "data: {\"choices\":[{\"finish_reason\":\"stop\"}]}\n\n").as_bytes()]));
            (folded.reasoning, folded.text)
        };
        let single: Vec<_> = pieces.concat().chars().map(String::from).collect();
        prop_assert_eq!(stream(&pieces), stream(&single));
        prop_assert_eq!(stream(&pieces), stream(&[pieces.concat()]));
    }
}

/// The stream with a field in every chunk that nobody knows, so that none is plain.
fn without_plain_chunks(body: &[u8]) -> Vec<u8> {
    let text = String::from_utf8_lossy(body);
    text.replace("data: {", "data: {\"x_unknown\":1,")
        .replace("data:{", "data:{\"x_unknown\":1,")
        .into_bytes()
}

#[test]
fn a_plain_chunk_is_read_as_any_other() {
    let mut plain = 0;
    for (name, body) in FIXTURES {
        let text = String::from_utf8_lossy(body);
        let data = text.lines().filter_map(|line| line.strip_prefix("data:"));
        plain += data
            .filter(|data| plain::read(data.trim()).is_some())
            .count();
        let other = without_plain_chunks(body);
        assert_eq!(read([&body[..]]), read([&other[..]]), "{name}");
    }
    assert!(plain > 20, "{plain}");
    let more_than_text = [
        r#"{"choices":[{"index":0,"delta":{"content":""}}]}"#,
        r#"{"choices":[{"index":0,"delta":{"content":"a","audio":{}}}]}"#,
        r#"{"choices":[{"index":0,"delta":{"content":"a"},"finish_reason":"stop"}]}"#,
        r#"{"choices":[{"index":0,"delta":{"content":"a"}}],"usage":{"prompt_tokens":1}}"#,
        r#"{"choices":[{"index":0,"delta":{"content":"a"}},{"index":1,"delta":{"content":"b"}}]}"#,
        r#"{"choices":[{"index":0,"delta":{"content":"a"}}],"error":{"message":"no"}}"#,
        r#"{"choices":[{"index":0,"delta":{"content":"a","reasoning":"b"}}]}"#,
        r#"{"choices":[{"index":0,"delta":{"content":"a","content":"b"}}]}"#,
        r#"{"choices":[{"index":0,"delta":{"content":"\ud83d"}}]}"#,
    ];
    for data in more_than_text {
        assert_eq!(plain::read(data), None, "{data}");
    }
}

proptest! {
    #[test]
    fn plain_chunks_among_others_are_read_as_any_other(
        chunks in prop::collection::vec((0u64..3, "[a-z<>/ ]{0,6}", 0u8..6), 0..30),
    ) {
        let mut body = String::new();
        for (index, text, kind) in &chunks {
            let text = if *kind == 5 { "<think>" } else { text };
            let delta = match kind {
                0 => json!({"reasoning": text, "content": null}),
                1 => json!({"content": [{"type": "text", "text": text}]}),
                _ => json!({"content": text, "role": "assistant"}),
            };
            let index = if *kind == 2 { json!(null) } else { json!(index / 2) };
            let chunk = json!({"id": "1", "choices": [{"index": index, "delta": delta, "finish_reason": null}]});
            body.push_str(&format!("data: {chunk}\n\n"));
        }
        body.push_str("data: [DONE]\n\n");
        let other = without_plain_chunks(body.as_bytes());
        prop_assert_eq!(read([body.as_bytes()]), read([&other[..]]));
    }
}
