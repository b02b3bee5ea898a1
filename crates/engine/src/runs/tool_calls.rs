//! The tools that an answer calls. They run side by side, each within its limits.

use super::{
    Job,
    bounds::weight,
    context::{MAX_FACT, fact},
    flush,
    outcome::Outcome,
    recorder::{Recorder, SpanEnd, SpanStart},
};
use crate::{
    prompt,
    tool::{MAX_OUTPUT, Output, Tool},
};
use futures::{Stream, StreamExt, stream, stream::BoxStream};
use headwater_protocol::{
    BlockKind, Error, ErrorCode, Event, SpanKind, SpanNo, Stage, Status, ToolCall, Usage,
    chat::beginning,
};
use serde_json::Value;
use std::{panic::AssertUnwindSafe, sync::Arc, time::Duration};
use tokio::time::{Instant, timeout_at};
use tracing::Instrument;

/// How many calls of one answer run, because each may be a process. The model reads that the others
/// were not run.
const MAX_AT_ONCE: usize = 32;

/// The most bytes that are quoted to a model of what it wrote wrong.
const MAX_QUOTE: usize = 1000;

/// A call that a model asks for.
pub(super) struct RequestedCall {
    call: ToolCall,
    /// A JSON object, or `None` if the model wrote something else.
    arguments: Option<Value>,
    /// The arguments as the model wrote them.
    text: String,
}

impl RequestedCall {
    /// A call that no model wrote. `arguments` is a JSON object.
    pub(super) fn new(name: &str, arguments: Value) -> Self {
        Self {
            call: ToolCall {
                id: String::new(),
                name: name.to_owned(),
            },
            text: arguments.to_string(),
            arguments: Some(arguments).filter(Value::is_object),
        }
    }
}

/// The calls that the span of a model asks for.
pub(super) fn of_span(job: &Job, span: SpanNo) -> Vec<RequestedCall> {
    job.live.with_answer(|answer| {
        let inputs = answer
            .blocks
            .iter()
            .filter(|block| block.span == span && block.kind == BlockKind::ToolInput);
        inputs
            .filter_map(|block| {
                Some(RequestedCall {
                    call: block.tool.clone()?,
                    arguments: prompt::arguments(block),
                    text: block.text.clone(),
                })
            })
            .collect()
    })
}

/// What a call yields.
enum ToolEvent {
    Output(Output),
    /// The end. An error has a sentence for the model.
    End(Option<Error>),
}

/// A call at work.
struct Work {
    span: SpanNo,
    name: String,
    /// Bytes of output so far.
    length: usize,
    open: bool,
}

/// Runs calls to their ends. `parent` is the span of the model that asked for them.
///
/// # Errors
/// The end of the run, if that comes first. All tools have been ended then.
pub(super) async fn run(
    job: &Job,
    parent: SpanNo,
    calls: Vec<RequestedCall>,
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
        let events = match at < MAX_AT_ONCE {
            true => events(job, called),
            false => failed(format!(
                "Only {MAX_AT_ONCE} tools can be called at once, so this one was not run."
            )),
        };
        streams.push(events.map(move |event| (at, event)).boxed());
    }
    let mut streams = stream::select_all(streams);
    let mut told = None;
    tell_stage(&works, &mut told, recorder);
    let mut ended = flush(job, recorder).await;
    while ended.is_ok() {
        let next = tokio::select! {
            biased;
            outcome = job.ended() => {
                ended = Err(outcome);
                break;
            }
            next = streams.next() => next,
        };
        let Some((at, event)) = next else {
            break;
        };
        let work = &mut works[at];
        match event {
            ToolEvent::Output(Output::Text(text)) => work.output(text, recorder),
            ToolEvent::Output(Output::Custom { name, data }) => work.custom(name, &data, recorder),
            ToolEvent::End(error) => {
                work.end(error, recorder);
                tell_stage(&works, &mut told, recorder);
            }
        }
        ended = match recorder.excess() {
            Some(error) => Err(Outcome::Failed(error)),
            None => flush(job, recorder).await,
        };
    }
    // This ends all tools that are still running.
    drop(streams);
    if let Err(outcome) = &ended {
        job.live.control.note_closed();
        let (status, error) = outcome.end();
        for work in works.iter_mut().filter(|work| work.open) {
            let mut end = SpanEnd::new(status, Usage::default()).because(error.clone());
            end.output = job.stop_facts();
            work.close(end, recorder);
        }
    }
    ended
}

/// Notes the beginning of a call, and of its output.
fn begin(parent: SpanNo, called: &RequestedCall, recorder: &mut Recorder) -> SpanNo {
    let span = recorder.begin_span(SpanStart {
        parent: Some(parent),
        input: called.arguments.clone().unwrap_or_default(),
        ..SpanStart::new(SpanKind::Tool, &called.call.name)
    });
    recorder.open(span, 0, BlockKind::ToolOutput, Some(called.call.clone()));
    span
}

/// Notes the first tool that is at work as the stage, unless it is the one that was `told` last: the
/// time of a stage counts from its beginning.
fn tell_stage(works: &[Work], told: &mut Option<SpanNo>, recorder: &mut Recorder) {
    let first = works.iter().find(|work| work.open);
    if let Some(work) = first.filter(|work| *told != Some(work.span)) {
        *told = Some(work.span);
        let name = work.name.clone();
        recorder.progress(work.span, Stage::RunningTool { name });
    }
}

impl Work {
    fn output(&mut self, text: String, recorder: &mut Recorder) {
        if self.open && !text.is_empty() {
            self.length += text.len();
            recorder.output(self.span, 0, text);
        }
    }

    fn custom(&self, name: String, data: &Value, recorder: &Recorder) {
        recorder.note(Event::Custom {
            span: self.span,
            name,
            data: fact(data),
        });
    }

    /// Notes the end. The model reads what went wrong behind the output so far.
    fn end(&mut self, error: Option<Error>, recorder: &mut Recorder) {
        let status = match &error {
            None => Status::Ok,
            Some(error) => {
                let before = if self.length == 0 { "" } else { "\n" };
                self.output(format!("{before}{error}"), recorder);
                Status::Error
            }
        };
        let end = SpanEnd::new(status, Usage::default()).because(error);
        self.close(end, recorder);
    }

    fn close(&mut self, end: SpanEnd, recorder: &mut Recorder) {
        self.open = false;
        recorder.finish_idle_span(self.span, end);
    }
}

/// The events of a call; the last one is its end.
fn events(job: &Job, called: RequestedCall) -> BoxStream<'static, ToolEvent> {
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

/// Calls a tool, and ends the call where it takes more time or room than it may. A tool that panics
/// fails.
fn within_limits(tool: Arc<dyn Tool>, arguments: Value) -> impl Stream<Item = ToolEvent> + Send {
    let limit = tool.limit();
    // The tool's own name: what the model wrote in its place may be anything.
    let log = tracing::info_span!("tool", name = tool.definition().name);
    let pieces = stream::once(async move { tool.call(arguments) }).flatten();
    let pieces = AssertUnwindSafe(pieces).catch_unwind().boxed();
    let begun = Instant::now();
    let state = Some((pieces, begun + limit, MAX_OUTPUT));
    stream::unfold(state, move |state| {
        let next = async move {
            let (mut pieces, end, room) = state?;
            let failed = |why: String| (ToolEvent::End(Some(tool_failed(why))), None);
            // A stream that is always ready would never be late.
            let next = async {
                if Instant::now() >= end {
                    futures::future::pending::<()>().await;
                }
                pieces.next().await
            };
            let (event, rest) = match timeout_at(end, next).await {
                Ok(Some(Ok(Ok(output)))) if length(&output) > room => failed(format!(
                    "The output is longer than {} kB; the call was ended.",
                    MAX_OUTPUT / 1024
                )),
                Ok(Some(Ok(Ok(output)))) => {
                    let left = room - length(&output);
                    (ToolEvent::Output(output), Some((pieces, end, left)))
                }
                Ok(Some(Ok(Err(error)))) => (ToolEvent::End(Some(error)), None),
                Ok(Some(Err(_panic))) => failed("The tool's own code failed.".into()),
                Ok(None) => (ToolEvent::End(None), None),
                Err(_elapsed) => failed(format!(
                    "The call was not done after {} seconds and was ended.",
                    seconds(limit)
                )),
            };
            if let ToolEvent::End(error) = &event {
                let ms = begun.elapsed().as_millis() as u64;
                tracing::debug!(failed = error.is_some(), ms, "the tool ended");
            }
            Some((event, rest))
        };
        next.instrument(log.clone())
    })
}

/// How much room it takes, in bytes.
fn length(output: &Output) -> usize {
    match output {
        Output::Text(text) => text.len(),
        Output::Custom { name, data } => name.len() + weight(data).min(MAX_FACT),
    }
}

/// The events of a call that is not made.
fn failed(why: String) -> BoxStream<'static, ToolEvent> {
    stream::once(async { ToolEvent::End(Some(tool_failed(why))) }).boxed()
}

fn seconds(limit: Duration) -> String {
    let seconds = limit.as_secs_f64();
    format!("{}", (seconds * 10.0).round() / 10.0)
}

fn tool_failed(sentence: String) -> Error {
    Error::new(ErrorCode::ToolFailed, sentence).at("running a tool")
}
