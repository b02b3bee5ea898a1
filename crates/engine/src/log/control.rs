//! How a run is stopped from outside.

use headwater_protocol::{Error, Seq};
use parking_lot::Mutex;
use std::{sync::OnceLock, time::Duration};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// A request to stop a run.
#[derive(Clone, Copy, Debug)]
pub struct Stop {
    /// The time of the request.
    pub at: std::time::Instant,
    /// The last entry that was on the screen of whoever stopped, where that is known.
    pub seen: Option<Seq>,
}

/// Stops a run, and knows how long it took to close the provider.
#[derive(Debug, Default)]
pub struct Control {
    pub(crate) stop: CancellationToken,
    asked: Mutex<Option<(Instant, Option<Seq>)>>,
    closed: OnceLock<Duration>,
    failure: OnceLock<Error>,
}

impl Control {
    /// Asks for a stop. Only the first request counts.
    pub fn stop(&self, seen: Option<Seq>) {
        let mut asked = self.asked.lock();
        if self.failure.get().is_none() {
            asked.get_or_insert((Instant::now(), seen));
        }
        self.stop.cancel();
    }

    /// Ends the run with an error, unless it was asked to stop before.
    pub(crate) fn fail(&self, why: Error) {
        let asked = self.asked.lock();
        if asked.is_none() && !self.stop.is_cancelled() {
            let _ = self.failure.set(why);
            self.stop.cancel();
        }
    }

    /// The error that ends the run.
    pub(crate) fn failure(&self) -> Option<&Error> {
        self.failure.get()
    }

    /// The time from the request to stop until the provider was closed.
    pub fn closed_after(&self) -> Option<Duration> {
        self.closed.get().copied()
    }

    pub(crate) fn asked(&self) -> Option<Stop> {
        let asked = *self.asked.lock();
        asked.map(|(at, seen)| Stop {
            at: at.into_std(),
            seen,
        })
    }

    pub(crate) fn note_closed(&self) {
        let asked = *self.asked.lock();
        if let Some((since, _)) = asked {
            let _ = self.closed.set(since.elapsed());
        }
    }
}
