//! The text of an answer while it grows.
//!
//! An entry costs its own length here: text is appended and never copied. A change elsewhere (a
//! superseded attempt, text cut by a stop) marks the text as stale, and it is rebuilt once before
//! it is painted.

use super::{AnswerState, words::Words};
use headwater_protocol::{
    BlockKind, BlockNo, Error, Event, ImageId, RunId, Seq, Status,
    chat::{Answer, Applied, Block},
    markdown::Renderer,
};

/// The text of an assistant's message, in parsed form. Not reactive: see
/// [`super::MessageView::version`].
pub struct Body {
    /// The runs of this message, folded.
    pub answers: Vec<Answer>,
    /// The Markdown of all runs in order.
    pub text: Renderer,
    /// Offsets in the text at which a continuation begins.
    pub seams: Vec<usize>,
    /// The model's thinking.
    pub reasoning: String,
    /// The images that the model made.
    pub images: Vec<ImageId>,
    /// How often the text was rebuilt instead of appended to (after a superseded attempt, a stop,
    /// or the start of a continuation). Anything that was drawn before is out of date then.
    pub generation: u32,
    /// How many bytes of the answers' visible text are in `text`.
    shown: usize,
    words: Words,
    /// Whether `text` must be rebuilt from the answers.
    stale: bool,
    /// Whether a stop was requested. Later text is not shown, because it will not be kept.
    frozen: bool,
    /// Whether text arrived while the body was frozen.
    behind: bool,
    /// The number of the last entry that has reached the screen.
    painted: Seq,
}

impl Default for Body {
    fn default() -> Self {
        Self::new(Vec::new())
    }
}

impl Body {
    /// The body of a message that these runs wrote.
    pub fn new(answers: Vec<Answer>) -> Self {
        let mut body = Self {
            answers,
            text: Renderer::new(),
            seams: Vec::new(),
            reasoning: String::new(),
            images: Vec::new(),
            generation: 0,
            shown: 0,
            words: Words::default(),
            stale: false,
            frozen: false,
            behind: false,
            painted: 0,
        };
        body.fill();
        body.painted = body.cursor();
        body
    }

    /// The last entry of the last run that has been folded.
    pub fn cursor(&self) -> Seq {
        self.answers.last().map_or(0, |answer| answer.seq)
    }

    /// The last entry of the last run that has reached the screen.
    pub fn painted(&self) -> Seq {
        self.painted
    }

    /// The number of words of the shown text.
    pub fn words(&self) -> u64 {
        self.words.count()
    }

    /// Whether there is no visible text yet.
    pub fn is_empty(&self) -> bool {
        self.words() == 0 && self.reasoning.is_empty()
    }

    /// Applies an entry of the last run.
    pub fn apply(&mut self, seq: Seq, event: &Event) -> Applied {
        let Some(answer) = self.answers.last_mut() else {
            return Applied::Gap;
        };
        let applied = answer.apply(seq, event);
        if applied != Applied::New {
            return applied;
        }
        match event {
            Event::Delta { block, text, .. } => self.extend(*block, text),
            Event::BlockFinished { value, .. } if value.is_object() => self.collect_images(),
            Event::SpanStarted {
                replaces: Some(_), ..
            }
            | Event::SpanFinished {
                status: Status::Superseded,
                ..
            }
            | Event::BlockRelabelled { .. }
            | Event::Snapshot { .. } => {
                self.stale = true;
            }
            Event::RunFinished { .. } => {
                // If exactly the shown text is kept, later text can be ignored.
                self.frozen = false;
                self.behind = false;
                let kept: u64 = self.answers.iter().map(Answer::visible_length).sum();
                if kept != self.shown as u64 {
                    self.stale = true;
                } else if !self.stale {
                    self.text.finish();
                }
            }
            _ => {}
        }
        applied
    }

    /// Begins a run that continues this message, or that is its first.
    pub fn begin(&mut self, run: RunId) {
        if self.answers.iter().any(|answer| answer.run == Some(run)) {
            return;
        }
        let continues = self.answers.last().and_then(|answer| answer.run);
        self.answers.push(Answer {
            run: Some(run),
            continues,
            ..Answer::default()
        });
        // The renderer was finished, so it must be rebuilt before more text arrives.
        self.stale = true;
    }

    /// Takes over the server's state of the runs, except those that have been read further here.
    /// Returns whether anything changed.
    pub fn adopt(&mut self, mut answers: Vec<Answer>) -> bool {
        let places = |answers: &[Answer]| -> Vec<_> {
            answers
                .iter()
                .map(|answer| (answer.run, answer.seq))
                .collect()
        };
        let before = places(&self.answers);
        for theirs in &mut answers {
            let ours = self.answers.iter_mut().find(|ours| ours.run == theirs.run);
            if let Some(ours) = ours
                && ours.seq >= theirs.seq
            {
                std::mem::swap(ours, theirs);
            }
        }
        self.answers = answers;
        let changed = places(&self.answers) != before;
        self.stale |= changed;
        changed
    }

    /// Forgets how far a run has been read, so that the next [`Body::adopt`] replaces it.
    pub fn invalidate(&mut self, run: RunId) {
        if let Some(answer) = self
            .answers
            .iter_mut()
            .find(|answer| answer.run == Some(run))
        {
            answer.seq = 0;
        }
    }

    /// Ends a run that the server no longer knows. The text that was read is kept.
    pub fn abandon(&mut self, run: RunId, error: Error) {
        if let Some(answer) = self
            .answers
            .iter_mut()
            .find(|answer| answer.run == Some(run))
        {
            answer.stage = None;
            answer.status = Some(Status::Interrupted);
            answer.error = Some(error);
            self.thaw();
            self.text.finish();
        }
    }

    /// Shows no more text until the run has ended or [`Body::thaw`] is called.
    pub fn freeze(&mut self) {
        self.frozen = true;
    }

    /// Ends [`Body::freeze`] and shows the text that arrived meanwhile.
    pub fn thaw(&mut self) {
        self.frozen = false;
        self.stale |= std::mem::take(&mut self.behind);
    }

    /// Rebuilds a stale text and counts everything as painted. Returns whether the text was
    /// rebuilt.
    pub fn paint(&mut self) -> bool {
        if self.frozen {
            return false;
        }
        self.painted = self.cursor();
        let stale = std::mem::take(&mut self.stale);
        if stale {
            self.generation += 1;
            self.fill();
        }
        stale
    }

    /// Updates the state that follows from the fold.
    pub(super) fn tell(&self, state: &mut AnswerState) {
        let Some(answer) = self.answers.last() else {
            return;
        };
        if state.run != answer.run {
            // Another run has its own history.
            *state = AnswerState {
                run: answer.run,
                ..AnswerState::default()
            };
        }
        answer.answered_by().clone_into(&mut state.model);
        state.stand_in = state.model != answer.model;
        state.status = answer.status;
        state.stage = answer.stage.as_ref().map(|since| since.stage.clone());
        state.stage_since = answer
            .stage
            .as_ref()
            .map_or(0, |since| answer.accepted + since.at);
        state.thinking = answer.status.is_none()
            && answer
                .blocks
                .last()
                .is_some_and(|block| block.open && block.kind == BlockKind::Reasoning);
        state.stopping &= answer.status.is_none();
        state.words = self.words();
        state.can_continue = state.words > 0 && answer.can_continue();
        state.trimmed = answer.trimmed;
        state.usage = answer.usage;
        state.timing = answer.timing;
        state.stopped_in_ms = answer.provider_closed_ms;
        state.rewound = answer.rewound;
        state.error.clone_from(&answer.error);
        state.accepted = answer.accepted;
    }

    /// Appends text to a block of the last run.
    fn extend(&mut self, number: BlockNo, text: &str) {
        let Some(answer) = self.answers.last() else {
            return;
        };
        let Some(at) = answer
            .blocks
            .iter()
            .rposition(|block| block.block == number)
        else {
            return;
        };
        let block = &answer.blocks[at];
        if !answer.is_shown(block.span) {
            return;
        }
        let visible = answer.is_visible(block);
        if !visible && block.kind != BlockKind::Reasoning {
            return;
        }
        let same = |later: &Block| (later.kind == BlockKind::Reasoning) != visible;
        let in_between = answer.blocks[at + 1..]
            .iter()
            .any(|later| same(later) && !later.text.is_empty());
        let seam = visible && block.text.len() == text.len() && answer.is_seam(at);
        if self.frozen && visible {
            self.behind = true;
        } else if in_between || seam || self.stale {
            self.stale = true;
        } else if visible {
            self.text.push(text);
            self.words.push(text);
            self.shown += text.len();
        } else {
            let first = block.text.len() == text.len();
            think(&mut self.reasoning, first, text);
        }
    }

    fn collect_images(&mut self) {
        self.images = self.answers.iter().flat_map(Answer::images).collect();
    }

    /// Rebuilds everything that is shown from the answers.
    fn fill(&mut self) {
        self.collect_images();
        self.text = Renderer::new();
        self.words = Words::default();
        self.reasoning.clear();
        self.seams.clear();
        self.shown = 0;
        for (number, answer) in self.answers.iter().enumerate() {
            if number > 0 {
                self.seams.push(self.shown);
            }
            for (at, block) in answer.blocks.iter().enumerate() {
                if answer.is_visible(block) {
                    if answer.is_seam(at) {
                        self.seams.push(self.shown);
                    }
                    self.text.push(&block.text);
                    self.words.push(&block.text);
                    self.shown += block.text.len();
                } else if block.kind == BlockKind::Reasoning
                    && !block.text.is_empty()
                    && answer.is_shown(block.span)
                {
                    think(&mut self.reasoning, true, &block.text);
                }
            }
        }
        if self
            .answers
            .last()
            .is_some_and(|answer| answer.status.is_some())
        {
            self.text.finish();
        }
    }
}

/// Appends reasoning. The blocks become paragraphs of one text.
fn think(reasoning: &mut String, first: bool, text: &str) {
    if first && !reasoning.is_empty() {
        reasoning.push_str("\n\n");
    }
    reasoning.push_str(text);
}

#[cfg(test)]
mod tests;
