//! The end of the server, in order: no new runs, a grace for those that run, then the cut.

use std::time::Duration;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// How long interrupted runs may take to write their last entry.
const LAST_ENTRIES: Duration = Duration::from_secs(3);

/// The longest grace after SIGINT: a person waits at the terminal.
const INTERACTIVE: Duration = Duration::from_millis(500);

/// The stages of a shutdown. Each one is entered once.
#[derive(Clone, Debug, Default)]
pub struct Shutdown {
    /// No new runs are taken from now on, and readers are told.
    pub draining: CancellationToken,
    /// The grace is over: runs are interrupted, and streams end.
    pub cut: CancellationToken,
    /// The tasks of all runs.
    pub runs: TaskTracker,
}

impl Shutdown {
    /// Goes through all stages. Returns how many runs were interrupted, once every run has written
    /// its last entry, or after three seconds if the disk does not take those. The next start closes
    /// the logs of the latter.
    pub async fn run(&self, grace: Duration) -> usize {
        self.draining.cancel();
        self.runs.close();
        let mut interrupted = 0;
        if tokio::time::timeout(grace, self.runs.wait()).await.is_err() {
            interrupted = self.runs.len();
            tracing::warn!(
                interrupted,
                "the grace is over; running answers are interrupted"
            );
        }
        self.cut.cancel();
        if tokio::time::timeout(LAST_ENTRIES, self.runs.wait())
            .await
            .is_err()
        {
            tracing::warn!(
                open = self.runs.len(),
                "some answers have no end yet; the next start closes them"
            );
        }
        interrupted
    }
}

/// Waits for SIGTERM or SIGINT and returns the grace: `grace` for SIGTERM, which a service manager
/// sends, and at most half a second for SIGINT, which a person at a terminal sends.
pub async fn signal(grace: Duration) -> Duration {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        let terminate = signal(SignalKind::terminate());
        if let Ok(mut terminate) = terminate {
            tokio::select! {
                _ = terminate.recv() => return grace,
                _ = tokio::signal::ctrl_c() => {}
            }
            return grace.min(INTERACTIVE);
        }
    }
    let _ = tokio::signal::ctrl_c().await;
    grace.min(INTERACTIVE)
}
