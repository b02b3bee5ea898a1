//! The state that handlers share.

use axum::extract::FromRef;
use headwater_engine::{Engine, observer::Metrics};
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

/// The state of axum's handlers.
#[derive(Clone)]
pub struct AppState {
    /// The engine that does all commands.
    pub engine: Arc<Engine>,
    /// Counts and times of models, tools and runs.
    pub metrics: Metrics,
    /// Where the files of the page are.
    pub leptos: LeptosOptions,
}

impl FromRef<AppState> for LeptosOptions {
    fn from_ref(state: &AppState) -> Self {
        state.leptos.clone()
    }
}

impl FromRef<AppState> for Metrics {
    fn from_ref(state: &AppState) -> Self {
        state.metrics.clone()
    }
}

impl FromRef<AppState> for Arc<Engine> {
    fn from_ref(state: &AppState) -> Self {
        state.engine.clone()
    }
}
