//! One task for each run, from the request to the last entry of its log.
//!
//! A run knows time (deadlines, pauses, stops, the end of the server) and no vendor. It outlives every
//! reader: closing a tab ends nothing. Whatever happens, [`run`] writes exactly one
//! [`Event::RunFinished`](headwater_protocol::Event::RunFinished), and that is the last entry.
//!
//! A run consists of attempts:
//!
//! - `request` makes the request for a model, `join` joins its text to the text that is there
//!   ([`overlap`] finds repetitions).
//! - `attempt` asks one model, within the deadlines of `clock`.
//! - [`recovery`] decides what follows a failure.
//! - `tool_calls` runs the tools that an answer calls.
//! - [`context`] is what the steps of a chain can do. A chain asks models and tools in the same way, in the place
//!   of the attempts.
//! - [`recorder`] writes the log, within [`bounds`].

mod attempt;
pub mod bounds;
mod clock;
pub mod context;
mod join;
mod outcome;
pub mod overlap;
pub mod recorder;
pub mod recovery;
mod request;
mod tool_calls;

use super::{
    health::Health,
    log::{Log, control::Stop, live::Live},
    provider::{ChatRequest, Provider},
    tool::Tools,
};
use crate::{db::images::Images, rewrite::Rewrite};
use attempt::Attempted;
pub use clock::Deadlines;
use context::{ChainFn, FindModels};
use futures::FutureExt;
use headwater_protocol::{
    Error, ErrorCode, FinishReason, Stage, Status,
    chat::{Answer, Message},
};
use outcome::Outcome;
use recorder::Recorder;
use recovery::{Recovery, SoFar, Step};
use serde_json::{Value, json};
use std::{panic::AssertUnwindSafe, sync::Arc, time::Duration};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tool_calls::RequestedCall;
use tracing::Instrument;

/// How often a model may call tools before it comes to an answer. One that goes round in circles
/// would never end, and every round costs.
const MAX_ROUNDS: u32 = 25;

/// A model that may answer.
#[derive(Clone)]
pub struct Candidate {
    /// The provider of the model.
    pub provider: Arc<dyn Provider>,
    /// The provider's name in the configuration.
    pub name: String,
    /// The provider's own name for the model.
    pub model: String,
    /// `provider/model`, with the provider's name in the configuration.
    pub full: String,
    /// How long to wait for the model.
    pub deadlines: Deadlines,
    /// Whether the model may call tools.
    pub tools: bool,
    /// What to do in place of asking the provider, if it is a chain.
    pub chain: Option<ChainFn>,
}

/// Everything a run needs.
pub struct Job {
    /// The run's log, with its first entry.
    pub live: Arc<Live>,
    /// The models that may answer, in the order in which they are asked. At least one.
    pub candidates: Vec<Candidate>,
    /// The request, without the model's name and the turns, which are made for each candidate.
    pub request: ChatRequest,
    /// The messages before the one that is answered, oldest first.
    pub before: Vec<Message>,
    /// The images of these messages.
    pub images: Images,
    /// What the log says of the input of a model. Null where that is the conversation, which is stored already.
    pub input: Value,
    /// Earlier runs of the same message, if this run continues it.
    pub earlier: Vec<Answer>,
    /// The tools that the model may call.
    pub tools: Tools,
    /// What to do about failures.
    pub recovery: Recovery,
    /// What changes the texts before they are in the log.
    pub rewrite: Option<Arc<dyn Rewrite>>,
    /// What is known of the providers.
    pub health: Arc<Health>,
    /// Cancelled when the server's grace period for running answers is over.
    pub cut: CancellationToken,
    /// Finds the models that steps of a chain ask.
    pub models: FindModels,
}

impl Job {
    /// How long to wait for a candidate's first content before the next one is asked as well.
    fn hedge_after(&self, candidate: usize) -> Option<Duration> {
        let wanted = self.recovery.hedge && candidate + 1 < self.candidates.len();
        let model = &self.candidates.get(candidate)?.full;
        self.health.usual_wait(model).filter(|_| wanted)
    }

    fn failed(&self, candidate: usize, error: &Error) {
        self.health.failed(&self.candidates[candidate].name, error);
    }

    /// Waits until the run is ended from outside.
    async fn ended(&self) -> Outcome {
        tokio::select! {
            biased;
            () = self.live.control.stop.cancelled() => match self.live.control.failure() {
                Some(error) => Outcome::Vetoed(error.clone()),
                None => Outcome::Stopped,
            },
            () = self.cut.cancelled() => Outcome::Cut,
        }
    }

    /// What the log says of a stop, in the output of the span that it ended.
    fn stop_facts(&self) -> Value {
        self.live.control.closed_after().map_or(
            Value::Null,
            |after| json!({ "provider_closed_ms": after.as_millis() as u64 }),
        )
    }
}

/// Runs a job to its end.
pub async fn run(job: Job, log: Arc<Log>) {
    let live = job.live.clone();
    let span = span_of(&live);
    let work = async {
        write_run(job, &log).await;
        log.settle(&live).await;
    };
    work.instrument(span).await;
}

/// Ends a run whose job could not be made.
pub async fn fail(live: Arc<Live>, log: Arc<Log>, why: Error) {
    let recorder = Recorder::new(live.clone(), &log, None);
    let span = span_of(&live);
    let work = async {
        finish(recorder, Outcome::Failed(why), None).await;
        log.settle(&live).await;
    };
    work.instrument(span).await;
}

fn span_of(live: &Live) -> tracing::Span {
    let (run, conversation) = (live.run, live.conversation);
    let model = live.with_answer(|answer| answer.model.clone());
    tracing::info_span!("run", %run, %conversation, model)
}

async fn write_run(job: Job, log: &Log) {
    let mut recorder = Recorder::new(job.live.clone(), log, job.rewrite.clone());
    // A fault of ours ends this run and nothing else; what was noted before it stays in order.
    let chain = job.candidates.first();
    let chain = chain.and_then(|candidate| candidate.chain.clone());
    let work = async {
        match chain {
            Some(chain) => context::run(&job, chain, &recorder).await,
            None => attempts(&job, &mut recorder).await,
        }
    };
    let work = AssertUnwindSafe(work).catch_unwind();
    let outcome = work.await.unwrap_or_else(|_| {
        let error = Error::new(
            ErrorCode::Internal,
            "Writing this answer failed. This is a fault of the program.",
        );
        Outcome::Failed(error.at("writing"))
    });
    let outcome = match outcome {
        Outcome::Whole(finish) => match seen_by_observers(&job, &mut recorder).await {
            Ok(()) => Outcome::Whole(finish),
            Err(ended) => ended,
        },
        other => other,
    };
    let control = &job.live.control;
    control.note_closed();
    finish(recorder, outcome, control.asked()).await;
}

/// How long a run waits at its end for observers that may fail it.
const OBSERVED: Duration = Duration::from_millis(if cfg!(test) { 300 } else { 30_000 });

/// Waits until the observers that may fail the run have seen all of it.
async fn seen_by_observers(job: &Job, recorder: &mut Recorder) -> Result<(), Outcome> {
    let gates = job.live.gates();
    if gates.iter().all(|gate| !gate.sees_all) {
        return Ok(());
    }
    flush(job, recorder).await?;
    committed(job, recorder).await?;
    let seq = job.live.head().seq;
    let seen = async {
        for mut gate in gates.into_iter().filter(|gate| gate.sees_all) {
            gate.reached(seq).await;
        }
    };
    if unless_ended(job, timeout(OBSERVED, seen)).await?.is_err() {
        let sentence = "An observer that this answer has to wait for did not come to its end.";
        return Err(Outcome::Vetoed(
            Error::new(ErrorCode::Internal, sentence).at("observing"),
        ));
    }
    // An error at the last of these entries has been noted by now.
    unless_ended(job, std::future::ready(())).await
}

/// Writes the last entry.
async fn finish(recorder: Recorder, outcome: Outcome, stop: Option<Stop>) {
    let (status, error) = outcome.end();
    let (code, ms) = (error.as_ref().map(|error| error.code), recorder.now());
    recorder.finish(status, error, stop).await;
    match status {
        Status::Error | Status::Interrupted => {
            tracing::info!(
                ?status,
                code = code.map(tracing::field::debug),
                ms,
                "the run failed"
            );
        }
        _ => tracing::debug!(?status, ms, "the run ended"),
    }
}

/// Makes attempts until one is whole, runs the tools that it calls and asks again; until no tool is
/// called, or until nothing is left to try.
async fn attempts(job: &Job, recorder: &mut Recorder) -> Outcome {
    let mut candidate = 0;
    let mut replaces = None;
    let mut so_far = SoFar::default();
    let (mut number, mut rounds) = (0, 0);
    loop {
        // The request tells the model all that was written, so that has to be in the log.
        if let Err(ended) = committed(job, recorder).await {
            return ended;
        }
        (number, so_far.attempts) = (number + 1, so_far.attempts + 1);
        let attempted = attempt::run(job, candidate, replaces, recorder).await;
        candidate = attempted.candidate;
        let next = match &attempted.outcome {
            Outcome::Failed(error) => {
                so_far.wrote = attempted.wrote;
                so_far.more_models = candidate + 1 < job.candidates.len();
                so_far.circuit_open = job.health.is_open(&job.candidates[candidate].name);
                let step = job.recovery.decide(error, so_far, chance());
                tracing::info!(
                    attempt = number,
                    model = job.candidates[candidate].full,
                    code = ?error.code,
                    http_status = error.status,
                    next = ?step,
                    "an attempt failed"
                );
                let pause = match step {
                    Step::GiveUp => return attempted.outcome,
                    Step::Again(pause) => pause,
                    Step::NextModel => {
                        candidate += 1;
                        so_far.attempts = 0;
                        Duration::ZERO
                    }
                    Step::GoOn(pause) | Step::Restart(pause) => {
                        so_far.recoveries += 1;
                        so_far.attempts = 0;
                        pause
                    }
                };
                let goes_on = matches!(step, Step::GoOn(_));
                replaces = (!goes_on).then_some(attempted.span);
                let retrying = Stage::Retrying {
                    in_ms: pause.as_millis() as u64,
                    attempt: number + 1,
                    error: error.clone(),
                };
                recorder.progress(attempted.span, retrying);
                wait(job, recorder, pause).await
            }
            Outcome::Whole(_) => {
                let calls = match calls_of(job, recorder, &attempted).await {
                    Ok(calls) if calls.is_empty() => return attempted.outcome,
                    Ok(calls) => calls,
                    Err(ended) => return ended,
                };
                rounds += 1;
                if rounds > MAX_ROUNDS {
                    return Outcome::Failed(too_many_rounds());
                }
                (number, so_far, replaces) = (0, SoFar::default(), None);
                tool_calls::run(job, attempted.span, calls, recorder).await
            }
            Outcome::Vetoed(_) | Outcome::Stopped | Outcome::Cut => return attempted.outcome,
        };
        if let Err(ended) = next {
            return ended;
        }
    }
}

/// The calls that an answer ends with. None if the model may not call tools.
async fn calls_of(
    job: &Job,
    recorder: &mut Recorder,
    attempted: &Attempted,
) -> Result<Vec<RequestedCall>, Outcome> {
    let may_call = job.candidates[attempted.candidate].tools && !job.tools.is_empty();
    // At the limit of tokens, the arguments may be half of what was meant.
    let is_cut = matches!(&attempted.outcome, Outcome::Whole(finish) if finish.reason == FinishReason::Length);
    if !may_call || is_cut {
        return Ok(Vec::new());
    }
    flush(job, recorder).await?;
    committed(job, recorder).await?;
    Ok(tool_calls::of_span(job, attempted.span))
}

fn too_many_rounds() -> Error {
    Error::new(
        ErrorCode::ToolFailed,
        format!("The model called tools {MAX_ROUNDS} times in a row without coming to an answer."),
    )
    .at("running a tool")
}

/// Waits before the next attempt.
async fn wait(job: &Job, recorder: &mut Recorder, pause: Duration) -> Result<(), Outcome> {
    flush(job, recorder).await?;
    unless_ended(job, sleep(pause)).await
}

/// Hands what was noted to the log. That may wait for room on the disk, and a stop does not wait
/// with it.
async fn flush(job: &Job, recorder: &mut Recorder) -> Result<(), Outcome> {
    tokio::select! {
        biased;
        () = recorder.flush() => Ok(()),
        ended = job.ended() => Err(ended),
    }
}

/// Waits until everything that was flushed is in the log.
async fn committed(job: &Job, recorder: &Recorder) -> Result<(), Outcome> {
    unless_ended(job, recorder.committed()).await
}

/// Waits for something, but no longer than the run may last.
async fn unless_ended<T>(job: &Job, work: impl Future<Output = T>) -> Result<T, Outcome> {
    tokio::select! {
        biased;
        ended = job.ended() => Err(ended),
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
