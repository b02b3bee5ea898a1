//! Pictures for the next message, and those of messages that were sent.
//!
//! Both are written as HTML: as views, the few elements that stand nowhere else would be ten
//! kilobytes of the browser's program.

use super::{
    browser,
    icon::Icon,
    live::{part, when},
};
use crate::client::store::Chat;
use headwater_protocol::ImageId;
use leptos::{ev, prelude::*};

/// Opens the system's dialog. What is chosen is heard of by [`browser::on_pictures`].
pub(super) fn attach_button() -> AnyView {
    let html = [
        "<label class=\"quiet attach\" title=\"Attach pictures\">\
         <input type=\"file\" class=\"vh\" accept=\"image/png,image/jpeg,image/webp,image/gif\" \
         multiple aria-label=\"Attach pictures\">",
        &drawn(Icon::Picture),
        "</label>",
    ];
    view! { <span inner_html=html.concat()></span> }.into_any()
}

/// The pictures that the next message will have.
pub(super) fn attached(chat: Chat) -> AnyView {
    let list = move || {
        let mut html = String::new();
        for (place, image) in chat.images.get().iter().enumerate() {
            html.push_str("<li>");
            push_picture(&mut html, place, image);
            let place = place.to_string();
            for part in [
                "<button type=\"button\" class=\"quiet\" title=\"Remove\" aria-label=\"Remove\" value=\"",
                &place,
                "\">",
                &drawn(Icon::Close),
                "</button></li>",
            ] {
                html.push_str(part);
            }
        }
        for _ in 0..chat.uploading.get() {
            html.push_str("<li class=\"coming\" title=\"On its way\"></li>");
        }
        let remove = move |event: ev::MouseEvent| {
            if let Some(place) = browser::value_of_button(&event) {
                chat.detach(place);
            }
        };
        view! {
            <ul class="attached" aria-label="Attached pictures" inner_html=html on:click=remove></ul>
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
    part(move || {
        let mut html = String::new();
        for (place, image) in images.get().iter().enumerate() {
            for part in ["<a target=\"_blank\" href=\"", &image.address(), "\">"] {
                html.push_str(part);
            }
            push_picture(&mut html, place, image);
            html.push_str("</a>");
        }
        match html.is_empty() {
            true => ().into_any(),
            false => view! { <div class="pictures" inner_html=html></div> }.into_any(),
        }
    })
}

fn push_picture(html: &mut String, place: usize, image: &ImageId) {
    let number = (place + 1).to_string();
    for part in [
        "<img src=\"",
        &image.address(),
        "\" alt=\"Picture ",
        &number,
        "\">",
    ] {
        html.push_str(part);
    }
}

/// As [`super::icon::icon`] draws it.
fn drawn(icon: Icon) -> String {
    [
        "<svg class=\"icon\" viewBox=\"0 0 20 20\" aria-hidden=\"true\"><path d=\"",
        icon.path(),
        "\"></path></svg>",
    ]
    .concat()
}
