//! The final answer only.

use crate::observer::{Interest, Observed, Observer, Run, RunFinished};
use headwater_protocol::{BlockKind, Status, chat::Answer};
use std::fmt;

type OnAnswer = Box<dyn Fn(&Run, Option<&str>) + Send + Sync>;

/// Calls a closure at the end of each run with its final answer: what models wrote behind the last call of a
/// tool. What they said before calls is left out, and so are thoughts and what was replaced. Where nothing was
/// written behind the last call, and where the run did not end well, the answer is `None`. Of an answer that
/// was continued by another run, it is the part of this run.
pub struct FinalAnswer(OnAnswer);

impl FinalAnswer {
    /// Calls `call` with each run that ends.
    pub fn new(call: impl Fn(&Run, Option<&str>) + Send + Sync + 'static) -> Self {
        Self(Box::new(call))
    }
}

impl fmt::Debug for FinalAnswer {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("FinalAnswer")
    }
}

/// What can be read behind the last call of a tool.
fn last_text(answer: &Answer) -> String {
    let is_call = |kind| matches!(kind, BlockKind::ToolInput | BlockKind::ToolOutput);
    let last = answer.blocks.iter().rposition(|block| is_call(block.kind));
    let rest = &answer.blocks[last.map_or(0, |last| last + 1)..];
    let seen = rest.iter().filter(|block| answer.is_visible(block));
    seen.map(|block| block.text.as_str()).collect()
}

impl Observer for FinalAnswer {
    fn interest(&self) -> Interest {
        Interest::RUNS
    }

    async fn run_finished(&self, run: &Run, end: &RunFinished<'_>) -> Observed {
        let answer = (end.status == Status::Ok).then(|| last_text(&end.answer()));
        let answer = answer.filter(|text| !text.is_empty());
        (self.0)(run, answer.as_deref());
        Ok(())
    }
}
