//! Headwater: a chat app for large language models whose streams cannot be lost.
//!
//! One idea: *a run is a log, everything else is a cursor on it.* Where to find what:
//!
//! - [`protocol`]: the wire contract. Events, errors, commands' answers.
//! - [`chat`]: what a conversation is, and the fold of a log into what a person sees.
//! - [`markdown`]: a growing text into blocks of safe HTML.
//! - `server`: configuration, providers, the engine, the log, the HTTP surface.
//! - [`api`]: the server functions, the one place that names both sides.
//! - [`client`]: the browser's side of a stream, and the signals the page is made of.
//! - `base`: the path under which the server is reached, and the addresses below it.
//! - `browser`: what only a browser can do, with a stand-in for the server.
//! - [`ui`]: what a person sees.
//!
//! Data goes one way, provider → engine → log → follow → client → view. The only way back is a
//! command, and its effect returns as events. ARCHITECTURE.md has the overview and the invariants.

#![recursion_limit = "256"]

#[cfg(not(erase_components))]
compile_error!(
    "RUSTFLAGS in the environment replace those of .cargo/config.toml: please unset it, or add \
     `--cfg erase_components` to it. Server and browser must be built alike."
);

pub mod api;
mod base;
mod browser;
pub mod client;
pub mod ui;

#[cfg(feature = "ssr")]
pub mod cli;
#[cfg(feature = "ssr")]
pub mod server;

/// Takes over the page that the server rendered.
#[cfg(feature = "hydrate")]
#[wasm_bindgen::prelude::wasm_bindgen]
pub fn hydrate() {
    console_error_panic_hook::set_once();
    // A page has one path for as long as it lives.
    leptos::server_fn::client::set_server_url(base::address("").leak());
    leptos::mount::hydrate_body(ui::App);
    // Says to the style sheet, and to whoever waits for it, that the page is alive.
    if let Some(root) = leptos::prelude::document().document_element() {
        let _ = root.set_attribute("data-hydrated", "");
    }
}
