//! How an attempt, or the work of tools after it, ended.

use headwater_protocol::{Error, ErrorCode, Finish, Status};

/// How an attempt, or the work of tools after it, ended.
#[derive(Debug)]
pub(super) enum Outcome {
    /// The provider said that the answer is complete.
    Whole(Finish),
    /// It failed.
    Failed(Error),
    /// An observer that may do so failed the run.
    Vetoed(Error),
    /// The person stopped it.
    Stopped,
    /// The server's grace period for running answers is over.
    Cut,
}

impl Outcome {
    /// The status and the error that the log gets.
    pub(super) fn end(&self) -> (Status, Option<Error>) {
        match self {
            Self::Whole(_) => (Status::Ok, None),
            Self::Failed(error) | Self::Vetoed(error) => (Status::Error, Some(error.clone())),
            Self::Stopped => (Status::Cancelled, None),
            Self::Cut => {
                let error = Error::new(
                    ErrorCode::Interrupted,
                    "The server was stopped while this was being written.",
                );
                (Status::Interrupted, Some(error.at("writing")))
            }
        }
    }
}
