//! Form bodies, checked as bytes before anything decodes them: the usual decoders replace what is
//! not UTF-8 in silence, and a message must arrive as it was sent or not at all.

use crate::protocol::{Error, ErrorCode, MAX_TEXT_BYTES};
use axum::{
    body::{Body, to_bytes},
    extract::Request,
    http::{Method, StatusCode},
    middleware::Next,
    response::{IntoResponse, Response},
};

/// The largest form: a message of the largest size with every byte percent-encoded, and room for
/// the other fields.
const MAX_FORM: usize = 3 * MAX_TEXT_BYTES + 16 * 1024;

/// Refuses forms under `/api/` that are too large or not UTF-8. A picture is no form.
pub async fn check(request: Request, next: Next) -> Response {
    let path = request.uri().path();
    if *request.method() != Method::POST || !path.starts_with("/api/") || path == crate::api::IMAGES
    {
        return next.run(request).await;
    }
    let (parts, body) = request.into_parts();
    let Ok(bytes) = to_bytes(body, MAX_FORM).await else {
        return refuse(ErrorCode::TooLarge, &too_large());
    };
    if !is_utf8(&bytes) {
        return refuse(
            ErrorCode::InvalidRequest,
            "The message is not valid UTF-8 text, so nothing was stored.",
        );
    }
    next.run(Request::from_parts(parts, Body::from(bytes)))
        .await
}

fn too_large() -> String {
    format!(
        "The message is too large; at most {} kB can be sent at once.",
        MAX_TEXT_BYTES / 1024
    )
}

fn refuse(code: ErrorCode, message: &str) -> Response {
    let status = StatusCode::from_u16(code.http_status()).unwrap_or(StatusCode::BAD_REQUEST);
    (status, axum::Json(Error::new(code, message))).into_response()
}

/// Whether a form is UTF-8 once its `%xx` are decoded.
fn is_utf8(form: &[u8]) -> bool {
    let mut decoded = Vec::with_capacity(form.len());
    let mut rest = form;
    while let Some((first, tail)) = rest.split_first() {
        let hex = |at: usize| {
            tail.get(at)
                .and_then(|digit| char::from(*digit).to_digit(16))
        };
        match (first, hex(0), hex(1)) {
            (b'%', Some(high), Some(low)) => {
                decoded.push((high * 16 + low) as u8);
                rest = &tail[2..];
            }
            _ => {
                decoded.push(*first);
                rest = tail;
            }
        }
    }
    std::str::from_utf8(&decoded).is_ok()
}

#[cfg(test)]
mod tests {
    use super::is_utf8;

    #[test]
    fn percent_encoded_bytes_are_looked_at() {
        for good in [
            "",
            "text=x",
            "text=%C3%BC+%F0%9F%8C%8A",
            "text=100%",
            "text=%zz",
            "text=ü",
        ] {
            assert!(is_utf8(good.as_bytes()), "{good}");
        }
        for bad in [
            &b"text=%ff"[..],
            b"text=%C3",
            b"text=\xff",
            b"text=%F0%9F%8C",
        ] {
            assert!(!is_utf8(bad), "{bad:?}");
        }
    }
}
