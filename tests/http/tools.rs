//! Tools: called, told back in every vendor's words, and ended with the run that called them.

use crate::{
    harness::{InProcess, Process, ends_once, frames, provider, stored},
    upstream::{Reply, Upstream},
    vendors::{ALL, TEXT},
};
use futures::StreamExt;
use headwater_engine::Config;
use headwater_engine::{
    config::Script,
    runs::recovery::{OnBreak, Recovery},
    tool::program::ToolConfig,
};
use headwater_protocol::{BlockKind, Event, Seq, SpanKind, Stage, Started, Status, chat::Answer};
use serde_json::json;
use std::time::{Duration, Instant};

/// A tool that is a line of shell.
fn tool(name: &str, script: &str) -> ToolConfig {
    ToolConfig {
        name: name.into(),
        description: format!("Does {name}."),
        command: ["sh", "-c", script].map(str::to_owned).to_vec(),
        ..ToolConfig::default()
    }
}

async fn server(tools: Vec<ToolConfig>, script: &str) -> InProcess {
    with(tools, script, |_| {}).await
}

async fn with(tools: Vec<ToolConfig>, script: &str, change: impl FnOnce(&mut Config)) -> InProcess {
    InProcess::with(|config| {
        config.tools = tools;
        config.script = Some(Script::Text(script.to_owned()));
        change(config);
    })
    .await
}

async fn ask(server: &InProcess, scenario: &str) -> (Started, Answer) {
    let started = server.api.start(scenario, "Go").await;
    let answer = server.api.fold(started.run).await;
    let loaded = server.api.load(&started).await;
    assert_eq!(loaded.messages[1].visible_text(), answer.visible_text());
    ends_once(&server.engine, started.run).await;
    (started, answer)
}

fn outputs(answer: &Answer) -> Vec<(&str, &str, Option<Status>)> {
    let blocks = answer.blocks.iter();
    blocks
        .filter(|block| block.kind == BlockKind::ToolOutput)
        .map(|block| {
            let span = answer.spans.iter().find(|span| span.span == block.span);
            let name = block.tool.as_ref().map_or("", |tool| tool.name.as_str());
            (name, block.text.as_str(), span.and_then(|span| span.status))
        })
        .collect()
}

const ONE_CALL: &str = r#"
    [[scenario]]
    name = "one"
    steps = [
        { text = "Let me look." },
        { tool = "search", id = "a", arguments = '{"q": "x"}' },
        { end = "tool_calls" },
        { text = "It gave:\n\n" },
        { echo_results = true },
    ]
"#;

#[tokio::test]
async fn every_vendor_is_told_what_its_tools_gave() {
    for vendor in ALL {
        let upstream = Upstream::start(vec![
            Reply::chunked(vendor.tools),
            Reply::chunked(vendor.text),
        ])
        .await;
        let server = InProcess::with(|config| {
            // One of the tools it calls is not there.
            config.tools = vec![
                tool("search", "cat"),
                tool("weather", "cat"),
                tool("clock", "echo noon"),
            ];
            config.providers = vec![provider(
                vendor.kind,
                format!("http://{}", upstream.address),
            )];
        })
        .await;
        let at = vendor.name;
        let form = [("text", "Go"), ("model", "p/m")];
        let started = server.api.try_start(&form).await.expect("started");
        let answer = server.api.fold(started.run).await;
        assert_eq!(answer.status, Some(Status::Ok), "{at}: {:?}", answer.error);
        assert!(answer.visible_text().ends_with(TEXT), "{at}");
        let outputs = outputs(&answer);
        assert_eq!(outputs.len(), vendor.calls.len(), "{at}");
        let requests = upstream.requests();
        assert_eq!(requests.len(), 2, "{at}");
        for name in ["search", "weather", "clock"] {
            assert!(requests[0].contains(&format!("Does {name}.")), "{at}");
        }
        for ((name, _, status), (called, arguments)) in outputs.iter().zip(vendor.calls) {
            assert_eq!(name, called, "{at}");
            let expected = match *name {
                "whole" => "There is no tool “whole”.".to_owned(),
                "clock" => "noon".to_owned(),
                _ => serde_json::from_str::<serde_json::Value>(arguments)
                    .expect("json")
                    .to_string(),
            };
            let failed = *name == "whole";
            assert_eq!(*status == Some(Status::Error), failed, "{at} {name}");
            // As the vendor's JSON has it: a string within a string.
            let quoted = json!(expected).to_string();
            let quoted = quoted.trim_matches('"');
            assert!(requests[1].contains(quoted), "{at} {name}: {}", requests[1]);
            assert!(!requests[0].contains(quoted), "{at} {name}");
        }
        // The next question tells of the calls again, or the provider would refuse it.
        let form = [
            ("text", "More"),
            ("conversation", &started.conversation.to_string()),
            ("model", "p/m"),
        ];
        let started = server.api.try_start(&form).await.expect("started");
        let answer = server.api.fold(started.run).await;
        assert_eq!(answer.status, Some(Status::Ok), "{at}: {:?}", answer.error);
        assert!(upstream.requests()[2].contains("noon"), "{at}");
    }
}

#[tokio::test]
async fn what_a_tool_gives_is_in_the_log_and_the_answer_goes_on_in_a_paragraph_of_its_own() {
    let server = server(vec![tool("search", "cat; echo; echo two")], ONE_CALL).await;
    let (started, answer) = ask(&server, "one").await;
    assert_eq!(answer.status, Some(Status::Ok));
    assert_eq!(
        answer.visible_text(),
        "Let me look.\n\nIt gave:\n\n- search: {\"q\":\"x\"}\ntwo\n"
    );
    let output = ("search", "{\"q\":\"x\"}\ntwo\n", Some(Status::Ok));
    assert_eq!(outputs(&answer), [output]);
    let kinds: Vec<SpanKind> = answer.spans.iter().map(|span| span.kind).collect();
    assert_eq!(
        kinds,
        [SpanKind::ChatModel, SpanKind::Tool, SpanKind::ChatModel]
    );
    // Both calls of the model are counted.
    let each: Vec<u64> = answer.spans.iter().map(|span| span.usage.output).collect();
    assert!(each[0] > 0 && each[2] > 0);
    assert_eq!(answer.usage.output, each.iter().sum::<u64>());
    let log = stored(&server.engine, started.run).await;
    let running = log.iter().filter_map(|entry| match &entry.event {
        Event::Progress {
            stage: Stage::RunningTool { name },
            ..
        } => Some(name.as_str()),
        _ => None,
    });
    assert_eq!(running.collect::<Vec<_>>(), ["search"]);
    let parents: Vec<_> = log
        .iter()
        .filter_map(|entry| match &entry.event {
            Event::SpanStarted { parent, input, .. } => Some((*parent, input.clone())),
            _ => None,
        })
        .collect();
    assert_eq!(parents[1], (Some(1), json!({"q": "x"})));
}

#[tokio::test]
async fn calls_run_beside_each_other_and_a_failure_is_for_the_model() {
    let script = r#"
        [[scenario]]
        name = "many"
        steps = [
            { tool = "slow", id = "a" },
            { tool = "quick", id = "b" },
            { tool = "broken", id = "c" },
            { tool = "endless", id = "d" },
            { tool = "nobody", id = "e" },
            { tool = "quick", id = "f", arguments = "[1]" },
            { tool = "flood", id = "g" },
            { end = "tool_calls" },
            { echo_results = true },
        ]
    "#;
    let endless = ToolConfig {
        timeout: Some(0.8),
        ..tool("endless", "echo begun; sleep 60")
    };
    let tools = vec![
        tool("slow", "sleep 0.4; echo slow"),
        tool("quick", "echo quick"),
        tool("broken", "echo half; echo 'no such city' >&2; exit 3"),
        endless,
        tool("flood", "yes"),
    ];
    let server = server(tools, script).await;
    let (started, answer) = ask(&server, "many").await;
    assert_eq!(answer.status, Some(Status::Ok), "{:?}", answer.error);
    let text = answer.visible_text();
    let starts: Vec<&str> = text.lines().filter(|line| line.starts_with('-')).collect();
    assert_eq!(starts.len(), 7, "{text}");
    assert_eq!(
        starts[..3],
        ["- slow: slow", "- quick: quick", "- broken (failed): half"]
    );
    assert!(text.contains("The program ended with exit status: 3: no such city"));
    assert!(text.contains("begun\n\nThe call was not done after 0.8 seconds and was ended."));
    assert!(text.contains("- nobody (failed): There is no tool “nobody”."));
    assert!(text.contains("The arguments are not a JSON object: [1]"));
    assert!(text.contains("The output is longer than 256 kB; the call was ended."));
    // Quick was done while slow, which began first, was at work.
    let log = stored(&server.engine, started.run).await;
    let ends = log.iter().filter_map(|entry| match entry.event {
        Event::SpanFinished { span, .. } => Some(span),
        _ => None,
    });
    let ends: Vec<_> = ends.collect();
    let (slow, quick) = (answer.spans[1].span, answer.spans[2].span);
    let place = |span| ends.iter().position(|end| *end == span);
    assert!(place(quick) < place(slow));
}

#[tokio::test]
async fn a_stop_ends_the_tool_at_once_and_the_next_turn_is_valid() {
    let folder = tempfile::tempdir().expect("folder");
    let file = folder.path().join("pid");
    let wait = format!("echo $$ > {}; echo begun; sleep 60", file.display());
    let server = server(vec![tool("search", &wait)], ONE_CALL).await;
    let started = server.api.start("one", "Go").await;
    wait_for_output(&server, &started).await;
    let stopped = server.api.stop(started.run, None).await;
    assert!(!stopped.already_finished);
    assert!(stopped.provider_closed_ms < 1_000, "{stopped:?}");
    let pid = std::fs::read_to_string(&file).expect("written");
    let since = Instant::now();
    while is_alive(pid.trim()) {
        assert!(since.elapsed() < Duration::from_secs(5));
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    let answer = server.api.fold(started.run).await;
    assert_eq!(answer.status, Some(Status::Cancelled));
    let output = ("search", "begun\n", Some(Status::Cancelled));
    assert_eq!(outputs(&answer), [output]);
    assert_eq!(answer.visible_text(), "Let me look.");
    // Going on tells the model that the call was cancelled.
    let more = server.api.again("continue", started.run).await.expect("on");
    let answer = server.api.fold(more.run).await;
    assert_eq!(answer.status, Some(Status::Ok));
    assert_eq!(
        answer.visible_text(),
        "\n\nIt gave:\n\n- search (failed): begun\nThe call was cancelled before it was done.\n"
    );
}

async fn wait_for_output(server: &InProcess, started: &Started) {
    let waiting = async {
        loop {
            let mut loaded = server.api.load(started).await;
            let answer = loaded.messages.remove(1).answers.remove(0);
            if outputs(&answer).iter().any(|(_, text, _)| !text.is_empty()) {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let waiting = tokio::time::timeout(Duration::from_secs(20), waiting);
    waiting.await.expect("the tool begins");
}

fn is_alive(pid: &str) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat"))
        .is_ok_and(|stat| !stat.rsplit(')').next().unwrap_or("").starts_with(" Z"))
}

#[tokio::test]
async fn a_killed_server_keeps_the_call_and_goes_on_from_it() {
    let folder = tempfile::tempdir().expect("folder");
    let config = folder.path().join("headwater.toml");
    let script = folder.path().join("script.toml");
    std::fs::write(&script, ONE_CALL).expect("written");
    // It outlives the server that is killed, but not by much.
    let file = "[[tool]]\nname = \"search\"\ndescription = \"d\"\n\
                command = [\"sh\", \"-c\", \"echo begun; sleep 3\"]\n";
    std::fs::write(&config, file).expect("written");
    let path = |path: &std::path::Path| path.to_str().expect("UTF-8").to_owned();
    let (config, script) = (path(&config), path(&script));
    let arguments = ["--config", config.as_str(), "--script", script.as_str()];
    let server = Process::start(folder.path(), &arguments);
    let started = server.api.start("one", "Go").await;
    let mut seen: Seq = 0;
    {
        use futures::StreamExt;
        let mut frames = server.api.follow(started.run, 0).await;
        while let Some((seq, event)) = frames.next().await {
            seen = seq.unwrap_or(seen);
            if matches!(&event, Event::Delta { text, .. } if text == "begun\n") {
                break;
            }
        }
    }
    server.kill();
    let server = Process::start(folder.path(), &arguments);
    let answer = server.api.fold(started.run).await;
    assert_eq!(answer.status, Some(Status::Interrupted));
    assert!(answer.seq >= seen, "what was seen is in the log");
    let more = server.api.again("continue", started.run).await.expect("on");
    let answer = server.api.fold(more.run).await;
    assert_eq!(answer.status, Some(Status::Ok));
    assert!(answer.visible_text().contains("- search (failed): begun\n"));
}

#[tokio::test]
async fn a_failure_after_a_round_of_tools_loses_nothing_of_it() {
    let script = r#"
        prefill = true
        [[scenario]]
        name = "one"
        steps = [
            { text = "Let me look." },
            { tool = "search", id = "a" },
            { end = "tool_calls" },
            { text = "First half, " },
            { end = "silent" },
            { text = "second half." },
        ]
    "#;
    for way in [OnBreak::Continue, OnBreak::Restart] {
        let server = with(vec![tool("search", "echo x")], script, |config| {
            config.recovery = Recovery {
                pause: Duration::from_millis(20),
                on_break: way,
                max_recoveries: 1,
                ..Recovery::default()
            };
        })
        .await;
        let (_, answer) = ask(&server, "one").await;
        assert_eq!(answer.spans.len(), 4, "{way:?}");
        assert_eq!(outputs(&answer).len(), 1, "{way:?}: the tool ran once");
        match way {
            OnBreak::Continue => {
                assert_eq!(answer.status, Some(Status::Ok));
                assert_eq!(
                    answer.visible_text(),
                    "Let me look.\n\nFirst half, second half."
                );
            }
            _ => {
                assert_eq!(answer.visible_text(), "Let me look.\n\nFirst half, ");
                assert_eq!(answer.spans[2].status, Some(Status::Superseded));
            }
        }
    }
}

#[tokio::test]
async fn a_model_that_goes_round_in_circles_is_ended() {
    let rounds: String = "{ tool = \"search\" }, { end = \"tool_calls\" },".repeat(30);
    let script = format!("[[scenario]]\nname = \"circles\"\nsteps = [{rounds}]\n");
    let server = with(vec![tool("search", "true")], &script, |_| {}).await;
    let (_, answer) = ask(&server, "circles").await;
    assert_eq!(answer.status, Some(Status::Error));
    let error = answer.error.clone().expect("an error");
    assert!(error.message.contains("25 times"), "{error}");
    assert_eq!(outputs(&answer).len(), 25);
}

#[tokio::test]
async fn a_model_that_calls_too_many_at_once_gets_some() {
    let calls = r#"{ tool = "search" },"#.repeat(40);
    let script = format!(
        "[[scenario]]\nname = \"many\"\nsteps = [{calls} {{ end = \"tool_calls\" }}, {{ text = \"Fine.\" }}]\n"
    );
    let server = server(vec![tool("search", "echo x")], &script).await;
    let (_, answer) = ask(&server, "many").await;
    assert_eq!(answer.visible_text(), "Fine.");
    let outputs = outputs(&answer);
    let run = |status| {
        outputs
            .iter()
            .filter(|output| output.2 == Some(status))
            .count()
    };
    assert_eq!((run(Status::Ok), run(Status::Error)), (32, 8));
    assert!(
        outputs[39]
            .1
            .contains("Only 32 tools can be called at once")
    );
}

#[tokio::test]
async fn without_tools_a_call_is_only_shown() {
    let server = server(Vec::new(), ONE_CALL).await;
    let (started, answer) = ask(&server, "one").await;
    assert_eq!(answer.status, Some(Status::Ok));
    assert_eq!(answer.visible_text(), "Let me look.");
    assert_eq!(answer.blocks[1].kind, BlockKind::ToolInput);
    // It goes on from its words.
    let more = server.api.again("continue", started.run).await.expect("on");
    let answer = server.api.fold(more.run).await;
    assert_eq!(answer.status, Some(Status::Ok));
}

#[tokio::test]
async fn a_model_is_told_only_the_beginning_of_what_it_wrote_wrong() {
    let long = "x".repeat(100_000);
    let script = format!(
        "[[scenario]]\nname = \"wrong\"\nsteps = [{{ tool = \"search\", arguments = \"{long}\" }}, \
         {{ tool = \"{long}\" }}, {{ end = \"tool_calls\" }}, {{ text = \"Fine.\" }}]\n"
    );
    let server = server(vec![tool("search", "cat")], &script).await;
    let (_, answer) = ask(&server, "wrong").await;
    assert_eq!(answer.visible_text(), "Fine.");
    let outputs = outputs(&answer);
    assert_eq!(outputs.len(), 2);
    for (_, text, status) in outputs {
        assert_eq!(status, Some(Status::Error));
        assert!(text.len() < 1200, "{} bytes", text.len());
    }
}

/// The variables of a process can be read by others of the same user, unless it asks the system
/// not to.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_tool_cannot_read_the_keys_of_the_server() {
    let folder = tempfile::tempdir().expect("folder");
    let config = folder.path().join("headwater.toml");
    let script = folder.path().join("script.toml");
    std::fs::write(&script, ONE_CALL).expect("written");
    let look = "grep -ac PATH= /proc/self/environ; grep -ac HEADWATER_DATA= /proc/$PPID/environ 2>&1; true";
    let file = format!(
        "[[tool]]\nname = \"search\"\ndescription = \"d\"\ncommand = [\"sh\", \"-c\", {}]\n",
        json!(look)
    );
    std::fs::write(&config, file).expect("written");
    let path = |path: &std::path::Path| path.to_str().expect("UTF-8").to_owned();
    let (config, script) = (path(&config), path(&script));
    let program = crate::harness::program_of_a_plain_user(folder.path());
    let arguments = ["--config", config.as_str(), "--script", script.as_str()];
    let server = Process::serve(program, &arguments).expect("started");
    let started = server.api.start("one", "Go").await;
    let answer = server.api.fold(started.run).await;
    let (_, text, _) = outputs(&answer)[0];
    assert!(text.starts_with("1\n"), "its own it can read: {text}");
    assert!(text.contains("Permission denied"), "{text}");
}

#[tokio::test]
async fn a_reader_can_have_the_frames_of_some_spans_only() {
    let script = r#"
        [[scenario]]
        name = "calls"
        steps = [
            { text = "Let me look." },
            { tool = "search", id = "call_1", arguments = '{}' },
            { end = "tool_calls" },
            { text = "Done." },
        ]
    "#;
    let server = server(vec![tool("search", "echo found")], script).await;
    let (started, answer) = ask(&server, "calls").await;
    let is_tool = |event: &Event| {
        let span = event.span();
        span.is_none_or(|span| {
            let known = answer.spans.iter().find(|known| known.span == span);
            known.is_some_and(|known| known.kind == SpanKind::Tool)
        })
    };
    let read = async |query: &str| -> Vec<(Option<Seq>, Event)> {
        let path = format!("/api/runs/events?run={}{query}", started.run);
        frames(server.api.get(&path).await).collect().await
    };
    let log = stored(&server.engine, started.run).await;
    let whole = log
        .iter()
        .map(|entry| (Some(entry.seq), entry.event.clone()));
    let whole: Vec<_> = whole.collect();
    for (query, wanted) in [
        ("&include_kinds=tool", true),
        ("&include_names=search", true),
        ("&exclude_kinds=tool", false),
        ("&exclude_names=search&snapshot=true", false),
    ] {
        let found = read(query).await;
        assert!(matches!(found[0], (None, Event::Ping { .. })));
        let kept = whole
            .iter()
            .filter(|(_, event)| event.span().is_none() || is_tool(event) == wanted);
        let kept: Vec<_> = kept.cloned().collect();
        assert!(kept.len() > 4 && kept.len() < whole.len());
        assert_eq!(found[1..], kept, "{query}");
        // The same from the middle.
        let (middle, _) = kept[2];
        let rest = read(&format!("{query}&after={}", middle.expect("a number"))).await;
        assert_eq!(rest[1..], kept[3..], "{query}");
    }
    let path = format!("/api/runs/events?run={}&include_kinds=llm", started.run);
    let refused = server.api.get(&path).await;
    assert_eq!(refused.status(), 400);
    assert!(refused.text().await.expect("a body").contains("chat_model"));
}
