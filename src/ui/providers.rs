//! The providers, their state, and how to connect more of them.

use super::{
    context::{LayoutContext, PROVIDERS},
    dialog::modal,
    live::part,
    words,
};
use headwater_protocol::{Catalog, ProviderState};
use leptos::prelude::*;

/// The dialog. Open it with [`LayoutContext::open_providers`].
#[component]
pub(super) fn Providers() -> impl IntoView {
    let layout = expect_context::<LayoutContext>();
    let content = part(move || layout.catalog.with(list));
    modal(PROVIDERS, "Providers", content)
}

fn list(catalog: &Catalog) -> AnyView {
    let rows = catalog.providers.iter().map(row).collect_view();
    let connect = (!catalog.connect.is_empty()).then(|| {
        let names = catalog.connect.iter().enumerate().map(|(at, name)| {
            view! {
                {(at > 0).then_some(", ")}
                <code>{name.clone()}</code>
            }
        });
        view! {
            <p class="hint">
                "Each of these variables connects one more vendor: "
                {names.collect_view()}
                ". Set it for the server, and start the server again."
            </p>
        }
    });
    view! {
        <ul class="providers">{rows}</ul>
        {connect}
    }
    .into_any()
}

fn row(provider: &ProviderState) -> AnyView {
    let class = match (&provider.problem, provider.models) {
        (None, _) => "well",
        (Some(_), 0) => "bad",
        (Some(_), _) => "uneasy",
    };
    let models = words::counted(provider.models as u64, "model", "models");
    let problem = provider.problem.clone();
    let circuit = provider.circuit_open_s.map(|seconds| {
        let left = words::elapsed(seconds * 1_000);
        [
            "It failed again and again, so others are asked first for ",
            &left,
            ".",
        ]
        .concat()
    });
    let key = provider
        .needs_key
        .then(|| key_advice(provider.key_variable.clone()));
    view! {
        <li class=class>
            <b>{provider.name.clone()}</b>
            <span>{models}</span>
            {problem.map(|problem| view! { <p>{problem}</p> })}
            {circuit.map(|circuit| view! { <p>{circuit}</p> })}
            {key}
        </li>
    }
    .into_any()
}

fn key_advice(variable: Option<String>) -> AnyView {
    match variable {
        Some(variable) => view! {
            <p>
                "Set " <code>{variable}</code>
                " to a key that it accepts, and start the server again."
            </p>
        }
        .into_any(),
        None => view! {
            <p>
                "Name the variable of its key in the configuration, as " <code>"key_env"</code> "."
            </p>
        }
        .into_any(),
    }
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
        let catalog = Catalog {
            providers: vec![provider],
            connect: vec!["B_KEY".into()],
            ..Catalog::default()
        };
        // Without the marks by which the browser finds the views again.
        let html = list(&catalog).to_html().replace("<!>", "");
        assert!(
            html.contains("<b>a&lt;b</b><span>0 models</span>"),
            "{html}"
        );
        assert!(
            html.contains("<p>&lt;script&gt;&amp;</p><p>Set <code>A_KEY</code> to"),
            "{html}"
        );
        assert!(html.contains("vendor: <code>B_KEY</code>."), "{html}");
    }
}
