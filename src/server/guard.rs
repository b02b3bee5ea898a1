//! Who may talk to the server: the person at this machine, and no web site they happen to visit.
//!
//! There are no accounts yet; what protects the conversations is that the server listens on
//! loopback and looks at every request's `Host` (a rebound name is not one of ours) and `Origin`
//! (a foreign page is not ours either).

use crate::protocol::{Error, ErrorCode};
use axum::{
    extract::{Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use std::{net::IpAddr, sync::Arc};

/// Host names that are accepted beside loopback's own, in lower case, without a port.
#[derive(Clone, Debug, Default)]
pub struct Hosts(Arc<Vec<String>>);

impl Hosts {
    /// Accepts these names too.
    pub fn new(names: &[String]) -> Self {
        Self(Arc::new(
            names
                .iter()
                .map(|name| name.trim().to_ascii_lowercase())
                .collect(),
        ))
    }

    /// Whether a `Host` value, or the host of an origin, is ours.
    pub fn accepts(&self, host: &str) -> bool {
        let name = without_port(host).to_ascii_lowercase();
        let bare = name.trim_start_matches('[').trim_end_matches(']');
        name == "localhost"
            || bare.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
            || self.0.contains(&name)
    }
}

/// Refuses requests for other hosts and from other origins, and adds the headers that keep a
/// browser from doing harm with what we answer.
pub async fn guard(State(hosts): State<Hosts>, request: Request, next: Next) -> Response {
    if let Err(why) = check(
        &hosts,
        request.method(),
        request.uri().host(),
        request.headers(),
    ) {
        return refuse(why);
    }
    let mut response = next.run(request).await;
    for (name, value) in HEADERS {
        response
            .headers_mut()
            .entry(HeaderName::from_static(name))
            .or_insert(HeaderValue::from_static(value));
    }
    response
}

/// Sent with every answer. A page that has no policy of its own may load and run nothing.
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

fn check(
    hosts: &Hosts,
    method: &Method,
    uri_host: Option<&str>,
    headers: &HeaderMap,
) -> Result<(), &'static str> {
    let text = |name: HeaderName| headers.get(name).map(|value| value.to_str().unwrap_or("?"));
    let host = text(header::HOST)
        .or(uri_host)
        .ok_or("The request names no host.")?;
    if !hosts.accepts(host) {
        return Err(
            "This host name is not served here. Allow it with --allow-host if it is yours.",
        );
    }
    if let Some(origin) = text(header::ORIGIN) {
        // The port counts: another service of this machine is another origin.
        let same = origin
            .split_once("://")
            .is_some_and(|(_, authority)| authority.eq_ignore_ascii_case(host));
        if !same {
            return Err("This request comes from another web site and is refused.");
        }
    }
    // A browser sends no `Origin` with a GET from a foreign page, but says where it comes from.
    // Following a link to the page itself is fine; reading its data is not.
    let site = headers
        .get("sec-fetch-site")
        .map(|value| value.to_str().unwrap_or("?"));
    let navigation = headers
        .get("sec-fetch-mode")
        .is_some_and(|mode| mode == "navigate");
    match site {
        Some("cross-site" | "same-site" | "?") if !(navigation && *method == Method::GET) => {
            Err("This request comes from another web site and is refused.")
        }
        _ => Ok(()),
    }
}

fn refuse(why: &'static str) -> Response {
    let error = Error::new(ErrorCode::Permission, why);
    (StatusCode::FORBIDDEN, axum::Json(error)).into_response()
}

/// `example.org:80` → `example.org`, `[::1]:80` → `[::1]`.
fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port))
            if port.bytes().all(|byte| byte.is_ascii_digit()) && !name.is_empty() =>
        {
            name
        }
        _ => host,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed(
        host: &str,
        origin: Option<&str>,
        site: Option<(&'static str, &'static str)>,
    ) -> bool {
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, HeaderValue::from_str(host).expect("host"));
        if let Some(origin) = origin {
            headers.insert(
                header::ORIGIN,
                HeaderValue::from_str(origin).expect("origin"),
            );
        }
        if let Some((site, mode)) = site {
            headers.insert("sec-fetch-site", HeaderValue::from_static(site));
            headers.insert("sec-fetch-mode", HeaderValue::from_static(mode));
        }
        let hosts = Hosts::new(&["chat.example.org".into()]);
        check(&hosts, &Method::GET, None, &headers).is_ok()
    }

    #[test]
    fn only_our_hosts_and_origins_are_served() {
        for host in [
            "localhost",
            "localhost:3000",
            "127.0.0.1:3000",
            "127.9.9.9",
            "[::1]:3000",
            "chat.example.org",
        ] {
            assert!(allowed(host, None, None), "{host}");
            assert!(
                allowed(host, Some(&format!("http://{host}")), None),
                "{host}"
            );
        }
        for host in [
            "evil.example",
            "localhost.evil.example",
            "10.0.0.1:3000",
            "127.0.0.1.evil.example",
            "0.0.0.0",
            "",
        ] {
            assert!(!allowed(host, None, None), "{host}");
        }
        let ours = "127.0.0.1:3000";
        for origin in [
            "http://evil.example",
            "null",
            "http://127.0.0.1:4000",
            "http://localhost:3000",
            "file://",
        ] {
            assert!(!allowed(ours, Some(origin), None), "{origin}");
        }
        assert!(!allowed(ours, None, Some(("cross-site", "no-cors"))));
        assert!(!allowed(ours, None, Some(("same-site", "cors"))));
        assert!(allowed(ours, None, Some(("cross-site", "navigate"))));
        assert!(allowed(ours, None, Some(("same-origin", "cors"))));
    }
}
