//! The names under which the server answers, and whether a `Host` and an `Origin` belong together.

use headwater_protocol::{Error, ErrorCode};
use std::{net::IpAddr, str::FromStr, sync::Arc};

/// Our hosts: loopback, the address that the server listens on, and the allowed names.
#[derive(Clone, Debug, Default)]
pub struct Hosts {
    names: Arc<Vec<String>>,
    bound: Option<IpAddr>,
}

impl Hosts {
    /// Accepts loopback, `names` (as [`host_name`] returns them), and the address `bound`.
    ///
    /// If the server listens on all addresses, every IP address is accepted, because containers and
    /// routers forward ports from addresses that the server does not know. That is safe: an attacker
    /// can make a name of their own resolve to us, but cannot make a page's host an IP address of ours.
    pub fn new(names: &[String], bound: IpAddr) -> Self {
        Self {
            names: Arc::new(names.to_vec()),
            bound: Some(bound),
        }
    }

    /// Whether a host is ours. Its port does not matter here.
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

    /// Whether a name is among the allowed names.
    pub fn allows(&self, name: &str) -> bool {
        self.names.iter().any(|allowed| allowed == name)
    }

    /// Whether a page of `origin` that sends requests to `host` is ours.
    ///
    /// The port counts, because another service on this machine is another origin. Proxies, however,
    /// may add or omit the standard port, omit any port, and use our own address instead of the public
    /// name. If `host` does not say under which port the page is open, an allowed name is enough.
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
    /// The name in lower case, without a trailing dot, and without the brackets of IPv6.
    pub name: String,
    /// The port, if the text has one.
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

/// Parses a name for `--allow-host`: `chat.example.org`, with or without a port, or a whole URL. An
/// empty text is `None`. The name is allowed with every port.
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
    // IPv6 addresses may come without brackets.
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
