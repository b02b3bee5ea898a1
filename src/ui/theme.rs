//! The theme: light, dark, or that of the system.

use super::{
    icon::{Icon, icon},
    live::{click, word},
};
use crate::browser;
use leptos::prelude::*;

const THEMES: [(&str, &str, Icon); 3] = [
    ("light", "Light", Icon::Sun),
    ("dark", "Dark", Icon::Moon),
    ("system", "As the system", Icon::Screen),
];

/// Three buttons, one of them pressed. The buttons show the choice only after hydration, but the
/// colours of the page are right from the first paint.
#[component]
pub(super) fn ThemeSwitch() -> impl IntoView {
    let theme = RwSignal::new("system");
    Effect::new(move |_| {
        let stored = browser::load("theme");
        let known = THEMES
            .iter()
            .find(|(name, ..)| stored.as_deref() == Some(name));
        if let Some((name, ..)) = known {
            theme.set(name);
        }
    });
    let buttons = THEMES
        .into_iter()
        .map(|(name, label, glyph)| {
            view! {
                <button
                    type="button"
                    class="quiet"
                    aria-label=label
                    title=label
                    aria-pressed=word(move || theme.get() == name)
                    on:click=click(move || {
                        theme.set(name);
                        browser::set_theme(name);
                        browser::save("theme", name);
                    })
                >
                    {icon(glyph)}
                </button>
            }
        })
        .collect_view();
    view! {
        <div class="themes" role="group" aria-label="Appearance">
            {buttons}
        </div>
    }
    .into_any()
}
