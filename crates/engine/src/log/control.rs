//! How a run is stopped from outside.

use headwater_protocol::Seq;
use std::{
    sync::{Mutex, OnceLock, PoisonError},
    time::Duration,
};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// A person's wish to end a run.
#[derive(Clone, Copy, Debug)]
pub struct Stop {
    /// When it came.
    pub at: std::time::Instant,
    /// The last entry that whoever stops had shown, if it says so.
    pub seen: Option<Seq>,
}

/// How a run is told to stop, and what came of it.
#[derive(Debug, Default)]
pub struct Control {
    pub(crate) stop: CancellationToken,
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

    pub(crate) fn asked(&self) -> Option<Stop> {
        let asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        asked.map(|(at, seen)| Stop {
            at: at.into_std(),
            seen,
        })
    }

    pub(crate) fn note_closed(&self) {
        let asked = *self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((since, _)) = asked {
            let _ = self.closed.set(since.elapsed());
        }
    }
}
