//! Observers of runs.

use super::Engine;
use crate::observer::{Observation, Observer, Options, watch_alone};
use headwater_protocol::{Error, RunId};

impl Engine {
    /// Lets an observer follow one run from its first entry, whether it is being written or has ended.
    /// Observers of all runs are given to [`Builder::observer`](super::Builder::observer).
    ///
    /// # Errors
    /// `not_found`, `storage`; `internal` where no thread can be started.
    pub async fn observe(
        &self,
        run: RunId,
        observer: impl Observer,
        options: Options,
    ) -> Result<Observation, Error> {
        let source = self.log.source(run).await?;
        watch_alone(observer, options, source, &self.observers)
    }

    /// Waits until no observer follows a run: until all have seen the ends of the runs that ended. An
    /// observer that hangs makes this wait for ever.
    pub async fn observed(&self) {
        self.observers.idle().await;
    }
}
