//! The page of the connection doctor.

use super::{DIAGNOSIS, STREAM};
use crate::{
    base,
    server::document::{document, head},
};
use axum::{body::Body, http::StatusCode, response::Response};
use headwater_protocol::socket;

/// Measures, asks what that means, and shows it. It is written for browsers of ten years ago, because it has to work
/// where the program of the chat does not.
const SCRIPT: &str = include_str!("page.js");

/// `GET /doctor`: the page.
pub async fn page() -> Response {
    let nonce = leptos::nonce::Nonce::new().to_string();
    let mut page = head("Connection", None);
    page.push_str(
        "<p>Answers come as streams. This measures whether something between your browser and the server holds them \
         back, changes them or cuts them, and says which setting to change.</p>\
         <p><button class=\"button\" id=\"quick\" disabled>Check</button> \
         <button class=\"button\" id=\"long\" disabled>Check for cuts (75 s)</button></p>\
         <noscript><p>The check needs scripts. <code>headwater doctor</code> with this address does the same in a \
         terminal.</p></noscript>\
         <p id=\"state\" role=\"status\"></p><ul class=\"findings\" id=\"found\"></ul><p><a href=\"",
    );
    page.push_str(&base::address("/"));
    page.push_str("\">Back to Headwater</a></p></main>");
    let (stream, diagnosis, socket) = (
        base::address(STREAM),
        base::address(DIAGNOSIS),
        base::address(socket::PATH),
    );
    page.push_str(&format!(
        "<script nonce=\"{nonce}\">var STREAM=\"{stream}\",DIAGNOSIS=\"{diagnosis}\",SOCKET=\"{socket}\";\n{SCRIPT}</script>\
         </body></html>"
    ));
    document(Body::from(page), StatusCode::OK, Some(&nonce))
}
