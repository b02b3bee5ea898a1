//! How an observer is treated.

use super::facts::Span;
use std::{fmt, sync::Arc};

/// What becomes of an error or a panic of an observer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnError {
    /// It is logged and counted, and the observer goes on.
    #[default]
    Ignore,
    /// The run fails with it. Such a run does not end well before the observer has seen all but its last
    /// entry, unless it has left the run; after 30 seconds of waiting, the run fails.
    FailRun,
}

/// What happens when an observer is further behind than [`Options::queue`] entries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Overflow {
    /// Tokens of a block that follow each other come as one. Nothing is lost.
    #[default]
    Coalesce,
    /// The observer leaves the run, and is told of nothing that comes.
    Detach,
    /// The run waits for the observer. The only choice that slows tokens.
    Block,
}

/// How an observer is treated.
#[derive(Clone, Default)]
pub struct Options {
    /// What becomes of its errors.
    pub on_error: OnError,
    /// What happens when it is too far behind.
    pub overflow: Overflow,
    /// How many entries it may be behind; 0 is the usual number, 1,024.
    pub queue: u64,
    pub(super) only: Option<Only>,
}

type Only = Arc<dyn Fn(&Span) -> bool + Send + Sync>;

/// The usual [`Options::queue`].
const QUEUE: u64 = 1024;

impl Options {
    /// Limits the observer to spans that `wanted` is true for, and to what happens in them. Beginnings
    /// and ends of runs are not concerned. One kind of span is `|span| span.kind == SpanKind::ChatModel`; a
    /// span with all that it contains is `move |span| span.is_within(number)`.
    pub fn only(mut self, wanted: impl Fn(&Span) -> bool + Send + Sync + 'static) -> Self {
        self.only = Some(Arc::new(wanted));
        self
    }

    /// The same with another choice for errors.
    pub fn on_error(self, on_error: OnError) -> Self {
        Self { on_error, ..self }
    }

    /// The same with another choice for an observer that is too slow.
    pub fn overflow(self, overflow: Overflow, queue: u64) -> Self {
        Self {
            overflow,
            queue,
            ..self
        }
    }

    pub(super) fn queue(&self) -> u64 {
        if self.queue == 0 { QUEUE } else { self.queue }
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Options")
            .field("on_error", &self.on_error)
            .field("overflow", &self.overflow)
            .field("queue", &self.queue())
            .field("only", &self.only.is_some())
            .finish()
    }
}
