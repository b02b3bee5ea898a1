use super::*;
use headwater_protocol::{BlockNo, Event, Seq, SpanKind};

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
    let mut said = TurnBuilder::new("p/m");
    for answer in answers {
        said.add(answer, |_| true);
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
    let mut about_to = TurnBuilder::new("p/m");
    about_to.add(&first, |span| span != 1);
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
    let turns = normal(&answer);
    let short: Vec<String> = turns.iter().map(in_short).collect();
    assert_eq!(
        short,
        [
            "user: ?",
            "assistant: call call_1 {}, call call_2 {}",
            "user: result call_1: one, result call_2: two",
            "assistant: call c00000001 {}",
            "user: result c00000001: three",
        ]
    );
}

/// A question and its answer, as a vendor is told.
fn normal(answer: &Answer) -> Vec<ChatMessage> {
    let mut said = TurnBuilder::new("p/m");
    said.add(answer, |_| true);
    let mut turns = vec![ChatMessage::new(Speaker::User, "?")];
    turns.extend(said.turns());
    normalize(&mut turns, &[]);
    turns
}

#[test]
fn identifiers_of_another_models_calls_are_of_the_form_that_everybody_takes() {
    let call = |id: &str| {
        [
            vec![span(1, SpanKind::ChatModel, "p/other")],
            input(1, 1, id, "{}"),
            block(1, 2, BlockKind::Reasoning, None, "", json!({"call": id})),
            vec![ended(1, Status::Ok), span(2, SpanKind::Tool, "search")],
            output(2, 3, id, "one"),
            vec![ended(2, Status::Ok)],
        ]
        .concat()
    };
    for id in ["toolu_01", "functions.search:0", &"x".repeat(300), ""] {
        let short: Vec<String> = normal(&answer(&call(id))).iter().map(in_short).collect();
        assert_eq!(
            short[1..],
            [
                "assistant: call c00000001 {}",
                "user: result c00000001: one"
            ]
        );
    }
}

#[test]
fn what_belongs_to_a_call_follows_its_new_identifier() {
    let round = |first: u32, number: BlockNo| {
        [
            vec![model(first)],
            block(
                first,
                number,
                BlockKind::Reasoning,
                None,
                "",
                json!({"call": "a", "n": first}),
            ),
            input(first, number + 1, "a", "{}"),
            vec![
                ended(first, Status::Ok),
                span(first + 1, SpanKind::Tool, "search"),
            ],
            output(first + 1, number + 2, "a", "x"),
            vec![ended(first + 1, Status::Ok)],
        ]
        .concat()
    };
    let turns = normal(&answer(&[round(1, 1), round(3, 4)].concat()));
    let extras = turns
        .iter()
        .flat_map(|turn| &turn.parts)
        .filter_map(|part| match part {
            Part::Reasoning { value, .. } => Some(value.clone()),
            _ => None,
        });
    assert_eq!(
        extras.collect::<Vec<_>>(),
        [
            json!({"call": "a", "n": 1}),
            json!({"call": "c00000001", "n": 3})
        ]
    );
}

fn message(role: Role, text: &str, answers: Vec<Answer>) -> Message {
    Message {
        id: headwater_protocol::MessageId::new(),
        parent: None,
        role,
        created: 0,
        text: text.into(),
        images: Vec::new(),
        answers,
        branches: Vec::new(),
    }
}

#[test]
fn an_answer_without_a_word_is_left_out_and_the_questions_become_one_turn() {
    let thought = block(
        1,
        1,
        BlockKind::Reasoning,
        None,
        "Hm.",
        json!({"field": "f"}),
    );
    for nothing in [
        vec![model(1), ended(1, Status::Error)],
        [vec![model(1)], thought, vec![ended(1, Status::Ok)]].concat(),
        [
            vec![model(1)],
            text(1, 1, " \n"),
            vec![ended(1, Status::Cancelled)],
        ]
        .concat(),
        [
            vec![model(1)],
            input(1, 1, "a", "{\"q"),
            vec![ended(1, Status::Error)],
        ]
        .concat(),
    ] {
        let messages = [
            message(Role::User, "?", Vec::new()),
            message(Role::Assistant, "", vec![answer(&nothing)]),
            message(Role::User, "Again?", Vec::new()),
        ];
        let mut turns = turns(&messages, &Images::new(), "p/m");
        without_tools(&mut turns);
        normalize(&mut turns, &[]);
        let short: Vec<String> = turns.iter().map(in_short).collect();
        assert_eq!(short, ["user: ?, \n\n, Again?"]);
    }
}

#[test]
fn whatever_the_turns_are_they_become_a_conversation() {
    let call = |id: &str, name: &str| Part::ToolCall {
        call: ToolCall {
            id: id.into(),
            name: name.into(),
        },
        arguments: json!({}),
    };
    let result = |id: &str| Part::ToolResult {
        call: tool(id),
        text: "one".into(),
        failed: false,
    };
    let of = |role, parts| ChatMessage { role, parts };
    let said = |text: &str| ChatMessage::new(Speaker::Assistant, text);
    let asked = |text: &str| ChatMessage::new(Speaker::User, text);
    let cases: [(Vec<ChatMessage>, &[&str]); 6] = [
        // It begins with the model's words.
        (
            vec![said("Hello."), asked("?")],
            &[
                "user: (The beginning of the conversation is left out.)",
                "assistant: Hello.",
                "user: ?",
            ],
        ),
        // A result that answers nothing, and a call that nothing answers.
        (
            vec![
                asked("?"),
                of(
                    Speaker::Assistant,
                    vec![call("a", "search"), call("b", "search")],
                ),
                of(Speaker::User, vec![result("b"), result("z")]),
                said("So."),
            ],
            &[
                "user: ?",
                "assistant: call a {}, call b {}",
                &format!("user: result a failed: {CANCELLED}, result b: one"),
                "assistant: So.",
            ],
        ),
        // The person speaks where results should be, and behind them.
        (
            vec![
                asked("?"),
                of(Speaker::Assistant, vec![call("a", "search")]),
                asked("Stop!"),
            ],
            &[
                "user: ?",
                "assistant: call a {}",
                &format!("user: result a failed: {CANCELLED}"),
                "assistant: (There was no answer.)",
                "user: Stop!",
            ],
        ),
        (
            vec![asked("?"), of(Speaker::User, vec![result("a")]), asked("!")],
            &["user: ?, \n\n, !"],
        ),
        // Nobody says anything.
        (
            vec![asked(" "), said(""), said("\n")],
            &["user: (The message is empty.)"],
        ),
        // Two of the model's.
        (
            vec![asked("?"), said("A."), said("B.")],
            &["user: ?", "assistant: A., \n\n, B."],
        ),
    ];
    for (mut turns, wanted) in cases {
        normalize(&mut turns, &[]);
        let short: Vec<String> = turns.iter().map(in_short).collect();
        assert_eq!(short, wanted);
        // Once is enough.
        let once = turns.clone();
        normalize(&mut turns, &[]);
        assert_eq!(turns, once);
    }
    let tools = [crate::provider::ToolDefinition {
        name: "search".into(),
        description: String::new(),
        parameters: json!({}),
    }];
    for (altered, name) in [
        ("functions.search", "search"),
        ("Search ", "search"),
        ("look up/now", "look_up_now"),
        ("", "unknown"),
    ] {
        let parts = vec![call("a", altered)];
        let mut turns = vec![asked("?"), of(Speaker::Assistant, parts)];
        normalize(&mut turns, &tools);
        for turn in &turns[1..] {
            let (Part::ToolCall { call, .. } | Part::ToolResult { call, .. }) = &turn.parts[0]
            else {
                panic!("{turn:?}");
            };
            assert_eq!(call.name, name);
        }
    }
}
