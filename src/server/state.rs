//! What the handlers share.

use axum::extract::FromRef;
use headwater_engine::Engine;
use headwater_protocol::{Error, ErrorCode};
use leptos::{config::LeptosOptions, prelude::use_context};
use std::sync::Arc;

/// The engine behind the current request.
///
/// # Errors
/// `internal` outside of a request.
pub fn engine() -> Result<Arc<Engine>, Error> {
    use_context::<Arc<Engine>>()
        .ok_or_else(|| Error::new(ErrorCode::Internal, "The server is not set up."))
}

/// What axum's handlers take as their state.
#[derive(Clone)]
pub struct AppState {
    /// All runs and what they need.
    pub engine: Arc<Engine>,
    /// Where the page's files are.
    pub leptos: LeptosOptions,
}

impl FromRef<AppState> for LeptosOptions {
    fn from_ref(state: &AppState) -> Self {
        state.leptos.clone()
    }
}

impl FromRef<AppState> for Arc<Engine> {
    fn from_ref(state: &AppState) -> Self {
        state.engine.clone()
    }
}
