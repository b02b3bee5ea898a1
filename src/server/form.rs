//! Form bodies, checked as bytes before anything decodes them: the usual decoders replace what is
//! not UTF-8 in silence, and a message must arrive as it was sent or not at all.

use super::status;
use crate::protocol::{Error, ErrorCode, MAX_TEXT_BYTES};
use axum::{body::Body, extract::Request, http::Method, middleware::Next, response::Response};
use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use std::time::Duration;

/// The largest form: a message of the largest size with every byte percent-encoded, and room for
/// the other fields.
const MAX_FORM: usize = 3 * MAX_TEXT_BYTES + 16 * 1024;

/// How long the body of a request may pause.
const PAUSE: Duration = Duration::from_secs(30);

/// Refuses forms under `/api/` that are too large or not UTF-8. A picture is no form.
pub async fn check(request: Request, next: Next) -> Response {
    let path = request.uri().path();
    if *request.method() != Method::POST || !path.starts_with("/api/") || path == crate::api::IMAGES
    {
        return next.run(request).await;
    }
    let (parts, body) = request.into_parts();
    let refuse = |why: &Error| status::answer(why, super::plain::wants_page(&parts.headers));
    let bytes = match read(body, MAX_FORM).await {
        Ok(Some(bytes)) => bytes,
        Ok(None) => return refuse(&Error::new(ErrorCode::TooLarge, too_large())),
        Err(why) => return refuse(&why),
    };
    if !is_utf8(&bytes) {
        return refuse(&Error::new(
            ErrorCode::InvalidRequest,
            "The message is not valid UTF-8 text, so nothing was stored.",
        ));
    }
    next.run(Request::from_parts(parts, Body::from(bytes)))
        .await
}

/// The whole body of a request, or `None` if it is longer than `limit` bytes.
///
/// # Errors
/// `invalid_request` if it breaks off or stands still for half a minute.
pub async fn read(body: Body, limit: usize) -> Result<Option<Bytes>, Error> {
    read_within(PAUSE, body, limit).await
}

async fn read_within(pause: Duration, body: Body, limit: usize) -> Result<Option<Bytes>, Error> {
    let broken = || {
        Error::new(
            ErrorCode::InvalidRequest,
            "The request did not arrive whole, so nothing was stored.",
        )
    };
    let mut pieces = body.into_data_stream();
    let mut whole = BytesMut::new();
    while let Some(piece) = tokio::time::timeout(pause, pieces.next())
        .await
        .map_err(|_| broken())?
    {
        let piece = piece.map_err(|_| broken())?;
        if whole.len() + piece.len() > limit {
            return Ok(None);
        }
        whole.extend_from_slice(&piece);
    }
    Ok(Some(whole.freeze()))
}

fn too_large() -> String {
    format!(
        "The message is too large; at most {} kB can be sent at once.",
        MAX_TEXT_BYTES / 1024
    )
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
#[allow(clippy::unwrap_used, reason = "a test may fail by panic")]
mod tests {
    use super::*;
    use futures::stream;

    type Piece = Result<&'static str, std::io::Error>;

    #[tokio::test]
    async fn a_body_that_breaks_off_or_stands_still_is_not_taken_for_a_large_one() {
        let read = |pieces| read_within(Duration::from_millis(50), pieces, 10);
        let body = |pieces: Vec<Piece>| Body::from_stream(stream::iter(pieces));
        let whole = read(body(vec![Ok("12345"), Ok("67890")])).await;
        assert_eq!(whole.unwrap().unwrap(), "1234567890");
        assert_eq!(
            read(body(vec![Ok("12345"), Ok("678901")])).await.unwrap(),
            None
        );
        let broken = body(vec![
            Ok("12345"),
            Err(std::io::ErrorKind::ConnectionReset.into()),
        ]);
        let still = stream::iter([Ok("12345")]).chain(stream::pending::<Piece>());
        for body in [broken, Body::from_stream(still)] {
            let why = read(body).await.unwrap_err();
            assert_eq!(why.code, ErrorCode::InvalidRequest, "{why}");
        }
    }

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
