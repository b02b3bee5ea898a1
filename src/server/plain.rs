//! Pages without script: the form that sends, the page that streams, and the policy of all pages.
//!
//! A browser without WASM, or one that has not loaded it yet, sends the composer as a plain form.
//! It is led to `/plain/{conversation}`, a document that the server goes on writing, block by
//! block, until the answer is whole.

use super::{App, commands::StartRun, log::Source};
use crate::{
    chat::{Answer, Conversation, Message, Role},
    markdown::{self, Renderer},
    protocol::{ConversationId, Error, ErrorCode, RunId, Started},
};
use axum::{
    Form,
    body::Body,
    extract::{FromRequest, Path, Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Redirect, Response},
};
use bytes::Bytes;
use futures::{Stream, StreamExt, stream};
use leptos::prelude::{use_context, use_nonce};
use leptos_axum::ResponseOptions;
use serde::Deserialize;
use std::sync::Arc;

/// Sets the policy of a page that Leptos renders: scripts by nonce alone, everything else from
/// here alone. Called for each request, where the nonce is known.
pub fn provide_policy() {
    if let (Some(response), Some(nonce)) = (use_context::<ResponseOptions>(), use_nonce()) {
        set_policy(&response, &policy(&nonce));
    }
}

fn set_policy(response: &ResponseOptions, policy: &str) {
    if let Ok(value) = HeaderValue::from_str(policy) {
        response.insert_header(header::CONTENT_SECURITY_POLICY, value);
    }
}

/// `wasm-unsafe-eval` allows WASM and nothing else; `strict-dynamic` lets the one script that has
/// the nonce import the others. In development the reload socket has another port.
fn policy(nonce: &str) -> String {
    let sockets = match cfg!(debug_assertions) {
        true => " ws://localhost:* ws://127.0.0.1:*",
        false => "",
    };
    format!(
        "default-src 'none'; script-src 'nonce-{nonce}' 'strict-dynamic' 'wasm-unsafe-eval'; \
         style-src 'self' 'nonce-{nonce}'; img-src 'self' data:; font-src 'self'; \
         connect-src 'self'{sockets}; manifest-src 'self'; form-action 'self'; base-uri 'none'; \
         frame-ancestors 'none'; object-src 'none'"
    )
}

/// Fields of the forms that work without script.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Fields {
    text: String,
    conversation: String,
    parent: String,
    model: String,
    client_id: String,
    settings: String,
    run: String,
}

/// Answers the commands when a plain HTML form sends them: with a page, not with JSON.
pub async fn forms(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let path = request.uri().path();
    let command = match path {
        "/api/runs/start" | "/api/runs/stop" | "/api/runs/continue" | "/api/runs/retry" => {
            path.trim_start_matches("/api/runs/").to_owned()
        }
        _ => return next.run(request).await,
    };
    if *request.method() != Method::POST || !wants_page(request.headers()) {
        return next.run(request).await;
    }
    let fields = match Form::<Fields>::from_request(request, &()).await {
        Ok(Form(fields)) => fields,
        Err(why) => {
            let code = match why.status() {
                StatusCode::PAYLOAD_TOO_LARGE => ErrorCode::TooLarge,
                _ => ErrorCode::InvalidRequest,
            };
            return failure(&Error::new(code, "The form could not be read."), "");
        }
    };
    match obey(&app, &command, &fields).await {
        Ok(conversation) => Redirect::to(&format!("/plain/{conversation}")).into_response(),
        Err(why) => failure(&why, &fields.text),
    }
}

fn wants_page(headers: &HeaderMap) -> bool {
    headers
        .get(header::ACCEPT)
        .and_then(|accept| accept.to_str().ok())
        .is_some_and(|accept| accept.contains("text/html"))
}

async fn obey(app: &Arc<App>, command: &str, fields: &Fields) -> Result<ConversationId, Error> {
    let model = some(&fields.model).map(str::to_owned);
    if command == "start" {
        let command = StartRun {
            text: fields.text.clone(),
            images: Vec::new(),
            conversation: parse(&fields.conversation)?,
            parent: parse(&fields.parent)?,
            model,
            client_id: some(&fields.client_id).map(str::to_owned),
            branch: false,
            settings: some(&fields.settings).map(str::to_owned),
        };
        return app
            .start(command)
            .await
            .map(|Started { conversation, .. }| conversation);
    }
    let run: RunId = parse(&fields.run)?.ok_or_else(unreadable)?;
    match command {
        "stop" => {
            app.stop(run, None).await?;
            let place = app
                .log
                .db
                .read(move |db| super::store::place(db, run))
                .await?;
            Ok(place.conversation)
        }
        "continue" => app
            .continue_run(run, model)
            .await
            .map(|started| started.conversation),
        _ => app
            .retry(run, model)
            .await
            .map(|started| started.conversation),
    }
}

fn some(text: &str) -> Option<&str> {
    Some(text).filter(|text| !text.is_empty())
}

fn parse<T: std::str::FromStr>(text: &str) -> Result<Option<T>, Error> {
    some(text)
        .map(str::parse)
        .transpose()
        .map_err(|_| unreadable())
}

fn unreadable() -> Error {
    Error::new(ErrorCode::InvalidRequest, "The form could not be read.")
}

/// A page that says what went wrong and gives the text back.
fn failure(why: &Error, text: &str) -> Response {
    let mut page = head("Not sent", None);
    page.push_str("<p class=\"failure\" role=\"alert\">");
    escape(&why.message, &mut page);
    page.push_str("</p>");
    if !text.is_empty() {
        page.push_str("<p>Your message, so that nothing is lost:</p><pre tabindex=\"0\">");
        escape(text, &mut page);
        page.push_str("</pre>");
    }
    page.push_str("<p><a href=\"/\">Back to Headwater</a></p></main></body></html>");
    let status = StatusCode::from_u16(why.code.http_status()).unwrap_or(StatusCode::BAD_REQUEST);
    document(Body::from(page), status, None)
}

/// `GET /plain/{conversation}`: the conversation as a document; a running answer streams into it.
pub async fn page(State(app): State<Arc<App>>, Path(id): Path<String>) -> Response {
    let loaded = match id.parse() {
        Ok(id) => app.load(id).await,
        Err(_) => Err(Error::new(
            ErrorCode::NotFound,
            "There is no such conversation.",
        )),
    };
    let conversation = match loaded {
        Ok(conversation) => conversation,
        Err(why) => return failure(&why, ""),
    };
    let nonce = leptos::nonce::Nonce::new().to_string();
    let mut start = head(&conversation.title, Some((&nonce, conversation.id)));
    start.push_str("<div role=\"log\" aria-label=\"Conversation\" class=\"transcript\">");
    let (running, done) = split_running(&conversation);
    for message in done {
        article(message, &mut start);
    }
    let mut end = String::from("</div>");
    composer(&conversation, &mut end);
    end.push_str("</main></body></html>");
    let body = match running {
        None => Body::from(start + &end),
        Some((message, run)) => match app.log.source(run).await {
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

/// The last message and its run, if it is being written, and the messages before it.
fn split_running(conversation: &Conversation) -> (Option<(&Message, RunId)>, &[Message]) {
    if let Some((last, before)) = conversation.messages.split_last()
        && let Some(answer) = last.answers.last().filter(|answer| answer.is_running())
        && let Some(run) = answer.run
    {
        return (Some((last, run)), before);
    }
    (None, &conversation.messages)
}

/// The blocks of a running answer, each as soon as it cannot change any more, then how it ended.
fn blocks_of(source: Source, earlier: &str) -> impl Stream<Item = String> + use<> {
    struct State {
        source: Source,
        renderer: Renderer,
        length: usize,
        sent: usize,
        done: bool,
    }
    let mut renderer = Renderer::new();
    renderer.push(earlier);
    let state = State {
        source,
        length: 0,
        renderer,
        sent: 0,
        done: false,
    };
    stream::unfold(state, |mut state| async move {
        if state.done {
            return None;
        }
        let mut watch = state.source.watch();
        loop {
            if let Some(watch) = &mut watch {
                watch.borrow_and_update();
            }
            let length = state.length;
            let (more, end) = state.source.with_answer(|answer| {
                let end = (!answer.is_running()).then(|| ending(answer));
                (answer.visible_text_after(length), end)
            });
            // After a stop there may be less than was sent; what is sent here stays sent.
            let more = more.unwrap_or_default();
            state.renderer.push(&more);
            state.length += more.len();
            state.done = end.is_some();
            if state.done {
                state.renderer.finish();
            }
            let mut html = String::new();
            for block in state.renderer.finished().iter().skip(state.sent) {
                block_html(&block.html, &mut html);
                state.sent += 1;
            }
            if let Some(end) = end {
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
}

fn article(message: &Message, page: &mut String) {
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
            page.push_str("</div>");
            if let Some(answer) = message.answers.last() {
                page.push_str(&ending(answer));
            }
        }
    }
    page.push_str("</article>");
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

/// What went wrong, under the kept text, and what can be done.
fn ending(answer: &Answer) -> String {
    let mut page = String::new();
    if let (Some(error), Some(run)) = (&answer.error, answer.run) {
        page.push_str("<div class=\"failure\" role=\"alert\"><p>");
        escape(&error.message, &mut page);
        page.push_str(" What was written is kept.</p>");
        form_button("continue", "Continue", run, &mut page);
        form_button("retry", "Retry", run, &mut page);
        page.push_str("</div>");
    }
    page
}

fn form_button(command: &str, label: &str, run: RunId, page: &mut String) {
    page.push_str(&format!(
        "<form method=\"post\" action=\"/api/runs/{command}\"><input type=\"hidden\" name=\"run\" \
         value=\"{run}\"><button class=\"button\">{label}</button></form>"
    ));
}

fn composer(conversation: &Conversation, page: &mut String) {
    let parent = conversation
        .head()
        .map(|id| id.to_string())
        .unwrap_or_default();
    page.push_str(&format!(
        "<form class=\"composer\" method=\"post\" action=\"/api/runs/start\">\
         <input type=\"hidden\" name=\"conversation\" value=\"{}\">\
         <input type=\"hidden\" name=\"parent\" value=\"{parent}\">\
         <textarea name=\"text\" dir=\"auto\" aria-label=\"Message\" rows=\"3\" required></textarea>\
         <button class=\"button primary\">Send</button></form>",
        conversation.id
    ));
}

/// The beginning of a document. Where script and WASM work after all, the reader is taken to the
/// full page; without the WASM file there is no use in going.
fn head(title: &str, full: Option<(&str, ConversationId)>) -> String {
    let mut page = String::from(
        "<!DOCTYPE html><html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <meta name=\"color-scheme\" content=\"light dark\"><title>",
    );
    escape(title, &mut page);
    page.push_str(" · Headwater</title><link rel=\"stylesheet\" href=\"/pkg/headwater.css\">");
    if let Some((nonce, id)) = full {
        page.push_str(&format!(
            "<script nonce=\"{nonce}\">if(self.WebAssembly&&!sessionStorage.getItem('headwater.plain'))\
             fetch('/pkg/headwater.wasm',{{method:'HEAD'}}).then(r=>{{\
             if(r.ok)location.replace('/c/{id}')}}).catch(()=>{{}})</script>"
        ));
    }
    page.push_str("</head><body class=\"plain\"><main><h1 dir=\"auto\">");
    escape(title, &mut page);
    page.push_str("</h1>");
    page
}

fn document(body: Body, status: StatusCode, nonce: Option<&str>) -> Response {
    let script = nonce.map_or(String::new(), |nonce| {
        format!("script-src 'nonce-{nonce}'; connect-src 'self'; ")
    });
    let policy = format!(
        "default-src 'none'; {script}style-src 'self'; img-src 'self'; form-action 'self'; \
         base-uri 'none'; frame-ancestors 'none'"
    );
    let mut response = (status, body).into_response();
    let headers = response.headers_mut();
    let fixed = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CACHE_CONTROL, "no-cache, no-transform"),
        (HeaderName::from_static("x-accel-buffering"), "no"),
    ];
    for (name, value) in fixed {
        headers.insert(name, HeaderValue::from_static(value));
    }
    if let Ok(policy) = HeaderValue::from_str(&policy) {
        headers.insert(header::CONTENT_SECURITY_POLICY, policy);
    }
    response
}

/// Text as HTML text, also within double quotes.
fn escape(text: &str, out: &mut String) {
    for letter in text.chars() {
        match letter {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            other => out.push(other),
        }
    }
}
