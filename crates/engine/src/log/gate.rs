//! Observers that a run waits for.

use headwater_protocol::Seq;
use tokio::sync::watch;

/// How far an observer is, and how far it may be behind.
#[derive(Clone, Debug)]
pub(crate) struct Gate {
    /// The last entry that it has seen. Closed when it has left the run.
    pub(crate) seen: watch::Receiver<Seq>,
    /// How many entries it may be behind.
    pub(crate) queue: Option<u64>,
    /// Whether it sees all but the last entry before the run ends well.
    pub(crate) sees_all: bool,
}

impl Gate {
    /// Waits until the observer is near enough to entry `seq`, or has left.
    pub(crate) async fn room(&mut self, seq: Seq) {
        if let Some(queue) = self.queue {
            self.reached(seq.saturating_sub(queue)).await;
        }
    }

    /// Waits until the observer has seen entry `seq`, or has left.
    pub(crate) async fn reached(&mut self, seq: Seq) {
        let _ = self.seen.wait_for(|seen| *seen >= seq).await;
    }
}
