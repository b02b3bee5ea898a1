//! What is measured, each part in a module of its own.

mod capacity;
mod relay;

use crate::bench::Bench;

/// A part of the benchmarks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Section {
    /// Latency, processor time and bytes of a fixed load, side by side with all peers
    Relay,
    /// The largest number of streams that arrive on time
    Capacity,
}

impl Section {
    /// All of them, in the order of the report.
    pub(crate) const ALL: &'static [Self] = &[Self::Relay, Self::Capacity];

    /// Measures it and adds it to the report.
    ///
    /// # Errors
    /// Why it could not be measured to its end.
    pub(crate) async fn run(self, bench: &mut Bench) -> Result<(), String> {
        match self {
            Self::Relay => relay::run(bench).await,
            Self::Capacity => capacity::run(bench).await,
        }
    }
}
