//! Why a computation ended early, and the flag that makes it.

use headwater_protocol::{Error, ErrorCode};
use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

/// Says to a model thread that nobody wants its answer any more.
#[derive(Clone, Debug, Default)]
pub(super) struct Cancel(Arc<AtomicBool>);

impl Cancel {
    /// Ends the work at its next check.
    pub(super) fn set(&self) {
        self.0.store(true, Ordering::Release);
    }

    pub(super) fn is_set(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }

    /// # Errors
    /// [`Halt::Cancelled`] once the flag is set.
    pub(super) fn check(&self) -> Result<(), Halt> {
        if self.is_set() {
            Err(Halt::Cancelled)
        } else {
            Ok(())
        }
    }
}

/// Why an answer ended before its end.
#[derive(Debug)]
pub(super) enum Halt {
    /// The reader is gone; there is nobody to tell.
    Cancelled,
    /// Something went wrong; the reader is told.
    Failed(Error),
}

impl From<Error> for Halt {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

impl From<candle_core::Error> for Halt {
    fn from(error: candle_core::Error) -> Self {
        Self::Failed(internal(&error.to_string()))
    }
}

/// A fault of ours: people get a plain sentence, the log gets the cause.
pub(super) fn internal(cause: &str) -> Error {
    tracing::error!(cause, "the built-in model failed");
    Error::new(
        ErrorCode::Internal,
        "The built-in model failed while it worked on this answer. Try again; if it happens again, \
         start a new chat.",
    )
    .at("local model")
}
