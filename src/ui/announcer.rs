//! Announces to screen readers, in whole sentences, what others see.

use super::context::PageContext;
use crate::client::store::{Chat, MessageView};
use headwater_protocol::{MessageId, Status, markdown::plain_text};
use leptos::prelude::*;

/// How far an answer has been announced.
#[derive(Clone, Copy)]
struct Read {
    message: MessageId,
    upto: usize,
    ended: bool,
}

/// The page's only polite [live
/// region](https://developer.mozilla.org/docs/Web/Accessibility/ARIA/Guides/Live_regions). It gets
/// the finished sentences of the running answer, and the changes of its state.
#[component]
pub(super) fn Announcer() -> impl IntoView {
    let chat = expect_context::<Chat>();
    let page = expect_context::<PageContext>();
    let head = Memo::new(move |_| chat.head());
    Effect::new(move |before: Option<Option<Read>>| {
        let message = head.get()?;
        message.version.track();
        let status = message.state.with(|state| state.status);
        let read = match before.flatten() {
            Some(read) if read.message == message.id => read,
            // Text that was there when the conversation was opened is not announced.
            _ => Read {
                message: message.id,
                upto: message.with_body(|body| body.text.source().len()),
                ended: status.is_some(),
            },
        };
        let (text, upto) = fresh(message, read.upto, status.is_some());
        let ended = status.is_some();
        let end = (ended && !read.ended).then(|| ending(status)).flatten();
        let begun = !ended && read.ended;
        if !text.is_empty() || end.is_some() || begun {
            let begin = if begun { "Goes on. " } else { "" };
            page.say
                .set([begin, &text, " ", end.unwrap_or_default()].concat());
        }
        Some(Read {
            upto,
            ended,
            ..read
        })
    });
    view! {
        <div id="announcer" class="vh" aria-live="polite">
            {page.say}
        </div>
    }
    .into_any()
}

/// The settled text that has not been announced yet, and where it ends.
fn fresh(message: MessageView, from: usize, ended: bool) -> (String, usize) {
    message.with_body(|body| {
        let source = body.text.source();
        let upto = if ended {
            source.len()
        } else {
            body.text.settled()
        };
        match source.get(from..upto) {
            Some(new) if upto > from => (plain_text(new), upto),
            // The text was cut, so continue from its end.
            _ => (String::new(), from.min(source.len())),
        }
    })
}

fn ending(status: Option<Status>) -> Option<&'static str> {
    Some(match status? {
        Status::Ok => "Answer finished.",
        Status::Cancelled => "Answer stopped.",
        // The failure is an alert, which screen readers announce anyway.
        Status::Error | Status::Interrupted | Status::Superseded => return None,
    })
}
