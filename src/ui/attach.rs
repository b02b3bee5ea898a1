//! Pictures for the next message, and those of messages that were sent.

use super::{
    button::quiet,
    icon::{Icon, icon},
    live::{part, when},
};
use crate::{browser, client::store::Chat};
use headwater_protocol::ImageId;
use leptos::prelude::*;

/// Opens the system's dialog for files.
pub(super) fn attach_button(chat: Chat) -> AnyView {
    view! {
        <label class="quiet attach" title="Attach pictures">
            <input
                type="file"
                class="vh"
                accept="image/png,image/jpeg,image/webp,image/gif"
                multiple
                aria-label="Attach pictures"
                on:change=move |event| attach(chat, browser::chosen_pictures(&event))
            />
            {icon(Icon::Picture)}
        </label>
    }
    .into_any()
}

/// Attaches what was chosen, pasted or dropped, if there were pictures in it.
pub(super) fn attach(chat: Chat, pictures: Vec<browser::File>) {
    if !pictures.is_empty() {
        chat.attach(pictures);
    }
}

/// The pictures that the next message will have.
pub(super) fn attached(chat: Chat) -> AnyView {
    let list = move || {
        let images = chat.images.get().into_iter().enumerate();
        let images = images.map(|(place, image)| {
            view! {
                <li>
                    {picture(place, &image)}
                    {quiet("Remove", Icon::Close, move || chat.detach(place))}
                </li>
            }
        });
        let uploading = (0..chat.uploading.get())
            .map(|_| view! { <li class="coming" title="On its way"></li> });
        view! {
            <ul class="attached" aria-label="Attached pictures">
                {images.collect_view()}
                {uploading.collect_view()}
            </ul>
        }
        .into_any()
    };
    when(
        move || chat.uploading.get() > 0 || chat.images.with(|images| !images.is_empty()),
        move || part(list),
    )
}

/// The pictures of a message; each opens in a tab of its own.
pub(super) fn pictures(images: RwSignal<Vec<ImageId>>) -> AnyView {
    let list = move || {
        let images = images.get().into_iter().enumerate();
        let images = images.map(|(place, image)| {
            view! {
                <a target="_blank" href=image.address()>
                    {picture(place, &image)}
                </a>
            }
        });
        view! { <div class="pictures">{images.collect_view()}</div> }.into_any()
    };
    when(
        move || images.with(|images| !images.is_empty()),
        move || part(list),
    )
}

fn picture(place: usize, image: &ImageId) -> AnyView {
    let name = ["Picture ", &(place + 1).to_string()].concat();
    view! { <img src=image.address() alt=name/> }.into_any()
}
