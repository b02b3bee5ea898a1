//! Who may talk to the server: the person at this machine, but no web site that they visit.
//!
//! There are no accounts. The conversations are protected because the server listens on loopback and
//! checks the `Host` of every request, against
//! [DNS rebinding](https://en.wikipedia.org/wiki/DNS_rebinding), and its `Origin` and
//! [`Sec-Fetch-*`](https://www.w3.org/TR/fetch-metadata/) headers, against requests from other sites.

mod hosts;

use super::{document::wants_page, policy, status};
use axum::{
    extract::{Request, State},
    http::{HeaderName, Method, header},
    middleware::Next,
    response::Response,
};
use headwater_protocol::{Error, ErrorCode};
use hosts::{Authority, split_origin};
pub use hosts::{Hosts, host_name};
use parking_lot::Mutex;
use std::collections::HashSet;

/// Refuses requests for other hosts and from other origins, and adds the security headers to every
/// response.
pub async fn guard(State(hosts): State<Hosts>, request: Request, next: Next) -> Response {
    let mut response = match check(&hosts, &request) {
        Ok(()) => next.run(request).await,
        Err(refusal) => {
            let why = refusal.sentence(&hosts);
            if refusal.is_a_setting() {
                log_once(&why);
            }
            let error = Error::new(ErrorCode::Permission, why);
            let mut response = status::answer(&error, wants_page(request.headers()));
            policy::keep_nowhere(response.headers_mut());
            response
        }
    };
    policy::of_all(response.headers_mut());
    response
}

/// Why a request is refused.
#[derive(Debug, PartialEq, Eq)]
enum Refusal {
    /// It has no valid `Host`, or several.
    NoHost,
    /// Its host is not one of ours.
    Host(String),
    /// A page of this foreign origin sent it.
    Origin(String),
    /// A page of another site sent it; the browser does not say which.
    Elsewhere,
}

impl Refusal {
    /// The reason, and the setting to change if that may be the cause.
    fn sentence(&self, hosts: &Hosts) -> String {
        let allow = |name: &str| {
            format!(
                "start Headwater with --allow-host {name}, or with HEADWATER_ALLOW_HOSTS={name}"
            )
        };
        match self {
            Self::NoHost => "The request does not say which host it is for.".to_owned(),
            Self::Host(name) => format!(
                "Headwater does not answer under the name {name}. If it is yours, {}.",
                allow(name)
            ),
            Self::Origin(origin) => {
                let refused = format!("This request comes from {origin} and is refused.");
                match split_origin(origin) {
                    Some((origin, _)) if hosts.allows(&origin.name) => format!(
                        "{refused} If that is this page, let the proxy before Headwater pass on \
                         the header Host as it came."
                    ),
                    Some((origin, _)) if !hosts.accepts(&origin) => format!(
                        "{refused} If that is this page, behind a proxy of yours, {}.",
                        allow(&origin.name)
                    ),
                    _ => refused,
                }
            }
            Self::Elsewhere => {
                "This request comes from another web site and is refused.".to_owned()
            }
        }
    }

    /// Whether a setting of the server may be the cause.
    fn is_a_setting(&self) -> bool {
        matches!(self, Self::Host(_) | Self::Origin(_))
    }
}

/// Logs each sentence once. Their number is bounded, because clients choose the names in them.
fn log_once(why: &str) {
    /// The most sentences in the life of the process.
    const MOST: usize = 16;
    static SAID: Mutex<Option<HashSet<String>>> = Mutex::new(None);
    let mut said = SAID.lock();
    let said = said.get_or_insert_default();
    if said.len() < MOST && said.insert(why.to_owned()) {
        tracing::warn!("a request was refused: {why}");
    }
}

fn check(hosts: &Hosts, request: &Request) -> Result<(), Refusal> {
    let headers = request.headers();
    let text = |name: HeaderName| headers.get(name).map(|value| value.to_str().unwrap_or("?"));
    if headers.get_all(header::HOST).iter().count() > 1 {
        return Err(Refusal::NoHost);
    }
    let host: Authority = text(header::HOST)
        // HTTP/2 has it in the address.
        .or(request.uri().authority().map(|host| host.as_str()))
        .and_then(|host| host.parse().ok())
        .ok_or(Refusal::NoHost)?;
    if !hosts.accepts(&host) {
        return Err(Refusal::Host(host.name));
    }
    if let Some(origin) = text(header::ORIGIN)
        && !hosts.is_origin(origin, &host)
    {
        // The sentence repeats only well-formed origins.
        return Err(match split_origin(origin) {
            Some(_) => Refusal::Origin(origin.to_owned()),
            None => Refusal::Elsewhere,
        });
    }
    // With a GET from a foreign page browsers send no `Origin`, but `Sec-Fetch-Site`.
    let fetch = |name: &str| headers.get(name).map(|value| value.to_str().unwrap_or("?"));
    match fetch("sec-fetch-site") {
        None | Some("same-origin" | "none") => Ok(()),
        Some(_) if follows_a_link(request, fetch) => Ok(()),
        Some(_) => Err(Refusal::Elsewhere),
    }
}

/// Whether a person follows a link to one of our pages. Foreign pages may link to them, but may not
/// show them in a frame or request data.
fn follows_a_link<'a>(request: &Request, fetch: impl Fn(&str) -> Option<&'a str>) -> bool {
    let path = request.uri().path();
    matches!(*request.method(), Method::GET | Method::HEAD)
        && fetch("sec-fetch-mode") == Some("navigate")
        && fetch("sec-fetch-dest") == Some("document")
        && (matches!(path, "/" | "/doctor")
            || path.starts_with("/c/")
            || path.starts_with("/plain/"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may fail by panic")]
mod tests;
