//! Who may talk to the server: the person at this machine, and no web site they happen to visit.
//!
//! There are no accounts yet; what protects the conversations is that the server listens on
//! loopback and looks at every request's `Host` (a rebound name is not one of ours) and `Origin`
//! (a foreign page is not ours either).

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

/// Refuses requests for other hosts and from other origins, and adds the headers that keep a
/// browser from doing harm with what we answer.
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

/// Why a request is not served.
#[derive(Debug, PartialEq, Eq)]
enum Refusal {
    /// It names no host, or several, or something else.
    NoHost,
    /// Its host is not ours.
    Host(String),
    /// A page of this origin sends it.
    Origin(String),
    /// A page that the browser does not name sends it.
    Elsewhere,
}

impl Refusal {
    /// What is wrong, and what to set where that may be the cause.
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

    /// Whether it may be that something is to be set, by whoever runs the server.
    fn is_a_setting(&self) -> bool {
        matches!(self, Self::Host(_) | Self::Origin(_))
    }
}

/// Says each sentence once, and not for ever new names.
fn log_once(why: &str) {
    /// Different sentences in the life of the process.
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
        .or(request.uri().host())
        .and_then(|host| host.parse().ok())
        .ok_or(Refusal::NoHost)?;
    if !hosts.accepts(&host) {
        return Err(Refusal::Host(host.name));
    }
    if let Some(origin) = text(header::ORIGIN)
        && !hosts.is_origin(origin, &host)
    {
        // Only what is an origin is said again.
        return Err(match split_origin(origin) {
            Some(_) => Refusal::Origin(origin.to_owned()),
            None => Refusal::Elsewhere,
        });
    }
    // A browser sends no `Origin` with a GET from a foreign page, but says where it comes from.
    let fetch = |name: &str| headers.get(name).map(|value| value.to_str().unwrap_or("?"));
    match fetch("sec-fetch-site") {
        None | Some("same-origin" | "none") => Ok(()),
        Some(_) if follows_a_link(request, fetch) => Ok(()),
        Some(_) => Err(Refusal::Elsewhere),
    }
}

/// Whether a person follows a link to one of our pages. A foreign page may lead to them; it may
/// neither show them in a frame nor ask for data.
fn follows_a_link<'a>(request: &Request, fetch: impl Fn(&str) -> Option<&'a str>) -> bool {
    let path = request.uri().path();
    matches!(*request.method(), Method::GET | Method::HEAD)
        && fetch("sec-fetch-mode") == Some("navigate")
        && fetch("sec-fetch-dest") == Some("document")
        && (path == "/" || path.starts_with("/c/") || path.starts_with("/plain/"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may fail by panic")]
mod tests;
