//! What servers really send: texts, thoughts, calls and failures in other places and forms.

use super::{
    dialects::{fixture, read},
    *,
};
use serde_json::json;

fn folded(name: &str) -> Folded {
    fold(&read([fixture(name)]))
}

/// What is left of these pieces, with an end.
fn told(pieces: &[Value]) -> Folded {
    let mut body: String = pieces
        .iter()
        .map(|piece| format!("data: {piece}\n\n"))
        .collect();
    body += STOP;
    body += DONE;
    fold(&read([body.as_bytes()]))
}

/// A piece of an answer.
fn piece(delta: Value) -> Value {
    json!({"choices": [{"index": 0, "delta": delta}]})
}

/// The error that a body ends with.
fn error(body: &str) -> Error {
    match read([body.as_bytes()]).pop() {
        Some(Err(error)) => error,
        other => panic!("{body}: {other:?}"),
    }
}

#[test]
fn thoughts_whose_beginning_is_not_marked_become_reasoning() {
    let ant = folded("closing-tag.sse");
    let thought = "How many legs? `</think>` is a tag. Six of them.\n";
    assert_eq!((ant.reasoning.as_str(), ant.relabelled), (thought, true));
    assert_eq!(ant.text, "An ant has six legs.");
    assert_eq!(ant.finish, end(FinishReason::Stop, "stop"));
}

#[test]
fn thoughts_are_found_under_every_name_and_told_once() {
    assert_eq!(folded("reasoning-details.sse").reasoning, "Count them.");
    let details = json!([{"type": "reasoning.text", "text": "Hm."}]);
    for delta in [
        json!({"reasoning": "Hm."}),
        json!({"reasoning_content": "Hm."}),
        json!({"reasoning_content": "Hm.", "reasoning": "Hm.", "reasoning_details": details}),
        json!({"reasoning_content": null, "reasoning": "", "reasoning_details": details}),
        json!({"thinking": "Hm."}),
        json!({"reasoning": {"content": "Hm."}}),
        json!({"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "Hm."}]}]}),
        json!({"content": [{"type": "thinking", "thinking": "Hm."}]}),
        json!({"content": [{"type": "reasoning", "text": "Hm."}]}),
        json!({"content": [{"type": "reasoning", "summary": [{"type": "summary_text", "text": "Hm."}]}]}),
    ] {
        let folded = told(&[piece(delta.clone()), piece(json!({"content": "So."}))]);
        let told = (folded.reasoning.as_str(), folded.text.as_str());
        assert_eq!(told, ("Hm.", "So."), "{delta}");
    }
}

#[test]
fn no_text_is_lost_and_none_told_twice() {
    assert_eq!(folded("growing.sse").text, "The sea is deep.");
    assert_eq!(folded("other-choice.sse").text, "Not zero.");
    assert_eq!(folded("repeated-message.sse").text, "One two. Three.");
    let choice = |choice: Value| json!({"choices": [choice]});
    for (pieces, text) in [
        (
            vec![piece(json!({"content": {"type": "text", "text": "a"}}))],
            "a",
        ),
        (
            vec![
                piece(json!({"content": null, "role": "assistant"})),
                piece(json!({"content": "a"})),
            ],
            "a",
        ),
        (
            vec![
                choice(json!({"text": "a"})),
                choice(json!({"text": "b", "index": 0})),
            ],
            "ab",
        ),
        (
            vec![
                choice(json!({"message": {"content": "One "}})),
                choice(json!({"message": {"content": "two"}})),
            ],
            "One two",
        ),
        (
            vec![
                choice(json!({"message": {"content": "One"}})),
                choice(json!({"message": {"content": "One two"}})),
                choice(json!({"message": {"content": "One two three"}})),
            ],
            "One two three",
        ),
        (
            vec![json!([choice(json!({"delta": {"content": "a"}}))])],
            "a",
        ),
        (
            vec![choice(json!({"index": "0", "delta": {"content": "a"}}))],
            "a",
        ),
        (
            vec![
                json!({"choices": [{"index": 1, "delta": {"content": "b"}}, {"index": 0, "delta": {"content": "a"}}]}),
            ],
            "a",
        ),
        (
            vec![
                choice(json!({"index": null, "delta": {"content": "ha"}})),
                piece(json!({"content": "ha"})),
            ],
            "haha",
        ),
    ] {
        assert_eq!(told(&pieces).text, text, "{pieces:?}");
    }
    // Pieces that are no events.
    let body = format!("{HELLO}{STOP}").replace("data: ", "");
    assert_eq!(fold(&read([body.as_bytes()])).text, "Hello");
    // What comes behind the reason to end is text all the same.
    let body = format!("{STOP}{HELLO}{DONE}");
    assert_eq!(fold(&read([body.as_bytes()])).text, "Hello");
}

#[test]
fn calls_stay_apart_however_they_are_numbered() {
    let call = |fields: Value, name: &str, arguments: &str| {
        let mut call = fields;
        call["function"] = json!({"name": name, "arguments": arguments});
        if name.is_empty() {
            call["function"].as_object_mut().unwrap().remove("name");
        }
        piece(json!({"tool_calls": [call]}))
    };
    let f = |id: &str, value: Value| (id.to_owned(), value);
    for (pieces, calls) in [
        // The end says all of it again.
        (
            vec![
                call(json!({"index": 0, "id": "a"}), "f", "{\"x\""),
                call(json!({"index": 0}), "", ":1}"),
                call(json!({"index": 0, "id": "a"}), "f", "{\"x\":1}"),
            ],
            vec![f("a", json!({"x": 1}))],
        ),
        // Every piece says all there is.
        (
            vec![
                call(json!({"index": 0, "id": "a"}), "f", "{\"x\""),
                call(json!({"index": 0, "id": "a"}), "f", "{\"x\":1"),
                call(json!({"index": 0, "id": "a"}), "f", "{\"x\":1}"),
            ],
            vec![f("a", json!({"x": 1}))],
        ),
        // An empty object first.
        (
            vec![
                call(json!({"index": 0, "id": "a"}), "f", "{}"),
                call(json!({"index": 0}), "", "{\"x\":1}"),
            ],
            vec![f("a", json!({"x": 1}))],
        ),
        // New identifiers and the name with every piece.
        (
            vec![
                call(json!({"index": 0, "id": "a"}), "f", "{\"x\""),
                call(json!({"index": 0, "id": "b"}), "f", ":1"),
                call(json!({"index": 0, "id": "c"}), "f", "}"),
            ],
            vec![f("a", json!({"x": 1}))],
        ),
        // Two calls under one number, written as text.
        (
            vec![
                call(json!({"index": "0", "id": "a"}), "f", "{\"x\":1}"),
                call(json!({"index": "0", "id": "b"}), "f", "{\"x\":2}"),
            ],
            vec![f("a", json!({"x": 1})), f("b", json!({"x": 2}))],
        ),
        // Numbers from one on, out of order.
        (
            vec![
                call(json!({"index": 2, "id": "b"}), "f", "{\"x\""),
                call(json!({"index": 1, "id": "a"}), "f", "{\"y\""),
                call(json!({"index": 2}), "", ":1}"),
                call(json!({"index": 1}), "", ":2}"),
            ],
            vec![f("b", json!({"x": 1})), f("a", json!({"y": 2}))],
        ),
    ] {
        let tools = told(&pieces).tools;
        let tools: Vec<_> = tools
            .into_iter()
            .map(|(call, _, value)| (call.id, value))
            .collect();
        assert_eq!(tools, calls, "{pieces:?}");
    }
}

#[test]
fn a_failure_is_understood_wherever_it_is_told() {
    let context = error(std::str::from_utf8(fixture("error-field.sse")).unwrap());
    assert_eq!(
        (context.code, context.retryable),
        (ErrorCode::ContextTooLong, false)
    );
    for word in ["larger than the context", "7001", "2048"] {
        assert!(context.message.contains(word), "{context}");
    }
    let beside = folded("error-beside-choices.sse");
    assert_eq!(
        (beside.text.as_str(), beside.error),
        ("Half of it", Some(ErrorCode::RateLimited))
    );
    use ErrorCode::*;
    for (body, code, quoted) in [
        (
            "error: the server is overloaded\n\ndata: [DONE]\n\n",
            Overloaded,
            "the server is overloaded",
        ),
        (
            "data: [{\"error\":{\"message\":\"Slow down\",\"code\":429}}]\n\n",
            RateLimited,
            "Slow down",
        ),
        (
            "data: {\"message\":\"Unauthorized\",\"code\":401}\n\n",
            Authentication,
            "Unauthorized",
        ),
        (
            "data: {\"detail\":\"The model is at capacity\"}\n\n",
            Overloaded,
            "at capacity",
        ),
        (
            "data: {\"errors\":[{\"message\":\"prompt is too long\"}]}\n\n",
            ContextTooLong,
            "prompt is too long",
        ),
        (
            "data: {\"base_resp\":{\"status_code\":1004,\"status_msg\":\"login fail\"}}\n\n",
            Authentication,
            "login fail",
        ),
        (
            "data: \"upstream overloaded\"\n\n",
            Overloaded,
            "upstream overloaded",
        ),
        (
            "data: Internal server error\n\n",
            ProviderError,
            "Internal server error",
        ),
        (
            "data: [ERROR] rate limit reached\n\n",
            RateLimited,
            "rate limit reached",
        ),
        ("{\"error\":\"overloaded\"}", Overloaded, "overloaded"),
        ("{\"detail\":\"Forbidden\"}", Permission, "Forbidden"),
        (
            "{\n  \"message\": \"too many requests\"\n}",
            RateLimited,
            "too many requests",
        ),
        (
            "[{\"error\":{\"message\":\"x\",\"code\":503}}]",
            Overloaded,
            "x",
        ),
        (
            ": hi\n\n{\"error\":{\"message\":\"x\",\"code\":503}}\n\n",
            Overloaded,
            "x",
        ),
        (
            ": hi\n\n{\n\"error\": {\n\"message\": \"too many requests\"\n}\n}\n",
            RateLimited,
            "too many",
        ),
        ("Bad gateway: no upstream", ProviderError, "no upstream"),
        (
            "data: {\"choices\":[{\"error\":{\"code\":503,\"message\":\"x\"},\"finish_reason\":\"error\"}]}\n\n",
            Overloaded,
            "x",
        ),
        (
            "event: error\ndata: {\"message\":\"prompt is too long\"}\n\n",
            ContextTooLong,
            "prompt is too long",
        ),
        (
            "data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"error\"}]}\n\n",
            ProviderError,
            "broke off",
        ),
    ] {
        let said = error(body);
        assert_eq!(said.code, code, "{body}: {said}");
        assert!(said.message.contains(quoted), "{body}: {said}");
        let late = error(&format!("{HELLO}{}", body.replace(": hi\n\n", "")));
        let is_document =
            body.starts_with(['{', '[']) && !body.ends_with('}') || body.contains("{\n  ");
        assert!(is_document || late.code == code, "{body}: {late}");
    }
    // An error without a word in it is none.
    let body = HELLO.replace(
        "{\"choices\"",
        "{\"error\":{\"message\":\"\",\"code\":0},\"choices\"",
    );
    assert_eq!(fold(&read([(body + STOP).as_bytes()])).text, "Hello");
}

#[test]
fn an_end_without_a_word_is_no_answer() {
    let ended = |word: &str, delta: Value| {
        let choice = json!({"choices": [{"index": 0, "delta": delta, "finish_reason": word}]});
        let items = read([format!("data: {choice}\n\ndata: [DONE]\n\n").as_bytes()]);
        match items.last() {
            Some(Err(error)) => Some((error.code, error.retryable)),
            _ => None,
        }
    };
    let nothing = json!({"role": "assistant", "content": ""});
    assert_eq!(
        ended("stop", nothing.clone()),
        Some((ErrorCode::ProviderError, true))
    );
    assert_eq!(
        ended("stop", json!({"content": " \n"})),
        Some((ErrorCode::ProviderError, true))
    );
    assert_eq!(
        ended("tool_calls", json!({})),
        Some((ErrorCode::ProviderError, true))
    );
    assert_eq!(
        ended("length", nothing.clone()),
        Some((ErrorCode::Truncated, false))
    );
    assert_eq!(ended("refusal", nothing), Some((ErrorCode::Refused, false)));
    assert_eq!(ended("stop", json!({"reasoning": "Hm."})), None);
    assert_eq!(
        ended("stop", json!({"tool_calls": [{"function": {"name": "f"}}]})),
        None
    );
}

#[test]
fn what_is_not_words_is_shown_or_said() {
    let image = folded("image.sse");
    assert_eq!(
        (image.text.as_str(), image.images),
        ("Here.", vec!["image/png".to_owned()])
    );
    let address = "data:image/png;base64,iVBORw0KGgo=";
    let part = json!({"content": [{"type": "image_url", "image_url": {"url": address}}]});
    assert_eq!(told(&[piece(part)]).images.len(), 1);
    let sound = told(&[
        piece(json!({"audio": {"id": "a", "transcript": "Hello "}})),
        piece(json!({"audio": {"data": "UklGRg==", "transcript": "there."}})),
        piece(json!({"audio": {"data": "UklGRg=="}})),
    ]);
    assert!(
        sound.text.starts_with("Hello there.\n\n*"),
        "{}",
        sound.text
    );
    assert_eq!(sound.text.matches("sound").count(), 1);
    let elsewhere = json!({"images": [{"image_url": {"url": "https://a.example/b.png"}}]});
    assert!(
        told(&[piece(elsewhere)])
            .text
            .contains("<https://a.example/b.png>")
    );
}

#[test]
fn details_that_hold_all_so_far_go_back_once() {
    let detail = |text: &str| json!([{"type": "reasoning.text", "index": 0, "text": text}]);
    let unnumbered = |text: &str| json!([{"type": "reasoning.text", "text": text}]);
    let (one, two) = ("First the ones,", "First the ones, then");
    let all = "First the ones, then the tens.";
    for details in [&detail as &dyn Fn(&str) -> Value, &unnumbered] {
        let mut pieces: Vec<Value> = [one, two, all]
            .map(|text| piece(json!({"reasoning_details": details(text)})))
            .into();
        // With the words of the answer the thoughts are repeated.
        for text in ["Twelve", " dozen."] {
            pieces.push(piece(
                json!({"content": text, "reasoning_details": details(all)}),
            ));
        }
        let left = told(&pieces);
        assert_eq!(
            (left.reasoning.as_str(), left.text.as_str()),
            (all, "Twelve dozen.")
        );
        assert_eq!(
            left.signatures,
            [json!({"reasoning_details": details(all)})]
        );
    }
    let secret = json!([{"type": "reasoning.encrypted", "index": 1, "data": "ab=="}]);
    let twice = piece(json!({"reasoning_details": secret}));
    let left = told(&[twice.clone(), twice, piece(json!({"content": "Yes."}))]);
    assert_eq!(left.signatures, [json!({"reasoning_details": secret})]);
}

#[test]
fn a_name_of_a_tool_that_comes_in_pieces_is_one() {
    for names in [
        &["clo", "ck"][..],
        &["clo", "clock"],
        &["clock", "clock"],
        &["clock", ""],
    ] {
        let mut pieces: Vec<Value> = names
            .iter()
            .map(|name| {
                let function = json!({"name": name, "arguments": ""});
                piece(json!({"tool_calls": [{"index": 0, "id": "a", "function": function}]}))
            })
            .collect();
        let function = json!({"arguments": "{\"zone\":\"utc\"}"});
        pieces.push(piece(
            json!({"tool_calls": [{"index": 0, "function": function}]}),
        ));
        let calls = told(&pieces).tools;
        assert_eq!(calls.len(), 1, "{names:?}");
        assert_eq!(calls[0].0.name, "clock", "{names:?}");
    }
}

#[test]
fn pieces_that_are_numbered_as_choices_are_one_answer() {
    let choice =
        |index: u32, text: &str| json!({"choices": [{"index": index, "delta": {"content": text}}]});
    for numbers in [[0, 1, 2], [0, 1, 1], [1, 0, 0], [3, 3, 4]] {
        let pieces: Vec<Value> = numbers
            .iter()
            .zip(["It ", "is ", "so."])
            .map(|(index, text)| choice(*index, text))
            .collect();
        let mut body: String = pieces
            .iter()
            .map(|piece| format!("data: {piece}\n\n"))
            .collect();
        body += "data: {\"choices\":[{\"index\":9,\"delta\":{},\"finish_reason\":\"length\"}]}\n\n";
        for end in [DONE, ""] {
            let left = fold(&read([format!("{body}{end}").as_bytes()]));
            assert_eq!(left.text, "It is so.", "{numbers:?}");
            assert_eq!(left.finish, super::end(FinishReason::Length, "length"));
        }
    }
    // Two answers stay two.
    let two = [
        choice(0, "It "),
        choice(1, "No"),
        choice(0, "is."),
        choice(1, "!"),
    ];
    assert_eq!(told(&two).text, "It is.");
}

#[test]
fn signed_thoughts_go_back_whole() {
    let blocks = |thinking: &str, signature: Value| {
        let block = json!({"type": "thinking", "thinking": thinking, "signature": signature});
        piece(json!({"thinking_blocks": [block]}))
    };
    let hidden = json!({"type": "redacted_thinking", "data": "ab"});
    let left = told(&[
        blocks("Let me", Value::Null),
        blocks(" see.", Value::Null),
        blocks("", json!("sig")),
        piece(json!({"thinking_blocks": [hidden]})),
        piece(json!({"content": "Yes."})),
    ]);
    assert_eq!(
        (left.reasoning.as_str(), left.text.as_str()),
        ("Let me see.", "Yes.")
    );
    let whole = json!({"type": "thinking", "thinking": "Let me see.", "signature": "sig"});
    assert_eq!(
        left.signatures,
        [json!({"thinking_blocks": [whole, hidden]})]
    );
    let value = json!({"thinking_blocks": [whole]});
    let (message, calls) = super::extras::given_back([("Let me see.", &value)].into_iter());
    assert_eq!((Value::Object(message), calls.len()), (value.clone(), 0));
}
