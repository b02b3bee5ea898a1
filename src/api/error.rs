//! How a [`protocol::Error`](headwater_protocol::Error) crosses a server function.

use headwater_protocol::{Error, ErrorCode};
use leptos::server_fn::{
    codec::JsonEncoding,
    error::{FromServerFnError, ServerFnErrorErr},
};
use serde::{Deserialize, Serialize};

/// The error of every server function: on the wire exactly a [`Error`] as JSON, under the HTTP
/// status of its code.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ApiError(pub Error);

impl From<Error> for ApiError {
    fn from(error: Error) -> Self {
        Self(error)
    }
}

impl std::fmt::Display for ApiError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for ApiError {}

impl FromServerFnError for ApiError {
    type Encoder = JsonEncoding;

    fn from_server_fn_error(value: ServerFnErrorErr) -> Self {
        let code = match &value {
            // What the caller sent does not fit; everything else is a broken line or a fault of ours.
            ServerFnErrorErr::Args(_)
            | ServerFnErrorErr::MissingArg(_)
            | ServerFnErrorErr::Deserialization(_)
            | ServerFnErrorErr::UnsupportedRequestMethod(_) => ErrorCode::InvalidRequest,
            ServerFnErrorErr::Request(_) | ServerFnErrorErr::Response(_) => ErrorCode::Connection,
            _ => ErrorCode::Internal,
        };
        let message = match value {
            ServerFnErrorErr::Request(_) | ServerFnErrorErr::Response(_) => {
                "The server cannot be reached.".to_owned()
            }
            ServerFnErrorErr::MissingArg(name) => format!("The field “{name}” is missing."),
            ServerFnErrorErr::Args(why) | ServerFnErrorErr::Deserialization(why) => {
                format!("The request could not be read: {why}.")
            }
            other => format!("The request could not be answered: {other}."),
        };
        Self(Error::new(code, message))
    }
}
