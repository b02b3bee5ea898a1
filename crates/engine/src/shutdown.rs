//! The end of the server, in order: nothing new, a grace for what runs, readers told, disk written.

use std::time::Duration;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// The states on the way out, each entered once.
#[derive(Clone, Debug, Default)]
pub struct Shutdown {
    /// No new runs from now on; readers are told.
    pub draining: CancellationToken,
    /// The grace is over: runs are interrupted and streams end.
    pub cut: CancellationToken,
    /// The tasks of all runs.
    pub runs: TaskTracker,
}

impl Shutdown {
    /// Goes through all states. Returns when every run has written its last entry, or when the
    /// disk has not taken it for three seconds; the next start closes those.
    pub async fn run(&self, grace: Duration) {
        self.draining.cancel();
        self.runs.close();
        if tokio::time::timeout(grace, self.runs.wait()).await.is_err() {
            tracing::info!(running = self.runs.len(), "the grace is over; interrupting");
        }
        self.cut.cancel();
        if tokio::time::timeout(Duration::from_secs(3), self.runs.wait())
            .await
            .is_err()
        {
            tracing::warn!(
                running = self.runs.len(),
                "some answers could not be closed"
            );
        }
    }
}

/// Waits for SIGTERM or SIGINT. Returns the grace: `grace` for SIGTERM, which a service manager
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
            return grace.min(Duration::from_millis(500));
        }
    }
    let _ = tokio::signal::ctrl_c().await;
    grace.min(Duration::from_millis(500))
}
