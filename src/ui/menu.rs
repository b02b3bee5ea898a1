//! A button that opens a list of buttons. The browser opens and closes it (`popover`). So it works
//! with the keyboard, closes with Escape or a click elsewhere, and is never clipped by a scrolling
//! element.

use super::{
    icon::{Icon, icon},
    live::{click, when},
};
use crate::browser;
use leptos::{ev, prelude::*};

/// The menu `id`. `words` is the class of a button that shows the name; without it, the button is
/// an icon. The `items` are built when the menu is first opened: a page has a menu for each answer
/// and each conversation, and most are never opened.
pub(super) fn menu(
    id: String,
    name: String,
    glyph: Icon,
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
            {icon(glyph)}
            {shown}
        </button>
        <div class="menu" id=id popover="auto" on:beforetoggle=place>
            {when(move || opened.get(), items)}
        </div>
    }
    .into_any()
}

/// An item of a menu. A click on it closes the menu.
pub(super) fn item(
    menu: String,
    class: &'static str,
    content: AnyView,
    action: impl FnMut() + Send + 'static,
) -> AnyView {
    item_with(menu, class, content, click(action))
}

fn item_with(
    menu: String,
    class: &'static str,
    content: AnyView,
    action: Box<dyn FnMut(ev::MouseEvent) + Send>,
) -> AnyView {
    view! {
        <button
            type="button"
            class=class
            popovertarget=menu
            popovertargetaction="hide"
            on:click=action
        >
            {content}
        </button>
    }
    .into_any()
}
