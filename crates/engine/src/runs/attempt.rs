//! One attempt to answer: a call of a provider, and at most one rival of it.

use super::{Job, call::Call, clock::Clock, recorder::Recorder};
use crate::provider::{ChatRequest, PARAGRAPH, ProviderEvent};
use futures::{FutureExt, StreamExt, stream::BoxStream};
use headwater_protocol::{
    BlockKind, Error, ErrorCode, Event, Finish, FinishReason, SpanNo, Stage, Status,
    chat::beginning,
};
use rival::{Rival, is_content, next_of};
use serde_json::Value;
use std::{future, time::Duration};

use tokio::time::{Instant, sleep_until};

mod rival;

/// The most provider events that go to the log in one append.
const BATCH: usize = 64;

/// The most of a provider's own word for its end that is kept, in bytes.
const MAX_WORD: usize = 200;

type Item = Result<ProviderEvent, Error>;

/// How an attempt ended.
#[derive(Debug)]
pub(super) enum Outcome {
    /// The provider said that the answer is whole.
    Whole(Finish),
    /// It failed.
    Failed(Error),
    /// The person stopped it.
    Stopped,
    /// The server's grace is over.
    Cut,
}

impl Outcome {
    /// The status of what ended so, and what went wrong.
    pub(super) fn end(&self) -> (Status, Option<Error>) {
        match self {
            Self::Whole(_) => (Status::Ok, None),
            Self::Failed(error) => (Status::Error, Some(error.clone())),
            Self::Stopped => (Status::Cancelled, None),
            Self::Cut => {
                let error = Error::new(
                    ErrorCode::Interrupted,
                    "The server was stopped while this was being written.",
                );
                (Status::Interrupted, Some(error.at("writing")))
            }
        }
    }
}

/// An attempt to answer: a call, and while that says nothing, perhaps a rival of it.
pub(super) struct Attempt {
    /// The call that answers.
    pub(super) call: Call,
    /// How long the first text took.
    pub(super) waited: Option<Duration>,
    /// Whether it wrote text that a person sees.
    pub(super) wrote: bool,
    /// The provider's number of the first block of text.
    text_index: Option<u32>,
    /// The attempt whose place this one takes.
    replaces: Option<SpanNo>,
    /// The other provider that was asked because this one is slow.
    rival: Option<Rival>,
}

impl Attempt {
    /// Asks a candidate. `replaces` is the attempt whose place this one takes.
    pub(super) async fn run(
        job: &Job,
        candidate: usize,
        replaces: Option<SpanNo>,
        recorder: &mut Recorder,
    ) -> (Self, Outcome) {
        let (call, request) = Call::begin(job, candidate, replaces, false, recorder);
        let mut attempt = Self {
            call,
            waited: None,
            wrote: false,
            text_index: None,
            replaces,
            rival: None,
        };
        recorder.pause();
        let at = recorder.now();
        recorder.note(Event::Progress {
            span: attempt.call.span,
            at,
            stage: Stage::Connecting,
        });
        recorder.flush().await;
        let work = attempt.pump(job, request, recorder);
        // A provider that panics fails its run and nothing else.
        let outcome = std::panic::AssertUnwindSafe(work)
            .catch_unwind()
            .await
            .unwrap_or_else(|_| {
                Outcome::Failed(
                    Error::new(
                        ErrorCode::Internal,
                        "The provider's code failed. This is a fault of the program.",
                    )
                    .at("writing"),
                )
            });
        attempt.dismiss(Status::Cancelled, None, recorder, job);
        // However it ended, what was held back for comparison was written by the model.
        attempt.write_held(recorder);
        (attempt, outcome)
    }

    /// Takes what the provider yields until it ends, or until it is ended.
    async fn pump(&mut self, job: &Job, request: ChatRequest, recorder: &mut Recorder) -> Outcome {
        let candidate = &job.candidates[self.call.candidate];
        let mut clock = Clock::new(candidate.deadlines);
        let mut stream = candidate.provider.stream(request);
        let mut hedge_at = job
            .hedge_after(self.call.candidate)
            .map(|wait| Instant::now() + wait);
        loop {
            let heard = tokio::select! {
                biased;
                () = job.control.stop.cancelled() => return Outcome::Stopped,
                () = job.cut.cancelled() => return Outcome::Cut,
                item = stream.next() => Heard::First(item),
                item = next_of(&mut self.rival) => Heard::Rival(item),
                () = sleep_until(clock.next()) => {
                    Heard::First(Some(Err(clock.error())))
                }
                () = sleep_at(hedge_at) => Heard::TimeToHedge,
            };
            let end = match heard {
                Heard::First(Some(Err(error))) if self.rival.is_some() => {
                    // The rival is asked already: nothing is lost but the one that failed.
                    self.lost(Status::Error, Some(error), recorder, job);
                    stream = self.take_over(recorder, &mut clock);
                    None
                }
                Heard::First(item) => {
                    let end = self.take_ready(item, &mut stream, recorder, &mut clock);
                    if self.waited.is_some() || clock.is_ending() {
                        hedge_at = None;
                        self.dismiss(Status::Superseded, None, recorder, job);
                    }
                    end
                }
                Heard::Rival(Some(Ok(event))) if is_content(&event) => {
                    self.lost(Status::Superseded, None, recorder, job);
                    stream = self.take_over(recorder, &mut clock);
                    self.take(Some(Ok(event)), recorder, &mut clock)
                }
                Heard::Rival(Some(Ok(event))) => {
                    let told = self
                        .rival
                        .as_mut()
                        .map_or(Ok(()), |rival| rival.told(event));
                    if let Err(error) = told {
                        self.dismiss(Status::Error, Some(error), recorder, job);
                    }
                    None
                }
                Heard::Rival(failure) => {
                    let error = failure.and_then(Result::err).unwrap_or_else(truncated);
                    self.dismiss(Status::Error, Some(error), recorder, job);
                    None
                }
                Heard::TimeToHedge => {
                    hedge_at = None;
                    self.hedge(job, recorder);
                    None
                }
            };
            tokio::select! {
                biased;
                () = recorder.flush() => {}
                // The log may wait for room on the disk; a stop does not wait with it.
                () = job.control.stop.cancelled() => return Outcome::Stopped,
                () = job.cut.cancelled() => return Outcome::Cut,
            }
            if let Some(outcome) = end {
                return outcome;
            }
        }
    }

    /// Takes an item and all that are ready behind it, so that a burst is one append.
    fn take_ready(
        &mut self,
        first: Option<Item>,
        stream: &mut BoxStream<'static, Item>,
        recorder: &mut Recorder,
        clock: &mut Clock,
    ) -> Option<Outcome> {
        let mut item = first;
        for taken in 1.. {
            if let Some(outcome) = self.take(item, recorder, clock) {
                return Some(outcome);
            }
            if let Some(error) = recorder.excess() {
                return Some(Outcome::Failed(error));
            }
            if taken == BATCH {
                break;
            }
            item = stream.next().now_or_never()?;
        }
        None
    }

    fn take(
        &mut self,
        item: Option<Item>,
        recorder: &mut Recorder,
        clock: &mut Clock,
    ) -> Option<Outcome> {
        let now = recorder.now();
        let event = match item {
            Some(Ok(event)) => event,
            Some(Err(error)) => return Some(Outcome::Failed(error)),
            None => return Some(Outcome::Failed(truncated())),
        };
        match event {
            ProviderEvent::Stage(stage) => {
                clock.stage(&stage);
                self.call.reached |= !matches!(stage, Stage::Queued { .. } | Stage::Connecting);
                recorder.note(Event::Progress {
                    span: self.call.span,
                    at: now,
                    stage,
                });
            }
            ProviderEvent::Connected => {
                self.call.reached = true;
                recorder.timing().queued.get_or_insert(now);
                recorder.timing().connected.get_or_insert(now);
                clock.stage(&Stage::Waiting);
                recorder.note(Event::Progress {
                    span: self.call.span,
                    at: now,
                    stage: Stage::Waiting,
                });
            }
            ProviderEvent::BlockStarted { index, kind, tool } => {
                recorder.timing().first_chunk.get_or_insert(now);
                if kind == BlockKind::Text {
                    self.text_index.get_or_insert(index);
                }
                if !self.holds_back(index) {
                    recorder.open(self.call.span, index, kind, tool);
                }
            }
            ProviderEvent::Delta { index, text } => {
                recorder.timing().first_chunk.get_or_insert(now);
                if !text.is_empty() {
                    clock.content();
                    self.call.reached = true;
                    self.waited.get_or_insert_with(|| self.call.begun.elapsed());
                    let text = match &mut self.call.overlap {
                        // Only the answer's own text can repeat an earlier answer.
                        Some(overlap) if self.text_index == Some(index) => overlap.push(text),
                        _ => text,
                    };
                    self.write(index, text, recorder);
                }
            }
            ProviderEvent::BlockRelabelled { index, kind } => {
                self.relabel(index, kind, recorder);
            }
            ProviderEvent::Picture(image) => {
                recorder.timing().first_chunk.get_or_insert(now);
                clock.content();
                self.call.reached = true;
                self.waited.get_or_insert_with(|| self.call.begun.elapsed());
                recorder.picture(self.call.span, image);
            }
            ProviderEvent::BlockFinished { index, value } => {
                if self.text_index == Some(index) {
                    self.write_held(recorder);
                }
                recorder.close(self.call.span, index, value);
            }
            ProviderEvent::Usage(usage) => {
                self.call.counted = Some(usage);
                recorder.note(Event::Usage {
                    span: self.call.span,
                    usage,
                });
            }
            ProviderEvent::Ending => clock.ending(),
            ProviderEvent::Finished { reason, mut word } => {
                word.truncate(beginning(&word, MAX_WORD).len());
                return Some(match reason {
                    FinishReason::ContentFilter => Outcome::Failed(Error::new(
                        ErrorCode::ContentFiltered,
                        "The provider's filter ended the answer.",
                    )),
                    reason => Outcome::Whole(Finish { reason, word }),
                });
            }
        }
        None
    }

    /// Whether text of this block may still turn out to repeat what was there, or to be nothing but
    /// the blank lines before it. Such a block begins in the log with the first of its text that
    /// stands: an empty one would be a seam, or a paragraph, of its own.
    fn holds_back(&self, index: u32) -> bool {
        self.text_index == Some(index) && (self.call.overlap.is_some() || self.call.paragraph)
    }

    /// Writes what was held back to be compared with what it goes on from: no more of it comes.
    fn write_held(&mut self, recorder: &mut Recorder) {
        if let Some(mut overlap) = self.call.overlap.take() {
            self.write(self.text_index.unwrap_or(0), overlap.finish(), recorder);
        }
    }

    fn write(&mut self, index: u32, mut text: String, recorder: &mut Recorder) {
        if self.call.paragraph && self.text_index == Some(index) {
            text = begin_paragraph(&text);
            self.call.paragraph = text.is_empty();
        }
        if !text.is_empty() {
            self.call.written += text.len();
            self.wrote |= recorder.text(self.call.span, index, text);
        }
    }

    /// Takes it that a block is of another kind than it seemed. Where it was all the text there was,
    /// nothing has been said yet.
    fn relabel(&mut self, index: u32, kind: BlockKind, recorder: &mut Recorder) {
        let is_text = self.text_index == Some(index);
        if is_text && let Some(mut overlap) = self.call.overlap.take() {
            self.write(index, overlap.finish(), recorder);
        }
        recorder.relabel(self.call.span, index, kind);
        if is_text {
            self.text_index = None;
            self.wrote = false;
            self.call.paragraph = self.call.after_text;
        }
    }

    /// Asks the next candidate as well.
    fn hedge(&mut self, job: &Job, recorder: &mut Recorder) {
        let candidate = self.call.candidate + 1;
        let (call, request) = Call::begin(job, candidate, self.replaces, true, recorder);
        let stream = job.candidates[candidate].provider.stream(request);
        self.rival = Some(Rival::new(call, stream));
    }

    /// Notes the end of this attempt's own call, which has lost against its rival.
    fn lost(&self, status: Status, error: Option<Error>, recorder: &mut Recorder, job: &Job) {
        if let Some(error) = &error {
            job.failed(self.call.candidate, error);
        }
        let usage = self.call.usage();
        recorder.finish_span(self.call.span, status, None, usage, error, Value::Null);
    }

    /// Puts the rival in the place of the first provider, with all that it has told.
    fn take_over(
        &mut self,
        recorder: &mut Recorder,
        clock: &mut Clock,
    ) -> BoxStream<'static, Item> {
        let Some(rival) = self.rival.take() else {
            return futures::stream::empty().boxed();
        };
        self.call = rival.call;
        self.text_index = None;
        clock.stage(&Stage::Waiting);
        for event in rival.held {
            // None of these ends an attempt.
            let _ = self.take(Some(Ok(event)), recorder, clock);
        }
        rival.stream
    }

    /// Closes the rival, if there is one.
    fn dismiss(
        &mut self,
        status: Status,
        error: Option<Error>,
        recorder: &mut Recorder,
        job: &Job,
    ) {
        if let Some(Rival { call, stream, .. }) = self.rival.take() {
            drop(stream);
            if let Some(error) = &error {
                job.failed(call.candidate, error);
            }
            recorder.finish_idle_span(call.span, status, call.usage(), error);
        }
    }
}

enum Heard {
    First(Option<Item>),
    Rival(Option<Item>),
    TimeToHedge,
}

async fn sleep_at(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at).await,
        None => future::pending().await,
    }
}

/// A paragraph of its own; nothing, as long as there is nothing but blank lines to begin it with.
fn begin_paragraph(text: &str) -> String {
    match text.trim_start_matches(['\n', '\r']) {
        "" => String::new(),
        text => [PARAGRAPH, text].concat(),
    }
}

fn truncated() -> Error {
    Error::new(
        ErrorCode::Truncated,
        "The provider ended the stream without saying that the answer was whole.",
    )
    .at("writing")
}
