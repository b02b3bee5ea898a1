//! What only a browser can do: timers, storage, the clipboard, focus, files.
//!
//! Views and commands compile for the server as well, which renders the same page from them. There
//! every function answers as if nothing was there, and tasks never run. Nothing here is called while
//! a view is rendered, because the server's page and the browser's first one must be the same: the
//! clock and stored settings come in with effects.

#[cfg(not(feature = "hydrate"))]
mod absent;
#[cfg(feature = "hydrate")]
mod web;

#[cfg(not(feature = "hydrate"))]
pub(crate) use absent::*;
#[cfg(feature = "hydrate")]
pub(crate) use web::*;
