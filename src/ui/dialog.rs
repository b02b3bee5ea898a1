//! A question before something that cannot be undone.

use super::{browser, button::worded, live::click};
use leptos::prelude::*;

/// A modal `<dialog>`. Open it with [`browser::open_dialog`]; Escape and Cancel close it.
#[component]
pub(super) fn Confirm(
    /// Its id, for [`browser::open_dialog`].
    id: &'static str,
    /// The question.
    #[prop(into)]
    title: Signal<String>,
    /// What will happen.
    text: &'static str,
    /// The name of the button that does it.
    deed: &'static str,
    /// Does it.
    on_yes: Callback<()>,
) -> impl IntoView {
    let title_id = [id, "-title"].concat();
    let labelled = title_id.clone();
    view! {
        <dialog id=id class="dialog" aria-labelledby=labelled>
            <h2 id=title_id>{title}</h2>
            <p>{text}</p>
            <div class="row">
                <button type="button" class="button" autofocus on:click=click(move || browser::close_dialog(id))>
                    "Cancel"
                </button>
                {worded(
                    "button danger",
                    None,
                    deed,
                    move || {
                        browser::close_dialog(id);
                        on_yes.run(());
                    },
                )}
            </div>
        </dialog>
    }
    .into_any()
}
