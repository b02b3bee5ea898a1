//! The engine: one task for each run, from the request to the last entry of the log.
//!
//! It knows time (deadlines, stops, the end of the server) and nothing of vendors. It outlives
//! every reader: a closed tab ends nothing. Whatever happens, [`run`] writes exactly one
//! [`Event::RunFinished`], and it is the last entry.

pub mod overlap;
pub mod recorder;

use super::{
    log::{Log, live::Live, writer::Writer},
    provider::{ChatMessage, ChatRequest, Provider, ProviderEvent},
};
use crate::protocol::{
    BlockKind, Error, ErrorCode, Event, Finish, FinishReason, Seq, SpanKind, SpanNo, Stage, Status,
    Usage,
};
use futures::{FutureExt, StreamExt, stream::BoxStream};
use overlap::Overlap;
use recorder::Recorder;
use serde_json::{Value, json};
use std::{
    panic::AssertUnwindSafe,
    sync::{Arc, Mutex, OnceLock, PoisonError},
    time::Duration,
};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

/// The most provider events that go to the log in one append.
const BATCH: usize = 64;

/// How long the engine waits for a provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deadlines {
    /// From the request to the first token, not counting time in a queue; every sign of progress
    /// in reading the prompt starts it again.
    pub first_token: Duration,
    /// Between two tokens.
    pub between_tokens: Duration,
    /// For the whole answer.
    pub total: Duration,
}

impl Default for Deadlines {
    /// Two minutes to the first token (large models load and read long prompts), one minute of
    /// silence, half an hour in all.
    fn default() -> Self {
        Self {
            first_token: Duration::from_secs(120),
            between_tokens: Duration::from_secs(60),
            total: Duration::from_secs(1800),
        }
    }
}

/// Everything a run needs.
pub struct Job {
    /// Its log, with the first entry in it.
    pub live: Arc<Live>,
    /// How it is stopped.
    pub control: Arc<Control>,
    /// Who answers.
    pub provider: Arc<dyn Provider>,
    /// The model's full name, for people.
    pub model: String,
    /// What is asked.
    pub request: ChatRequest,
    /// The earlier text of the same message, where this run goes on with it and the provider was
    /// asked in words: its repetition is removed.
    pub continues_after: Option<String>,
    /// How long to wait.
    pub deadlines: Deadlines,
    /// Cancelled when the server's grace is over.
    pub cut: CancellationToken,
}

/// How a run is told to stop, and what came of it.
#[derive(Debug, Default)]
pub struct Control {
    stop: CancellationToken,
    asked: Mutex<Option<(Instant, Option<Seq>)>>,
    closed: OnceLock<Duration>,
}

impl Control {
    /// Asks for a stop. Only the first one counts.
    pub fn stop(&self, seen: Option<Seq>) {
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        asked.get_or_insert((Instant::now(), seen));
        drop(asked);
        self.stop.cancel();
    }

    /// How long it took from the request to stop until the provider was closed.
    pub fn closed_after(&self) -> Option<Duration> {
        self.closed.get().copied()
    }

    fn seen(&self) -> Option<Seq> {
        let asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        asked.and_then(|(_, seen)| seen)
    }

    fn note_closed(&self) {
        let asked = *self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((since, _)) = asked {
            let _ = self.closed.set(since.elapsed());
        }
    }
}

/// How an attempt ended.
#[derive(Debug)]
enum Outcome {
    Whole(Finish),
    Failed(Error),
    Stopped,
    Cut,
}

/// Runs a job to its end.
pub async fn run(job: Job, log: Arc<Log>) {
    let live = job.live.clone();
    write_run(job, log.writer.clone()).await;
    if let Err(why) = log.settle(&live).await {
        tracing::warn!(run = %live.run, %why, "a finished run stays in segments");
    }
}

/// Ends a run that could not even be asked for.
pub async fn fail(live: Arc<Live>, log: Arc<Log>, why: Error) {
    let recorder = Recorder::new(live.clone(), log.writer.clone());
    recorder
        .finish(Status::Error, Usage::default(), Some(why), None)
        .await;
    if let Err(why) = log.settle(&live).await {
        tracing::warn!(run = %live.run, %why, "a finished run stays in segments");
    }
}

async fn write_run(job: Job, writer: Writer) {
    let control = job.control.clone();
    let mut recorder = Recorder::new(job.live.clone(), writer);
    let mut attempt = Attempt {
        span: 1,
        usage: None,
        text_index: None,
        overlap: None,
        written: 0,
    };
    recorder.note(Event::SpanStarted {
        span: attempt.span,
        parent: None,
        kind: SpanKind::ChatModel,
        name: job.model.clone(),
        tags: Vec::new(),
        metadata: json!({ "messages": job.request.messages.len() }),
        input: Value::Null,
        replaces: None,
    });
    // A provider that panics fails its run and nothing else.
    let outcome = AssertUnwindSafe(attempt.drive(&job, &mut recorder))
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
    control.note_closed();
    let (status, finish, error) = match outcome {
        Outcome::Whole(finish) => (Status::Ok, Some(finish), None),
        Outcome::Failed(error) => (Status::Error, None, Some(error)),
        Outcome::Stopped => (Status::Cancelled, None, None),
        Outcome::Cut => {
            let error = Error::new(
                ErrorCode::Interrupted,
                "The server was stopped while this was being written.",
            );
            (Status::Interrupted, None, Some(error.at("writing")))
        }
    };
    let usage = attempt.usage(&job.request);
    let output = control.closed_after().map_or(
        Value::Null,
        |after| json!({ "provider_closed_ms": after.as_millis() as u64 }),
    );
    recorder.finish_span(attempt.span, status, finish, usage, error.clone(), output);
    recorder.finish(status, usage, error, control.seen()).await;
}

/// One call of a provider.
struct Attempt {
    span: SpanNo,
    usage: Option<Usage>,
    /// The provider's number of the first block of text.
    text_index: Option<u32>,
    /// Compares the beginning of a continuation with what it goes on from.
    overlap: Option<Overlap>,
    /// Bytes of text, reasoning and arguments, to estimate tokens where the provider counts none.
    written: usize,
}

impl Attempt {
    async fn drive(&mut self, job: &Job, recorder: &mut Recorder) -> Outcome {
        let at = recorder.now();
        recorder.note(Event::Progress {
            span: self.span,
            at,
            stage: Stage::Connecting,
        });
        recorder.flush().await;
        self.overlap = job.continues_after.as_deref().map(Overlap::new);
        let outcome = self.pump(job, recorder).await;
        // However it ended, what was held back for comparison was written by the model.
        if let Some(mut overlap) = self.overlap.take() {
            self.write(self.text_index.unwrap_or(0), overlap.finish(), recorder);
        }
        outcome
    }

    /// Takes what the provider yields until it ends, or until it is ended.
    async fn pump(&mut self, job: &Job, recorder: &mut Recorder) -> Outcome {
        let mut clock = Clock::new(job.deadlines);
        let mut stream = job.provider.stream(job.request.clone());
        loop {
            let item = tokio::select! {
                biased;
                () = job.control.stop.cancelled() => return Outcome::Stopped,
                () = job.cut.cancelled() => return Outcome::Cut,
                item = stream.next() => item,
                () = sleep_until(clock.next()) => return Outcome::Failed(clock.error()),
            };
            let end = self.take_ready(item, &mut stream, recorder, &mut clock);
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
        first: Option<Result<ProviderEvent, Error>>,
        stream: &mut BoxStream<'static, Result<ProviderEvent, Error>>,
        recorder: &mut Recorder,
        clock: &mut Clock,
    ) -> Option<Outcome> {
        let mut item = first;
        for taken in 1.. {
            if let Some(outcome) = self.take(item, recorder, clock) {
                return Some(outcome);
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
        item: Option<Result<ProviderEvent, Error>>,
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
                recorder.note(Event::Progress {
                    span: self.span,
                    at: now,
                    stage,
                });
            }
            ProviderEvent::Connected => {
                recorder.timing().queued.get_or_insert(now);
                recorder.timing().connected.get_or_insert(now);
                clock.stage(&Stage::Waiting);
                recorder.note(Event::Progress {
                    span: self.span,
                    at: now,
                    stage: Stage::Waiting,
                });
            }
            ProviderEvent::BlockStarted { index, kind, tool } => {
                recorder.timing().first_chunk.get_or_insert(now);
                recorder.open(self.span, index, kind, tool);
                if kind == BlockKind::Text {
                    self.text_index.get_or_insert(index);
                }
            }
            ProviderEvent::Delta { index, text } => {
                recorder.timing().first_chunk.get_or_insert(now);
                if !text.is_empty() {
                    clock.content();
                    let text = match &mut self.overlap {
                        // Only the answer's own text can repeat an earlier answer.
                        Some(overlap) if self.text_index == Some(index) => overlap.push(text),
                        _ => text,
                    };
                    self.write(index, text, recorder);
                }
            }
            ProviderEvent::BlockFinished { index, value } => recorder.close(index, value),
            ProviderEvent::Usage(usage) => {
                self.usage = Some(usage);
                recorder.note(Event::Usage {
                    span: self.span,
                    usage,
                });
            }
            ProviderEvent::Finished { reason, word } => {
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

    fn write(&mut self, index: u32, text: String, recorder: &mut Recorder) {
        if !text.is_empty() {
            self.written += text.len();
            recorder.text(self.span, index, text);
        }
    }

    /// What the provider counted; otherwise an estimate at four bytes a token, which is OpenAI's
    /// rule of thumb for English, marked as such.
    fn usage(&self, request: &ChatRequest) -> Usage {
        self.usage.unwrap_or_else(|| {
            let input: usize = request.messages.iter().map(ChatMessage::text_len).sum();
            Usage {
                input: (input / 4) as u64,
                output: (self.written / 4) as u64,
                estimated: true,
                ..Usage::default()
            }
        })
    }
}

/// The deadlines of one attempt.
struct Clock {
    deadlines: Deadlines,
    end: Instant,
    silence: Option<Instant>,
    content: bool,
}

impl Clock {
    fn new(deadlines: Deadlines) -> Self {
        let now = Instant::now();
        Self {
            deadlines,
            end: now + deadlines.total,
            silence: Some(now + deadlines.first_token),
            content: false,
        }
    }

    fn next(&self) -> Instant {
        self.silence
            .map_or(self.end, |silence| silence.min(self.end))
    }

    /// Progress before the first token starts its deadline again; a place in a queue suspends it.
    fn stage(&mut self, stage: &Stage) {
        if !self.content {
            self.silence = match stage {
                Stage::Queued { .. } => None,
                _ => Some(Instant::now() + self.deadlines.first_token),
            };
        }
    }

    fn content(&mut self) {
        self.content = true;
        self.silence = Some(Instant::now() + self.deadlines.between_tokens);
    }

    fn error(&self) -> Error {
        let seconds = |duration: Duration| duration.as_secs_f32().ceil() as u64;
        if Instant::now() >= self.end {
            let minutes = seconds(self.deadlines.total).div_ceil(60);
            return Error::new(
                ErrorCode::Stall,
                format!("The answer was not whole after {minutes} minutes, so it was ended."),
            )
            .at("writing");
        }
        if self.content {
            let silence = seconds(self.deadlines.between_tokens);
            Error::new(
                ErrorCode::Stall,
                format!("The provider fell silent for {silence} seconds in mid-answer."),
            )
            .at("writing")
        } else {
            let silence = seconds(self.deadlines.first_token);
            Error::new(
                ErrorCode::FirstTokenTimeout,
                format!("The provider sent no token within {silence} seconds."),
            )
            .at("waiting for the first token")
        }
    }
}

fn truncated() -> Error {
    Error::new(
        ErrorCode::Truncated,
        "The provider ended the stream without saying that the answer was whole.",
    )
    .at("writing")
}
