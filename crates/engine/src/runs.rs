//! The engine: one task for each run, from the request to the last entry of the log.
//!
//! It knows time (deadlines, pauses, stops, the end of the server) and nothing of vendors. It
//! outlives every reader: a closed tab ends nothing. Whatever happens, [`run`] writes exactly one
//! [`Event::RunFinished`], and it is the last entry.
//!
//! A run is one attempt or several. `attempt` is one of them, `call` its question to a provider,
//! [`recovery`] decides what follows a failure, `clock` holds the deadlines, [`bounds`] what a run
//! may hold, [`overlap`] joins a
//! continuation to its text, and `calls` runs the tools that an answer asks for.

mod attempt;
pub mod bounds;
mod call;
mod calls;
mod clock;
pub mod overlap;
pub mod recorder;
pub mod recovery;

use super::{
    health::Health,
    log::{Log, control::Control, live::Live, writer::Writer},
    provider::{ChatRequest, Provider},
    tool::Tools,
};
use crate::db::images::Images;
use attempt::{Attempt, Outcome};
use call::Call;
use calls::Called;
pub use clock::Deadlines;
use futures::FutureExt;
use headwater_protocol::{
    Error, ErrorCode, Event, Finish, FinishReason, SpanNo, Stage, Status,
    chat::{Answer, Message},
};
use recorder::Recorder;
use recovery::{Recovery, SoFar, Step};
use serde_json::{Value, json};
use std::{panic::AssertUnwindSafe, sync::Arc, time::Duration};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

/// How often a model may call tools before it comes to an answer. One that goes round in circles
/// would do so for ever, and every round costs.
const MAX_ROUNDS: u32 = 25;

/// A model that may answer.
#[derive(Clone)]
pub struct Candidate {
    /// Who has it.
    pub provider: Arc<dyn Provider>,
    /// The provider's name in the configuration.
    pub name: String,
    /// The provider's own name of the model.
    pub model: String,
    /// `provider/model`.
    pub full: String,
    /// How long to wait for it.
    pub deadlines: Deadlines,
    /// Whether it may call tools.
    pub tools: bool,
}

/// Everything a run needs.
pub struct Job {
    /// Its log, with the first entry in it.
    pub live: Arc<Live>,
    /// How it is stopped.
    pub control: Arc<Control>,
    /// The model that the person chose, `provider/model`.
    pub model: String,
    /// Who answers: the first one that can. At least one.
    pub candidates: Vec<Candidate>,
    /// What is asked, but for the model's name and the turns, which are made for each candidate.
    pub request: ChatRequest,
    /// The messages before the one that is answered, oldest first.
    pub before: Vec<Message>,
    /// The pictures of these messages.
    pub images: Images,
    /// The earlier runs of the same message, where this one goes on with it.
    pub earlier: Vec<Answer>,
    /// What the model may call.
    pub tools: Tools,
    /// What to do about failures.
    pub recovery: Recovery,
    /// What is known of the providers.
    pub health: Arc<Health>,
    /// Cancelled when the server's grace is over.
    pub cut: CancellationToken,
}

impl Job {
    /// How long to wait for a candidate's first text before the next one is asked as well.
    fn hedge_after(&self, candidate: usize) -> Option<Duration> {
        let wanted = self.recovery.hedge && candidate + 1 < self.candidates.len();
        let model = &self.candidates.get(candidate)?.full;
        self.health.usual_wait(model).filter(|_| wanted)
    }

    fn failed(&self, candidate: usize, error: &Error) {
        self.health.failed(&self.candidates[candidate].name, error);
    }
}

/// Runs a job to its end.
pub async fn run(job: Job, log: Arc<Log>) {
    let live = job.live.clone();
    write_run(job, log.writer.clone()).await;
    log.settle(&live).await;
}

/// Ends a run that could not even be asked for.
pub async fn fail(live: Arc<Live>, log: Arc<Log>, why: Error) {
    let recorder = Recorder::new(live.clone(), log.writer.clone());
    recorder.finish(Status::Error, Some(why), None).await;
    log.settle(&live).await;
}

async fn write_run(job: Job, writer: Writer) {
    let mut recorder = Recorder::new(job.live.clone(), writer);
    // A fault of ours ends this run and nothing else; what was noted before it stays in order.
    let work = AssertUnwindSafe(attempts(&job, &mut recorder)).catch_unwind();
    let (status, error) = work.await.unwrap_or_else(|_| {
        let error = Error::new(
            ErrorCode::Internal,
            "Writing this answer failed. This is a fault of the program.",
        );
        (Status::Error, Some(error.at("writing")))
    });
    recorder.finish(status, error, job.control.asked()).await;
}

/// Makes attempts until one is whole, runs the tools that it calls and asks again; until no tool is
/// called, or until nothing is left to try.
async fn attempts(job: &Job, recorder: &mut Recorder) -> (Status, Option<Error>) {
    let mut candidate = 0;
    let mut replaces = None;
    let mut so_far = SoFar::default();
    let (mut number, mut rounds) = (0, 0);
    loop {
        // The request tells of all that was written, so that must be in the log.
        if let Err(ended) = unless_ended(job, recorder.committed()).await {
            return ended.end();
        }
        (number, so_far.attempts) = (number + 1, so_far.attempts + 1);
        let (attempt, outcome) = Attempt::run(job, candidate, replaces, recorder).await;
        job.control.note_closed();
        note_end(job, &attempt, &outcome, recorder);
        let span = attempt.call.span;
        candidate = attempt.call.candidate;
        let next = match outcome {
            Outcome::Failed(error) => {
                so_far.wrote = attempt.wrote;
                so_far.more_models = candidate + 1 < job.candidates.len();
                so_far.circuit_open = job.health.is_open(&job.candidates[candidate].name);
                let (pause, replaced) = match job.recovery.decide(&error, so_far, chance()) {
                    Step::GiveUp => return (Status::Error, Some(error)),
                    Step::Again(pause) => (pause, true),
                    Step::NextModel => {
                        candidate += 1;
                        so_far.attempts = 0;
                        (Duration::ZERO, true)
                    }
                    step @ (Step::GoOn(pause) | Step::Restart(pause)) => {
                        so_far.recoveries += 1;
                        so_far.attempts = 0;
                        (pause, step == Step::Restart(pause))
                    }
                };
                replaces = replaced.then_some(span);
                wait(job, recorder, span, number + 1, pause, error).await
            }
            Outcome::Whole(finish) => {
                let calls = match calls_of(job, recorder, &attempt.call, &finish).await {
                    Ok(calls) if calls.is_empty() => return (Status::Ok, None),
                    Ok(calls) => calls,
                    Err(ended) => return ended.end(),
                };
                rounds += 1;
                if rounds > MAX_ROUNDS {
                    return (Status::Error, Some(too_many_rounds()));
                }
                (number, so_far, replaces) = (0, SoFar::default(), None);
                calls::run(job, span, calls, recorder).await
            }
            ended => Err(ended),
        };
        if let Err(ended) = next {
            return ended.end();
        }
    }
}

/// The calls of tools that an answer ends with, if there are tools to call.
async fn calls_of(
    job: &Job,
    recorder: &mut Recorder,
    call: &Call,
    finish: &Finish,
) -> Result<Vec<Called>, Outcome> {
    let may_call = job.candidates[call.candidate].tools && !job.tools.is_empty();
    // Where the limit of tokens was reached, the arguments may be half of what was meant.
    if !may_call || finish.reason == FinishReason::Length {
        return Ok(Vec::new());
    }
    unless_ended(job, recorder.flush()).await?;
    unless_ended(job, recorder.committed()).await?;
    Ok(calls::of_span(job, call.span))
}

fn too_many_rounds() -> Error {
    Error::new(
        ErrorCode::ToolFailed,
        format!("The model called tools {MAX_ROUNDS} times in a row without coming to an answer."),
    )
    .at("running a tool")
}

/// Notes how an attempt ended, in the log and in what is known of the providers.
fn note_end(job: &Job, attempt: &Attempt, outcome: &Outcome, recorder: &mut Recorder) {
    let call = &attempt.call;
    let candidate = &job.candidates[call.candidate];
    if let Some(wait) = attempt.waited {
        job.health.waited(&candidate.full, wait);
    }
    let finish = match outcome {
        Outcome::Whole(finish) => {
            job.health.answered(&candidate.name);
            Some(finish.clone())
        }
        Outcome::Failed(error) => {
            job.failed(call.candidate, error);
            None
        }
        Outcome::Stopped | Outcome::Cut => None,
    };
    let output = job.control.closed_after().map_or(
        Value::Null,
        |after| json!({ "provider_closed_ms": after.as_millis() as u64 }),
    );
    let (status, error) = outcome.end();
    recorder.finish_span(call.span, status, finish, call.usage(), error, output);
}

/// Tells why and how long the next attempt is waited for, and waits.
async fn wait(
    job: &Job,
    recorder: &mut Recorder,
    span: SpanNo,
    attempt: u32,
    pause: Duration,
    error: Error,
) -> Result<(), Outcome> {
    let at = recorder.now();
    recorder.note(Event::Progress {
        span,
        at,
        stage: Stage::Retrying {
            in_ms: pause.as_millis() as u64,
            attempt,
            error,
        },
    });
    unless_ended(job, recorder.flush()).await?;
    unless_ended(job, sleep(pause)).await
}

/// Waits for something, but no longer than the run may last.
async fn unless_ended<T>(job: &Job, work: impl Future<Output = T>) -> Result<T, Outcome> {
    tokio::select! {
        biased;
        () = job.control.stop.cancelled() => {
            job.control.note_closed();
            Err(Outcome::Stopped)
        }
        () = job.cut.cancelled() => Err(Outcome::Cut),
        done = work => Ok(done),
    }
}

/// A random number from 0 to 1; a half where the system has none.
fn chance() -> f64 {
    getrandom::u32().map_or(0.5, |number| f64::from(number) / f64::from(u32::MAX))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may fail by panic")]
mod tests;
