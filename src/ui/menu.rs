//! A button that opens a list of buttons. The browser opens and closes it (`popover`), so it works
//! by keyboard, closes with Escape or a click elsewhere, and is never cut off by what scrolls.

use super::{
    icon::{Icon, icon},
    live::{click, when},
};
use crate::browser;
use leptos::{ev, prelude::*};

/// The menu `id`. With a class for `words` its button shows its name, else only its icon. Its
/// `items` are made when it is first opened: a page has a menu for each answer and each
/// conversation, and nearly all stay shut.
pub(super) fn menu(
    id: String,
    name: String,
    sign: Icon,
    words: Option<&'static str>,
    items: impl Fn() -> AnyView + Send + Sync + 'static,
) -> AnyView {
    let opened = RwSignal::new(false);
    let (title, shown) = (name.clone(), words.map(|_| name.clone()));
    let button = [&id, "-button"].concat();
    let (list, opener) = (id.clone(), button.clone());
    let place = move |_: ev::Event| {
        opened.set(true);
        browser::place(&list, &opener);
    };
    view! {
        <button
            type="button"
            class=words.unwrap_or("quiet")
            id=button
            aria-label=name
            title=title
            popovertarget=id.clone()
        >
            {icon(sign)}
            {shown}
        </button>
        <div class="menu" id=id popover="auto" on:beforetoggle=place>
            {when(move || opened.get(), items)}
        </div>
    }
    .into_any()
}

/// A line of a menu. Pressing it closes the menu.
pub(super) fn item(
    menu: String,
    class: &'static str,
    content: AnyView,
    deed: impl FnMut() + Send + 'static,
) -> AnyView {
    item_with(menu, class, content, click(deed))
}

fn item_with(
    menu: String,
    class: &'static str,
    content: AnyView,
    deed: Box<dyn FnMut(ev::MouseEvent) + Send>,
) -> AnyView {
    view! {
        <button
            type="button"
            class=class
            popovertarget=menu
            popovertargetaction="hide"
            on:click=deed
        >
            {content}
        </button>
    }
    .into_any()
}
