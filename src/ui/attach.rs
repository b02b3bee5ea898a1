//! Images of the next message and of sent messages.

use super::{
    button::quiet,
    icon::{Icon, icon},
    live::{part, when},
};
use crate::{base, browser, client::store::Chat};
use headwater_protocol::ImageId;
use leptos::prelude::*;

/// A button that opens the file dialog of the system.
pub(super) fn attach_button(chat: Chat) -> AnyView {
    view! {
        <label class="quiet attach" title="Attach images">
            <input
                type="file"
                class="vh"
                accept="image/png,image/jpeg,image/webp,image/gif"
                multiple
                aria-label="Attach images"
                on:change=move |event| attach(chat, browser::chosen_images(&event))
            />
            {icon(Icon::Image)}
        </label>
    }
    .into_any()
}

/// Attaches the chosen, pasted or dropped images, if there are any.
pub(super) fn attach(chat: Chat, images: Vec<browser::File>) {
    if !images.is_empty() {
        chat.attach(images);
    }
}

/// The images of the next message, each with a button that removes it.
pub(super) fn attached(chat: Chat) -> AnyView {
    let list = move || {
        let images = chat.images.get().into_iter().enumerate();
        let images = images.map(|(place, image)| {
            view! {
                <li>
                    {thumbnail(place, &image)}
                    {quiet("Remove", Icon::Close, move || chat.detach(place))}
                </li>
            }
        });
        let uploading = (0..chat.uploading.get())
            .map(|_| view! { <li class="coming" title="On its way"></li> });
        view! {
            <ul class="attached" aria-label="Attached images">
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

/// The images of a sent message. Each opens in a new tab.
pub(super) fn message_images(images: RwSignal<Vec<ImageId>>) -> AnyView {
    let list = move || {
        let images = images.get().into_iter().enumerate();
        let images = images.map(|(place, image)| {
            view! {
                <a target="_blank" href=base::address(&image.address())>
                    {thumbnail(place, &image)}
                </a>
            }
        });
        view! { <div class="images">{images.collect_view()}</div> }.into_any()
    };
    when(
        move || images.with(|images| !images.is_empty()),
        move || part(list),
    )
}

fn thumbnail(place: usize, image: &ImageId) -> AnyView {
    let name = ["Image ", &(place + 1).to_string()].concat();
    view! { <img src=base::address(&image.address()) alt=name/> }.into_any()
}
