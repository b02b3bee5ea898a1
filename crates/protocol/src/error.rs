//! Every failure, with a code for programs and a sentence for people.

use serde::{Deserialize, Serialize};
use std::fmt;

/// A failure, with a code for programs and a sentence for people.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Error {
    /// The kind of failure, for programs.
    pub code: ErrorCode,
    /// One or two plain sentences for people, without identifiers or keys.
    pub message: String,
    /// What was being done when it failed.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub stage: String,
    /// Whether the same request may succeed later.
    #[serde(default)]
    pub retryable: bool,
    /// The HTTP status of the provider's answer, if there was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// How long to wait before another attempt, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<u64>,
}

impl Error {
    /// An error that is retryable if its code is.
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

    /// Sets [`stage`](Self::stage).
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

/// The kinds of failures: a closed set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorCode {
    /// The key is missing, or the provider refused it.
    Authentication,
    /// The key lacks a permission.
    Permission,
    /// No such run, conversation, message or model.
    NotFound,
    /// The request is invalid; the sentence says why.
    InvalidRequest,
    /// The request is too large.
    TooLarge,
    /// The conversation has changed since the request was made.
    Conflict,
    /// The conversation does not fit into the model's context.
    ContextTooLong,
    /// A content filter of the provider ended the answer.
    ContentFiltered,
    /// The model declined to answer.
    Refused,
    /// Too many requests.
    RateLimited,
    /// The quota or the credit of the account is used up.
    Quota,
    /// The provider is overloaded.
    Overloaded,
    /// The provider failed for another reason.
    ProviderError,
    /// The provider cannot be reached, or the connection broke.
    Connection,
    /// No token came in time.
    FirstTokenTimeout,
    /// The provider stopped sending in the middle of an answer.
    Stall,
    /// The stream ended without its terminal event.
    Truncated,
    /// The provider sent something that its protocol does not allow.
    Malformed,
    /// Stopped by the person.
    Stopped,
    /// The server ended while the run was active.
    Interrupted,
    /// A tool failed.
    ToolFailed,
    /// The server is shutting down and accepts nothing new.
    ShuttingDown,
    /// The disk or the database failed to store something.
    Storage,
    /// A bug in Headwater.
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
