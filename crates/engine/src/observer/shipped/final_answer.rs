//! The final answer only.

use crate::observer::{At, Interest, Observed, Observer, Run, RunFinished, SpanFinished, Token};
use headwater_protocol::{BlockKind, RunId, SpanNo, Status, ToolCall};
use parking_lot::Mutex;
use serde_json::Value;
use std::{collections::HashMap, fmt};

type OnAnswer = Box<dyn Fn(&Run, Option<&str>) + Send + Sync>;

/// Calls a closure at the end of each run with its final answer: the text of the last model that ended
/// well and called no tool. What models say before they call tools is left out, and so is what was
/// replaced. Without such a model, and where the run failed, the answer is `None`.
pub struct FinalAnswer {
    call: OnAnswer,
    runs: Mutex<HashMap<RunId, State>>,
}

#[derive(Default)]
struct State {
    /// What the models at work have written, and whether they called a tool.
    open: HashMap<SpanNo, (String, bool)>,
    last: Option<String>,
}

impl FinalAnswer {
    /// Calls `call` with each run that ends.
    pub fn new(call: impl Fn(&Run, Option<&str>) + Send + Sync + 'static) -> Self {
        Self {
            call: Box::new(call),
            runs: Mutex::default(),
        }
    }

    fn with_span<R>(&self, at: &At<'_>, change: impl FnOnce(&mut (String, bool)) -> R) -> R {
        let mut runs = self.runs.lock();
        let state = runs.entry(at.run.run).or_default();
        change(state.open.entry(at.span.number).or_default())
    }
}

impl fmt::Debug for FinalAnswer {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("FinalAnswer")
    }
}

impl Observer for FinalAnswer {
    fn interest(&self) -> Interest {
        Interest::RUNS | Interest::MODELS | Interest::TOKENS | Interest::TOOLS
    }

    async fn token(&self, at: &At<'_>, token: &Token<'_>) -> Observed {
        if matches!(token.kind, BlockKind::Text | BlockKind::Refusal) {
            self.with_span(at, |(text, _)| text.push_str(token.text));
        }
        Ok(())
    }

    async fn tool_called(&self, at: &At<'_>, _: &ToolCall, _: &Value) -> Observed {
        self.with_span(at, |(_, calls)| *calls = true);
        Ok(())
    }

    async fn model_finished(&self, at: &At<'_>, end: &SpanFinished<'_>) -> Observed {
        let mut runs = self.runs.lock();
        let state = runs.entry(at.run.run).or_default();
        let (text, calls) = state.open.remove(&at.span.number).unwrap_or_default();
        if end.status == Status::Ok {
            state.last = (!calls).then_some(text);
        }
        Ok(())
    }

    async fn run_finished(&self, run: &Run, end: &RunFinished<'_>) -> Observed {
        let state = self.runs.lock().remove(&run.run).unwrap_or_default();
        let answer = state.last.filter(|_| end.status == Status::Ok);
        (self.call)(run, answer.as_deref());
        Ok(())
    }
}
