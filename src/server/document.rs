//! The parts of pages without script, and the page for failures.

use super::policy;
use crate::base;
use axum::{
    body::Body,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use headwater_protocol::{ConversationId, Error, ErrorCode};

/// Whether the client prefers HTML, as browsers do when a person opens an address.
pub(super) fn wants_page(headers: &HeaderMap) -> bool {
    headers
        .get(header::ACCEPT)
        .and_then(|accept| accept.to_str().ok())
        .is_some_and(|accept| accept.contains("text/html"))
}

/// A page for a failure.
pub(super) fn problem(why: &Error) -> Response {
    failure(why, "")
}

/// A page for a failure, with the text that the person had sent.
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
    page.push_str("<p><a href=\"");
    page.push_str(&base::address("/"));
    page.push_str("\">Back to Headwater</a></p></main></body></html>");
    let mut response = document(Body::from(page), status_of(why), None);
    response.extensions_mut().insert(why.clone());
    response
}

/// The HTTP status of an error.
pub(super) fn status_of(error: &Error) -> StatusCode {
    StatusCode::from_u16(error.code.http_status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}

/// The beginning of a document. `full` adds a script that opens the full page of a conversation if the
/// browser runs WASM and the WASM file is there.
pub(super) fn head(title: &str, full: Option<(&str, ConversationId)>) -> String {
    let mut page = String::from(
        "<!DOCTYPE html><html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <meta name=\"color-scheme\" content=\"light dark\"><title>",
    );
    escape(title, &mut page);
    page.push_str(" · Headwater</title><link rel=\"stylesheet\" href=\"");
    page.push_str(&base::address("/pkg/headwater.css\">"));
    if let Some((nonce, id)) = full {
        let base = base::current();
        page.push_str(&format!(
            "<script nonce=\"{nonce}\">if(self.WebAssembly&&!sessionStorage.getItem('headwater.plain'))\
             fetch('{base}/pkg/headwater.wasm',{{method:'HEAD'}}).then(r=>{{\
             if(r.ok)location.replace('{base}/c/{id}')}}).catch(()=>{{}})</script>"
        ));
    }
    page.push_str("</head><body class=\"plain\"><main><h1 dir=\"auto\">");
    escape(title, &mut page);
    page.push_str("</h1>");
    page
}

/// A response with a page. `nonce` is that of the script that [`head`] added.
pub(super) fn document(body: Body, status: StatusCode, nonce: Option<&str>) -> Response {
    let mut response = (status, body).into_response();
    policy::of_document(response.headers_mut(), nonce);
    response
}

/// Adds text as HTML text, which may also stand within double quotes.
pub(super) fn escape(text: &str, out: &mut String) {
    html_escape::encode_double_quoted_attribute_to_string(text, out);
}
