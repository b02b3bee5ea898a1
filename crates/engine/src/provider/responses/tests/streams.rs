//! Recorded-looking streams, and what is left of each.

use super::*;
use crate::provider::testing::laws;
use headwater_protocol::{ErrorCode, FinishReason, Usage};
use serde_json::{Value, json};

const FIXTURES: laws::Fixtures = laws::fixtures!["responses":
    "text.sse",
    "reasoning.sse",
    "reasoning-text.sse",
    "tools.sse",
    "length.sse",
    "filter.sse",
    "refusal.sse",
    "failed.sse",
    "error.sse",
    "no-finish.sse",
    "done-only.sse",
    "completed-only.sse",
    "unnumbered.sse",
    "malformed.sse",
    "crlf.sse",
    "whole.json",
    "other-places.sse",
    "image.sse",
];

fn decoder() -> Decoder {
    Decoder::new(endpoint())
}

fn folded(name: &str) -> Folded {
    laws::folded(decoder(), FIXTURES, name)
}

fn kept(id: &str, encrypted: &str) -> Value {
    json!({"type": "reasoning", "id": id, "encrypted_content": encrypted})
}

/// The first thought of the fixtures, whose summary has two parts.
fn parts() -> Value {
    let part = |text: &str| json!({"type": "summary_text", "text": text});
    let mut kept = kept("rs_1", "ZW5jcnlwdGVk");
    kept["summary"] = json!([part("Let me see."), part("Well.")]);
    kept
}

#[test]
fn an_event_that_comes_twice_is_told_once() {
    let body = "event: response.output_text.delta\ndata: {\"type\":\"response.output_text.delta\",\
                \"output_index\":0,\"content_index\":0,\"delta\":\"ha\",\"sequence_number\":N}\n\n";
    let twice = |numbers: [u64; 2]| {
        let body: String = numbers
            .iter()
            .map(|n| body.replace('N', &n.to_string()))
            .collect();
        fold(&laws::read(decoder(), [body.as_bytes()])).text
    };
    assert_eq!(twice([4, 5]), "haha");
    assert_eq!(twice([4, 4]), "ha");
    // A server that does not count may say the same twice.
    assert_eq!(twice([0, 0]), "haha");
}

#[test]
fn text_is_told_once_with_the_counts_of_the_cache() {
    assert_eq!(
        folded("text.sse"),
        Folded {
            text: "Grüße 👩‍👩‍👧 日本!\n".into(),
            usage: Some(Usage {
                input: 120,
                output: 12,
                cache_read: 100,
                ..Usage::default()
            }),
            finish: end(FinishReason::Stop, "completed"),
            ..Folded::default()
        }
    );
}

#[test]
fn thoughts_come_with_their_encrypted_form() {
    assert_eq!(
        folded("reasoning.sse"),
        Folded {
            reasoning: "Let me see.\n\nWell.".into(),
            signatures: vec![parts(), kept("rs_2", "bW9yZQ==")],
            text: "Yes.".into(),
            usage: Some(Usage {
                input: 30,
                output: 25,
                reasoning: 20,
                ..Usage::default()
            }),
            finish: end(FinishReason::Stop, "completed"),
            ..Folded::default()
        }
    );
    let open = folded("reasoning-text.sse");
    assert_eq!(
        (open.reasoning.as_str(), open.text.as_str()),
        ("Hmm.", "No.")
    );
    // A server that shows the thought itself wants that back.
    let shown = json!({"type": "reasoning", "id": "rs_1", "shown": true});
    assert_eq!(open.signatures, [shown]);
}

#[test]
fn tool_calls_with_split_arguments() {
    assert_eq!(
        folded("tools.sse"),
        Folded {
            text: "I look.".into(),
            tools: vec![
                tool("call_a", "search", r#"{"query": "}é"}"#),
                tool("call_b", "clock", ""),
                tool("call_c", "whole", r#"{"a":1}"#),
            ],
            usage: usage(50, 40),
            finish: end(FinishReason::ToolCalls, "completed"),
            ..Folded::default()
        }
    );
    // Servers that number nothing.
    assert_eq!(
        folded("unnumbered.sse").tools,
        [
            tool("call_a", "search", r#"{"q":1}"#),
            tool("call_b", "search", r#"{"q":2}"#),
        ]
    );
}

#[test]
fn what_comes_only_when_it_is_done_is_told_once() {
    let done = folded("done-only.sse");
    assert_eq!(done.text, "All here.");
    assert_eq!(done.reasoning, "Let me see.\n\nWell.");
    assert_eq!(done.signatures, [parts()]);
    assert_eq!(done.finish, end(FinishReason::Stop, "completed"));
    let late = folded("completed-only.sse");
    assert_eq!(late.text, "At the end.");
    assert_eq!(late.tools, [tool("call_a", "clock", "{}")]);
    assert_eq!(late.finish, end(FinishReason::ToolCalls, "completed"));
}

#[test]
fn ends_of_all_kinds() {
    let length = folded("length.sse");
    assert_eq!(length.text, "Once upon");
    assert_eq!(length.usage, usage(9, 64));
    assert_eq!(
        length.finish,
        end(FinishReason::Length, "max_output_tokens")
    );
    let filter = folded("filter.sse");
    assert_eq!(filter.text, "Once");
    let word = "content_filter";
    assert_eq!(filter.finish, end(FinishReason::ContentFilter, word));
    let refusal = folded("refusal.sse");
    assert_eq!(refusal.refusal, "I would rather not.");
    assert_eq!(refusal.finish, end(FinishReason::Refusal, "completed"));
    let cut = folded("no-finish.sse");
    assert_eq!(cut.text, "This goes on and");
    assert_eq!((cut.finish, cut.error), (None, None));
    assert_eq!(folded("crlf.sse").text, "a\r\nb");
    assert_eq!(folded("crlf.sse").usage, usage(1, 2));
}

#[test]
fn errors_in_mid_stream_keep_the_text() {
    let failed = folded("failed.sse");
    assert_eq!(failed.text, "Half an answer");
    assert_eq!(failed.usage, usage(3, 2));
    assert_eq!(failed.error, Some(ErrorCode::RateLimited));
    let error = folded("error.sse");
    assert_eq!(error.text, "Half an answer");
    assert_eq!(error.error, Some(ErrorCode::ProviderError));
    assert_eq!(folded("malformed.sse").error, Some(ErrorCode::Malformed));
    let error = |body: &str| fold(&laws::read(decoder(), [body.as_bytes()])).error;
    for (body, code) in [
        (
            r#"data: {"type":"response.cancelled","response":{}}"#,
            ErrorCode::ProviderError,
        ),
        (
            r#"data: {"type":"error","error":{"code":"context_length_exceeded","message":"x"}}"#,
            ErrorCode::ContextTooLong,
        ),
        ("data: 7", ErrorCode::Malformed),
        ("event: error\ndata: overloaded", ErrorCode::Overloaded),
    ] {
        assert_eq!(error(&format!("{body}\n\n")), Some(code), "{body}");
    }
}

#[test]
fn an_answer_that_does_not_stream_is_taken_whole() {
    assert_eq!(
        folded("whole.json"),
        Folded {
            reasoning: "Let me see.\n\nWell.".into(),
            signatures: vec![parts()],
            text: "All at once.".into(),
            tools: vec![tool("call_a", "clock", r#"{"zone":"utc"}"#)],
            usage: usage(6, 5),
            finish: end(FinishReason::ToolCalls, "completed"),
            ..Folded::default()
        }
    );
    let error = |body: &[u8]| fold(&laws::read(decoder(), [body])).error;
    let busy = br#"{"error":{"message":"no","type":"overloaded_error"}}"#;
    assert_eq!(error(busy), Some(ErrorCode::Overloaded));
    assert_eq!(error(b"{\"hello\":1}"), Some(ErrorCode::Malformed));
    assert_eq!(error(b"<html>"), Some(ErrorCode::Malformed));
}

laws::all_laws!(decoder, FIXTURES);

/// What is left of these events, with an end.
fn told(events: &[Value]) -> Folded {
    let end = json!({"type": "response.completed", "response": {"status": "completed"}});
    let events = events.iter().chain([&end]);
    let body: String = events.map(|event| format!("data: {event}\n\n")).collect();
    fold(&laws::read(decoder(), [body.as_bytes()]))
}

#[test]
fn items_and_parts_with_wrong_numbers_are_told_once() {
    let rose = folded("other-places.sse");
    let told_once = (rose.reasoning.as_str(), rose.text.as_str());
    assert_eq!(told_once, ("A flower.", "A rose."));
    let delta = |fields: Value, text: &str| {
        let mut event = fields;
        event["type"] = json!("response.output_text.delta");
        event["delta"] = json!(text);
        event
    };
    let message = |id: &str, texts: &[&str]| {
        let content: Vec<_> = texts
            .iter()
            .map(|text| json!({"type": "output_text", "text": text}))
            .collect();
        json!({"id": id, "type": "message", "content": content})
    };
    let done = |index: u64, item: Value| json!({"type": "response.output_item.done", "output_index": index, "item": item});
    let completed = |items: Value| json!({"type": "response.completed", "response": {"status": "completed", "output": items}});
    for (events, text) in [
        // The end of the item has another number, and no identifier is known.
        (
            vec![
                delta(json!({"output_index": 0}), "One."),
                done(3, message("m", &["One."])),
            ],
            "One.",
        ),
        // The end knows more than the pieces.
        (
            vec![
                delta(json!({"output_index": 0}), "One"),
                done(0, message("m", &["One two."])),
            ],
            "One two.",
        ),
        (
            vec![
                delta(json!({"output_index": 0}), "One"),
                completed(json!([message("m", &["One two."])])),
            ],
            "One two.",
        ),
        // Two parts, told as one.
        (
            vec![
                delta(json!({}), "One two."),
                done(0, message("m", &["One ", "two."])),
            ],
            "One two.",
        ),
        // Two items that say the same are two.
        (
            vec![
                done(0, message("m", &["Ha."])),
                done(1, message("n", &["Ha."])),
            ],
            "Ha.Ha.",
        ),
        // More behind the end of an item.
        (
            vec![
                delta(json!({}), "One"),
                done(0, message("m", &["One"])),
                delta(json!({}), " two."),
            ],
            "One two.",
        ),
        (vec![delta(json!({}), "Hm.\n</think>\n\nSo.")], "So."),
    ] {
        assert_eq!(told(&events).text, text, "{events:?}");
    }
    // A call that comes with the end alone.
    let call = json!({"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"});
    let late = told(&[
        delta(json!({}), "One."),
        completed(json!([message("m", &["One."]), call])),
    ]);
    assert_eq!(late.tools, [tool("c", "f", "{}")]);
    assert_eq!(late.finish, end(FinishReason::ToolCalls, "completed"));
    let reasoning = |kind: &str| json!({"type": format!("response.{kind}.delta"), "delta": "Hm."});
    for kind in [
        "reasoning_text",
        "reasoning_summary_text",
        "reasoning",
        "reasoning_summary",
    ] {
        assert_eq!(
            told(&[reasoning(kind), delta(json!({}), "So.")]).reasoning,
            "Hm."
        );
    }
}

#[test]
fn what_is_not_words_is_shown_or_said() {
    let image = folded("image.sse");
    assert_eq!(image.images, ["image/png"]);
    assert_eq!(image.finish, end(FinishReason::Stop, "completed"));
    let sound = told(&[
        json!({"type": "response.output_audio_transcript.delta", "delta": "Hello."}),
        json!({"type": "response.output_audio.delta", "delta": "UklGRg=="}),
    ]);
    assert!(
        sound.text.starts_with("Hello.") && sound.text.contains("sound"),
        "{}",
        sound.text
    );
}

#[test]
fn a_failure_is_understood_wherever_it_is_told() {
    use ErrorCode::*;
    for (body, code) in [
        (
            "error: {\"code\":400,\"type\":\"exceed_context_size_error\",\"message\":\"x\"}\n\n",
            ContextTooLong,
        ),
        (
            "data: [{\"error\":{\"code\":429,\"message\":\"x\"}}]\n\n",
            RateLimited,
        ),
        ("data: {\"message\":\"Unauthorized\"}\n\n", Authentication),
        (
            "data: {\"type\":\"response.error\",\"error\":{\"message\":\"overloaded\"}}\n\n",
            Overloaded,
        ),
        (
            "data: {\"type\":\"response.completed\",\"response\":{\"status\":\"failed\",\"error\":{\"code\":\"rate_limit_exceeded\",\"message\":\"x\"}}}\n\n",
            RateLimited,
        ),
        (
            "data: {\"type\":\"response.completed\",\"response\":{\"status\":\"failed\"}}\n\n",
            ProviderError,
        ),
        (
            "data: {\"type\":\"response.completed\",\"response\":{\"status\":\"completed\",\"output\":[]}}\n\n",
            ProviderError,
        ),
        (
            "data: {\"type\":\"response.incomplete\",\"response\":{\"incomplete_details\":{\"reason\":\"max_output_tokens\"}}}\n\n",
            Truncated,
        ),
        ("{\"detail\":\"Forbidden\"}", Permission),
        ("no healthy upstream", ProviderError),
    ] {
        let folded = fold(&laws::read(decoder(), [body.as_bytes()]));
        assert_eq!(folded.error, Some(code), "{body}");
    }
}

#[test]
fn pieces_that_hold_all_so_far_are_told_once() {
    let grown = ["It is", "It is so,", "It is so, that is all."];
    let pieces = |kind: &str, pieces: [&str; 3]| {
        pieces.map(|piece| json!({"type": format!("response.{kind}.delta"), "delta": piece}))
    };
    let whole = json!({"type": "response.output_text.done", "text": grown[2]});
    let mut events = pieces("output_text", grown).to_vec();
    assert_eq!(told(&events).text, grown[2]);
    events.push(whole);
    assert_eq!(told(&events).text, grown[2]);
    assert_eq!(told(&pieces("reasoning_text", grown)).reasoning, grown[2]);
    assert_eq!(told(&pieces("output_text", ["ha"; 3])).text, "hahaha");
    let call = json!({"type": "function_call", "call_id": "a", "name": "clock", "arguments": ""});
    let mut events = vec![json!({"type": "response.output_item.added", "item": call})];
    events.extend(pieces(
        "function_call_arguments",
        ["{\"zone\"", "{\"zone\":\"u", "{\"zone\":\"utc\"}"],
    ));
    assert_eq!(told(&events).tools[0].2, json!({"zone": "utc"}));
}

#[test]
fn a_call_that_comes_as_two_items_is_made_once() {
    let item = |kind: &str, number: u32, id: &str| {
        let call = json!({"type": "function_call", "id": id, "call_id": "a", "name": "clock",
            "arguments": "{}"});
        json!({"type": format!("response.output_item.{kind}"), "output_index": number, "item": call})
    };
    let events = [
        item("added", 0, "fc_1"),
        item("added", 1, "fc_2"),
        item("done", 0, "fc_1"),
        item("done", 1, "fc_2"),
    ];
    let tools = told(&events).tools;
    assert_eq!(tools.len(), 1);
    assert_eq!(tools[0].2, json!({}));
}
