//! The versions of a message: `‹ 2/3 ›`.

use super::{
    button::quiet_with,
    icon::Icon,
    live::{click, part},
};
use crate::client::store::{Chat, MessageView};
use headwater_protocol::MessageId;
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
    part(move || {
        let arrow = move |name, glyph, to: Option<MessageId>| {
            let action = click(move || to.into_iter().for_each(|id| chat.select(id)));
            quiet_with(None, name, glyph, to.is_some(), action)
        };
        let place = place.get().map(|(at, of, before, after)| {
            view! {
                <div class="branches" role="group" aria-label="Versions">
                    {arrow("Previous", Icon::Left, before)}
                    <span>{format!("{at}/{of}")}</span>
                    {arrow("Next", Icon::Right, after)}
                </div>
            }
        });
        place.into_any()
    })
}
