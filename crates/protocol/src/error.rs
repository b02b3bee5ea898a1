//! Every failure there is, for programs and for people.

use serde::{Deserialize, Serialize};
use std::fmt;

/// Every failure there is, in a form for programs and for people.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Error {
    /// For programs.
    pub code: ErrorCode,
    /// For people: one or two plain sentences, no identifiers, no keys.
    pub message: String,
    /// What was being done.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub stage: String,
    /// Whether the same request may succeed later.
    #[serde(default)]
    pub retryable: bool,
    /// The provider's HTTP status where there was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// When it makes sense to try again, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<u64>,
}

impl Error {
    /// An error with the usual answer to "may it succeed later?" for its code.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            stage: String::new(),
            retryable: code.is_retryable(),
            status: None,
            retry_after_ms: None,
        }
    }

    /// Says what was being done.
    pub fn at(mut self, stage: impl Into<String>) -> Self {
        self.stage = stage.into();
        self
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}

/// Closed set of failures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorCode {
    /// The provider does not accept the key, or there is none.
    Authentication,
    /// The key may not do this.
    Permission,
    /// No such run, conversation, message or model.
    NotFound,
    /// The request makes no sense; the sentence says why.
    InvalidRequest,
    /// The request is too large.
    TooLarge,
    /// The conversation moved on while this was written.
    Conflict,
    /// The conversation does not fit into the model.
    ContextTooLong,
    /// A filter of the provider cut the answer.
    ContentFiltered,
    /// The model declined.
    Refused,
    /// Too many requests.
    RateLimited,
    /// The account is used up.
    Quota,
    /// The provider has too much to do.
    Overloaded,
    /// The provider failed.
    ProviderError,
    /// The provider cannot be reached, or the connection broke.
    Connection,
    /// No token came in time.
    FirstTokenTimeout,
    /// The provider fell silent in mid-answer.
    Stall,
    /// The stream ended without saying that it was the end.
    Truncated,
    /// The provider sent something that is not its protocol.
    Malformed,
    /// Stopped by the person.
    Stopped,
    /// The server went away while it ran.
    Interrupted,
    /// A tool failed.
    ToolFailed,
    /// The server is ending and takes nothing new.
    ShuttingDown,
    /// The disk or the database does not take what must be kept.
    Storage,
    /// A fault of ours.
    #[serde(other)]
    Internal,
}

impl ErrorCode {
    /// Whether the same request may succeed later without a change.
    pub fn is_retryable(self) -> bool {
        matches!(
            self,
            Self::RateLimited
                | Self::Overloaded
                | Self::ProviderError
                | Self::Connection
                | Self::FirstTokenTimeout
                | Self::Stall
                | Self::Truncated
                | Self::Malformed
                | Self::Interrupted
                | Self::ShuttingDown
                | Self::Storage
        )
    }

    /// The HTTP status under which a command answers with this error.
    pub fn http_status(self) -> u16 {
        match self {
            Self::Authentication => 401,
            Self::Permission => 403,
            Self::NotFound => 404,
            Self::InvalidRequest => 400,
            Self::TooLarge => 413,
            Self::Conflict | Self::Stopped => 409,
            Self::ContextTooLong | Self::ContentFiltered | Self::Refused => 422,
            Self::RateLimited | Self::Quota => 429,
            Self::Overloaded | Self::ShuttingDown | Self::Interrupted => 503,
            Self::Storage => 507,
            Self::FirstTokenTimeout | Self::Stall => 504,
            Self::ProviderError | Self::Connection | Self::Truncated | Self::Malformed => 502,
            Self::ToolFailed | Self::Internal => 500,
        }
    }
}
