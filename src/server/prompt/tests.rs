use super::*;
use crate::protocol::{BlockNo, Event, Seq, SpanKind};

/// A log in short: each line is one entry.
fn answer(events: &[Event]) -> Answer {
    Answer::fold((1 as Seq..).zip(events))
}

fn span(span: SpanNo, kind: SpanKind, name: &str) -> Event {
    Event::SpanStarted {
        span,
        parent: None,
        kind,
        name: name.into(),
        tags: Vec::new(),
        metadata: Value::Null,
        input: Value::Null,
        replaces: None,
    }
}

fn model(number: SpanNo) -> Event {
    span(number, SpanKind::ChatModel, "p/m")
}

fn ended(span: SpanNo, status: Status) -> Event {
    Event::SpanFinished {
        span,
        status,
        output: Value::Null,
        finish: None,
        usage: None,
        timing: None,
        error: None,
    }
}

fn tool(id: &str) -> ToolCall {
    ToolCall {
        id: id.into(),
        name: "search".into(),
    }
}

/// A whole block.
fn block(
    span: SpanNo,
    block: BlockNo,
    kind: BlockKind,
    call: Option<&str>,
    text: &str,
    value: Value,
) -> Vec<Event> {
    vec![
        Event::BlockStarted {
            span,
            block,
            kind,
            tool: call.map(tool),
        },
        Event::Delta {
            span,
            block,
            text: text.into(),
            from: None,
        },
        Event::BlockFinished {
            span,
            block,
            length: text.len() as u64,
            value,
        },
    ]
}

fn text(span: SpanNo, number: BlockNo, text: &str) -> Vec<Event> {
    block(span, number, BlockKind::Text, None, text, Value::Null)
}

fn input(span: SpanNo, number: BlockNo, id: &str, arguments: &str) -> Vec<Event> {
    let value = serde_json::from_str(arguments).unwrap_or_default();
    block(
        span,
        number,
        BlockKind::ToolInput,
        Some(id),
        arguments,
        value,
    )
}

fn output(span: SpanNo, number: BlockNo, id: &str, text: &str) -> Vec<Event> {
    block(
        span,
        number,
        BlockKind::ToolOutput,
        Some(id),
        text,
        Value::Null,
    )
}

fn said(answers: &[&Answer]) -> Vec<String> {
    let mut said = Said::new("p/m");
    for answer in answers {
        said.add(answer, None);
    }
    said.turns().iter().map(in_short).collect()
}

/// `assistant: text, call c1 {}` and the like.
fn in_short(turn: &ChatMessage) -> String {
    let parts: Vec<String> = turn
        .parts
        .iter()
        .map(|part| match part {
            Part::Text(text) => text.clone(),
            Part::Reasoning { text, .. } => format!("thought {text}"),
            Part::ToolCall { call, arguments } => format!("call {} {arguments}", call.id),
            Part::ToolResult { call, text, failed } => {
                let failed = if *failed { " failed" } else { "" };
                format!("result {}{failed}: {text}", call.id)
            }
            Part::Image(_) => "image".into(),
        })
        .collect();
    let who = match turn.role {
        Speaker::User => "user",
        Speaker::Assistant => "assistant",
    };
    format!("{who}: {}", parts.join(", "))
}

#[test]
fn each_round_of_tools_is_two_turns() {
    let answer = answer(
        &[
            vec![model(1)],
            text(1, 1, "\n\nLet me look."),
            input(1, 2, "call_1", "{\"q\":1}"),
            input(1, 3, "call_2", "{}"),
            vec![ended(1, Status::Ok), span(2, SpanKind::Tool, "search")],
            vec![span(3, SpanKind::Tool, "search")],
            // The second is done first.
            output(3, 4, "call_2", "two"),
            output(2, 5, "call_1", "one"),
            vec![ended(3, Status::Error), ended(2, Status::Ok), model(4)],
            // Numbered by us, from the start in each answer.
            input(4, 6, "call_1", "{}"),
            vec![ended(4, Status::Ok), span(5, SpanKind::Tool, "search")],
            output(5, 7, "call_1", ""),
            vec![ended(5, Status::Ok), model(6)],
            text(6, 8, "\n\nIt is one."),
            vec![ended(6, Status::Ok)],
        ]
        .concat(),
    );
    assert_eq!(
        said(&[&answer]),
        [
            "assistant: \n\nLet me look., call call_1 {\"q\":1}, call call_2 {}",
            "user: result call_1: one, result call_2 failed: two",
            "assistant: call call_1 {}",
            "user: result call_1: (no output)",
            "assistant: It is one.",
        ]
    );
}

#[test]
fn a_call_without_a_result_is_answered_as_cancelled() {
    let stopped = answer(
        &[
            vec![model(1)],
            input(1, 1, "a", "{\"q\":1}"),
            input(1, 2, "b", "{}"),
            vec![ended(1, Status::Ok), span(2, SpanKind::Tool, "search")],
            output(2, 3, "a", "half"),
            vec![ended(2, Status::Cancelled)],
        ]
        .concat(),
    );
    assert_eq!(
        said(&[&stopped]),
        [
            "assistant: call a {\"q\":1}, call b {}",
            &format!("user: result a failed: half\n{CANCELLED}, result b failed: {CANCELLED}"),
        ]
    );
    // The server was killed: nothing of it is ended.
    let killed = answer(
        &[
            vec![model(1)],
            input(1, 1, "a", "{}"),
            vec![ended(1, Status::Ok), span(2, SpanKind::Tool, "search")],
            vec![Event::BlockStarted {
                span: 2,
                block: 2,
                kind: BlockKind::ToolOutput,
                tool: Some(tool("a")),
            }],
        ]
        .concat(),
    );
    assert_eq!(
        said(&[&killed]),
        [
            "assistant: call a {}",
            &format!("user: result a failed: {CANCELLED}"),
        ]
    );
}

#[test]
fn a_call_that_broke_off_is_left_out_and_one_that_was_answered_stays() {
    let broken = answer(
        &[
            vec![model(1)],
            text(1, 1, "Let me"),
            input(1, 2, "a", "{\"q\": \"ha"),
            vec![ended(1, Status::Error)],
        ]
        .concat(),
    );
    assert_eq!(said(&[&broken]), ["assistant: Let me"]);
    let refused = answer(
        &[
            vec![model(1)],
            input(1, 1, "a", "[1]"),
            vec![ended(1, Status::Ok), span(2, SpanKind::Tool, "search")],
            output(2, 2, "a", "No object."),
            vec![ended(2, Status::Error)],
        ]
        .concat(),
    );
    assert_eq!(
        said(&[&refused]),
        ["assistant: call a {}", "user: result a failed: No object."]
    );
}

#[test]
fn runs_of_one_message_join_and_replaced_attempts_are_left_out() {
    let first = answer(&[vec![model(1)], text(1, 1, "Hello, wo")].concat());
    let mut replaced = model(2);
    if let Event::SpanStarted { replaces, .. } = &mut replaced {
        *replaces = Some(1);
    }
    let second = answer(
        &[
            vec![model(1)],
            text(1, 1, "nonsense"),
            vec![replaced],
            text(2, 2, "rld."),
        ]
        .concat(),
    );
    assert_eq!(said(&[&first, &second]), ["assistant: Hello, wo, rld."]);
    let mut about_to = Said::new("p/m");
    about_to.add(&first, Some(1));
    assert_eq!(about_to.turns(), []);
}

#[test]
fn only_its_own_signed_thoughts_go_back_to_a_model() {
    let thought =
        |span, number, value| block(span, number, BlockKind::Reasoning, None, "hm", value);
    let answer = answer(
        &[
            vec![span(1, SpanKind::ChatModel, "p/other")],
            thought(1, 1, json!({"signature": "x"})),
            text(1, 2, "a"),
            vec![model(2)],
            thought(2, 3, json!({"signature": "y"})),
            thought(2, 4, Value::Null),
            text(2, 5, "b"),
        ]
        .concat(),
    );
    assert_eq!(said(&[&answer]), ["assistant: a, thought hm, b"]);
}

#[test]
fn a_model_without_tools_reads_the_words_alone() {
    let call = Part::ToolCall {
        call: tool("a"),
        arguments: json!({}),
    };
    let result = Part::ToolResult {
        call: tool("a"),
        text: "one".into(),
        failed: false,
    };
    let turn = |role, parts| ChatMessage { role, parts };
    let mut messages = vec![
        ChatMessage::new(Speaker::User, "?"),
        turn(
            Speaker::Assistant,
            vec![Part::Text("Let me look.".into()), call],
        ),
        turn(Speaker::User, vec![result]),
        ChatMessage::new(Speaker::Assistant, "It is one."),
        ChatMessage::new(Speaker::User, "Sure?"),
    ];
    without_tools(&mut messages);
    let short: Vec<String> = messages.iter().map(in_short).collect();
    assert_eq!(
        short,
        [
            "user: ?",
            "assistant: Let me look., \n\n, It is one.",
            "user: Sure?"
        ]
    );
}

#[test]
fn identifiers_of_calls_are_unique_in_a_conversation() {
    let answer = answer(
        &[
            vec![model(1)],
            input(1, 1, "call_1", "{}"),
            input(1, 2, "call_2", "{}"),
            vec![ended(1, Status::Ok), span(2, SpanKind::Tool, "search")],
            output(2, 3, "call_1", "one"),
            output(2, 4, "call_2", "two"),
            vec![ended(2, Status::Ok), model(3)],
            input(3, 5, "call_1", "{}"),
            vec![ended(3, Status::Ok), span(4, SpanKind::Tool, "search")],
            output(4, 6, "call_1", "three"),
            vec![ended(4, Status::Ok)],
        ]
        .concat(),
    );
    let mut said = Said::new("p/m");
    said.add(&answer, None);
    let mut turns = said.turns();
    number_calls(&mut turns);
    let short: Vec<String> = turns.iter().map(in_short).collect();
    assert_eq!(
        short,
        [
            "assistant: call call_1 {}, call call_2 {}",
            "user: result call_1: one, result call_2: two",
            "assistant: call call_3 {}",
            "user: result call_3: three",
        ]
    );
}

#[test]
fn an_answer_that_failed_before_its_first_word_is_still_a_turn() {
    let message = |role, text: &str, answers| Message {
        id: crate::protocol::MessageId::new(),
        parent: None,
        role,
        created: 0,
        text: text.into(),
        images: Vec::new(),
        answers,
        branches: Vec::new(),
    };
    let failed = answer(&[model(1), ended(1, Status::Error)]);
    let messages = [
        message(Role::User, "?", Vec::new()),
        message(Role::Assistant, "", vec![failed]),
        message(Role::User, "Again?", Vec::new()),
    ];
    let mut turns = turns(&messages, &Images::new(), "p/m");
    without_tools(&mut turns);
    let short: Vec<String> = turns.iter().map(in_short).collect();
    assert_eq!(short, ["user: ?", "assistant: ", "user: Again?"]);
}
