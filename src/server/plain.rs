//! Pages without script: the list of conversations, and a conversation that streams.
//!
//! A browser without WASM, or one that has not loaded it yet, sends the composer as a plain form.
//! It is redirected to `/plain/{conversation}`, a document that the server writes block by block
//! until the answer is complete.

use super::document::{document, escape, failure, head};
use crate::base;
use axum::{
    body::Body,
    extract::{Path, Query, State},
    http::StatusCode,
    response::Response,
};
use bytes::Bytes;
use futures::{Stream, StreamExt, stream};
use headwater_engine::{
    Engine, Listing, Window,
    db::conversations::{DEFAULT_PAGE, place_in_list},
    log::Source,
};
use headwater_protocol::{
    BlockKind, BlockNo, Error, ErrorCode, ImageId, RunId,
    chat::{Answer, Conversation, Message, Role, Summary},
    markdown::{self, Renderer},
};
use serde::Deserialize;
use std::sync::Arc;

fn some(text: &str) -> Option<&str> {
    Some(text).filter(|text| !text.is_empty())
}

/// The page to show, as query parameters.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Part {
    before: String,
    after: String,
}

/// The address of the list of conversations without script.
pub const LIST: &str = "/plain/conversations";

/// `GET /plain/conversations`: the list of conversations, page by page.
pub async fn list(State(engine): State<Arc<Engine>>, Query(part): Query<Part>) -> Response {
    let listed = async {
        let listing = Listing {
            after: place_in_list(some(&part.after))?,
            ..Listing::default()
        };
        engine.list(listing).await
    };
    let listed = match listed.await {
        Ok(listed) => listed,
        Err(why) => return failure(&why, ""),
    };
    let mut page = head("Conversations", None);
    let base = base::current();
    page.push_str("<ul class=\"chats\">");
    for Summary { id, title, .. } in &listed {
        page.push_str(&format!("<li><a href=\"{base}/c/{id}\">"));
        escape(title, &mut page);
        page.push_str("</a></li>");
    }
    page.push_str("</ul>");
    if let Some(last) = listed.last().filter(|_| listed.len() >= DEFAULT_PAGE) {
        let place = last.place();
        page.push_str(&format!(
            "<p><a class=\"button\" href=\"{base}{LIST}?after={place}\">Show more</a></p>"
        ));
    }
    page.push_str(&format!(
        "<p><a href=\"{base}/\">New chat</a></p></main></body></html>"
    ));
    document(Body::from(page), StatusCode::OK, None)
}

/// `GET /plain/{conversation}`: the newest messages as a document, or those before one of them. A
/// running answer streams into the document.
pub async fn page(
    State(engine): State<Arc<Engine>>,
    Path(id): Path<String>,
    Query(part): Query<Part>,
) -> Response {
    let loaded = async {
        let id = id
            .parse()
            .map_err(|_| Error::new(ErrorCode::NotFound, "There is no such conversation."))?;
        let part = Window {
            before: some(&part.before)
                .map(str::parse)
                .transpose()
                .map_err(|_| {
                    Error::new(ErrorCode::InvalidRequest, "The address is not complete.")
                })?,
            ..Window::default()
        };
        engine
            .load(id, part)
            .await
            .map(|conversation| (conversation, part.before.is_none()))
    };
    let (conversation, newest) = match loaded.await {
        Ok(loaded) => loaded,
        Err(why) => return failure(&why, ""),
    };
    let (id, base) = (conversation.id, base::current());
    let nonce = leptos::nonce::Nonce::new().to_string();
    let mut start = head(&conversation.title, newest.then_some((&nonce, id)));
    if let Some(first) = conversation.earlier() {
        start.push_str(&format!(
            "<p><a class=\"button\" href=\"{base}/plain/{id}?before={first}\">Show earlier messages</a></p>"
        ));
    }
    start.push_str("<div role=\"log\" aria-label=\"Conversation\" class=\"transcript\">");
    let (running, done) = split_running(&conversation);
    let last = conversation.messages.last().map(|message| message.id);
    for message in done {
        article(message, last == Some(message.id), &mut start);
    }
    let mut end = String::from("</div>");
    if newest {
        composer(&conversation, &mut end);
    } else {
        end.push_str(&format!(
            "<p><a class=\"button\" href=\"{base}/plain/{id}\">Show the latest messages</a></p>"
        ));
    }
    end.push_str(&format!(
        "<p><a href=\"{base}{LIST}\">All conversations</a></p></main></body></html>"
    ));
    let body = match running {
        None => Body::from(start + &end),
        Some((message, run)) => match engine.log.source(run).await {
            Ok(source) => {
                open_article(message.role, &mut start);
                form_button("stop", "Stop", run, &mut start);
                let earlier: String = message
                    .answers
                    .iter()
                    .take(message.answers.len() - 1)
                    .map(Answer::visible_text)
                    .collect();
                let blocks = blocks_of(source, &earlier);
                let frames = stream::once(async { start })
                    .chain(blocks)
                    .chain(stream::once(async { end }));
                Body::from_stream(
                    frames.map(|html| Ok::<_, std::convert::Infallible>(Bytes::from(html))),
                )
            }
            Err(why) => return failure(&why, ""),
        },
    };
    document(body, StatusCode::OK, Some(&nonce))
}

/// The last message and its run, if that is being written, and all messages before it.
fn split_running(conversation: &Conversation) -> (Option<(&Message, RunId)>, &[Message]) {
    if let Some((last, before)) = conversation.messages.split_last()
        && let Some(answer) = last.answers.last().filter(|answer| answer.is_running())
        && let Some(run) = answer.run
    {
        return (Some((last, run)), before);
    }
    (None, &conversation.messages)
}

/// The blocks of a running answer, each as soon as it cannot change any more, and then the end.
fn blocks_of(source: Source, earlier: &str) -> impl Stream<Item = String> + use<> {
    struct State {
        source: Source,
        renderer: Renderer,
        length: usize,
        /// The block that was written last. Its text may turn out not to belong to the answer.
        last: Option<BlockNo>,
        sent: usize,
        done: bool,
    }
    let mut renderer = Renderer::new();
    renderer.push(earlier);
    let state = State {
        source,
        length: 0,
        last: None,
        renderer,
        sent: 0,
        done: false,
    };
    // The document is written after its handler has returned.
    let base = base::Base(base::current().as_ref().into());
    stream::unfold(state, move |mut state| {
        base::scope(base.clone(), async move {
            if state.done {
                return None;
            }
            let mut watch = state.source.watch();
            loop {
                if let Some(watch) = &mut watch {
                    watch.borrow_and_update();
                }
                let mut html = String::new();
                let mut length = state.length;
                let last = state.last;
                let (gone, more, end) = state.source.with_answer(|answer| {
                    let mut blocks = answer.blocks.iter();
                    let block = last.and_then(|last| blocks.find(|block| block.block == last));
                    let gone = block
                        .filter(|block| !answer.is_visible(block))
                        .map(|block| block.kind);
                    if gone.is_some() {
                        length = 0;
                    }
                    let mut texts = answer.blocks.iter();
                    let text =
                        texts.rfind(|block| answer.is_visible(block) && !block.text.is_empty());
                    state.last = text.map(|block| block.block);
                    let end = (!answer.is_running()).then(|| ending(answer, true));
                    (gone, answer.visible_text_after(length), end)
                });
                if let Some(kind) = gone {
                    // Sent text stays on the page, so the page says what it was.
                    state.renderer.finish();
                    for block in state.renderer.finished().iter().skip(state.sent) {
                        block_html(&block.html, &mut html);
                    }
                    html.push_str(match kind {
                        BlockKind::Reasoning => {
                            "<hr><p>The text above was the model’s thinking.</p>"
                        }
                        _ => "<hr><p>The text above broke off. It is written anew.</p>",
                    });
                    (state.renderer, state.sent, state.length) = (Renderer::new(), 0, 0);
                }
                // After a stop the answer may be shorter than what was sent, which stays on the page.
                let more = more.unwrap_or_default();
                state.renderer.push(&more);
                state.length += more.len();
                state.done = end.is_some();
                if state.done {
                    state.renderer.finish();
                }
                for block in state.renderer.finished().iter().skip(state.sent) {
                    block_html(&block.html, &mut html);
                    state.sent += 1;
                }
                if let Some(end) = end {
                    state.source.with_answer(|answer| {
                        answer
                            .images()
                            .for_each(|image| write_image(&image, &mut html));
                    });
                    html.push_str("</div>");
                    html.push_str(&end);
                    html.push_str("</article>");
                }
                if !html.is_empty() {
                    return Some((html, state));
                }
                let Some(watch) = &mut watch else { return None };
                if watch.changed().await.is_err() {
                    return None;
                }
            }
        })
    })
}

/// A message as HTML. `last` says that no message follows, so that the answer can be continued.
fn article(message: &Message, last: bool, page: &mut String) {
    open_article(message.role, page);
    match message.role {
        Role::User => {
            page.push_str("<p class=\"question\" dir=\"auto\">");
            escape(&message.text, page);
            page.push_str("</p></div>");
        }
        Role::Assistant => {
            for block in markdown::render(&message.visible_text()) {
                block_html(&block.html, page);
            }
            let images = message.answers.iter().flat_map(Answer::images);
            images.for_each(|image| write_image(&image, page));
            page.push_str("</div>");
            if let Some(answer) = message.answers.last() {
                page.push_str(&ending(answer, last));
            }
        }
    }
    page.push_str("</article>");
}

fn write_image(image: &ImageId, page: &mut String) {
    page.push_str(&format!(
        "<p><img src=\"{}\" alt=\"Image\"></p>",
        base::address(&image.address())
    ));
}

fn open_article(role: Role, page: &mut String) {
    let (name, class) = match role {
        Role::User => ("You", "message user"),
        Role::Assistant => ("Assistant", "message assistant"),
    };
    page.push_str(&format!(
        "<article class=\"{class}\" aria-label=\"{name}\"><h2 class=\"speaker\">{name}</h2><div class=\"prose\">"
    ));
}

fn block_html(html: &str, page: &mut String) {
    page.push_str("<div class=\"block\">");
    page.push_str(html);
    page.push_str("</div>");
}

/// The failure of an answer, and buttons for what can be done about it.
fn ending(answer: &Answer, last: bool) -> String {
    let mut page = String::new();
    if let (Some(error), Some(run)) = (&answer.error, answer.run) {
        page.push_str("<div class=\"failure\" role=\"alert\"><p>");
        escape(&error.message, &mut page);
        page.push_str(" What was written is kept.</p>");
        if last {
            form_button("continue", "Continue", run, &mut page);
        }
        form_button("retry", "Retry", run, &mut page);
        page.push_str("</div>");
    }
    page
}

fn form_button(command: &str, label: &str, run: RunId, page: &mut String) {
    let base = base::current();
    page.push_str(&format!(
        "<form method=\"post\" action=\"{base}/api/runs/{command}\"><input type=\"hidden\" name=\"run\" \
         value=\"{run}\"><button class=\"button\">{label}</button></form>"
    ));
}

fn composer(conversation: &Conversation, page: &mut String) {
    let parent = conversation
        .head()
        .map(|id| id.to_string())
        .unwrap_or_default();
    page.push_str(&format!(
        "<form class=\"composer\" method=\"post\" action=\"{}\">\
         <input type=\"hidden\" name=\"conversation\" value=\"{}\">\
         <input type=\"hidden\" name=\"parent\" value=\"{parent}\">\
         <textarea name=\"text\" dir=\"auto\" aria-label=\"Message\" rows=\"3\" required></textarea>\
         <button class=\"button primary\">Send</button></form>",
        base::address("/api/runs/start"),
        conversation.id
    ));
}
