//! Recorded-looking streams, and what is left of each.

use super::*;
use crate::{
    protocol::{ErrorCode, FinishReason, Usage},
    server::provider::testing::laws,
};
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
];

fn decoder() -> Decoder {
    Decoder::new(who())
}

fn folded(name: &str) -> Folded {
    laws::folded(decoder(), FIXTURES, name)
}

fn usage(input: u64, output: u64) -> Option<Usage> {
    Some(Usage {
        input,
        output,
        ..Usage::default()
    })
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
