//! Takes the path under which the server is reached off the address of a request, before that is routed.

use super::status;
use crate::base::{Base, scope};
use axum::{
    extract::{Request, State},
    http::{HeaderMap, Uri, uri::PathAndQuery},
    middleware::Next,
    response::Response,
};
use headwater_protocol::{Error, ErrorCode};

/// The header in which proxies such as
/// [Traefik](https://doc.traefik.io/traefik/middlewares/http/stripprefix/) say what they took off.
const FORWARDED: &str = "x-forwarded-prefix";

/// The longest path, in bytes.
const MAX: usize = 200;

/// Under which path the server is reached.
#[derive(Clone, Debug, Default)]
pub struct BasePath {
    fixed: Base,
    forwarded: bool,
}

impl BasePath {
    /// The path that is set, empty for none.
    pub fn fixed(&self) -> &str {
        &self.fixed.0
    }

    /// A path that is set, and whether the proxy may say another one for a request.
    ///
    /// # Errors
    /// See [`parse`].
    pub fn new(fixed: &str, forwarded: bool) -> Result<Self, Error> {
        Ok(Self {
            fixed: parse(fixed)?,
            forwarded,
        })
    }

    /// The path of a request: what the proxy says, if it is trusted, or what is set.
    fn of(&self, headers: &HeaderMap) -> Result<Base, Error> {
        match headers.get(FORWARDED).filter(|_| self.forwarded) {
            Some(prefix) => parse(prefix.to_str().unwrap_or("?")),
            None => Ok(self.fixed.clone()),
        }
    }
}

/// Parses a path: empty or `/` for none, otherwise segments of unreserved characters, each with a slash before it. A
/// slash at the end is passed over.
///
/// # Errors
/// `invalid_request` with a sentence for a person.
fn parse(text: &str) -> Result<Base, Error> {
    let text = text.trim_end_matches('/');
    let is_sound = |segment: &str| {
        let known = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_' | '~');
        !segment.is_empty() && !matches!(segment, "." | "..") && segment.chars().all(known)
    };
    let sound = text.is_empty()
        || (text.len() <= MAX
            && text
                .strip_prefix('/')
                .is_some_and(|rest| rest.split('/').all(is_sound)));
    match sound {
        true => Ok(Base(text.into())),
        false => {
            let sentence = "A path for the server begins with a slash, such as /chat, and has letters, digits and \
                            the signs - . _ ~ only.";
            Err(Error::new(ErrorCode::InvalidRequest, sentence))
        }
    }
}

/// Finds the path of a request, and lets everything behind see its address without it. Proxies that have taken it
/// off already are as welcome as those that leave it.
pub async fn strip(State(path): State<BasePath>, mut request: Request, next: Next) -> Response {
    let base = match path.of(request.headers()) {
        Ok(base) => base,
        Err(why) => return status::answer(&why, false),
    };
    if let Some(uri) = without(request.uri(), &base.0) {
        *request.uri_mut() = uri;
    }
    request.extensions_mut().insert(base.clone());
    scope(base, next.run(request)).await
}

/// The address without a path before it. `None` if it does not have it.
fn without(uri: &Uri, base: &str) -> Option<Uri> {
    let rest = uri.path().strip_prefix(base).filter(|_| !base.is_empty())?;
    let path = match rest {
        "" => "/",
        rest => rest.starts_with('/').then_some(rest)?,
    };
    let whole = match uri.query() {
        Some(query) => [path, "?", query].concat(),
        None => path.to_owned(),
    };
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = Some(PathAndQuery::try_from(whole).ok()?);
    Uri::from_parts(parts).ok()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may fail by panic")]
mod tests {
    use super::*;

    #[test]
    fn paths_are_segments_with_slashes_before_them() {
        for (text, path) in [
            ("", ""),
            ("/", ""),
            ("/chat", "/chat"),
            ("/chat/", "/chat"),
            ("/a/b-c_d.e~f", "/a/b-c_d.e~f"),
        ] {
            assert_eq!(&*parse(text).unwrap().0, path, "{text}");
        }
        let long = format!("/{}", "a".repeat(MAX));
        for text in [
            "chat",
            "//chat",
            "/a//b",
            "/a b",
            "/a?b",
            "/a#b",
            "/a\"b",
            "/<a>",
            "/ä",
            "/..",
            "/a/../b",
            "/%2e",
            "https://example.org/",
            &long,
        ] {
            assert_eq!(
                parse(text).unwrap_err().code,
                ErrorCode::InvalidRequest,
                "{text}"
            );
        }
    }

    #[test]
    fn a_path_is_taken_off_where_it_stands_and_nowhere_else() {
        let without = |uri: &str, base: &str| {
            let uri: Uri = uri.parse().unwrap();
            super::without(&uri, base).map(|uri| uri.to_string())
        };
        for (uri, rest) in [
            ("/chat", Some("/")),
            ("/chat/", Some("/")),
            ("/chat?a=b", Some("/?a=b")),
            ("/chat/c/1?x=/chat", Some("/c/1?x=/chat")),
            ("/chatter", None),
            ("/c/1", None),
            ("/", None),
        ] {
            assert_eq!(without(uri, "/chat").as_deref(), rest, "{uri}");
        }
        assert_eq!(without("/c/1", ""), None);
    }
}
