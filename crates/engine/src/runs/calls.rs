//! The calls of tools that an answer ends with: all of them side by side, each within its limit.

use super::{Job, attempt::Outcome, recorder::Recorder};
use crate::{
    prompt,
    tool::{MAX_OUTPUT, Tool},
};
use futures::{Stream, StreamExt, stream, stream::BoxStream};
use headwater_protocol::{
    BlockKind, Error, ErrorCode, Event, SpanKind, SpanNo, Stage, Status, ToolCall, Usage,
    chat::beginning,
};
use serde_json::Value;
use std::{panic::AssertUnwindSafe, sync::Arc, time::Duration};
use tokio::time::{Instant, timeout_at};

/// How many calls of one answer are run. A model that asks for more reads that it cannot have them:
/// each may be a process.
const MAX_AT_ONCE: usize = 32;

/// How much of what a model wrote wrong it is told again, in bytes.
const MAX_QUOTE: usize = 1000;

/// A call that the model made.
pub(super) struct Called {
    call: ToolCall,
    /// A JSON object; `None` if the model wrote something else, which is `text`.
    arguments: Option<Value>,
    text: String,
}

/// The calls that a span of a model has made, if there is anybody to take them.
pub(super) fn of_span(job: &Job, span: SpanNo) -> Vec<Called> {
    job.live.with_answer(|answer| {
        let inputs = answer
            .blocks
            .iter()
            .filter(|block| block.span == span && block.kind == BlockKind::ToolInput);
        inputs
            .filter_map(|block| {
                Some(Called {
                    call: block.tool.clone()?,
                    arguments: prompt::arguments(block),
                    text: block.text.clone(),
                })
            })
            .collect()
    })
}

/// What a call tells.
enum Heard {
    Output(String),
    /// Its end; with a sentence for the model, if it failed.
    End(Option<Error>),
}

/// A call at work.
struct Work {
    span: SpanNo,
    name: String,
    length: usize,
    open: bool,
}

/// Runs calls to their ends. `parent` is the model's span that made them.
///
/// # Errors
/// The end of the run, if that comes first. Nothing of a tool is at work then.
pub(super) async fn run(
    job: &Job,
    parent: SpanNo,
    calls: Vec<Called>,
    recorder: &mut Recorder,
) -> Result<(), Outcome> {
    let mut works = Vec::new();
    let mut streams = Vec::new();
    for called in calls {
        let (at, name) = (works.len(), called.call.name.clone());
        let span = begin(parent, &called, recorder);
        works.push(Work {
            span,
            name,
            length: 0,
            open: true,
        });
        let heard = match at < MAX_AT_ONCE {
            true => heard(job, called),
            false => failed(format!(
                "Only {MAX_AT_ONCE} tools can be called at once, so this one was not run."
            )),
        };
        streams.push(heard.map(move |heard| (at, heard)).boxed());
    }
    let mut streams = stream::select_all(streams);
    let mut told = None;
    tell_stage(&works, &mut told, recorder);
    recorder.flush().await;
    let ended = loop {
        let next = tokio::select! {
            biased;
            () = job.control.stop.cancelled() => break Err(Outcome::Stopped),
            () = job.cut.cancelled() => break Err(Outcome::Cut),
            next = streams.next() => next,
        };
        let Some((at, heard)) = next else {
            break Ok(());
        };
        let work = &mut works[at];
        match heard {
            Heard::Output(text) => work.output(text, recorder),
            Heard::End(error) => {
                work.end(error, recorder);
                tell_stage(&works, &mut told, recorder);
            }
        }
        if let Some(error) = recorder.excess() {
            break Err(Outcome::Failed(error));
        }
        tokio::select! {
            biased;
            () = recorder.flush() => {}
            () = job.control.stop.cancelled() => break Err(Outcome::Stopped),
            () = job.cut.cancelled() => break Err(Outcome::Cut),
        }
    };
    // This ends the work of all that are still running.
    drop(streams);
    if let Err(outcome) = &ended {
        job.control.note_closed();
        let (status, error) = outcome.end();
        for work in works.iter_mut().filter(|work| work.open) {
            work.close(status, error.clone(), recorder);
        }
    }
    ended
}

/// Notes the beginning of a call, and of its output.
fn begin(parent: SpanNo, called: &Called, recorder: &mut Recorder) -> SpanNo {
    let span = recorder.next_span();
    recorder.note(Event::SpanStarted {
        span,
        parent: Some(parent),
        kind: SpanKind::Tool,
        name: called.call.name.clone(),
        tags: Vec::new(),
        metadata: Value::Null,
        input: called.arguments.clone().unwrap_or_default(),
        replaces: None,
    });
    recorder.open(span, 0, BlockKind::ToolOutput, Some(called.call.clone()));
    span
}

/// Says which tool is at work, the first of them, unless that was `told`: its time goes on.
fn tell_stage(works: &[Work], told: &mut Option<SpanNo>, recorder: &mut Recorder) {
    let first = works.iter().find(|work| work.open);
    if let Some(work) = first.filter(|work| *told != Some(work.span)) {
        *told = Some(work.span);
        let at = recorder.now();
        recorder.note(Event::Progress {
            span: work.span,
            at,
            stage: Stage::RunningTool {
                name: work.name.clone(),
            },
        });
    }
}

impl Work {
    fn output(&mut self, text: String, recorder: &mut Recorder) {
        if self.open && !text.is_empty() {
            self.length += text.len();
            recorder.output(self.span, 0, text);
        }
    }

    /// The model reads what went wrong behind what the tool had given by then.
    fn end(&mut self, error: Option<Error>, recorder: &mut Recorder) {
        let status = match &error {
            None => Status::Ok,
            Some(error) => {
                let before = if self.length == 0 { "" } else { "\n" };
                self.output(format!("{before}{error}"), recorder);
                Status::Error
            }
        };
        self.close(status, error, recorder);
    }

    fn close(&mut self, status: Status, error: Option<Error>, recorder: &mut Recorder) {
        self.open = false;
        recorder.finish_idle_span(self.span, status, Usage::default(), error);
    }
}

/// What a call tells until its end, which always comes.
fn heard(job: &Job, called: Called) -> BoxStream<'static, Heard> {
    let name = &called.call.name;
    let Some(tool) = job.tools.find(name).cloned() else {
        return failed(format!(
            "There is no tool “{}”.",
            beginning(name, MAX_QUOTE)
        ));
    };
    match called.arguments {
        Some(arguments) => within_limits(tool, arguments).boxed(),
        None => failed(format!(
            "The arguments are not a JSON object: {}",
            beginning(&called.text, MAX_QUOTE)
        )),
    }
}

/// A call of a tool that gets as much time and room as it may have. A tool that panics fails.
fn within_limits(tool: Arc<dyn Tool>, arguments: Value) -> impl Stream<Item = Heard> + Send {
    let limit = tool.limit();
    let pieces = stream::once(async move { tool.call(arguments) }).flatten();
    let pieces = AssertUnwindSafe(pieces).catch_unwind().boxed();
    let state = Some((pieces, Instant::now() + limit, MAX_OUTPUT));
    stream::unfold(state, move |state| async move {
        let (mut pieces, end, room) = state?;
        let failed = |why: String| Some((Heard::End(Some(tool_failed(why))), None));
        match timeout_at(end, pieces.next()).await {
            Ok(Some(Ok(Ok(text)))) if text.len() > room => failed(format!(
                "The output is longer than {} kB; the call was ended.",
                MAX_OUTPUT / 1024
            )),
            Ok(Some(Ok(Ok(text)))) => {
                let left = room - text.len();
                Some((Heard::Output(text), Some((pieces, end, left))))
            }
            Ok(Some(Ok(Err(error)))) => Some((Heard::End(Some(error)), None)),
            Ok(Some(Err(_panic))) => failed("The tool's own code failed.".into()),
            Ok(None) => Some((Heard::End(None), None)),
            Err(_elapsed) => failed(format!(
                "The call was not done after {} seconds and was ended.",
                seconds(limit)
            )),
        }
    })
}

/// A call that is not made at all.
fn failed(why: String) -> BoxStream<'static, Heard> {
    stream::once(async { Heard::End(Some(tool_failed(why))) }).boxed()
}

fn seconds(limit: Duration) -> String {
    let seconds = limit.as_secs_f64();
    format!("{}", (seconds * 10.0).round() / 10.0)
}

fn tool_failed(sentence: String) -> Error {
    Error::new(ErrorCode::ToolFailed, sentence).at("running a tool")
}
