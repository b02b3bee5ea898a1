//! Closures for the ends of runs.

use crate::observer::{Failed, Interest, Observed, Observer, Run, RunFinished};
use std::fmt;

type OnStart = Box<dyn Fn(&Run) + Send + Sync>;
type OnEnd = Box<dyn Fn(&Run, &RunFinished<'_>) + Send + Sync>;
type OnError = Box<dyn Fn(&Failed<'_>) + Send + Sync>;

/// Calls closures when a run begins, when it ends, and at every error.
///
/// ```
/// use headwater_engine::observer::Listeners;
///
/// let listeners = Listeners::default()
///     .on_start(|run| println!("{} answers", run.model))
///     .on_end(|_, end| println!("{:?}: {} tokens", end.status, end.usage.output))
///     .on_error(|failed| eprintln!("{}", failed.error));
/// ```
#[derive(Default)]
pub struct Listeners {
    start: Option<OnStart>,
    end: Option<OnEnd>,
    error: Option<OnError>,
}

impl Listeners {
    /// Called when a run begins.
    pub fn on_start(self, call: impl Fn(&Run) + Send + Sync + 'static) -> Self {
        let start = Some(Box::new(call) as OnStart);
        Self { start, ..self }
    }

    /// Called when a run has ended.
    pub fn on_end(self, call: impl Fn(&Run, &RunFinished<'_>) + Send + Sync + 'static) -> Self {
        let end = Some(Box::new(call) as OnEnd);
        Self { end, ..self }
    }

    /// Called for each span and each run that ended with an error.
    pub fn on_error(self, call: impl Fn(&Failed<'_>) + Send + Sync + 'static) -> Self {
        let error = Some(Box::new(call) as OnError);
        Self { error, ..self }
    }
}

impl fmt::Debug for Listeners {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Listeners")
            .field("start", &self.start.is_some())
            .field("end", &self.end.is_some())
            .field("error", &self.error.is_some())
            .finish()
    }
}

impl Observer for Listeners {
    fn interest(&self) -> Interest {
        Interest::RUNS | Interest::ERRORS
    }

    async fn run_started(&self, run: &Run) -> Observed {
        if let Some(call) = &self.start {
            call(run);
        }
        Ok(())
    }

    async fn run_finished(&self, run: &Run, end: &RunFinished<'_>) -> Observed {
        if let Some(call) = &self.end {
            call(run, end);
        }
        Ok(())
    }

    async fn failed(&self, failed: &Failed<'_>) -> Observed {
        if let Some(call) = &self.error {
            call(failed);
        }
        Ok(())
    }
}
