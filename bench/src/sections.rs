//! What is measured, each part in a module of its own.

mod aborts;
mod browser;
mod capacity;
mod fanout;
mod fold;
mod kill;
mod memory;
mod observers;
mod relay;
mod resume;
mod start;
mod stop;

use crate::bench::Bench;

/// A part of the benchmarks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Section {
    /// Latency, processor time and bytes of a fixed load, side by side with all peers
    Relay,
    /// The largest number of streams that arrive on time
    Capacity,
    /// Memory of a stream that waits, and of one half-way
    Memory,
    /// One answer and many readers
    Fanout,
    /// Readers that come back, one or many at once
    Resume,
    /// From a stop to the close of the provider's socket
    Stop,
    /// What readers that leave without a word leave behind
    Aborts,
    /// From the start of the process to its first answer
    Start,
    /// kill -9 in the middle of answers, again and again
    Kill,
    /// The fold of a tool call's arguments
    Fold,
    /// What an observer that is slow does to the tokens, beside LangChain's callback handlers
    Observers,
    /// A long answer on the page in Chromium, beside pages of other renderers
    Browser,
}

impl Section {
    /// All of them, in the order of the report.
    pub(crate) const ALL: &'static [Self] = &[
        Self::Relay,
        Self::Capacity,
        Self::Memory,
        Self::Fanout,
        Self::Resume,
        Self::Stop,
        Self::Aborts,
        Self::Start,
        Self::Kill,
        Self::Fold,
        Self::Observers,
        Self::Browser,
    ];

    /// Measures it and adds it to the report.
    ///
    /// # Errors
    /// Why it could not be measured to its end.
    pub(crate) async fn run(self, bench: &mut Bench) -> Result<(), String> {
        match self {
            Self::Relay => relay::run(bench).await,
            Self::Capacity => capacity::run(bench).await,
            Self::Memory => memory::run(bench).await,
            Self::Fanout => fanout::run(bench).await,
            Self::Resume => resume::run(bench).await,
            Self::Stop => stop::run(bench).await,
            Self::Aborts => aborts::run(bench).await,
            Self::Start => start::run(bench).await,
            Self::Kill => kill::run(bench).await,
            Self::Fold => {
                fold::run(bench);
                Ok(())
            }
            Self::Observers => observers::run(bench).await,
            Self::Browser => browser::run(bench).await,
        }
    }
}
