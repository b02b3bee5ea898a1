//! All headers that tell browsers what they may do with our responses.

use axum::{
    extract::Request,
    http::{HeaderMap, HeaderName, HeaderValue, header},
    middleware::Next,
    response::Response,
};
use leptos::prelude::{use_context, use_nonce};
use leptos_axum::ResponseOptions;

/// Headers of every response. A page without a policy of its own may load and run nothing.
const HEADERS: [(&str, &str); 5] = [
    (
        "content-security-policy",
        "default-src 'none'; frame-ancestors 'none'",
    ),
    ("x-content-type-options", "nosniff"),
    ("referrer-policy", "same-origin"),
    ("cross-origin-opener-policy", "same-origin"),
    ("cross-origin-resource-policy", "same-origin"),
];

fn set_missing(headers: &mut HeaderMap, fixed: &[(&'static str, &'static str)]) {
    for (name, value) in fixed {
        headers
            .entry(HeaderName::from_static(name))
            .or_insert(HeaderValue::from_static(value));
    }
}

/// Adds the headers of every response.
pub(super) fn of_all(headers: &mut HeaderMap) {
    set_missing(headers, &HEADERS);
}

/// Keeps a response out of all caches.
pub(super) fn keep_nowhere(headers: &mut HeaderMap) {
    set_missing(headers, &[("cache-control", "no-store")]);
}

/// The headers of an event stream: whatever stands between must neither keep, nor change, nor collect its
/// bytes.
pub(crate) fn of_stream() -> [(HeaderName, HeaderValue); 2] {
    [
        (
            header::CACHE_CONTROL,
            HeaderValue::from_static("no-store, no-transform"),
        ),
        (
            HeaderName::from_static("x-accel-buffering"),
            HeaderValue::from_static("no"),
        ),
    ]
}

/// The headers of a page without script, except for a script with `nonce`.
pub(super) fn of_document(headers: &mut HeaderMap, nonce: Option<&str>) {
    let script = nonce.map_or(String::new(), |nonce| {
        format!("script-src 'nonce-{nonce}'; connect-src 'self'; ")
    });
    let policy = format!(
        "default-src 'none'; {script}style-src 'self'; img-src 'self'; form-action 'self'; \
         base-uri 'none'; frame-ancestors 'none'"
    );
    let fixed = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CACHE_CONTROL, "no-store, no-transform"),
        (HeaderName::from_static("x-accel-buffering"), "no"),
    ];
    for (name, value) in fixed {
        headers.insert(name, HeaderValue::from_static(value));
    }
    if let Ok(policy) = HeaderValue::from_str(&policy) {
        headers.insert(header::CONTENT_SECURITY_POLICY, policy);
    }
}

/// Sets the policy of a page that Leptos renders: scripts need the nonce, everything else must come from
/// this server. It is called for each request, because each has its own nonce.
pub(super) fn of_page() {
    if let (Some(response), Some(nonce)) = (use_context::<ResponseOptions>(), use_nonce()) {
        set_policy(&response, &policy(&nonce));
    }
}

fn set_policy(response: &ResponseOptions, policy: &str) {
    if let Ok(value) = HeaderValue::from_str(policy) {
        response.insert_header(header::CONTENT_SECURITY_POLICY, value);
    }
}

/// A [content security policy](https://www.w3.org/TR/CSP3/). `wasm-unsafe-eval` allows WASM only.
/// `strict-dynamic` lets the script with the nonce import other scripts. In development the socket for
/// reloads has another port.
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

/// Keeps pages and data out of browsers' caches, where they would outlive a deleted conversation. Files
/// of the page may be cached, and are validated each time: they are small and local.
pub(super) async fn keep_nothing(request: Request, next: Next) -> Response {
    let path = request.uri().path();
    let last = path.rsplit('/').next().unwrap_or_default();
    let is_file = !path.starts_with("/api/") && last.contains('.');
    let mut response = next.run(request).await;
    let is_file = is_file && response.status().is_success();
    response
        .headers_mut()
        .entry(header::CACHE_CONTROL)
        .or_insert(HeaderValue::from_static(match is_file {
            true => "no-cache",
            false => "no-store",
        }));
    response
}
