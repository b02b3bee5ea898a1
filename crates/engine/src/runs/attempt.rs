//! One attempt to answer: a call of a model, and at most one rival of it.
//!
//! [`run`] asks, and [`Attempt::relay`] takes what the provider sends until the answer is whole, the
//! provider fails, or the run is ended from outside. Each event changes three things: the log
//! (`recorder`), the deadlines (`clock`), and the facts for the receipt and for the decision that
//! follows a failure. `model_call` is the call itself, `hedge` the second call that a slow first one
//! gets.

use super::{
    Candidate, Job,
    clock::Clock,
    flush,
    outcome::Outcome,
    recorder::{Recorder, SpanEnd},
};
use crate::provider::ProviderEvent;
use futures::FutureExt;
use headwater_protocol::{
    BlockKind, Error, ErrorCode, Event, Finish, FinishReason, SpanNo, Stage, Status,
    chat::beginning,
};
use hedge::{Hedge, HedgeEvent};
use model_call::{Item, ModelCall};
use std::{mem, panic::AssertUnwindSafe, pin::pin, time::Duration};
use tokio::time::{Instant, sleep_until};
use tracing::Instrument;

mod hedge;
mod model_call;

/// The most events of a provider that go to the log in one append.
const BATCH: usize = 64;

/// The most bytes that are kept of a provider's own word for the end of its answer.
const MAX_WORD: usize = 200;

/// What an attempt came to.
pub(super) struct Attempted {
    /// The span of the call that answered.
    pub(super) span: SpanNo,
    /// The place of its model in [`Job::candidates`]: the next one if a rival has won.
    pub(super) candidate: usize,
    /// Whether there is text that a person has seen.
    pub(super) wrote: bool,
    pub(super) outcome: Outcome,
}

struct Attempt<'a> {
    job: &'a Job,
    recorder: &'a mut Recorder,
    /// The span whose place this attempt takes.
    replaces: Option<SpanNo>,
    call: ModelCall,
    hedge: Hedge,
    clock: Clock,
    /// How long the first content took.
    waited: Option<Duration>,
    /// Whether there is text that a person has seen.
    wrote: bool,
}

/// Who has something new.
enum Heard {
    Call(Item),
    Hedge(HedgeEvent),
}

/// Asks a candidate, and returns when its answer has ended. `replaces` is the span whose place this
/// attempt takes.
pub(super) async fn run(
    job: &Job,
    candidate: usize,
    replaces: Option<SpanNo>,
    recorder: &mut Recorder,
) -> Attempted {
    let call = ModelCall::begin(job, candidate, replaces, false, recorder);
    recorder.pause();
    let now = recorder.now();
    recorder.timing().asked.get_or_insert(now);
    recorder.progress(call.span, Stage::Connecting);
    let begun = flush(job, recorder).await;
    let hedge_after = job.hedge_after(candidate);
    let mut attempt = Attempt {
        job,
        recorder,
        replaces,
        call,
        hedge: Hedge::at(hedge_after.map(|wait| Instant::now() + wait)),
        clock: Clock::new(job.candidates[candidate].deadlines),
        waited: None,
        wrote: false,
    };
    let Candidate { name, model, .. } = &job.candidates[candidate];
    let log = tracing::info_span!("attempt", span = attempt.call.span, provider = name, model);
    let outcome = match begun {
        // A provider that panics fails its run and nothing else.
        Ok(()) => AssertUnwindSafe(attempt.relay())
            .catch_unwind()
            .instrument(log.clone())
            .await
            .unwrap_or_else(|_| Outcome::Failed(panicked())),
        Err(ended) => ended,
    };
    log.in_scope(|| attempt.finish(outcome))
}

impl Attempt<'_> {
    /// Takes what the provider sends, until that ends or is ended.
    async fn relay(&mut self) -> Outcome {
        let job = self.job;
        // Both are made once and not for every token: making them anew costs more than a token does.
        let mut ended = pin!(job.ended());
        let mut deadline = pin!(sleep_until(self.clock.next()));
        loop {
            // A token moves the deadline away, which is left for the moment when the timer rings.
            if self.clock.next() < deadline.deadline() {
                deadline.as_mut().reset(self.clock.next());
            }
            let heard = tokio::select! {
                biased;
                ended = &mut ended => return ended,
                item = self.call.next() => Heard::Call(item),
                event = self.hedge.next() => Heard::Hedge(event),
                () = &mut deadline => {
                    if self.clock.next() > Instant::now() {
                        deadline.as_mut().reset(self.clock.next());
                        continue;
                    }
                    Heard::Call(Err(self.clock.error()))
                }
            };
            let end = match heard {
                Heard::Call(Err(error)) if self.hedge.is_asked() => {
                    // The rival has been asked already, so only the first call is lost.
                    self.switch_to_rival(Status::Error, Some(error));
                    None
                }
                Heard::Call(item) => self.take_burst(item),
                Heard::Hedge(HedgeEvent::Due) => {
                    self.ask_rival();
                    None
                }
                Heard::Hedge(HedgeEvent::Content(event)) => {
                    self.switch_to_rival(Status::Superseded, None);
                    self.take(event)
                }
                Heard::Hedge(HedgeEvent::Failed(error)) => {
                    self.end_hedge(Status::Error, Some(error));
                    None
                }
            };
            if let Err(ended) = flush(job, self.recorder).await {
                return ended;
            }
            if let Some(outcome) = end {
                return outcome;
            }
        }
    }

    /// Takes an item and all that are ready behind it, so that a burst is one append.
    fn take_burst(&mut self, first: Item) -> Option<Outcome> {
        let mut item = first;
        let mut end = None;
        for taken in 1..=BATCH {
            end = match item {
                Ok(event) => self.take(event),
                Err(error) => Some(Outcome::Failed(error)),
            };
            end = end.or_else(|| self.recorder.excess().map(Outcome::Failed));
            if end.is_some() || taken == BATCH {
                break;
            }
            match self.call.next().now_or_never() {
                Some(next) => item = next,
                None => break,
            }
        }
        if self.waited.is_some() || self.clock.is_ending() {
            self.end_hedge(Status::Superseded, None);
        }
        end
    }

    /// Takes one event. The answer is the end of the attempt, if the event is that.
    fn take(&mut self, event: ProviderEvent) -> Option<Outcome> {
        let (span, now) = (self.call.span, self.recorder.now());
        match event {
            ProviderEvent::Stage(stage) => {
                self.clock.stage(&stage);
                self.call.reached |= !matches!(stage, Stage::Queued { .. } | Stage::Connecting);
                self.recorder.progress(span, stage);
            }
            ProviderEvent::Connected => {
                self.call.reached = true;
                let timing = self.recorder.timing();
                timing.queued.get_or_insert(now);
                timing.connected.get_or_insert(now);
                self.clock.stage(&Stage::Waiting);
                self.recorder.progress(span, Stage::Waiting);
            }
            ProviderEvent::BlockStarted { index, kind, tool } => {
                self.recorder.timing().first_chunk.get_or_insert(now);
                if self.call.join.begin(index, kind) {
                    self.recorder.open(span, index, kind, tool);
                }
            }
            ProviderEvent::Delta { index, text } => {
                self.recorder.timing().first_chunk.get_or_insert(now);
                if !text.is_empty() {
                    self.note_content();
                    let text = self.call.join.push(index, text);
                    self.write(index, text);
                }
            }
            ProviderEvent::BlockRelabelled { index, kind } => self.relabel(index, kind),
            ProviderEvent::Image(image) => {
                self.recorder.timing().first_chunk.get_or_insert(now);
                self.note_content();
                self.recorder.image(span, image);
            }
            ProviderEvent::BlockFinished { index, value } => {
                if self.call.join.concerns(index) {
                    self.write_held();
                }
                self.recorder.close(span, index, value);
            }
            ProviderEvent::Usage(usage) => {
                self.call.counted = Some(usage);
                self.recorder.note(Event::Usage { span, usage });
            }
            ProviderEvent::Ending => self.clock.ending(),
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

    fn note_content(&mut self) {
        self.clock.content();
        self.call.reached = true;
        self.waited.get_or_insert_with(|| self.call.begun.elapsed());
    }

    fn write(&mut self, index: u32, text: String) {
        if !text.is_empty() {
            self.call.written += text.len();
            self.wrote |= self.recorder.text(self.call.span, index, text);
        }
    }

    /// Writes the text that was held back to be compared with the text before it.
    fn write_held(&mut self) {
        if let Some((index, text)) = self.call.join.finish() {
            self.write(index, text);
        }
    }

    /// Notes that a block is of another kind than it seemed. Where it was the first text, nothing
    /// has been said yet.
    fn relabel(&mut self, index: u32, kind: BlockKind) {
        let was_text = self.call.join.concerns(index);
        if was_text {
            self.write_held();
        }
        self.recorder.relabel(self.call.span, index, kind);
        if was_text {
            self.call.join.restart();
            self.wrote = false;
        }
    }

    /// Asks the next candidate as well.
    fn ask_rival(&mut self) {
        let candidate = self.call.candidate + 1;
        let call = ModelCall::begin(self.job, candidate, self.replaces, true, self.recorder);
        let model = &self.job.candidates[candidate].full;
        tracing::debug!(
            model,
            span = call.span,
            "the first call is slow, so a rival is asked"
        );
        self.hedge = Hedge::asked(call);
    }

    /// Ends the first call with this status, and puts the rival in its place with all that it has
    /// sent.
    fn switch_to_rival(&mut self, status: Status, error: Option<Error>) {
        let Hedge::Asked(rival) = mem::replace(&mut self.hedge, Hedge::Off) else {
            return;
        };
        let lost = mem::replace(&mut self.call, rival.call);
        let won_by = self.call.span;
        match &error {
            Some(error) => {
                self.job.failed(lost.candidate, error);
                let (code, http_status) = (error.code, error.status);
                tracing::info!(
                    ?code,
                    http_status,
                    won_by,
                    "an attempt failed beside its rival"
                );
            }
            None => tracing::debug!(won_by, "the rival was faster"),
        }
        let end = SpanEnd::new(status, lost.usage()).because(error);
        self.recorder.finish_span(lost.span, end);
        drop(lost);
        self.clock.stage(&Stage::Waiting);
        for event in rival.held {
            // None of these is an end.
            let _ = self.take(event);
        }
    }

    /// Ends the wait for a rival, or the rival itself with this status.
    fn end_hedge(&mut self, status: Status, error: Option<Error>) {
        let Hedge::Asked(mut rival) = mem::replace(&mut self.hedge, Hedge::Off) else {
            return;
        };
        rival.call.close();
        if let Some(error) = &error {
            self.job.failed(rival.call.candidate, error);
            let model = &self.job.candidates[rival.call.candidate].full;
            let (code, http_status) = (error.code, error.status);
            tracing::info!(model, ?code, http_status, "a rival failed");
        }
        let end = SpanEnd::new(status, rival.call.usage()).because(error);
        self.recorder.finish_idle_span(rival.call.span, end);
    }

    /// Closes what is open, and notes the end in the log and in what is known of the providers.
    fn finish(mut self, outcome: Outcome) -> Attempted {
        self.call.close();
        self.end_hedge(Status::Cancelled, None);
        // However the attempt ended, the model wrote this.
        self.write_held();
        let (job, candidate) = (self.job, self.call.candidate);
        job.live.control.note_closed();
        if let Some(wait) = self.waited {
            job.health.waited(&job.candidates[candidate].full, wait);
        }
        match &outcome {
            Outcome::Whole(_) => job.health.answered(&job.candidates[candidate].name),
            Outcome::Failed(error) => job.failed(candidate, error),
            Outcome::Vetoed(_) | Outcome::Stopped | Outcome::Cut => {}
        }
        let ms = |time: Duration| time.as_millis() as u64;
        let first_content_ms = self.waited.map(ms);
        let provider_closed_ms = job.live.control.closed_after().map(ms);
        let (status, error) = outcome.end();
        tracing::debug!(
            ?status,
            first_content_ms,
            provider_closed_ms,
            "the attempt ended"
        );
        let mut end = SpanEnd::new(status, self.call.usage()).because(error);
        if let Outcome::Whole(finish) = &outcome {
            end.finish = Some(finish.clone());
        }
        end.output = job.stop_facts();
        self.recorder.finish_span(self.call.span, end);
        Attempted {
            span: self.call.span,
            candidate,
            wrote: self.wrote,
            outcome,
        }
    }
}

fn panicked() -> Error {
    Error::new(
        ErrorCode::Internal,
        "The provider's code failed. This is a fault of the program.",
    )
    .at("writing")
}
