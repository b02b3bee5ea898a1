//! Dialogs: a general one, and the confirmation before something that cannot be undone.

use super::{
    button::worded,
    icon::{Icon, icon},
    live::click,
};
use crate::browser;
use leptos::prelude::*;

/// A modal `<dialog>` with a heading and a close button. Open it with [`browser::open_dialog`].
/// Escape and forms with the method `dialog` close it, and the browser then restores the focus.
pub(super) fn modal(id: &'static str, title: &'static str, content: AnyView) -> AnyView {
    let title_id = [id, "-title"].concat();
    let labelled = title_id.clone();
    view! {
        <dialog id=id class="dialog sheet" aria-labelledby=labelled>
            <header>
                <h2 id=title_id>{title}</h2>
                <form method="dialog">
                    <button class="quiet" aria-label="Close" title="Close">
                        {icon(Icon::Close)}
                    </button>
                </form>
            </header>
            <div>{content}</div>
        </dialog>
    }
    .into_any()
}

/// A modal `<dialog>` that asks for confirmation. Open it with [`browser::open_dialog`]. Escape and
/// Cancel close it.
#[component]
pub(super) fn Confirm(
    /// The id, for [`browser::open_dialog`].
    id: &'static str,
    /// The question.
    #[prop(into)]
    title: Signal<String>,
    /// What will happen.
    text: &'static str,
    /// The label of the button that confirms.
    action: &'static str,
    /// Called on confirmation.
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
                    action,
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
