//! Dialogs: a frame, and the question before something that cannot be undone.

use super::{
    button::worded,
    icon::{Icon, icon},
    live::click,
};
use crate::browser;
use leptos::prelude::*;

/// A modal `<dialog>` with a heading and a cross, for more than a question. Open it with
/// [`browser::open_dialog`]; Escape and forms in it with the method `dialog` close it, and the
/// browser then gives the focus back to where it was.
pub(super) fn sheet(id: &'static str, title: &'static str, content: AnyView) -> AnyView {
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

/// A modal `<dialog>` with a question. Open it with [`browser::open_dialog`]; Escape and Cancel
/// close it.
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
    action: &'static str,
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
