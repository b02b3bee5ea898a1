//! Whole logs of a run with everything in it, entry by entry.

use super::*;
use crate::{
    provider::ToolDefinition,
    tool::{self, Output},
};
use futures::stream::BoxStream;
use headwater_protocol::Stage;

const SCRIPT: &str = r#"
[[scenario]]
name = "researcher"
pieces = "whole"
steps = [
    { tool = "search", id = "a", arguments = '{"q":"mills"}' },
    { tool = "clock", id = "b", arguments = '{}' },
    { tool = "forecast", id = "c", arguments = '{}' },
    { end = "tool_calls" },
    { text = "There is a mill." },
    { end = "stop" },
]
[[scenario]]
name = "writer"
pieces = "whole"
steps = [
    { error = { code = "overloaded", message = "Busy.", status = 529 }, times = 1 },
    { text = "Go to the mill." },
    { end = "stop" },
]
[[scenario]]
name = "dreamer"
pieces = "whole"
steps = [{ text = "Go to" }, { stall = true }]
"#;

/// A tool that always does the same.
struct Plays(ToolDefinition, Vec<Result<Output, Error>>);

impl tool::Tool for Plays {
    fn definition(&self) -> &ToolDefinition {
        &self.0
    }

    fn call(&self, _: Value) -> BoxStream<'static, Result<Output, Error>> {
        stream::iter(self.1.clone()).boxed()
    }
}

fn plays(name: &str, output: Vec<Result<Output, Error>>) -> Plays {
    let definition = ToolDefinition {
        name: name.into(),
        description: String::new(),
        parameters: json!({}),
    };
    Plays(definition, output)
}

/// Finds, asks a model with three tools, lets another one write, and reads that.
async fn research(writer: &str, until: Option<&str>) -> Vec<String> {
    let chain = retriever("pages", search)
        .then(prompt("ask", |pages: Vec<String>| Prompt {
            tools: true,
            ..pages.join("\n").into()
        }))
        .then(model("scripted/researcher").hidden())
        .then(model(writer))
        .then(parser("words", |text: String| {
            Ok(text.split_whitespace().count())
        }));
    let broken = Error::new(ErrorCode::ToolFailed, "No station answers.");
    let (entries, _) = log_with(SCRIPT, until, |builder| {
        let halfway = Output::custom("progress", json!({ "percent": 50 }));
        builder
            .chain("it", chain)
            .tool(plays(
                "search",
                vec![Ok("One ".into()), Ok(halfway), Ok("mill.".into())],
            ))
            .tool(plays("clock", vec![Ok("Noon.".into())]))
            .tool(plays("forecast", vec![Ok("Asking.".into()), Err(broken)]))
    })
    .await;
    golden(&entries)
}

/// The entries as lines, without times and counts. Those of a span follow each other: what is at work at the same
/// time has no order.
fn golden(entries: &[Entry]) -> Vec<String> {
    let mut lines: Vec<_> = entries.iter().map(|entry| line(&entry.event)).collect();
    lines.sort_by_key(|(span, _)| *span);
    lines.into_iter().map(|(_, line)| line).collect()
}

fn line(event: &Event) -> (SpanNo, String) {
    let span = event.span().unwrap_or(match event {
        Event::RunStarted { .. } => 0,
        _ => SpanNo::MAX,
    });
    let place = match span {
        0 | SpanNo::MAX => String::new(),
        span => span.to_string(),
    };
    let mut words = vec![place];
    words.extend(said(event));
    words.retain(|word| !word.is_empty());
    (span, words.join(" "))
}

fn said(event: &Event) -> Vec<String> {
    match event {
        Event::RunStarted { model, .. } => vec![format!("run {model}")],
        Event::RunFinished { status, error, .. } => {
            vec!["run".into(), ended(*status, error.as_ref())]
        }
        Event::SpanStarted {
            parent,
            kind,
            name,
            tags,
            input,
            replaces,
            ..
        } => vec![
            format!("in {}: {kind:?} {name}", parent.unwrap_or_default()),
            unless(tags.is_empty(), format!("{tags:?}")),
            unless(input.is_null(), input),
            replaces.map_or_else(String::new, |span| format!("in place of {span}")),
        ],
        Event::BlockStarted {
            block, kind, tool, ..
        } => {
            let tool = tool.as_ref().map(|tool| tool.name.clone());
            vec![format!("block {block} {kind:?}"), tool.unwrap_or_default()]
        }
        Event::Delta { block, text, .. } => vec![format!("block {block} {text:?}")],
        Event::BlockFinished {
            block,
            length,
            value,
            ..
        } => vec![
            format!("block {block} has {length}"),
            unless(value.is_null(), value),
        ],
        Event::Progress {
            stage: Stage::Retrying { attempt, error, .. },
            ..
        } => vec![format!("retrying, {attempt}: {}", error.message)],
        Event::Progress { stage, .. } => vec![format!("{stage:?}")],
        Event::Custom { name, data, .. } => vec![format!("custom {name} {data}")],
        Event::SpanFinished {
            status,
            output,
            finish,
            error,
            ..
        } => vec![
            ended(*status, error.as_ref()),
            finish
                .as_ref()
                .map_or_else(String::new, |finish| format!("{:?}", finish.reason)),
            // A stop has milliseconds in its place.
            unless(*status != Status::Ok || output.is_null(), output),
        ],
        Event::Usage { .. } => vec!["usage".into()],
        other => vec![format!("{other:?}")],
    }
}

fn unless(absent: bool, word: impl ToString) -> String {
    if absent {
        String::new()
    } else {
        word.to_string()
    }
}

fn ended(status: Status, error: Option<&Error>) -> String {
    let why = error.map_or_else(String::new, |why| format!(", {}", why.message));
    format!("{status:?}{why}")
}

fn assert_same(lines: &[String], golden: &str) {
    let golden: Vec<_> = golden.lines().collect();
    assert_eq!(lines, golden, "{}", lines.join("\n"));
}

#[tokio::test]
async fn a_run_with_everything_is_these_entries() {
    let golden = include_str!("../../../tests/fixtures/chain/whole.txt");
    assert_same(&research("scripted/writer", None).await, golden);
}

#[tokio::test]
async fn a_stop_in_mid_answer_leaves_these_entries() {
    let golden = include_str!("../../../tests/fixtures/chain/stopped.txt");
    assert_same(&research("scripted/dreamer", Some("Go to")).await, golden);
}
