//! A button that opens a list of buttons. The browser opens and closes it (`popover`), so it works
//! by keyboard, closes with Escape or a click elsewhere, and is never cut off by what scrolls.

use super::{
    browser,
    icon::{Icon, icon},
};
use leptos::{ev, prelude::*};

/// The menu `id`. With `words` its button shows its name, else only its icon.
pub(super) fn menu(
    id: String,
    name: impl Into<String>,
    sign: Icon,
    words: bool,
    items: AnyView,
) -> impl IntoView {
    let name = name.into();
    let (title, shown) = (name.clone(), words.then(|| name.clone()));
    let button = [&id, "-button"].concat();
    let (list, opener) = (id.clone(), button.clone());
    let place = move |_: ev::Event| browser::place(&list, &opener);
    view! {
        <button
            type="button"
            class=if words { "button small" } else { "quiet" }
            id=button
            aria-label=name
            title=title
            popovertarget=id.clone()
        >
            {icon(sign)}
            {shown}
        </button>
        <div class="menu" id=id popover="auto" on:beforetoggle=place>
            {items}
        </div>
    }
}
