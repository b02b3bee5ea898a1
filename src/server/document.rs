//! What pages without script are made of, and the page that says what went wrong.

use super::policy;
use axum::{
    body::Body,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use headwater_protocol::{ConversationId, Error, ErrorCode};

/// Whether a person's browser asks: it says that it would rather have a page than data.
pub(super) fn wants_page(headers: &HeaderMap) -> bool {
    headers
        .get(header::ACCEPT)
        .and_then(|accept| accept.to_str().ok())
        .is_some_and(|accept| accept.contains("text/html"))
}

/// A page that says what went wrong.
pub(super) fn problem(why: &Error) -> Response {
    failure(why, "")
}

/// A page that says what went wrong and gives the text back.
pub(super) fn failure(why: &Error, text: &str) -> Response {
    let title = match (why.code, text.is_empty()) {
        (_, false) => "Not sent",
        (ErrorCode::NotFound, _) => "Not found",
        (ErrorCode::Permission, _) => "Not allowed",
        _ => "This did not work",
    };
    let mut page = head(title, None);
    page.push_str("<p class=\"failure\" role=\"alert\">");
    escape(&why.message, &mut page);
    page.push_str("</p>");
    if !text.is_empty() {
        page.push_str("<p>Your message, so that nothing is lost:</p><pre tabindex=\"0\">");
        escape(text, &mut page);
        page.push_str("</pre>");
    }
    page.push_str("<p><a href=\"/\">Back to Headwater</a></p></main></body></html>");
    let mut response = document(Body::from(page), status_of(why), None);
    response.extensions_mut().insert(why.clone());
    response
}

/// The HTTP status of an error.
pub(super) fn status_of(error: &Error) -> StatusCode {
    StatusCode::from_u16(error.code.http_status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}

/// The beginning of a document. Where script and WASM work after all, the reader is taken to the
/// full page; without the WASM file there is no use in going.
pub(super) fn head(title: &str, full: Option<(&str, ConversationId)>) -> String {
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

/// A whole page. `nonce` is that of the script that [`head`] put into it.
pub(super) fn document(body: Body, status: StatusCode, nonce: Option<&str>) -> Response {
    let mut response = (status, body).into_response();
    policy::of_document(response.headers_mut(), nonce);
    response
}

/// Text as HTML text, also within double quotes.
pub(super) fn escape(text: &str, out: &mut String) {
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
