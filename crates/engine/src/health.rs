//! The health of the providers: how often they failed lately, and how long their models take to the
//! first text.
//!
//! It is kept in memory only: a new process assumes that every provider works.

use headwater_protocol::{Error, ErrorCode};
use parking_lot::Mutex;
use std::{
    collections::{HashMap, VecDeque},
    time::{Duration, Instant},
};

/// Failures in a row that open a provider's circuit, so that others are asked first.
const TOLERATED: u32 = 3;

/// How long a circuit is open at first. Each further failure doubles it.
const PAUSE: Duration = Duration::from_secs(15);

/// The longest time that a circuit is open.
const LONGEST: Duration = Duration::from_secs(300);

/// How many waits for a first text are remembered for each model.
const REMEMBERED: usize = 64;

/// How many waits must be known before a percentile of them says anything.
const LEAST: usize = 10;

/// How many models' waits are remembered. Where a provider answers to any name, the number of names
/// has no limit.
const MAX_MODELS: usize = 256;

/// The health of all providers.
#[derive(Debug, Default)]
pub struct Health {
    providers: Mutex<HashMap<String, Failures>>,
    waits: Mutex<HashMap<String, VecDeque<Duration>>>,
}

#[derive(Debug)]
struct Failures {
    in_a_row: u32,
    circuit: Option<Circuit>,
    last: Error,
}

/// A circuit that opened, and was not closed by an answer.
#[derive(Clone, Copy, Debug)]
struct Circuit {
    opened: Instant,
    open_until: Instant,
}

/// What is wrong with a provider.
#[derive(Clone, Debug, PartialEq)]
pub struct Trouble {
    /// Failures in a row.
    pub failures: u32,
    /// How much longer its circuit is open; `None` if it is not.
    pub circuit_open: Option<Duration>,
    /// The last failure.
    pub last: Error,
}

impl Health {
    /// Notes that a provider answered. Its failures are forgotten and its circuit closes.
    pub fn answered(&self, provider: &str) {
        let failures = self.providers.lock().remove(provider);
        if let Some(circuit) = failures.and_then(|failures| failures.circuit) {
            tracing::info!(
                provider,
                failing_s = circuit.opened.elapsed().as_secs(),
                "The provider answers again: its circuit closes."
            );
        }
    }

    /// Notes how long a model took to its first text.
    pub fn waited(&self, model: &str, wait: Duration) {
        let mut waits = self.waits.lock();
        if waits.len() == MAX_MODELS
            && !waits.contains_key(model)
            && let Some(least) = waits.iter().min_by_key(|(_, waits)| waits.len())
        {
            // Models that are asked often stay.
            let least = least.0.clone();
            waits.remove(&least);
        }
        let waits = waits.entry(model.to_owned()).or_default();
        if waits.len() == REMEMBERED {
            waits.pop_front();
        }
        waits.push_back(wait);
    }

    /// Notes a failure, if it says something about the provider and not about the request.
    pub fn failed(&self, provider: &str, error: &Error) {
        if !tells_of_the_provider(error.code) {
            return;
        }
        let mut providers = self.providers.lock();
        let failures = providers
            .entry(provider.to_owned())
            .or_insert_with(|| Failures {
                in_a_row: 0,
                circuit: None,
                last: error.clone(),
            });
        failures.last = error.clone();
        failures.in_a_row = failures.in_a_row.saturating_add(1);
        let Some(doublings) = failures.in_a_row.checked_sub(TOLERATED) else {
            return;
        };
        let pause = PAUSE.saturating_mul(1 << doublings.min(16)).min(LONGEST);
        let now = Instant::now();
        let before = failures.circuit;
        failures.circuit = Some(Circuit {
            opened: before.map_or(now, |circuit| circuit.opened),
            open_until: now + pause,
        });
        let failures = failures.in_a_row;
        drop(providers);
        // Answers that failed side by side are one story.
        if before.is_none_or(|circuit| circuit.open_until <= now) {
            tracing::warn!(
                provider,
                failures,
                code = ?error.code,
                pause_s = pause.as_secs(),
                "The provider fails again and again: its circuit opens, and others are asked first."
            );
        }
    }

    /// Whether a provider has failed so often that others come first and it is asked only once.
    pub fn is_open(&self, provider: &str) -> bool {
        self.trouble(provider)
            .is_some_and(|trouble| trouble.circuit_open.is_some())
    }

    /// What is wrong with a provider; `None` if nothing is.
    pub fn trouble(&self, provider: &str) -> Option<Trouble> {
        let providers = self.providers.lock();
        let failures = providers.get(provider)?;
        let left = failures
            .circuit
            .map(|circuit| circuit.open_until.saturating_duration_since(Instant::now()));
        Some(Trouble {
            failures: failures.in_a_row,
            circuit_open: left.filter(|left| !left.is_zero()),
            last: failures.last.clone(),
        })
    }

    /// The wait that one in twenty of a model's answers exceeds; `None` until enough are known.
    pub fn usual_wait(&self, model: &str) -> Option<Duration> {
        let waits = self.waits.lock();
        let waits = waits.get(model).filter(|waits| waits.len() >= LEAST)?;
        let mut sorted: Vec<Duration> = waits.iter().copied().collect();
        sorted.sort_unstable();
        sorted.get(sorted.len() * 95 / 100).copied()
    }
}

fn tells_of_the_provider(code: ErrorCode) -> bool {
    matches!(
        code,
        ErrorCode::Overloaded
            | ErrorCode::ProviderError
            | ErrorCode::Connection
            | ErrorCode::FirstTokenTimeout
            | ErrorCode::Stall
            | ErrorCode::Truncated
            | ErrorCode::Malformed
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provider::testing::log::Log;

    #[test]
    fn the_log_says_that_a_circuit_opened_and_closed() {
        let log = Log::capture();
        let health = Health::default();
        let error = Error::new(ErrorCode::Overloaded, "It says: “a secret”");
        for _ in 0..2 {
            health.failed("acme", &error);
        }
        health.answered("acme");
        assert_eq!(log.lines("acme"), [""; 0]);
        for _ in 0..5 {
            health.failed("acme", &error);
        }
        let lines = log.lines("acme");
        assert_eq!(lines.len(), 1, "{lines:?}");
        for part in [
            "WARN",
            "provider=\"acme\"",
            "failures=3",
            "pause_s=15",
            "circuit opens",
        ] {
            assert!(lines[0].contains(part), "{part} is not in {lines:?}");
        }
        health.answered("acme");
        health.answered("acme");
        let lines = log.lines("acme");
        assert_eq!(lines.len(), 2, "{lines:?}");
        for part in ["INFO", "provider=\"acme\"", "failing_s=0", "circuit closes"] {
            assert!(lines[1].contains(part), "{part} is not in {lines:?}");
        }
        assert!(log.lines("secret").is_empty());
    }

    #[test]
    fn the_circuit_opens_after_three_failures_until_an_answer() {
        let health = Health::default();
        let error = Error::new(ErrorCode::Overloaded, "Busy.");
        for _ in 0..2 {
            health.failed("a", &error);
        }
        assert!(!health.is_open("a"));
        assert_eq!(health.trouble("a").map(|trouble| trouble.failures), Some(2));
        health.failed("a", &error);
        assert!(health.is_open("a"));
        assert!(!health.is_open("b"));
        health.answered("a");
        assert_eq!(health.trouble("a"), None);
    }

    #[test]
    fn what_was_wrong_with_the_request_is_not_held_against_the_provider() {
        let health = Health::default();
        for code in [
            ErrorCode::InvalidRequest,
            ErrorCode::ContentFiltered,
            ErrorCode::RateLimited,
        ] {
            for _ in 0..5 {
                health.failed("a", &Error::new(code, "x."));
            }
        }
        assert_eq!(health.trouble("a"), None);
    }

    #[test]
    fn models_without_number_are_not_remembered_and_displace_none_that_is_in_use() {
        let health = Health::default();
        for _ in 0..LEAST {
            health.waited("in use", Duration::from_millis(5));
        }
        for number in 0..3 * MAX_MODELS {
            health.waited(&format!("m{number}"), Duration::from_millis(5));
        }
        assert_eq!(health.waits.lock().len(), MAX_MODELS);
        assert_eq!(health.usual_wait("in use"), Some(Duration::from_millis(5)));
    }

    #[test]
    fn pauses_grow_to_five_minutes() {
        let health = Health::default();
        for _ in 0..40 {
            health.failed("a", &Error::new(ErrorCode::Connection, "x."));
        }
        let circuit_open = health.trouble("a").and_then(|trouble| trouble.circuit_open);
        assert!(circuit_open.is_some_and(|left| left > LONGEST - PAUSE && left <= LONGEST));
    }

    #[test]
    fn the_usual_wait_is_known_after_ten_answers_and_forgets_old_ones() {
        let health = Health::default();
        for ms in 0..9 {
            health.waited("m", Duration::from_millis(ms));
        }
        assert_eq!(health.usual_wait("m"), None);
        for ms in 100..300 {
            health.waited("m", Duration::from_millis(ms));
        }
        let wait = health.usual_wait("m").unwrap_or_default();
        assert_eq!(wait, Duration::from_millis(236 + 60));
    }
}
