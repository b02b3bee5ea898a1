//! The choice of the model for the next answer.

use super::{
    button::quiet,
    context::LayoutContext,
    icon::Icon,
    live::{flag, part, text},
    words,
};
use crate::client::store::Chat;
use headwater_protocol::{Catalog, ModelInfo};
use leptos::prelude::*;

/// The chosen model's identifier: the chat's, or the server's default.
pub(super) fn chosen(chat: Chat, catalog: &Catalog) -> String {
    chat.model.get().unwrap_or_else(|| catalog.default.clone())
}

/// The model's name for people.
pub(super) fn name(catalog: &Catalog, id: &str) -> String {
    let known = catalog.models.iter().find(|model| model.id == id);
    known.map_or_else(
        || words::model_name(id).to_owned(),
        |model| model.name.clone(),
    )
}

/// The name of a model in the list, marked if its provider is failing.
pub(super) fn label(catalog: &Catalog, model: &ModelInfo) -> String {
    let failing = catalog.is_failing(model);
    [
        model.name.as_str(),
        if failing { " (failing now)" } else { "" },
    ]
    .concat()
}

/// A native `<select>`, because every platform has its own best way to choose from a list.
#[component]
pub(super) fn Picker() -> impl IntoView {
    let chat = expect_context::<Chat>();
    let layout = expect_context::<LayoutContext>();
    let current = Memo::new(move |_| layout.catalog.with(|catalog| chosen(chat, catalog)));
    let label = text(move || layout.catalog.with(|catalog| name(catalog, &current.get())));
    let gone = Memo::new(move |_| {
        let current = current.get();
        layout
            .catalog
            .with(|catalog| is_gone(catalog, &current))
            .then_some(current)
    });
    let failing = move || {
        layout.catalog.with(|catalog| {
            let current = current.get();
            let model = catalog.models.iter().find(|model| model.id == current);
            model.is_some_and(|model| catalog.is_failing(model))
        })
    };
    view! {
        <label class="picker" class:failing=flag(failing) title="Which model answers next">
            <span class="name" aria-hidden="true">{label}</span>
            <select
                name="model"
                aria-label="Model"
                prop:value=current
                on:change=move |event| chat.model.set(Some(event_target_value(&event)))
            >
                {part(move || {
                    // Tracked as far as a choice that is not in the list needs an entry of its own.
                    let _ = gone.get();
                    layout.catalog.with(|catalog| options(catalog, &current.get_untracked()))
                })}
            </select>
        </label>
        {quiet("Providers", Icon::Plug, move || layout.open_providers())}
    }
    .into_any()
}

/// Whether the chosen model is no longer in the catalog.
fn is_gone(catalog: &Catalog, id: &str) -> bool {
    !id.is_empty() && !catalog.models.iter().any(|model| model.id == id)
}

fn options(catalog: &Catalog, current: &str) -> AnyView {
    let mut providers: Vec<&str> = Vec::new();
    for model in &catalog.models {
        if !providers.contains(&model.provider.as_str()) {
            providers.push(&model.provider);
        }
    }
    let gone = is_gone(catalog, current).then(|| {
        let label = [words::model_name(current), " (not available now)"].concat();
        view! { <option value=current.to_owned() selected=true>{label}</option> }
    });
    let groups = providers
        .into_iter()
        .map(|provider| {
            let models = catalog
                .models
                .iter()
                .filter(|model| model.provider == provider);
            let options = models
                .map(|model| option(catalog, model, current))
                .collect_view();
            view! { <optgroup label=provider.to_owned()>{options}</optgroup> }
        })
        .collect_view();
    view! {
        {gone}
        {groups}
    }
    .into_any()
}

fn option(catalog: &Catalog, model: &ModelInfo, current: &str) -> impl IntoView + use<> {
    view! {
        <option value=model.id.clone() selected=model.id == current>
            {label(catalog, model)}
        </option>
    }
}
