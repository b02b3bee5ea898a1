//! The tree of a run with its times.

use crate::observer::{
    At, Interest, Observed, Observer, Retrying, Run, RunFinished, Span, SpanFinished,
};
use headwater_protocol::{Error, SpanKind, Status, ToolCall, Usage};
use parking_lot::Mutex;
use serde_json::Value;
use std::{io::Write, time::Duration};

/// Writes a line at the beginning and at the end of each span: when it happened, what, and how long it
/// took. Spans are indented by the spans that contain them.
///
/// ```text
///      0 ms  openai/gpt-5
///      3 ms  ▸ model openai/gpt-5
///    612 ms    model openai/gpt-5 calls search {"q":"rust"}
///    613 ms  ◂ model openai/gpt-5: ok after 610 ms, 12 tokens in, 18 out
///    613 ms    ▸ tool search
///    800 ms    ◂ tool search: failed after 187 ms: The site does not answer.
/// ```
#[derive(Debug)]
pub struct Trace<W>(Mutex<W>);

impl<W: Write + Send + 'static> Trace<W> {
    /// Writes to `out`, such as [`std::io::stderr`].
    pub fn new(out: W) -> Self {
        Self(Mutex::new(out))
    }

    fn line(&self, ms: u64, depth: usize, line: &str) -> Observed {
        let line = format!("{ms:>6} ms  {:indent$}{line}\n", "", indent = depth * 2);
        let mut out = self.0.lock();
        out.write_all(line.as_bytes())?;
        Ok(out.flush()?)
    }

    fn begin(&self, at: &At<'_>) -> Observed {
        let span = at.span;
        let instead = span.replaces.map_or_else(String::new, |replaced| {
            format!(", in place of span {replaced}")
        });
        self.line(
            at.ms,
            span.path.len(),
            &format!("▸ {}{instead}", title(span)),
        )
    }

    fn end(&self, at: &At<'_>, end: &SpanFinished<'_>) -> Observed {
        let mut line = format!(
            "◂ {}: {} after {}",
            title(at.span),
            word(end.status),
            duration(end.took)
        );
        if let Some(usage) = end.usage.filter(|usage| *usage != Usage::default()) {
            line += &tokens(usage);
        }
        if let Some(why) = end.error {
            line += &because(why);
        }
        self.line(at.ms, at.span.path.len(), &line)
    }
}

impl<W: Write + Send + 'static> Observer for Trace<W> {
    fn interest(&self) -> Interest {
        Interest::ALL.without(Interest::TOKENS | Interest::TOOL_OUTPUT | Interest::ERRORS)
    }

    async fn run_started(&self, run: &Run) -> Observed {
        self.line(0, 0, &run.model)
    }

    async fn run_finished(&self, _: &Run, end: &RunFinished<'_>) -> Observed {
        let took = Duration::from_millis(end.timing.finished);
        let mut line = format!("{} after {}", word(end.status), duration(took));
        line += &tokens(end.usage);
        if let Some(why) = end.error {
            line += &because(why);
        }
        self.line(end.timing.finished, 0, &line)
    }

    async fn chain_started(&self, at: &At<'_>) -> Observed {
        self.begin(at)
    }

    async fn chain_finished(&self, at: &At<'_>, end: &SpanFinished<'_>) -> Observed {
        self.end(at, end)
    }

    async fn model_started(&self, at: &At<'_>) -> Observed {
        self.begin(at)
    }

    async fn model_finished(&self, at: &At<'_>, end: &SpanFinished<'_>) -> Observed {
        self.end(at, end)
    }

    async fn tool_called(&self, at: &At<'_>, call: &ToolCall, arguments: &Value) -> Observed {
        let line = format!("  {} calls {} {arguments}", title(at.span), call.name);
        self.line(at.ms, at.span.path.len(), &line)
    }

    async fn tool_started(&self, at: &At<'_>) -> Observed {
        self.begin(at)
    }

    async fn tool_finished(&self, at: &At<'_>, end: &SpanFinished<'_>) -> Observed {
        self.end(at, end)
    }

    async fn retriever_started(&self, at: &At<'_>) -> Observed {
        self.begin(at)
    }

    async fn retriever_finished(&self, at: &At<'_>, end: &SpanFinished<'_>) -> Observed {
        self.end(at, end)
    }

    async fn retrying(&self, at: &At<'_>, retry: &Retrying<'_>) -> Observed {
        let line = format!(
            "  attempt {} in {}{}",
            retry.attempt,
            duration(retry.pause),
            because(retry.error)
        );
        self.line(at.ms, at.span.path.len(), &line)
    }

    async fn custom(&self, at: &At<'_>, name: &str, data: &Value) -> Observed {
        self.line(at.ms, at.span.path.len(), &format!("  {name} {data}"))
    }
}

fn title(span: &Span) -> String {
    let kind = match span.kind {
        SpanKind::Chain => "chain",
        SpanKind::Agent => "agent",
        SpanKind::ChatModel => "model",
        SpanKind::Tool => "tool",
        SpanKind::Retriever => "retriever",
        SpanKind::Prompt => "prompt",
        SpanKind::Parser => "parser",
        SpanKind::Unknown => "span",
    };
    format!("{kind} {}", span.name)
}

fn word(status: Status) -> &'static str {
    match status {
        Status::Ok => "ok",
        Status::Error => "failed",
        Status::Cancelled => "stopped",
        Status::Interrupted => "interrupted",
        Status::Superseded => "replaced",
    }
}

fn tokens(usage: Usage) -> String {
    let about = if usage.estimated { "about " } else { "" };
    format!(", {about}{} tokens in, {} out", usage.input, usage.output)
}

fn because(why: &Error) -> String {
    format!(": {}", why.message)
}

fn duration(time: Duration) -> String {
    match time.as_millis() {
        ms @ 0..1000 => format!("{ms} ms"),
        _ => format!("{:.1} s", time.as_secs_f64()),
    }
}
