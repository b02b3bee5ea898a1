//! Decides what follows a failed attempt. The decision is a pure function, so every case can be
//! tested with data.

use headwater_protocol::{Error, ErrorCode};
use serde::Deserialize;
use std::time::Duration;

/// What to do about an answer that breaks off after its first text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnBreak {
    /// Continue where it broke off, with a visible seam. If that fails, too, the person decides.
    #[default]
    Continue,
    /// Begin again. The old text is not shown any more.
    Restart,
    /// Keep the text, and let the person decide.
    Stop,
}

/// How failures are answered.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Recovery {
    /// The most attempts with one model before its first text; at least 1.
    pub attempts: u32,
    /// The pause before the second attempt. It doubles before each further one.
    pub pause: Duration,
    /// The longest pause. A provider that asks for a longer one is not asked again.
    pub longest: Duration,
    /// What to do after the first text.
    pub on_break: OnBreak,
    /// How often an answer is continued or restarted without the person.
    pub max_recoveries: u32,
    /// Ask the next model as well when the first text takes longer than usual.
    pub hedge: bool,
}

impl Default for Recovery {
    /// Three attempts with pauses of half a second and a second, and one continuation. That is enough
    /// for short outages, and nobody waits long for what does not pass.
    fn default() -> Self {
        Self {
            attempts: 3,
            pause: Duration::from_millis(500),
            longest: Duration::from_secs(30),
            on_break: OnBreak::Continue,
            max_recoveries: 1,
            hedge: false,
        }
    }
}

/// What happened in a run before the decision.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SoFar {
    /// Whether the failed attempt wrote text that the person has seen.
    pub wrote: bool,
    /// Attempts with this model since the last text, including the failed one.
    pub attempts: u32,
    /// The number of continuations and restarts so far.
    pub recoveries: u32,
    /// Whether another model is left to ask.
    pub more_models: bool,
    /// Whether the circuit of the provider is open, because it failed repeatedly.
    pub circuit_open: bool,
}

/// What comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Ask the same model again after a pause. Nothing was shown yet.
    Again(Duration),
    /// Ask the next model.
    NextModel,
    /// Let the same model continue its text after a pause.
    GoOn(Duration),
    /// Replace the text by a new attempt after a pause.
    Restart(Duration),
    /// End the run. The person decides.
    GiveUp,
}

impl Recovery {
    /// Decides what follows a failure. `chance` is a random number from 0 to 1. It spreads the pauses,
    /// so that many clients do not come back at the same moment.
    pub fn decide(&self, error: &Error, so_far: SoFar, chance: f64) -> Step {
        if so_far.wrote {
            if so_far.recoveries >= self.max_recoveries || !error.retryable || is_ours(error.code) {
                return Step::GiveUp;
            }
            let pause = self.pause(error, 1, chance);
            return match (self.on_break, pause) {
                (OnBreak::Stop, _) | (_, None) => Step::GiveUp,
                (OnBreak::Continue, Some(pause)) => Step::GoOn(pause),
                (OnBreak::Restart, Some(pause)) => Step::Restart(pause),
            };
        }
        let may_try = error.retryable && !is_ours(error.code);
        if may_try
            && !so_far.circuit_open
            && so_far.attempts < self.attempts
            && let Some(pause) = self.pause(error, so_far.attempts, chance)
        {
            return Step::Again(pause);
        }
        if so_far.more_models && another_may_do(error.code) {
            return Step::NextModel;
        }
        Step::GiveUp
    }

    /// The pause after the `failed`-th failure: 50 to 100 % of the full one by chance, or what the
    /// provider asks for. `None` if it asks for more than the longest pause.
    fn pause(&self, error: &Error, failed: u32, chance: f64) -> Option<Duration> {
        let full = self
            .pause
            .saturating_mul(1 << failed.saturating_sub(1).min(16))
            .min(self.longest);
        let pause = full.mul_f64(0.5 + 0.5 * chance.clamp(0.0, 1.0));
        let wanted = Duration::from_millis(error.retry_after_ms.unwrap_or(0));
        (wanted <= self.longest).then(|| pause.max(wanted))
    }
}

/// Whether the failure is on our side, where no other attempt helps.
fn is_ours(code: ErrorCode) -> bool {
    matches!(
        code,
        ErrorCode::Stopped
            | ErrorCode::Interrupted
            | ErrorCode::ShuttingDown
            | ErrorCode::Storage
            | ErrorCode::Internal
            | ErrorCode::Conflict
    )
}

/// Whether another model may answer. What a filter or a model declined is not asked elsewhere without
/// the person, and a wrong request is wrong everywhere.
fn another_may_do(code: ErrorCode) -> bool {
    !is_ours(code)
        && !matches!(
            code,
            ErrorCode::InvalidRequest
                | ErrorCode::TooLarge
                | ErrorCode::ContentFiltered
                | ErrorCode::Refused
                | ErrorCode::ToolFailed
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: SoFar = SoFar {
        wrote: false,
        attempts: 1,
        recoveries: 0,
        more_models: false,
        circuit_open: false,
    };

    fn decide(code: ErrorCode, so_far: SoFar) -> Step {
        Recovery::default().decide(&Error::new(code, "x."), so_far, 1.0)
    }

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn what_may_pass_is_tried_again_with_growing_pauses() {
        let at = |attempts| decide(ErrorCode::Overloaded, SoFar { attempts, ..FIRST });
        assert_eq!(at(1), Step::Again(ms(500)));
        assert_eq!(at(2), Step::Again(ms(1000)));
        assert_eq!(at(3), Step::GiveUp);
    }

    #[test]
    fn pauses_differ_by_chance_and_stay_within_bounds() {
        let error = Error::new(ErrorCode::Connection, "x.");
        let recovery = Recovery {
            attempts: 100,
            ..Recovery::default()
        };
        for attempts in 1..100 {
            let pause = |chance| match recovery.decide(&error, SoFar { attempts, ..FIRST }, chance)
            {
                Step::Again(pause) => pause,
                other => unreachable!("{other:?}"),
            };
            assert!(pause(0.0) < pause(1.0));
            assert!(pause(0.0) >= ms(250) && pause(1.0) <= recovery.longest);
        }
    }

    #[test]
    fn a_provider_is_waited_for_as_long_as_it_asks_but_not_for_ever() {
        let mut error = Error::new(ErrorCode::RateLimited, "x.");
        error.retry_after_ms = Some(7_000);
        let recovery = Recovery::default();
        assert_eq!(recovery.decide(&error, FIRST, 0.0), Step::Again(ms(7_000)));
        error.retry_after_ms = Some(31_000);
        assert_eq!(recovery.decide(&error, FIRST, 0.0), Step::GiveUp);
        let more = SoFar {
            more_models: true,
            ..FIRST
        };
        assert_eq!(recovery.decide(&error, more, 0.0), Step::NextModel);
    }

    #[test]
    fn what_does_not_pass_goes_to_the_next_model_or_to_the_person() {
        let more = SoFar {
            more_models: true,
            ..FIRST
        };
        for (code, next) in [
            (ErrorCode::Authentication, Step::NextModel),
            (ErrorCode::Quota, Step::NextModel),
            (ErrorCode::NotFound, Step::NextModel),
            (ErrorCode::ContextTooLong, Step::NextModel),
            (ErrorCode::InvalidRequest, Step::GiveUp),
            (ErrorCode::ContentFiltered, Step::GiveUp),
            (ErrorCode::Refused, Step::GiveUp),
            (ErrorCode::Storage, Step::GiveUp),
            (ErrorCode::Internal, Step::GiveUp),
        ] {
            assert_eq!(decide(code, more), next, "{code:?}");
            assert_eq!(decide(code, FIRST), Step::GiveUp, "{code:?}");
        }
    }

    #[test]
    fn a_provider_with_an_open_circuit_is_asked_once() {
        let circuit_open = SoFar {
            circuit_open: true,
            ..FIRST
        };
        assert_eq!(decide(ErrorCode::Overloaded, circuit_open), Step::GiveUp);
    }

    #[test]
    fn a_broken_text_is_mended_once_as_the_policy_says() {
        let wrote = SoFar {
            wrote: true,
            ..FIRST
        };
        let error = Error::new(ErrorCode::Stall, "x.");
        let by = |on_break| {
            let recovery = Recovery {
                on_break,
                ..Recovery::default()
            };
            recovery.decide(&error, wrote, 1.0)
        };
        assert_eq!(by(OnBreak::Continue), Step::GoOn(ms(500)));
        assert_eq!(by(OnBreak::Restart), Step::Restart(ms(500)));
        assert_eq!(by(OnBreak::Stop), Step::GiveUp);
        assert_eq!(
            decide(
                ErrorCode::Stall,
                SoFar {
                    recoveries: 1,
                    ..wrote
                }
            ),
            Step::GiveUp
        );
        assert_eq!(decide(ErrorCode::ContentFiltered, wrote), Step::GiveUp);
        assert_eq!(decide(ErrorCode::Internal, wrote), Step::GiveUp);
    }
}
