//! The list of conversations: a column beside the page, a drawer on small screens.

use super::{
    button::quiet_with,
    context::{LayoutContext, Place},
    dialog::Confirm,
    icon::{Icon, icon, mark},
    live::{click, flag, part, text, when},
    menu::{item, menu},
    theme::ThemeSwitch,
};
use crate::{
    base, browser,
    client::store::{Chat, Chats},
};
use headwater_protocol::ConversationId;
use leptos::{html, leptos_dom::helpers::set_interval_with_handle, prelude::*};
use std::time::Duration;

mod days;

use days::Row;

/// Which conversation is being renamed or deleted.
#[derive(Clone, Copy)]
struct SidebarState {
    /// The conversation that is being renamed.
    renaming: RwSignal<Option<ConversationId>>,
    /// The conversation that the dialog asks about.
    deleting: RwSignal<Option<Row>>,
}

/// The new chat button, the search, the conversations by day and the theme.
#[component]
pub(super) fn Sidebar() -> impl IntoView {
    let chats = expect_context::<Chats>();
    let layout = expect_context::<LayoutContext>();
    let state = SidebarState {
        renaming: RwSignal::new(None),
        deleting: RwSignal::new(None),
    };
    provide_context(state);

    // Days need a clock and a time zone, which the server does not have.
    let today = RwSignal::new(0);
    Effect::new(move |_| {
        chats.list.track();
        today.set(browser::day_start());
    });
    // This page is not notified when an answer ends that another device follows.
    let live = Memo::new(move |_| chats.list.with(|list| list.iter().any(|chat| chat.running)));
    Effect::new(move |_| {
        if live.get()
            && let Ok(timer) =
                set_interval_with_handle(move || chats.refresh(), Duration::from_secs(5))
        {
            on_cleanup(move || timer.clear());
        }
    });

    let groups = Memo::new(move |_| chats.list.with(|list| days::groups(list, today.get())));
    let searching = move || chats.query.with(|query| !query.trim().is_empty());
    let none = move || chats.list.with(Vec::is_empty);
    let question = Signal::derive(move || {
        state.deleting.with(|chat| {
            // Isolated, so that a title written right to left does not reorder the sentence.
            let title = chat
                .as_ref()
                .map(|chat| chat.title.as_str())
                .unwrap_or_default();
            ["Delete “\u{2068}", title, "\u{2069}”?"].concat()
        })
    });
    let delete = Callback::new(move |()| {
        if let Some(chat) = state.deleting.get_untracked() {
            chats.delete(chat.id);
        }
    });
    view! {
        <nav id="sidebar" class="sidebar" aria-label="Conversations">
            <div class="brand">
                <a href=base::address("/") class="home">
                    {mark()}
                    "Headwater"
                </a>
                {quiet_with(
                    Some("sidebar-close".to_owned()),
                    "Hide conversations",
                    Icon::Panel,
                    true,
                    click(move || layout.close_list()),
                )}
            </div>
            <a
                href=base::address("/")
                role="button"
                class="new"
                on:click=click(move || {
                    layout.drawer.set(false);
                    browser::focus_soon("message");
                })
                on:keydown=move |event| {
                    if event.key() == " " {
                        event.prevent_default();
                        event_target::<leptos::web_sys::HtmlElement>(&event).click();
                    }
                }
            >
                {icon(Icon::Plus)}
                "New chat"
            </a>
            <label class="search">
                {icon(Icon::Search)}
                <input
                    type="search"
                    placeholder="Search"
                    aria-label="Search conversations"
                    autocomplete="off"
                    dir="auto"
                    on:input=move |event| chats.search(event_target_value(&event))
                    on:keydown=move |event| {
                        // Here, Escape empties the field. It must not stop an answer.
                        if event.key() == "Escape" {
                            event.stop_propagation();
                        }
                    }
                />
            </label>
            {part(move || {
                let error = chats.problem.get();
                error.map(|error| view! { <p class="hint bad">{error.message}</p> }).into_any()
            })}
            <div class="list" on:scroll=move |event| {
                if is_near_end(&event_target(&event)) {
                    chats.show_more();
                }
            }>
                <For each=move || labels(groups) key=|label| *label let:label>
                    {section(label, groups)}
                </For>
                {when(
                    none,
                    move || {
                        view! { <p class="hint">{text(move || empty_text(searching()).to_owned())}</p> }
                            .into_any()
                    },
                )}
                {when(move || chats.end.with(Option::is_some), move || more(chats))}
            </div>
            <div class="below">
                <ThemeSwitch/>
            </div>
            <Confirm
                id="delete-dialog"
                title=question
                text="The conversation and everything in it will be gone for good."
                action="Delete"
                on_yes=delete
            />
        </nav>
    }
    .into_any()
}

fn empty_text(searching: bool) -> &'static str {
    if searching {
        "Nothing found."
    } else {
        "Your conversations will be listed here."
    }
}

/// The distance from the end of the list at which more is loaded, in pixels.
const NEAR: i32 = 600;

fn is_near_end(list: &leptos::web_sys::Element) -> bool {
    list.scroll_height() - list.scroll_top() - list.client_height() < NEAR
}

/// The link to more conversations. Without script, it opens a page.
fn more(chats: Chats) -> AnyView {
    let page = text(move || {
        let end = chats.end.get();
        end.map_or_else(String::new, |end| {
            base::address(&["/plain/conversations?after=", &end.to_string()].concat())
        })
    });
    view! {
        <a
            class="more"
            href=page
            rel="external"
            on:click=move |event| {
                event.prevent_default();
                chats.show_more();
            }
        >
            "Show more"
        </a>
    }
    .into_any()
}

fn labels(groups: Memo<Vec<days::Group>>) -> Vec<&'static str> {
    groups.with(|groups| groups.iter().map(|group| group.label).collect())
}

fn rows(groups: Memo<Vec<days::Group>>, label: &'static str) -> Vec<Row> {
    groups.with(|groups| {
        let group = groups.iter().find(|group| group.label == label);
        group.map_or_else(Vec::new, |group| group.chats.clone())
    })
}

/// The conversations under one heading. A row is kept while it looks the same, so that the end of
/// an answer does not rebuild a long list.
fn section(label: &'static str, groups: Memo<Vec<days::Group>>) -> AnyView {
    view! {
        <section>
            <h2 class:vh=label.is_empty()>{if label.is_empty() { "Conversations" } else { label }}</h2>
            <ul>
                <For each=move || rows(groups, label) key=Row::clone let:chat>
                    <Item chat/>
                </For>
            </ul>
        </section>
    }
    .into_any()
}

/// One conversation.
#[component]
fn Item(chat: Row) -> impl IntoView {
    let layout = expect_context::<LayoutContext>();
    let state = expect_context::<SidebarState>();
    let id = chat.id;
    let shown = expect_context::<Chat>().id;
    let here = Memo::new(move |_| match layout.place.get() {
        Place::Chat(here) => here == id,
        // A run of it is inspected.
        Place::Run(_) => shown.get() == Some(id),
        Place::New | Place::Nowhere => false,
    });
    let row = StoredValue::new(chat);
    view! {
        <li class="item" class:here=flag(move || here.get())>
            {part(move || {
                if state.renaming.get() == Some(id) {
                    view! { <NameField row state/> }.into_any()
                } else {
                    view! { <Link row here/> }.into_any()
                }
            })}
        </li>
    }
    .into_any()
}

#[component]
fn Link(row: StoredValue<Row>, here: Memo<bool>) -> impl IntoView {
    let chats = expect_context::<Chats>();
    let layout = expect_context::<LayoutContext>();
    let state = expect_context::<SidebarState>();
    let Row {
        id,
        title,
        pinned,
        running,
        ..
    } = row.get_value();
    let whole_title = title.clone();
    let more = ["More: ", &title].concat();
    let menu_id = format!("chat-{id}");
    let list = menu_id.clone();
    let items = move || {
        let entry = |class, glyph, words: &'static str, action: Box<dyn FnMut() + Send>| {
            let content = view! {
                {icon(glyph)}
                {words}
            };
            item(list.clone(), class, content.into_any(), action)
        };
        let pin = if pinned { "Unpin" } else { "Pin" };
        let delete = move || {
            state.deleting.set(Some(row.get_value()));
            browser::open_dialog("delete-dialog");
        };
        [
            entry(
                "",
                Icon::Edit,
                "Rename",
                Box::new(move || state.renaming.set(Some(id))),
            ),
            entry("", Icon::Pin, pin, Box::new(move || chats.pin(id, !pinned))),
            entry("danger", Icon::Bin, "Delete", Box::new(delete)),
        ]
        .collect_view()
        .into_any()
    };
    view! {
        <a
            href=base::address(&format!("/c/{id}"))
            title=whole_title
            aria-current=move || here.get().then_some("page")
            on:click=click(move || layout.drawer.set(false))
        >
            <span class="text" dir="auto">{title}</span>
            {running.then(|| view! { <span class="live"><span class="vh">", an answer is being written"</span></span> })}
        </a>
        {menu(menu_id, more, Icon::More, None, items)}
    }
    .into_any()
}

/// The field for a new name. Enter and leaving the field save it, Escape does not.
#[component]
fn NameField(row: StoredValue<Row>, state: SidebarState) -> impl IntoView {
    let chats = expect_context::<Chats>();
    let field: NodeRef<html::Input> = NodeRef::new();
    let Row { id, title, .. } = row.get_value();
    let before = title.clone();
    Effect::new(move |_| {
        if let Some(field) = field.get() {
            let _ = field.focus();
            field.select();
        }
    });
    let done = move |keep: bool| {
        // Enter also takes the focus from the field; the first of the two events counts.
        if state.renaming.get_untracked() != Some(id) {
            return;
        }
        let name = field
            .get_untracked()
            .map(|field| field.value())
            .unwrap_or_default();
        state.renaming.set(None);
        let name = name.trim();
        if keep && !name.is_empty() && name != before {
            chats.rename(id, name.to_owned());
        }
    };
    let (on_blur, on_key) = (done.clone(), done);
    view! {
        <input
            class="name"
            node_ref=field
            value=title
            maxlength="200"
            dir="auto"
            aria-label="Name of the conversation"
            on:blur=move |_| on_blur(true)
            on:keydown=move |event| {
                let key = event.key();
                if key == "Escape" || key == "Enter" {
                    event.prevent_default();
                    on_key(key == "Enter");
                }
            }
        />
    }
    .into_any()
}
