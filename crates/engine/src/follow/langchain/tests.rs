use super::*;
use crate::packed::Packed;
use headwater_protocol::{BlockKind, Finish, FinishReason, Status, Timing, ToolCall, Usage};
use std::sync::Arc;

const RUN: RunId = RunId(Uuid::from_u128(0x0190_0000_0000_7000_8000_0000_0000_0000));

fn span(span: SpanNo, parent: Option<SpanNo>, kind: SpanKind, name: &str) -> Event {
    Event::SpanStarted {
        span,
        parent,
        kind,
        name: name.into(),
        tags: Vec::new(),
        metadata: Value::Null,
        input: Value::Null,
        replaces: None,
    }
}

fn block(span: SpanNo, block: u32, kind: BlockKind, texts: &[&str], value: Value) -> Vec<Event> {
    let tool = (kind == BlockKind::ToolInput).then(|| ToolCall {
        id: format!("call_{block}"),
        name: "look".into(),
    });
    let mut events = vec![Event::BlockStarted {
        span,
        block,
        kind,
        tool,
    }];
    events.extend(texts.iter().map(|text| Event::Delta {
        span,
        block,
        text: (*text).into(),
        from: None,
    }));
    events.push(Event::BlockFinished {
        span,
        block,
        length: 0,
        value,
    });
    events
}

fn finished(span: SpanNo, status: Status) -> Event {
    Event::SpanFinished {
        span,
        status,
        output: Value::Null,
        finish: (status == Status::Ok).then(|| Finish {
            reason: FinishReason::Stop,
            word: "end_turn".into(),
        }),
        usage: Some(Usage {
            input: 7,
            output: 3,
            cache_read: 2,
            ..Usage::default()
        }),
        timing: None,
        error: None,
    }
}

/// A run whose model thinks before it is clear that it does, shows an image, calls a tool and breaks its JSON.
fn log() -> Vec<Event> {
    let model = span(1, None, SpanKind::ChatModel, "vendor/some/model");
    let mut events = vec![model];
    events.extend(block(1, 1, BlockKind::Text, &["Hm", "m."], Value::Null));
    events.push(Event::BlockRelabelled {
        span: 1,
        block: 1,
        kind: BlockKind::Reasoning,
    });
    events.extend(block(1, 2, BlockKind::Text, &["See: "], Value::Null));
    let image = json!({ "image": "ab12", "media_type": "image/png" });
    events.extend(block(1, 3, BlockKind::Data, &[], image));
    events.extend(block(1, 4, BlockKind::Text, &["Nice."], Value::Null));
    events.extend(block(
        1,
        5,
        BlockKind::ToolInput,
        &["{\"q\":", "1}"],
        Value::Null,
    ));
    events.extend(block(1, 6, BlockKind::ToolInput, &["{\"q\""], Value::Null));
    events.push(finished(1, Status::Ok));
    for (tool, call, status) in [(2, "call_5", Status::Ok), (3, "call_6", Status::Error)] {
        events.push(span(tool, Some(1), SpanKind::Tool, "look"));
        events.push(Event::BlockStarted {
            span: tool,
            block: tool + 5,
            kind: BlockKind::ToolOutput,
            tool: Some(ToolCall {
                id: call.into(),
                name: "look".into(),
            }),
        });
        events.push(Event::Delta {
            span: tool,
            block: tool + 5,
            text: format!("seen {tool}"),
            from: None,
        });
        events.push(finished(tool, status));
    }
    events.push(span(4, None, SpanKind::ChatModel, "vendor/some/model"));
    events.extend(block(
        4,
        9,
        BlockKind::Refusal,
        &["I would ", "rather not."],
        Value::Null,
    ));
    events.push(finished(4, Status::Interrupted));
    events.push(Event::RunFinished {
        status: Status::Interrupted,
        usage: Usage::default(),
        timing: Timing::default(),
        error: None,
        length: 0,
        hash: String::new(),
    });
    events
}

/// The identifiers and the data of the frames after a cursor.
async fn converted(events: &[Event], cursor: &str) -> Vec<(String, Value)> {
    let mut packed = Packed::default();
    for event in events {
        packed.push(0, event);
    }
    let source = Source::Stored(Arc::new(packed));
    let cursor: Cursor = cursor.parse().unwrap();
    let mut converter = Converter::new(RUN, &[], None, &source, cursor).await;
    let (mut seq, mut out) = (cursor.after, VecDeque::new());
    while seq < events.len() as Seq {
        seq = converter.read(&source, seq, &mut out);
    }
    let bytes: Vec<u8> = out.into_iter().flatten().collect();
    let mut decoder = crate::provider::sse::Decoder::new();
    decoder.push(&bytes);
    let mut frames = Vec::new();
    while let Some(frame) = decoder.next_event().unwrap() {
        frames.push((frame.id, serde_json::from_str(&frame.data).unwrap()));
    }
    frames
}

#[tokio::test]
async fn the_end_of_a_model_has_all_that_it_wrote_and_has_it_right() {
    let all = converted(&log(), "0").await;
    let end = all
        .iter()
        .find(|(_, data)| data["event"] == "on_chat_model_end");
    let (_, end) = end.unwrap();
    let image = json!({ "type": "image", "url": "/api/images/ab12", "mime_type": "image/png" });
    let output = &end["data"]["output"];
    assert_eq!(output["content"], json!(["See: ", image, "Nice."]));
    assert_eq!(
        output["additional_kwargs"],
        json!({ "reasoning_content": "Hmm." })
    );
    assert_eq!(
        output["response_metadata"],
        json!({ "finish_reason": "end_turn" })
    );
    let counts = json!({
        "input_tokens": 7, "output_tokens": 3, "total_tokens": 10,
        "input_token_details": { "cache_read": 2 },
    });
    assert_eq!(output["usage_metadata"], counts);
    let call = json!({ "name": "look", "args": { "q": 1 }, "id": "call_5", "type": "tool_call" });
    assert_eq!(output["tool_calls"], json!([call]));
    assert_eq!(output["invalid_tool_calls"][0]["args"], "{\"q\"");
    assert_eq!(output["tool_call_chunks"][1]["index"], 1);
    assert_eq!(end["metadata"]["ls_model_name"], "some/model");
    // What was sent as text before it was known to be something else is sent.
    let texts = all
        .iter()
        .filter_map(|(_, data)| data["data"]["chunk"]["content"].as_str());
    assert_eq!(texts.collect::<String>(), "Hmm.See: Nice.");
}

#[tokio::test]
async fn a_tool_stands_beside_its_model_and_the_next_model_reads_its_result() {
    let all = converted(&log(), "0").await;
    let events = |name: &str| {
        let found = all.iter().filter(|(_, data)| data["event"] == name);
        found.map(|(_, data)| data.clone()).collect::<Vec<_>>()
    };
    let tool = &events("on_tool_end")[0];
    assert_eq!(tool["parent_ids"], json!([]));
    assert_eq!(tool["data"]["output"]["tool_call_id"], "call_5");
    let asked = &events("on_chat_model_start")[1]["data"]["input"]["messages"][0];
    let kinds: Vec<_> = asked
        .as_array()
        .unwrap()
        .iter()
        .map(|one| &one["type"])
        .collect();
    assert_eq!(kinds, ["ai", "tool", "tool"]);
    assert_eq!(asked[1]["content"], "seen 2");
    assert_eq!(asked[2]["status"], "error");
    let failed = &events("on_chat_model_error")[0]["data"];
    assert_eq!(failed["error"]["error"], "interrupted");
    let said = &failed["output"]["additional_kwargs"]["refusal"];
    assert_eq!(said, "I would rather not.");
    let (_, end) = all.last().unwrap();
    assert_eq!(*end, json!({ "status": "interrupted" }));
}

#[tokio::test]
async fn a_reader_goes_on_behind_every_event() {
    let events = log();
    let all = converted(&events, "0").await;
    assert!(
        all.iter().any(|(id, _)| id.contains('.')),
        "some entries are two events"
    );
    for (place, (id, _)) in all.iter().enumerate() {
        assert_eq!(converted(&events, id).await, all[place + 1..], "after {id}");
    }
}

#[test]
fn cursors_have_an_order_and_a_form() {
    let read = |text: &str| text.parse::<Cursor>();
    assert!(read("11").unwrap() < read("12.1").unwrap());
    assert!(read("12.1").unwrap() < read("12.2").unwrap());
    assert!(read("12.2").unwrap() < read("12").unwrap());
    for wrong in ["", "x", "-1", "0.1", "1.", ".1", "1.1.1"] {
        assert!(read(wrong).is_err(), "{wrong}");
    }
    assert_eq!(read("12.1").unwrap().seq(), 12);
    assert_eq!(read("12").unwrap().seq(), 12);
}

#[test]
fn spans_have_identifiers_of_their_own() {
    let ids: std::collections::HashSet<_> = (1..1000).map(|span| run_id(RUN, span)).collect();
    assert_eq!(ids.len(), 999);
    assert_eq!(run_id(RUN, 1), RUN.to_string());
}
