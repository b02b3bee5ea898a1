//! What to do when an attempt fails: a pure decision, so that every case can be tested by data.

use headwater_protocol::{Error, ErrorCode};
use serde::Deserialize;
use std::time::Duration;

/// What is done about an answer that breaks after text was written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnBreak {
    /// Go on where it broke off, with a visible seam; after that it is the person's decision.
    #[default]
    Continue,
    /// Begin anew; the old text is no longer shown.
    Restart,
    /// Keep the text and leave it to the person.
    Stop,
}

/// How hard the engine tries.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Recovery {
    /// Attempts with one model before its first text, 1 or more.
    pub attempts: u32,
    /// The pause before the second attempt; each later one is twice as long.
    pub pause: Duration,
    /// The longest pause. A provider that asks for a longer one is given up, and the person decides.
    pub longest: Duration,
    /// What to do after the first text.
    pub on_break: OnBreak,
    /// How often an answer is continued or restarted by itself.
    pub max_recoveries: u32,
    /// Ask the next model as well when the first text takes longer than it usually does.
    pub hedge: bool,
}

impl Default for Recovery {
    /// Three attempts, half a second and a second apart, and one continuation: enough for what
    /// passes by itself, short enough that nobody waits long for what does not.
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

/// What has happened in a run when an attempt fails.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SoFar {
    /// Whether the failed attempt wrote text that the person has seen.
    pub wrote: bool,
    /// Attempts with this model since the last text, the failed one included.
    pub attempts: u32,
    /// Continuations and restarts so far.
    pub recoveries: u32,
    /// Whether another model is left to ask.
    pub more_models: bool,
    /// Whether the provider has failed so often that its circuit is open.
    pub circuit_open: bool,
}

/// What comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// The same model again, after a pause; nothing that was shown changes.
    Again(Duration),
    /// The next model.
    NextModel,
    /// A continuation of the text by the same model, after a pause.
    GoOn(Duration),
    /// A new attempt in place of the text, after a pause.
    Restart(Duration),
    /// The end; the person decides.
    GiveUp,
}

impl Recovery {
    /// Decides what follows a failure. `chance` is a random number from 0 to 1: the pauses of many
    /// clients must not end at the same moment.
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

    /// The pause after the `failed`-th failure; `None` where the provider wants a longer one than
    /// anybody would wait for. Between half and all of the full pause, by chance.
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

/// Failures on our side, which no other attempt mends.
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

/// Whether another model may answer what this one could not. What a filter or a model declined is
/// not taken elsewhere behind the person's back, and a wrong request is wrong everywhere.
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
