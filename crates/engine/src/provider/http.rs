//! What all providers over HTTP share: the client, and the sentences for people when it fails.

use super::secret::{Secret, scrub};
use futures::StreamExt;
use headwater_protocol::{Error, ErrorCode};
use reqwest::{NoProxy, Proxy, Url, header::HeaderMap, redirect};
use std::{
    error::Error as _,
    io,
    time::{Duration, SystemTime},
};

/// How long opening a connection may take, if nothing else is configured.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Makes a client that waits [`CONNECT_TIMEOUT`] for a connection; see [`http_client_with`].
///
/// # Errors
/// As [`http_client_with`].
pub fn http_client() -> Result<reqwest::Client, Error> {
    http_client_with(CONNECT_TIMEOUT)
}

/// Makes the client that all providers share, so that connections are kept and used again.
///
/// The client has no limit for a whole answer: deadlines belong to the engine. It follows no redirect
/// to another host, because the key and the conversation would go there. It uses the proxies of the
/// environment, except for this machine itself.
///
/// # Errors
/// `invalid_request` if a variable for proxies is not an address, `internal` if TLS cannot be set up.
pub fn http_client_with(connect_timeout: Duration) -> Result<reqwest::Client, Error> {
    build(connect_timeout, |name| std::env::var(name).ok())
}

fn build(
    connect_timeout: Duration,
    env: impl Fn(&str) -> Option<String>,
) -> Result<reqwest::Client, Error> {
    let mut builder = reqwest::Client::builder()
        .user_agent(concat!("headwater/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(connect_timeout)
        .pool_idle_timeout(Duration::from_secs(90))
        .tcp_nodelay(true)
        // Finds a connection through a dead gateway, even while nobody sends anything.
        .tcp_keepalive(Duration::from_secs(30))
        .http2_keep_alive_interval(Duration::from_secs(30))
        .redirect(redirect::Policy::custom(|attempt| {
            let stays = attempt
                .previous()
                .last()
                .is_some_and(|from| from.origin() == attempt.url().origin());
            if stays && attempt.previous().len() <= 5 {
                attempt.follow()
            } else {
                attempt.stop()
            }
        }))
        .no_proxy();
    for proxy in proxies(env)? {
        builder = builder.proxy(proxy);
    }
    builder.build().map_err(|error| {
        Error::new(
            ErrorCode::Internal,
            format!("The HTTP client cannot be made: {error}."),
        )
    })
}

/// The proxies of the environment. None of them is used for this machine itself.
fn proxies(env: impl Fn(&str) -> Option<String>) -> Result<Vec<Proxy>, Error> {
    let either = |name: &str| {
        env(&name.to_lowercase())
            .or_else(|| env(name))
            .filter(|value| !value.trim().is_empty())
    };
    let direct = format!(
        "localhost,127.0.0.0/8,::1,{}",
        either("NO_PROXY").unwrap_or_default()
    );
    let mut proxies = Vec::new();
    for (name, make) in [
        ("HTTPS_PROXY", Proxy::https as fn(String) -> _),
        ("HTTP_PROXY", Proxy::http),
        ("ALL_PROXY", Proxy::all),
    ] {
        if let Some(address) = either(name) {
            let proxy = make(address).map_err(|_| {
                Error::new(
                    ErrorCode::InvalidRequest,
                    format!("The environment variable {name} is not the address of a proxy."),
                )
            })?;
            proxies.push(proxy.no_proxy(NoProxy::from_string(&direct)));
        }
    }
    Ok(proxies)
}

/// The scheme, host and port of an address: enough for people, and without a place for keys.
pub fn place(url: &Url) -> String {
    url.origin().ascii_serialization()
}

/// The error for a provider that cannot be reached.
pub fn unreachable(error: &reqwest::Error, url: &Url) -> Error {
    let place = place(url);
    let host = url.host_str().unwrap_or_default();
    let io = sources(error).find_map(|error| error.downcast_ref::<io::Error>());
    let words = sources(error)
        .map(|error| error.to_string().to_lowercase())
        .collect::<Vec<_>>()
        .join(" ");
    let why = if io.is_some_and(|io| io.kind() == io::ErrorKind::ConnectionRefused) {
        "connection refused. Is it running?".to_owned()
    } else if words.contains("dns error") || words.contains("lookup address") {
        format!("there is no host named {host}. Is the address right?")
    } else if words.contains("certificate") {
        "its certificate is not trusted.".to_owned()
    } else if words.contains("tls") || words.contains("ssl") || words.contains("handshake") {
        "no secure connection could be made.".to_owned()
    } else if words.contains("invalidmessage") || words.contains("corrupt message") {
        "it does not speak HTTPS. Should the address begin with http://?".to_owned()
    } else if words.contains("proxy") || words.contains("tunnel") {
        "the proxy does not let us through.".to_owned()
    } else if error.is_timeout() && error.is_connect() {
        "no connection in time.".to_owned()
    } else if error.is_timeout() {
        "it did not answer in time.".to_owned()
    } else {
        "the connection broke before it answered.".to_owned()
    };
    Error::new(
        ErrorCode::Connection,
        format!("The provider at {place} cannot be reached: {why}"),
    )
    .at("connecting")
}

/// The error for a connection that breaks in mid-answer.
pub fn broken(url: &Url) -> Error {
    Error::new(
        ErrorCode::Connection,
        format!(
            "The connection to the provider at {} broke in mid-answer.",
            place(url)
        ),
    )
    .at("reading the answer")
}

fn sources<'a>(
    error: &'a reqwest::Error,
) -> impl Iterator<Item = &'a (dyn std::error::Error + 'static)> {
    std::iter::successors(error.source(), |&error| error.source())
}

/// Reads the start of a body: at most `limit` bytes, and no longer than `patience`.
pub async fn bounded(response: reqwest::Response, limit: usize, patience: Duration) -> Vec<u8> {
    let mut body = Vec::new();
    let mut stream = response.bytes_stream();
    let read = async {
        while let Some(Ok(bytes)) = stream.next().await {
            let room = limit - body.len();
            body.extend_from_slice(&bytes[..bytes.len().min(room)]);
            if body.len() == limit {
                break;
            }
        }
    };
    // The part that a slow provider sent is better than nothing.
    let _ = tokio::time::timeout(patience, read).await;
    body
}

/// The wait that a provider asks for, in milliseconds, from `retry-after-ms` or `retry-after`
/// ([RFC 9110](https://www.rfc-editor.org/rfc/rfc9110#name-retry-after), with fractions of seconds).
pub fn retry_after_ms(headers: &HeaderMap, now: SystemTime) -> Option<u64> {
    let text = |name| headers.get(name)?.to_str().ok().map(str::trim);
    if let Some(ms) = text("retry-after-ms").and_then(|text| text.parse::<f64>().ok()) {
        return (ms >= 0.0).then(|| ms.ceil() as u64);
    }
    let after = text("retry-after")?;
    if let Ok(seconds) = after.parse::<f64>() {
        return (seconds >= 0.0).then(|| (seconds * 1000.0).ceil() as u64);
    }
    let then = httpdate::parse_http_date(after).ok()?;
    let wait = then.duration_since(now).unwrap_or_default();
    Some(u64::try_from(wait.as_millis()).unwrap_or(u64::MAX))
}

/// Makes a provider's own words fit to be quoted: on one line, at most 300 characters, without keys.
pub fn quote(text: &str, key: Option<&Secret>) -> String {
    const MOST: usize = 300;
    let line = scrub(text, key)
        .split(|c: char| c.is_whitespace() || c.is_control())
        .filter(|word| !word.is_empty())
        .collect::<Vec<_>>()
        .join(" ");
    match line.char_indices().nth(MOST) {
        Some((end, _)) => format!("{}…", line[..end].trim_end()),
        None => line,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may fail by panic")]
mod tests;
