//! Forms, in which commands are sent.
//!
//! Their bodies are checked before they are decoded: the usual decoders silently replace bytes that are
//! not UTF-8, and a message must arrive as it was sent or not at all. Forms that a browser sends
//! without script are answered with a page.

use super::{
    document::{failure, wants_page},
    status,
};
use crate::base;
use axum::{
    body::{Body, to_bytes},
    extract::Request,
    http::{Method, header},
    middleware::Next,
    response::{IntoResponse, Redirect, Response},
};
use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use headwater_protocol::{ConversationId, Error, ErrorCode, IMAGES, MAX_TEXT_BYTES};
use percent_encoding::percent_decode;
use serde::Deserialize;
use std::time::Duration;

/// The largest form in bytes: the longest message with every byte percent-encoded, and 16 kB for the
/// other fields.
const MAX_FORM: usize = 3 * MAX_TEXT_BYTES + 16 * 1024;

/// The longest pause within the body of a request.
const PAUSE: Duration = Duration::from_secs(30);

/// Refuses forms under `/api/` that are too large or not UTF-8. Uploads of images are no forms.
pub async fn check(request: Request, next: Next) -> Response {
    let path = request.uri().path();
    if *request.method() != Method::POST || !path.starts_with("/api/") || path == IMAGES {
        return next.run(request).await;
    }
    let (parts, body) = request.into_parts();
    let refuse = |why: &Error| status::answer(why, wants_page(&parts.headers));
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

/// Answers HTML forms with a page: a redirect to the conversation if the command succeeded, otherwise
/// the failure together with the text of the person, so that nothing is lost.
///
/// The server function of the command does the work, as for all other clients.
pub async fn answer_with_pages(request: Request, next: Next) -> Response {
    let is_command = request.uri().path().starts_with("/api/runs/");
    if *request.method() != Method::POST || !is_command || !wants_page(request.headers()) {
        return next.run(request).await;
    }
    let (mut parts, body) = request.into_parts();
    // `check` has read it completely already.
    let form = to_bytes(body, MAX_FORM).await.unwrap_or_default();
    let form = Form::read(&form);
    parts.headers.remove(header::ACCEPT);
    parts.headers.remove(header::CONTENT_LENGTH);
    let request = Request::from_parts(parts, Body::from(form.fields));
    let answer = next.run(request).await;
    let done = answer.status().is_success();
    let said = to_bytes(answer.into_body(), MAX_ANSWER)
        .await
        .unwrap_or_default();
    let answered = match done {
        true => serde_json::from_slice::<Answered>(&said).ok(),
        false => None,
    };
    match answered {
        Some(Answered { conversation }) => {
            Redirect::to(&base::address(&format!("/plain/{conversation}"))).into_response()
        }
        None => {
            let why = serde_json::from_slice(&said)
                .unwrap_or_else(|_| Error::new(ErrorCode::Internal, "The server failed at this."));
            failure(&why, &form.text)
        }
    }
}

/// The longest response of a command, in bytes.
const MAX_ANSWER: usize = 64 * 1024;

/// The part that the responses of all commands on runs have in common.
#[derive(Deserialize)]
struct Answered {
    conversation: ConversationId,
}

/// A form that a browser sent without script.
struct Form {
    /// The fields, encoded again, without the empty ones: an empty text is no identifier.
    fields: String,
    /// The message of the person.
    text: String,
}

impl Form {
    fn read(form: &[u8]) -> Self {
        let mut fields = form_urlencoded::Serializer::new(String::new());
        let mut text = String::new();
        for (name, value) in form_urlencoded::parse(form) {
            if name == "text" {
                text = value.clone().into_owned();
            }
            if name == "text" || !value.is_empty() {
                fields.append_pair(&name, &value);
            }
        }
        let fields = fields.finish();
        Self { fields, text }
    }
}

/// The whole body of a request, or `None` if it is longer than `limit` bytes.
///
/// # Errors
/// `invalid_request` if it breaks off or pauses for more than 30 s.
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

/// Whether a form is UTF-8 after percent-decoding.
fn is_utf8(form: &[u8]) -> bool {
    percent_decode(form).decode_utf8().is_ok()
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
