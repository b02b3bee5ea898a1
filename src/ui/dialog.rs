//! What stands above the page: the frame of a dialog, and the question before something that
//! cannot be undone.

use super::{browser, button::worded, icon::Icon, live::click};
use leptos::{ev, prelude::*};

/// A modal `<dialog>` with a heading and a cross, for more than a question: markup that may change.
/// Forms in it with the method `dialog` and Escape close it, and the browser gives the focus back to
/// where it was. `submitted` hears of every form.
pub(super) fn sheet(
    id: &'static str,
    title: &'static str,
    html: Signal<String>,
    submitted: Box<dyn FnMut(ev::SubmitEvent)>,
) -> AnyView {
    let title_id = [id, "-title"].concat();
    let head = [
        "<h2 id=\"",
        &title_id,
        "\">",
        title,
        "</h2><form method=\"dialog\"><button class=\"quiet\" aria-label=\"Close\" \
         title=\"Close\"><svg class=\"icon\" viewBox=\"0 0 20 20\" aria-hidden=\"true\"><path d=\"",
        Icon::Close.path(),
        "\"/></svg></button></form>",
    ]
    .concat();
    view! {
        <dialog id=id class="dialog sheet" aria-labelledby=title_id on:submit=submitted>
            <header inner_html=head></header>
            <div inner_html=move || html.get()></div>
        </dialog>
    }
    .into_any()
}

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
