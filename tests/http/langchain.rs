//! `format=langchain-v2` against what langchain-core itself says of the same chains.
//!
//! The script `end2end/differential/langchain.py` has the chains in Python. What we do in another way is in
//! [`rules`], each with its reason, and in docs/langchain.md.

mod rules;

use crate::{
    harness::{Api, InProcess, PATIENCE},
    mocks::{output, python},
};
use futures::{StreamExt, future, stream, stream::BoxStream};
use headwater::server::connections::Limits;
use headwater_engine::{
    Builder,
    chain::{Context, Question, model, parallel, parser, prompt, retriever, step, tool},
    config::Script,
    provider::{ToolDefinition, sse::Decoder},
    tool::{Output, Tool},
};
use headwater_protocol::{Error, ErrorCode, Event, RunId, Started, Status};
use reqwest::{Response, StatusCode};
use rules::RULES;
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, HashSet},
    io::Write,
    path::Path,
    time::Duration,
};

const SCRIPT: &str = r#"
    [[scenario]]
    name = "one"
    pieces = "whole"
    steps = [{ text = "First " }, { text = "opinion." }, { usage = { input = 3, output = 2 } }]
    [[scenario]]
    name = "two"
    pieces = "whole"
    steps = [{ text = "Second." }, { usage = { input = 3, output = 2 } }]
    [[scenario]]
    name = "thinks"
    pieces = "whole"
    steps = [{ reasoning = "Hm." }, { text = "Yes." }, { usage = { input = 3, output = 2 } }]
    [[scenario]]
    name = "calls"
    pieces = "whole"
    steps = [
        { text = "Let me look." },
        { tool = "up", id = "call_1", arguments = '{"text":"Which?"}' },
        { usage = { input = 3, output = 2 } },
        { end = "tool_calls" },
        { text = "It is WHICH?" },
        { usage = { input = 3, output = 2 } },
    ]
    [[scenario]]
    name = "busy"
    pieces = "whole"
    steps = [
        { error = { code = "overloaded", message = "Busy.", status = 529 }, times = 1 },
        { text = "At last." },
    ]
    [[scenario]]
    name = "breaks"
    pieces = "whole"
    steps = [{ text = "Half" }, { error = { code = "connection", message = "Gone." } }]
    [[scenario]]
    name = "slow"
    pace = 100
    steps = [{ reasoning = "Hm." }, { words = 60 }]
"#;

/// A tool that says its text louder, or fails.
struct Up(ToolDefinition);

impl Up {
    fn named(name: &str) -> Self {
        Self(ToolDefinition {
            name: name.into(),
            description: "Says it louder.".into(),
            parameters: json!({ "type": "object" }),
        })
    }
}

impl Tool for Up {
    fn definition(&self) -> &ToolDefinition {
        &self.0
    }

    fn call(&self, arguments: Value) -> BoxStream<'static, Result<Output, Error>> {
        let louder = match self.0.name.as_str() {
            "up" => {
                let text = arguments["text"].as_str().unwrap_or_default();
                Ok(text.to_uppercase().into())
            }
            _ => Err(Error::new(ErrorCode::ToolFailed, "It does not work.")),
        };
        stream::once(future::ready(louder)).boxed()
    }
}

async fn pages(cx: Context, query: String) -> Result<Vec<Value>, Error> {
    cx.custom("searched", json!({ "query": query })).await?;
    Ok(vec![
        json!({ "page_content": "A page.", "metadata": {} }),
        json!({ "page_content": "B.", "metadata": { "n": 2 } }),
    ])
}

async fn announce(cx: Context, question: Question) -> Result<String, Error> {
    cx.custom("step", json!({ "done": 1, "of": 2 })).await?;
    cx.custom("step", "half").await?;
    Ok(question.text)
}

async fn fails(_: Context, _: String) -> Result<String, Error> {
    Err(Error::new(ErrorCode::ToolFailed, "It does not work."))
}

async fn args(_: Context, question: Question) -> Result<Value, Error> {
    Ok(json!({ "text": question.text }))
}

async fn query(_: Context, question: Question) -> Result<String, Error> {
    Ok(question.text)
}

async fn say(_: Context, text: String) -> Result<String, Error> {
    Ok(text)
}

async fn join_pages(_: Context, pages: Vec<Value>) -> Result<String, Error> {
    let pages = pages
        .iter()
        .filter_map(|page| page["page_content"].as_str());
    Ok(pages.collect::<Vec<_>>().join(" "))
}

async fn join_said(_: Context, (one, two): (String, String)) -> Result<String, Error> {
    Ok(format!("{one} {two}"))
}

/// The chains of the Python script.
fn chains(builder: Builder) -> Builder {
    let ask = || {
        prompt("ask", |question: Question| {
            format!("Tell me of this: {}", question.text)
        })
    };
    let shout = || parser("shout", |text: String| Ok(text.to_uppercase()));
    let both = || parallel(model("scripted/one"), model("scripted/two"));
    builder
        .tool(Up::named("up"))
        .tool(Up::named("broken"))
        .chain("sequence", ask().then(model("scripted/one")).then(shout()))
        .chain("thinks", ask().then(model("scripted/thinks")).then(shout()))
        .chain("tool", step("args", args).then(tool("up")))
        .chain("tool_fails", step("args", args).then(tool("broken")))
        .chain(
            "retriever",
            step("query", query)
                .then(retriever("pages", pages))
                .then(step("join", join_pages)),
        )
        .chain("parallel", ask().then(both()).then(step("join", join_said)))
        .chain("custom", step("announce", announce).then(step("say", say)))
        .chain(
            "fails",
            step("announce", announce).then(step("fails", fails)),
        )
        .chain(
            "tagged",
            ask()
                .then(model("scripted/one").tagged("inner"))
                .then(shout())
                .tagged("outer"),
        )
}

async fn server() -> InProcess {
    let change = |config: &mut headwater_engine::Config| {
        config.script = Some(Script::Text(SCRIPT.into()));
        config.recovery.attempts = 2;
        config.recovery.pause = Duration::from_millis(1);
    };
    InProcess::built(Limits::default(), change, chains).await
}

async fn ask(api: &Api, model: &str) -> Started {
    api.try_start(&[("text", "Which?"), ("model", model)])
        .await
        .expect("started")
}

/// An event, or the word of the end, with the cursor behind it.
#[derive(Clone, Debug, PartialEq)]
struct Frame {
    id: String,
    is_end: bool,
    data: Value,
}

/// Reads a stream to the end of the connection.
async fn frames(response: Response) -> Vec<Frame> {
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    let bytes = tokio::time::timeout(PATIENCE, response.bytes());
    let bytes = bytes.await.expect("no hang").expect("a body");
    let mut decoder = Decoder::new();
    decoder.push(&bytes);
    let mut frames = Vec::new();
    while let Some(frame) = decoder.next_event().expect("well-formed") {
        assert!(matches!(frame.event.as_str(), "" | "end"), "{frame:?}");
        frames.push(Frame {
            id: frame.id,
            is_end: frame.event == "end",
            data: serde_json::from_str(&frame.data).expect("JSON"),
        });
    }
    frames
}

/// All of a run, with more parameters.
async fn read(api: &Api, run: RunId, more: &str) -> Vec<Frame> {
    let path = format!("/api/runs/events?run={run}&format=langchain-v2{more}");
    frames(api.get(&path).await).await
}

/// The events of a stream, and how the run ended.
fn events(mut frames: Vec<Frame>) -> (Vec<Value>, Value) {
    let end = frames.pop().expect("an end");
    assert!(end.is_end && frames.iter().all(|frame| !frame.is_end));
    (
        frames.into_iter().map(|frame| frame.data).collect(),
        end.data,
    )
}

/// What langchain-core says of a chain: its events, and what was raised.
type Recorded = (Vec<Value>, Option<String>);

/// What langchain-core says of its chains, by their names.
fn recorded() -> Option<BTreeMap<String, Recorded>> {
    let mut asked = python()?;
    asked.args(["-c", "import sys; print(sys.version_info >= (3, 11))"]);
    if output(asked).starts_with(b"False") {
        // Written past the test's captured output, or nobody would see it.
        let _ = writeln!(
            std::io::stderr(),
            "skipped: langchain-core needs Python 3.11"
        );
        return None;
    }
    let mut python = python()?;
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("end2end/differential/langchain.py");
    python.arg(script);
    let printed = String::from_utf8(output(python)).expect("text");
    let mut chains = BTreeMap::<_, Recorded>::new();
    for line in printed.lines() {
        let mut line: Value = serde_json::from_str(line).expect("a line of the script");
        let name = line["chain"].as_str().expect("a name").to_owned();
        let (events, raised) = chains.entry(name).or_default();
        match line["raised"].as_str() {
            Some(why) => *raised = Some(why.to_owned()),
            None => events.push(line["event"].take()),
        }
    }
    Some(chains)
}

/// Gives the identifiers of spans numbers in the order in which they appear.
fn without_ids(events: &[Value]) -> Vec<Value> {
    let mut ids: Vec<&str> = Vec::new();
    for event in events {
        let id = event["run_id"].as_str().expect("an identifier");
        if !ids.contains(&id) {
            ids.push(id);
        }
    }
    let named = events.iter().map(|event| {
        let numbered = (1..).zip(&ids);
        let text = numbered.fold(event.to_string(), |text, (number, id)| {
            text.replace(id, &format!("span {number}"))
        });
        serde_json::from_str(&text).expect("JSON as before")
    });
    named.collect()
}

#[tokio::test]
async fn the_events_are_those_of_langchain_core_but_for_the_rules() {
    let Some(recorded) = recorded() else { return };
    let server = server().await;
    let (mut needed, mut different) = (HashSet::new(), Vec::new());
    assert_eq!(recorded.len(), 11);
    for (name, (mut theirs, raised)) in recorded {
        let model = match name.as_str() {
            "plain" => "scripted/one".to_owned(),
            "agent" => "scripted/calls".to_owned(),
            name => format!("chain/{name}"),
        };
        let run = ask(&server.api, &model).await.run;
        let (mut ours, end) = events(read(&server.api, run, "").await);
        assert_eq!(
            end["error"]["message"].as_str(),
            raised.as_deref(),
            "{name}"
        );
        let status = if raised.is_some() { "error" } else { "ok" };
        assert_eq!(end["status"], status, "{name}");
        for rule in RULES {
            let before = (ours.clone(), theirs.clone());
            (rule.ours)(&mut ours);
            (rule.theirs)(&mut theirs);
            if before != (ours.clone(), theirs.clone()) {
                needed.insert(rule.name);
            }
        }
        assert!(theirs.len() > 3, "{name}");
        let (ours, theirs) = (without_ids(&ours), without_ids(&theirs));
        let pairs = ours.iter().zip(&theirs);
        let found = pairs.filter(|(ours, theirs)| ours != theirs);
        different.extend(found.map(|(ours, theirs)| format!("{name}:\n{ours}\n{theirs}")));
        if ours.len() != theirs.len() {
            different.push(format!(
                "{name}: {} and {} events",
                ours.len(),
                theirs.len()
            ));
        }
    }
    assert!(different.is_empty(), "{}", different.join("\n"));
    let idle = RULES.iter().filter(|rule| !needed.contains(rule.name));
    let idle: Vec<_> = idle.map(|rule| rule.name).collect();
    assert!(idle.is_empty(), "no chain needs these rules: {idle:?}");
}

#[test]
fn the_rules_are_in_the_documentation() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/langchain.md");
    let page = std::fs::read_to_string(page).expect("the page");
    for rule in RULES {
        assert!(
            page.contains(&format!("| {} |", rule.name)),
            "{}",
            rule.name
        );
    }
}

#[tokio::test]
async fn a_reader_goes_on_at_every_event_and_while_it_runs() {
    let server = server().await;
    for model in ["chain/parallel", "scripted/calls", "scripted/slow"] {
        let run = ask(&server.api, model).await.run;
        let live = read(&server.api, run, "").await;
        let whole = read(&server.api, run, "").await;
        assert_eq!(live, whole, "{model}");
        let ids: HashSet<_> = whole.iter().map(|frame| &frame.id).collect();
        assert_eq!(ids.len(), whole.len(), "each has its own id");
        for (place, frame) in whole.iter().enumerate() {
            let rest = read(&server.api, run, &format!("&after={}", frame.id)).await;
            assert_eq!(rest, whole[place + 1..], "{model} after {}", frame.id);
        }
        let middle = &whole[whole.len() / 2];
        let path = format!(
            "{}/api/runs/events?run={run}&format=langchain-v2&after=1",
            server.api.base
        );
        let request = server
            .api
            .http
            .get(path)
            .header("last-event-id", &middle.id);
        let rest = frames(request.send().await.expect("answer")).await;
        assert_eq!(rest, whole[whole.len() / 2 + 1..], "{model}");
    }
}

#[tokio::test]
async fn a_filter_leaves_the_events_of_some_spans_and_changes_none() {
    let server = server().await;
    let run = ask(&server.api, "chain/parallel").await.run;
    let whole = read(&server.api, run, "").await;
    for (filter, wanted) in [
        (
            "&include_types=chat_model",
            vec!["scripted/one", "scripted/two"],
        ),
        (
            "&include_names=scripted/two,join",
            vec!["scripted/two", "join"],
        ),
        ("&exclude_kinds=chat_model,chain", vec!["ask"]),
    ] {
        let found = read(&server.api, run, filter).await;
        let kept = whole.iter().filter(|frame| {
            frame.is_end || wanted.contains(&frame.data["name"].as_str().expect("a name"))
        });
        let kept: Vec<_> = kept.cloned().collect();
        assert!(kept.len() > 2 && kept.len() < whole.len());
        assert_eq!(found, kept, "{filter}");
        let rest = read(&server.api, run, &format!("{filter}&after={}", kept[0].id)).await;
        assert_eq!(rest, kept[1..], "{filter}");
    }
}

#[tokio::test]
async fn what_cannot_be_asked_for_is_refused_with_a_sentence() {
    let server = server().await;
    let run = ask(&server.api, "scripted/one").await.run;
    read(&server.api, run, "").await;
    for (query, status, word) in [
        ("format=langchain-v1", 400, "langchain-v2"),
        ("format=langchain-v2&after=x", 400, "“after”"),
        ("format=langchain-v2&after=0.1", 400, "“after”"),
        ("format=langchain-v2&after=1000", 409, "beyond"),
        ("format=langchain-v2&after=1000.1", 409, "beyond"),
        ("format=langchain-v2&include_types=llm", 400, "chat_model"),
        ("after=2.1", 400, "“after”"),
    ] {
        let path = format!("/api/runs/events?run={run}&{query}");
        let refused = server.api.get(&path).await;
        assert_eq!(refused.status().as_u16(), status, "{query}");
        let error: Error =
            serde_json::from_slice(&refused.bytes().await.expect("body")).expect("an error");
        assert!(error.message.contains(word), "{query}: {}", error.message);
    }
}

#[tokio::test]
async fn what_v2_is_silent_about_is_said() {
    let server = server().await;
    // An attempt that failed, and the one in its place.
    let run = ask(&server.api, "scripted/busy").await.run;
    let (all, end) = events(read(&server.api, run, "").await);
    let names: Vec<_> = all
        .iter()
        .map(|event| event["event"].as_str().expect("a name"))
        .collect();
    assert_eq!(
        names,
        [
            "on_chat_model_start",
            "on_chat_model_error",
            "on_chat_model_start",
            "on_chat_model_stream",
            "on_chat_model_stream",
            "on_chat_model_end",
        ]
    );
    assert_eq!(
        all[1]["data"]["error"],
        json!({ "error": "overloaded", "message": "Busy." })
    );
    assert_eq!(all[2]["metadata"]["replaces"], all[0]["run_id"]);
    assert_eq!(all[0]["run_id"], run.to_string());
    assert_eq!(end, json!({ "status": "ok" }));
    // A model that fails in the middle of its answer.
    let run = ask(&server.api, "scripted/breaks").await.run;
    let (all, end) = events(read(&server.api, run, "").await);
    let failed = all.last().expect("an event");
    assert_eq!(failed["event"], "on_chat_model_error");
    assert_eq!(failed["data"]["output"]["content"], "Half");
    assert_eq!(end["status"], "error");
    assert_eq!(end["error"]["message"], "Gone.");
    // A stop.
    let run = ask(&server.api, "scripted/slow").await.run;
    let mut entries = Box::pin(server.engine.follow(run, 0).await.expect("follows"));
    while let Some(entry) = entries.next().await {
        if matches!(entry.event, Event::Delta { .. }) {
            break;
        }
    }
    server.api.stop(run, None).await;
    let (all, end) = events(read(&server.api, run, "").await);
    let stopped = all.last().expect("an event");
    assert_eq!(stopped["event"], "on_chat_model_error");
    assert_eq!(stopped["data"]["error"]["error"], json!(Status::Cancelled));
    assert_eq!(end["status"], json!(Status::Cancelled));
}
