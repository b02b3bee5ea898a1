//! Who can answer: the providers, how they do, and how to connect more of them.

use super::{
    body::escaped,
    context::{LayoutContext, PROVIDERS},
    dialog::sheet,
    live::text,
    words,
};
use headwater_protocol::{Catalog, ProviderState};
use leptos::prelude::*;

/// The dialog, to be opened with [`LayoutContext::open_providers`].
#[component]
pub(super) fn Providers() -> impl IntoView {
    let layout = expect_context::<LayoutContext>();
    let list = text(move || layout.catalog.with(list));
    sheet(PROVIDERS, "Providers", list, Box::new(|_| {}))
}

/// Nothing in the list can be pressed, so it is markup and no views.
fn list(catalog: &Catalog) -> String {
    let mut html = "<ul class=\"providers\">".to_owned();
    for provider in &catalog.providers {
        row(provider, &mut html);
    }
    html.push_str("</ul>");
    if !catalog.connect.is_empty() {
        html.push_str("<p class=\"hint\">Each of these variables connects one more vendor: ");
        for (at, name) in catalog.connect.iter().enumerate() {
            html.push_str(if at > 0 { ", " } else { "" });
            code(name, &mut html);
        }
        html.push_str(". Set it for the server, and start the server again.</p>");
    }
    html
}

fn row(provider: &ProviderState, html: &mut String) {
    let class = match (&provider.problem, provider.models) {
        (None, _) => "well",
        (Some(_), 0) => "bad",
        (Some(_), _) => "uneasy",
    };
    for piece in [
        "<li class=\"",
        class,
        "\"><b>",
        &escaped(&provider.name),
        "</b><span>",
        &words::counted(provider.models as u64, "model", "models"),
        "</span>",
    ] {
        html.push_str(piece);
    }
    if let Some(problem) = &provider.problem {
        html.push_str("<p>");
        html.push_str(&escaped(problem));
    }
    if let Some(seconds) = provider.circuit_open_s {
        html.push_str("<p>It failed again and again, so others are asked first for ");
        html.push_str(&words::elapsed(seconds * 1_000));
        html.push('.');
    }
    match &provider.key_variable {
        Some(variable) if provider.needs_key => {
            html.push_str("<p>Set ");
            code(variable, html);
            html.push_str(" to a key that it accepts, and start the server again.");
        }
        None if provider.needs_key => {
            html.push_str("<p>Name the variable of its key in the configuration, as ");
            code("key_env", html);
            html.push('.');
        }
        _ => {}
    }
    html.push_str("</li>");
}

fn code(name: &str, html: &mut String) {
    html.push_str("<code>");
    html.push_str(&escaped(name));
    html.push_str("</code>");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_provider_says_is_text() {
        let provider = ProviderState {
            name: "a<b".into(),
            problem: Some("<script>&".into()),
            needs_key: true,
            key_variable: Some("A_KEY".into()),
            ..ProviderState::default()
        };
        let html = list(&Catalog {
            providers: vec![provider],
            connect: vec!["B_KEY".into()],
            ..Catalog::default()
        });
        assert!(
            html.contains("<b>a&lt;b</b><span>0 models</span>"),
            "{html}"
        );
        assert!(
            html.contains("<p>&lt;script>&amp;<p>Set <code>A_KEY</code> to"),
            "{html}"
        );
        assert!(html.contains("vendor: <code>B_KEY</code>."), "{html}");
    }
}
