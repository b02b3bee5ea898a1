use super::*;
use crate::provider::{ChatMessage, Role};
use headwater_protocol::{BlockKind, FinishReason, Stage, Usage};
use std::time::{Duration, Instant};

type Item = Result<ProviderEvent, Error>;

fn ask(model: &str) -> ChatRequest {
    ChatRequest {
        model: model.into(),
        messages: vec![ChatMessage::new(Role::User, "Hello there")],
        ..ChatRequest::default()
    }
}

fn after(model: &str, prefill: &str) -> ChatRequest {
    ChatRequest {
        prefill: Some(prefill.into()),
        ..ask(model)
    }
}

async fn all(provider: &Scripted, request: ChatRequest) -> Vec<Item> {
    provider.stream(request).collect().await
}

fn text(items: &[Item]) -> String {
    let mut open = Vec::new();
    let mut text = String::new();
    for item in items.iter().flatten() {
        match item {
            ProviderEvent::BlockStarted { index, kind, .. } => open.push((*index, *kind)),
            ProviderEvent::Delta { index, text: delta } => {
                assert!(!delta.is_empty());
                if open.contains(&(*index, BlockKind::Text)) {
                    text.push_str(delta);
                }
            }
            _ => {}
        }
    }
    text
}

fn finished(items: &[Item]) -> Option<FinishReason> {
    items.iter().flatten().find_map(|item| match item {
        ProviderEvent::Finished { reason, .. } => Some(*reason),
        _ => None,
    })
}

/// Reads until nothing comes for a while.
async fn until_silent(provider: &Scripted, request: ChatRequest) -> Vec<Item> {
    let mut stream = provider.stream(request);
    let mut items = Vec::new();
    while let Ok(Some(item)) = tokio::time::timeout(Duration::from_millis(100), stream.next()).await
    {
        items.push(item);
    }
    items
}

fn script(text: &str) -> Scripted {
    Scripted::from_toml(text).unwrap()
}

#[tokio::test]
async fn the_built_in_scenarios_play() {
    let provider = Scripted::builtin().with_pace(0.0);
    let models = provider.models().await.unwrap();
    for (name, finish) in [
        ("hello", FinishReason::Stop),
        ("markdown", FinishReason::Stop),
        ("long", FinishReason::Stop),
        ("reasoning", FinishReason::Stop),
        ("tools", FinishReason::ToolCalls),
        ("length", FinishReason::Length),
        ("refusal", FinishReason::Refusal),
        ("nasty", FinishReason::Stop),
        ("echo", FinishReason::Stop),
        ("unicode", FinishReason::Stop),
        ("firehose", FinishReason::Stop),
    ] {
        assert!(models.iter().any(|model| model.id == name), "{name}");
        let items = all(&provider, ask(name)).await;
        assert!(items.iter().all(Result::is_ok), "{name}");
        assert_eq!(finished(&items), Some(finish), "{name}");
        assert!(
            matches!(items.last(), Some(Ok(ProviderEvent::Finished { .. }))),
            "{name}"
        );
        assert_eq!(text(&items), provider.text(&ask(name)).unwrap(), "{name}");
        let connected = items
            .iter()
            .filter(|item| matches!(item, Ok(ProviderEvent::Connected)))
            .count();
        assert_eq!(connected, 1, "{name}");
    }
    assert_eq!(text(&all(&provider, ask("echo")).await), "Hello there");
    assert_eq!(provider.active(), 0);
}

#[tokio::test]
async fn long_scenarios_have_the_tokens_they_promise() {
    let provider = Scripted::builtin().with_pace(0.0);
    for (name, tokens) in [("long", 10_000), ("firehose", 20_000)] {
        let items = all(&provider, ask(name)).await;
        let deltas = items
            .iter()
            .filter(|item| matches!(item, Ok(ProviderEvent::Delta { .. })))
            .count();
        assert_eq!(deltas, tokens);
        let told = items.iter().flatten().find_map(|item| match item {
            ProviderEvent::Usage(usage) => Some(*usage),
            _ => None,
        });
        let usage = Usage {
            input: 2,
            output: tokens as u64,
            ..Usage::default()
        };
        assert_eq!(told, Some(usage));
    }
}

#[tokio::test]
async fn the_answer_is_the_same_each_time() {
    let provider = Scripted::builtin().with_pace(0.0);
    for name in ["markdown", "unicode", "tools", "reasoning"] {
        assert_eq!(
            all(&provider, ask(name)).await,
            all(&provider, ask(name)).await
        );
    }
}

#[tokio::test]
async fn errors_come_before_or_after_text() {
    let provider = Scripted::builtin().with_pace(0.0);
    for (name, code) in [
        ("error-before-auth", ErrorCode::Authentication),
        ("error-before-quota", ErrorCode::Quota),
        ("error-before-rate-limit", ErrorCode::RateLimited),
        ("error-before-overloaded", ErrorCode::Overloaded),
        ("no such model", ErrorCode::NotFound),
    ] {
        let items = all(&provider, ask(name)).await;
        let [Err(error)] = items.as_slice() else {
            panic!("{name}: {items:?}")
        };
        assert_eq!(error.code, code);
    }
    let items = all(&provider, ask("error-after")).await;
    assert!(text(&items).ends_with("and then "));
    assert!(matches!(items.last(), Some(Err(error)) if error.code == ErrorCode::ProviderError));
    assert_eq!(finished(&items), None);
}

#[tokio::test]
async fn continuing_after_any_interruption_gives_exactly_the_whole_text() {
    let provider = Scripted::builtin().with_pace(0.0);
    for name in ["cut", "error-after", "stall"] {
        let whole = provider.text(&ask(name)).unwrap();
        let first = text(&until_silent(&provider, ask(name)).await);
        assert!(whole.starts_with(&first) && first.len() < whole.len());
        let rest = all(&provider, after(name, &first)).await;
        assert_eq!(first + &text(&rest), whole, "{name}");
        assert_eq!(finished(&rest), Some(FinishReason::Stop), "{name}");
    }
    for name in ["markdown", "unicode", "reasoning", "cut"] {
        let whole = provider.text(&ask(name)).unwrap();
        // Every place in a short text, some in a long one.
        let places = whole.char_indices().map(|(at, _)| at).chain([whole.len()]);
        for at in places.skip(1).step_by(1 + whole.len() / 200) {
            let (start, end) = whole.split_at(at);
            let rest = all(&provider, after(name, start)).await;
            assert_eq!(text(&rest), end, "{name} at {at}");
            assert_eq!(finished(&rest), Some(FinishReason::Stop), "{name} at {at}");
        }
    }
}

#[tokio::test]
async fn a_prefill_that_is_not_the_beginning_is_ignored() {
    let provider = Scripted::builtin().with_pace(0.0);
    let whole = provider.text(&ask("hello")).unwrap();
    for prefill in ["Something else", &(whole.clone() + "more"), ""] {
        assert_eq!(text(&all(&provider, after("hello", prefill)).await), whole);
    }
}

#[tokio::test]
async fn a_stubborn_fault_happens_to_continuations_too() {
    let provider = script(
        r#"[[scenario]]
        name = "x"
        steps = [{ text = "ab" }, { end = "silent", again = true }, { text = "cd" }]"#,
    );
    let rest = all(&provider, after("x", "a")).await;
    assert_eq!((text(&rest).as_str(), finished(&rest)), ("b", None));
}

#[tokio::test]
async fn a_fault_with_times_lets_every_third_stream_through() {
    let provider = Scripted::builtin().with_pace(0.0);
    let mut through = Vec::new();
    for _ in 0..6 {
        through.push(finished(&all(&provider, ask("flaky")).await).is_some());
    }
    assert_eq!(through, [false, false, true, false, false, true]);
}

#[tokio::test]
async fn tool_calls_carry_their_arguments() {
    let provider = Scripted::builtin().with_pace(0.0);
    let items = all(&provider, ask("tools")).await;
    let mut values = Vec::new();
    let mut names = Vec::new();
    for item in items.into_iter().flatten() {
        match item {
            ProviderEvent::BlockStarted {
                tool: Some(tool), ..
            } => names.push(tool.name),
            ProviderEvent::BlockFinished { value, .. } if !value.is_null() => values.push(value),
            _ => {}
        }
    }
    assert_eq!(names, ["search", "clock"]);
    assert_eq!(values[0]["limit"], 3);
    assert_eq!(values[1], serde_json::json!({}));
}

#[tokio::test]
async fn pace_is_kept_without_drift_and_delays_are_caught_up() {
    let provider = script(
        r#"[[scenario]]
        name = "x"
        pace = 1000
        steps = [{ words = 400 }]"#,
    );
    let start = Instant::now();
    let mut stream = provider.stream(ask("x"));
    let mut seen = 0;
    while let Some(item) = stream.next().await {
        if let Ok(ProviderEvent::Delta { .. }) = item {
            seen += 1;
            if seen == 100 {
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        }
    }
    let took = start.elapsed();
    assert!(took >= Duration::from_millis(398), "{took:?}");
    assert!(took < Duration::from_millis(580), "{took:?}");
}

#[tokio::test]
async fn stages_come_in_order_and_before_the_text() {
    let provider = script(
        r#"[[scenario]]
        name = "x"
        steps = [
            { repeat = 2, steps = [{ stage = "queued", ahead = 2 }, { wait_ms = 20 }] },
            { stage = "connecting" },
            { stage = "reading_prompt", percent = 40 },
            { stage = "waiting" },
            { text = "a" },
            { usage = { input = 7, output = 8 } },
            { end = "length" },
        ]"#,
    );
    let start = Instant::now();
    let items: Result<Vec<_>, _> = all(&provider, ask("x")).await.into_iter().collect();
    assert!(start.elapsed() >= Duration::from_millis(40));
    let usage = Usage {
        input: 7,
        output: 8,
        ..Usage::default()
    };
    assert_eq!(
        items.unwrap(),
        [
            ProviderEvent::Stage(Stage::Queued { ahead: 2 }),
            ProviderEvent::Stage(Stage::Queued { ahead: 2 }),
            ProviderEvent::Stage(Stage::Connecting),
            ProviderEvent::Stage(Stage::ReadingPrompt { percent: 40 }),
            ProviderEvent::Stage(Stage::Waiting),
            ProviderEvent::Connected,
            ProviderEvent::BlockStarted {
                index: 0,
                kind: BlockKind::Text,
                tool: None
            },
            ProviderEvent::Delta {
                index: 0,
                text: "a".into()
            },
            ProviderEvent::Usage(usage),
            ProviderEvent::BlockFinished {
                index: 0,
                value: serde_json::Value::Null
            },
            ProviderEvent::Finished {
                reason: FinishReason::Length,
                word: "length".into()
            },
        ]
    );
}

#[tokio::test]
async fn a_dropped_stream_is_no_longer_active() {
    let provider = Scripted::builtin();
    let mut streams: Vec<_> = (0..3).map(|_| provider.stream(ask("stall"))).collect();
    assert_eq!(provider.clone().active(), 3);
    assert!(streams[0].next().await.is_some());
    streams.truncate(1);
    assert_eq!(provider.active(), 1);
    drop(streams);
    assert_eq!(provider.active(), 0);
}

#[tokio::test]
async fn a_panic_comes_after_the_text_and_the_count_goes_down() {
    let provider = Scripted::builtin().with_pace(0.0);
    let copy = provider.clone();
    let task = tokio::spawn(async move { all(&copy, ask("panic")).await });
    assert!(task.await.unwrap_err().is_panic());
    assert_eq!(provider.active(), 0);
    let whole = provider.text(&ask("panic")).unwrap();
    let rest = all(&provider, after("panic", "This answer")).await;
    assert_eq!("This answer".to_owned() + &text(&rest), whole);
}

#[tokio::test]
async fn silence_is_silence() {
    let provider = Scripted::builtin();
    assert!(until_silent(&provider, ask("silent")).await.is_empty());
}

#[test]
fn a_broken_script_is_explained_in_a_sentence() {
    let scenario = |steps: &str| format!("[[scenario]]\nname = \"x\"\nsteps = [{steps}]");
    for (script, part) in [
        ("[[scenario]]\nname = 3".to_owned(), "line 2"),
        (scenario("{ txet = \"a\" }"), "txet"),
        (scenario("{ stage = \"dreaming\" }"), "no stage “dreaming”"),
        (
            scenario("{ error = { code = \"oops\" } }"),
            "no error code “oops”",
        ),
        (scenario("{ end = \"never\" }"), "no end “never”"),
        (
            scenario("{ text = \"a\", wait_ms = 3 }"),
            "two things at once",
        ),
        (scenario("{ again = true }"), "says nothing"),
        (scenario("{ repeat = 3 }"), "needs “steps”"),
        (
            scenario("{ repeat = 99999999, steps = [{ text = \"a\" }] }"),
            "more than",
        ),
        (scenario("{ pace = -1 }"), "tokens per second"),
        (scenario("") + "\n" + &scenario(""), "Two scenarios"),
    ] {
        let error = Scripted::from_toml(&script).unwrap_err();
        assert_eq!(error.code, ErrorCode::InvalidRequest);
        assert!(error.message.contains(part), "{}", error.message);
        assert!(error.message.ends_with('.') && !error.message.contains('\n'));
    }
}
