//! The versions of a message: `‹ 2/3 ›`.

use super::icon::{Icon, icon};
use crate::client::store::{Chat, MessageView};
use leptos::prelude::*;

/// Shown where a message has more than one version.
#[component]
pub(super) fn Branches(message: MessageView) -> impl IntoView {
    let chat = expect_context::<Chat>();
    let place = Memo::new(move |_| {
        message.branches.with(|branches| {
            let at = branches.iter().position(|id| *id == message.id)?;
            (branches.len() > 1).then(|| {
                let before = at.checked_sub(1).and_then(|at| branches.get(at)).copied();
                (
                    at + 1,
                    branches.len(),
                    before,
                    branches.get(at + 1).copied(),
                )
            })
        })
    });
    move || {
        place.get().map(|(at, of, before, after)| {
            view! {
                <div class="branches" role="group" aria-label="Versions">
                    <button
                        type="button"
                        class="quiet"
                        aria-label="Previous"
                        disabled=before.is_none()
                        on:click=move |_| before.into_iter().for_each(|id| chat.select(id))
                    >
                        {icon(Icon::Left)}
                    </button>
                    <span>{format!("{at}/{of}")}</span>
                    <button
                        type="button"
                        class="quiet"
                        aria-label="Next"
                        disabled=after.is_none()
                        on:click=move |_| after.into_iter().for_each(|id| chat.select(id))
                    >
                        {icon(Icon::Right)}
                    </button>
                </div>
            }
        })
    }
}
