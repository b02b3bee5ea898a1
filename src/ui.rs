//! What a person sees: the document, the routes, and one file per thing on the page.
//!
//! Everything is rendered on the server first and taken over by the browser without a difference.
//! Views read the signals of [`crate::client::store`] and call its commands; nothing here knows
//! how text travels.

#![expect(
    unreachable_pub,
    reason = "the component macro widens the visibility of what it makes"
)]

mod actions;
mod announcer;
mod answer;
mod attach;
mod body;
mod branches;
mod button;
mod clock;
mod composer;
mod context;
mod dialog;
mod failure;
mod growing;
mod icon;
mod inspector;
mod layout;
mod live;
mod menu;
mod page;
mod picker;
mod providers;
mod question;
mod queue;
mod reasoning;
mod receipt;
mod scroll;
mod settings;
#[cfg(feature = "ssr")]
mod shell;
mod sidebar;
mod status;
mod theme;
mod tools;
mod transcript;
mod welcome;
mod words;

#[cfg(feature = "ssr")]
pub use shell::shell;

use crate::base;
use layout::Layout;
use leptos::prelude::*;
use leptos_meta::{Title, provide_meta_context};
use leptos_router::{
    SsrMode,
    components::{FlatRoutes, Route, Router},
    path,
};

/// The app. A new chat and every conversation share one page, so that nothing is rebuilt when a new
/// chat gets its address.
#[component]
pub fn App() -> impl IntoView {
    provide_meta_context();
    view! {
        <Title
            formatter=|title: String| {
                if title.is_empty() { "Headwater".to_owned() } else { [&title, " · Headwater"].concat() }
            }
            text=""
        />
        <Router base=base::current()>
            <Layout/>
            // The layout stays whatever the address is; the routes tell the server what there is.
            <FlatRoutes fallback=|| ()>
                <Route path=path!("") view=|| () ssr=SsrMode::Async/>
                <Route path=path!("c/:id") view=|| () ssr=SsrMode::Async/>
                <Route path=path!("runs/:id") view=|| () ssr=SsrMode::Async/>
            </FlatRoutes>
        </Router>
    }
    .into_any()
}
