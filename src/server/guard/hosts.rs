//! Names under which the server answers, and how a request's `Host` and `Origin` belong together.

use headwater_protocol::{Error, ErrorCode};
use std::{net::IpAddr, str::FromStr, sync::Arc};

/// The hosts that are ours: loopback, the address that we listen on, and the names that are
/// allowed beside them.
#[derive(Clone, Debug, Default)]
pub struct Hosts {
    names: Arc<Vec<String>>,
    bound: Option<IpAddr>,
}

impl Hosts {
    /// Accepts these names too, as [`host_name`] returns them, and the address that we listen on.
    ///
    /// A server that listens on every address is asked by any of them, and behind a container's
    /// or a router's port by others still. Then any *number* is accepted: what an evil page can
    /// point at us is a name of its own, never a number.
    pub fn new(names: &[String], bound: IpAddr) -> Self {
        Self {
            names: Arc::new(names.to_vec()),
            bound: Some(bound),
        }
    }

    /// Whether a host is ours. Ports do not matter here.
    pub fn accepts(&self, host: &Authority) -> bool {
        let number = host.name.parse::<IpAddr>().ok().map(|ip| ip.to_canonical());
        host.name == "localhost"
            || self.allows(&host.name)
            || number.is_some_and(|ip| {
                ip.is_loopback()
                    || self
                        .bound
                        .is_some_and(|bound| bound.is_unspecified() || bound.to_canonical() == ip)
            })
    }

    /// Whether a name was allowed by whoever runs the server.
    pub fn allows(&self, name: &str) -> bool {
        self.names.iter().any(|allowed| allowed == name)
    }

    /// Whether a page from `origin` is ours, when it asks under `host`.
    ///
    /// The port counts: another service of this machine is another origin. But a proxy may name
    /// the standard port or leave it out, may leave out any port, and may ask by our own address
    /// in place of its public one. Where `host` does not tell under which port the page is open,
    /// an allowed name is enough.
    pub fn is_origin(&self, origin: &str, host: &Authority) -> bool {
        let Some((origin, standard)) = split_origin(origin) else {
            return false;
        };
        let same_name = origin.name == host.name;
        if self.allows(&origin.name) {
            let told = host.port.filter(|port| !matches!(port, 80 | 443));
            return match told {
                Some(port) if same_name => origin.port.unwrap_or(standard) == port,
                _ => true,
            };
        }
        same_name && origin.port.unwrap_or(standard) == host.port.unwrap_or(standard)
    }
}

/// The host of an origin, and the standard port of its scheme.
pub(super) fn split_origin(origin: &str) -> Option<(Authority, u16)> {
    let (scheme, authority) = origin.split_once("://")?;
    let standard = match scheme {
        "http" => 80,
        "https" => 443,
        _ => return None,
    };
    Some((authority.parse().ok()?, standard))
}

/// A host and its port, as in `Host` and behind the scheme of an `Origin`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authority {
    /// The name in lower case, without a dot at the end; of an IPv6 address without brackets.
    pub name: String,
    /// The port, where it is named.
    pub port: Option<u16>,
}

impl FromStr for Authority {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (name, port) = match text.strip_prefix('[') {
            Some(rest) => {
                let (name, rest) = rest.split_once(']').ok_or(())?;
                name.parse::<std::net::Ipv6Addr>().map_err(|_| ())?;
                let port = match rest {
                    "" => None,
                    rest => Some(rest.strip_prefix(':').ok_or(())?),
                };
                (name, port)
            }
            None => match text.split_once(':') {
                Some((name, port)) => (name, Some(port)),
                None => (text, None),
            },
        };
        let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
        let is_sound = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_' | ':');
        if name.is_empty() || name.len() > 253 || !name.chars().all(is_sound) {
            return Err(());
        }
        let port = port.filter(|port| !port.is_empty());
        let port = port.map(str::parse).transpose().map_err(|_| ())?;
        Ok(Self { name, port })
    }
}

/// A name to be allowed, as people write it: `chat.example.org`, with a port, or the page's whole
/// address. What is empty is none. Pages are served under the name whatever the port.
///
/// # Errors
/// `invalid_request` if it cannot be a host's name.
pub fn host_name(text: &str) -> Result<Option<String>, Error> {
    let text = text.trim();
    if text.is_empty() {
        return Ok(None);
    }
    let rest = text.split_once("://").map_or(text, |(_, rest)| rest);
    let authority = rest.split('/').next().unwrap_or(rest);
    // An IPv6 address may come as it is.
    let name = match authority.parse::<IpAddr>() {
        Ok(ip) => Ok(ip.to_string()),
        Err(_) => authority.parse::<Authority>().map(|host| host.name),
    };
    name.map(Some).map_err(|()| {
        Error::new(
            ErrorCode::InvalidRequest,
            format!(
                "“allow_hosts” must be names such as chat.example.org, with commas between, not \
                 “{text}”."
            ),
        )
    })
}
