//! The page for addresses that lead nowhere.

use super::icon::mark;
use leptos::prelude::*;
use leptos_meta::Title;

/// Says that there is nothing here, and shows the way back.
#[component]
pub(super) fn Lost() -> impl IntoView {
    set_not_found();
    view! {
        <Title text="Not found"/>
        <main class="lost">
            {mark()} <h1>"There is nothing at this address"</h1>
            <p>"The address may have a mistake in it, or the page may be gone."</p>
            <p>
                <a class="button" href="/">"Begin a new chat"</a>
            </p>
        </main>
    }
    .into_any()
}

/// Answers 404 while the server renders.
pub(super) fn set_not_found() {
    #[cfg(feature = "ssr")]
    if let Some(response) = use_context::<leptos_axum::ResponseOptions>() {
        response.set_status(axum::http::StatusCode::NOT_FOUND);
    }
}
