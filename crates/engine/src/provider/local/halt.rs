//! Why a computation ended early, and the flag that cancels it.

use headwater_protocol::{Error, ErrorCode};
use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

/// A flag that tells a model thread to stop.
#[derive(Clone, Debug, Default)]
pub(super) struct Cancel(Arc<AtomicBool>);

impl Cancel {
    /// Cancels the work at its next check.
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
    /// The reader is gone.
    Cancelled,
    /// It failed. The reader gets the error.
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

/// The error for a bug in Headwater. People read a plain sentence, and the log gets the cause.
pub(super) fn internal(cause: &str) -> Error {
    tracing::error!(cause, "the built-in model failed");
    Error::new(
        ErrorCode::Internal,
        "The built-in model failed while it worked on this answer. Try again; if it happens again, \
         start a new chat.",
    )
    .at("local model")
}
