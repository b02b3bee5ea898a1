//! What measurements of a connection mean. Pure.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What was measured.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct Measured {
    /// The pads of the quick stream, in order.
    pub pads: Vec<Pad>,
    /// The headers of that stream, with their names in lower case.
    pub headers: BTreeMap<String, String>,
    /// The protocol by its registered name, such as `h2`, if the client knows it.
    pub protocol: Option<String>,
    /// Whether a WebSocket was opened and answered, if that was tried.
    pub socket: Option<bool>,
    /// The stream with a silence in it, if there was one.
    pub silence: Option<Cut>,
    /// The stream that lasted long, if there was one.
    pub lasting: Option<Cut>,
    /// The seconds between two pings of a run's stream.
    pub ping: Option<f64>,
    /// Why nothing could be measured.
    pub failure: Option<String>,
}

/// A pad of a stream.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
pub struct Pad {
    /// When the server sent it, in milliseconds since the first one.
    pub at: f64,
    /// When it arrived, in milliseconds since the request.
    pub heard: f64,
}

/// Whether a stream lasted as long as it should.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
pub struct Cut {
    /// The seconds that it should last.
    pub wanted: f64,
    /// The seconds that it lasted.
    pub lasted: f64,
    /// Whether it came to its end.
    pub whole: bool,
}

/// Something found.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Finding {
    /// Whether all is well there.
    pub good: bool,
    /// What it is about, in a few words.
    pub title: String,
    /// What it means, in a sentence or two.
    pub text: String,
    /// The setting to change, as it stands in a configuration.
    pub setting: Option<String>,
}

/// What measurements mean, the good as well.
pub fn diagnose(measured: &Measured) -> Vec<Finding> {
    if let Some(why) = &measured.failure {
        return vec![bad(
            "No connection",
            format!("The stream could not be opened: {why}"),
            None,
        )];
    }
    let hop = Hop::of(&measured.headers);
    let mut found = vec![pace(measured, hop)];
    found.extend(compression(measured, hop));
    found.extend(measured.socket.map(|passes| socket(passes, hop)));
    found.extend(measured.silence.map(|cut| silence(cut, measured.ping, hop)));
    found.extend(measured.lasting.map(|cut| lasting(cut, hop)));
    if measured.protocol.as_deref() == Some("http/1.1") {
        found.push(good(
            "HTTP/1.1",
            "Browsers open six connections to a host. From the third answer at once on, all share a WebSocket.".into(),
        ));
    }
    found
}

/// Whether pads came at the pace at which they were sent.
fn pace(measured: &Measured, hop: Hop) -> Finding {
    let (Some(first), Some(last)) = (measured.pads.first(), measured.pads.last()) else {
        return bad(
            "Nothing came",
            format!(
                "The stream ended before its first frame. {} may refuse event streams.",
                hop.name()
            ),
            None,
        );
    };
    let (sent, heard) = (last.at - first.at, last.heard - first.heard);
    let every = sent / (measured.pads.len() as f64 - 1.0).max(1.0);
    // A frame that comes in the same moment as the one before it was held back, and so was one that comes a
    // whole second later than the quickest one.
    let delay = |pad: &Pad| pad.heard - pad.at;
    let quickest = measured
        .pads
        .iter()
        .map(delay)
        .fold(f64::INFINITY, f64::min);
    let pairs = measured.pads.windows(2);
    let lumps = pairs
        .filter(|pair| pair[1].heard - pair[0].heard < every / 10.0)
        .count();
    let late = measured
        .pads
        .iter()
        .filter(|pad| delay(pad) > quickest + 1_000.0)
        .count();
    let half = measured.pads.len() / 2;
    if heard < sent / 4.0 || (lumps >= half && late > 0) {
        let setting = match hop {
            Hop::Nginx => Some("proxy_buffering off;"),
            Hop::Apache => Some("ProxyPass / http://127.0.0.1:3000/ flushpackets=on"),
            Hop::Caddy => Some("flush_interval -1"),
            Hop::Traefik
            | Hop::Cloudflare
            | Hop::Envoy
            | Hop::HaProxy
            | Hop::Varnish
            | Hop::Unknown => None,
        };
        return bad(
            "Events are held back",
            format!(
                "What was sent over {:.1} s came within {:.1} s. {} collects the stream (buffering), so answers come in \
                 lumps. Event streams must be passed on as they come.",
                sent / 1_000.0,
                heard / 1_000.0,
                hop.name()
            ),
            setting,
        );
    }
    good(
        "Events come as they are sent",
        format!("The first one after {:.0} ms, none held back.", first.heard),
    )
}

fn compression(measured: &Measured, hop: Hop) -> Option<Finding> {
    let encoding = measured.headers.get("content-encoding")?;
    let setting = match hop {
        Hop::Nginx => Some("location /api/ { gzip off; … }"),
        Hop::Apache => Some("SetEnvIf Request_URI ^/api/ no-gzip"),
        Hop::Caddy => Some("@whole not path /api/* /plain/*\nencode @whole gzip"),
        _ => None,
    };
    Some(bad(
        "The stream is compressed",
        format!(
            "{} compresses event streams ({encoding}) although the server forbids changes (no-transform). A compressor \
             collects before it writes, so events can come late.",
            hop.name()
        ),
        setting,
    ))
}

fn socket(passes: bool, hop: Hop) -> Finding {
    if passes {
        return good(
            "WebSockets pass",
            "Many answers at once can share one.".into(),
        );
    }
    let setting = match hop {
        Hop::Nginx => Some(
            "proxy_http_version 1.1;\nproxy_set_header Upgrade $http_upgrade;\nproxy_set_header Connection \
             $connection_upgrade;",
        ),
        Hop::Apache => Some("ProxyPass / http://127.0.0.1:3000/ upgrade=websocket"),
        _ => None,
    };
    bad(
        "WebSockets do not pass",
        format!(
            "{} does not pass on the headers Upgrade and Connection. Answers still come, by event streams and polls.",
            hop.name()
        ),
        setting,
    )
}

fn silence(cut: Cut, ping: Option<f64>, hop: Hop) -> Finding {
    if cut.whole {
        return good(
            "Silence is borne",
            format!(
                "A stream that said nothing for {:.0} s was not cut.",
                cut.wanted
            ),
        );
    }
    let title = "Silent streams are cut";
    let often = ping.unwrap_or(5.0);
    let text = format!(
        "{} cut a stream after {:.0} s of silence. Headwater says something every {often} s while an answer is \
         awaited, ",
        hop.name(),
        cut.lasted
    );
    let setting = match hop {
        Hop::Nginx => Some("proxy_read_timeout 30m;"),
        Hop::Apache => Some("ProxyTimeout 1800"),
        Hop::HaProxy => Some("timeout server 30m\ntimeout tunnel 30m"),
        Hop::Caddy | Hop::Traefik | Hop::Cloudflare | Hop::Envoy | Hop::Varnish | Hop::Unknown => {
            None
        }
    };
    match cut.lasted > 2.0 * often {
        true => Finding {
            setting: setting.map(str::to_owned),
            ..good(
                title,
                text + "so that does no harm to them. Pages without script wait in silence for the first token.",
            )
        },
        false => bad(
            title,
            text + "which is not often enough: answers break off and are resumed.",
            setting,
        ),
    }
}

fn lasting(cut: Cut, hop: Hop) -> Finding {
    match cut.whole {
        true => good(
            "Long streams last",
            format!("A stream of {:.0} s was not cut.", cut.wanted),
        ),
        false => bad(
            "Long streams are cut",
            format!(
                "{} cut a stream after {:.0} s although it was not silent. Answers are resumed, and lose nothing; each cut \
                 costs a moment.",
                hop.name(),
                cut.lasted
            ),
            None,
        ),
    }
}

fn good(title: &str, text: String) -> Finding {
    Finding {
        good: true,
        title: title.to_owned(),
        text,
        setting: None,
    }
}

fn bad(title: &str, text: String, setting: Option<&str>) -> Finding {
    Finding {
        good: false,
        title: title.to_owned(),
        text,
        setting: setting.map(str::to_owned),
    }
}

/// What stands before the server, as far as the headers of its responses say so. Headwater itself says nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hop {
    Nginx,
    Apache,
    Caddy,
    Traefik,
    Cloudflare,
    Envoy,
    HaProxy,
    Varnish,
    Unknown,
}

impl Hop {
    fn of(headers: &BTreeMap<String, String>) -> Self {
        if headers.contains_key("cf-ray") {
            return Self::Cloudflare;
        }
        let said = |name: &str| headers.get(name).map(|value| value.to_ascii_lowercase());
        let told = [said("server"), said("via"), said("x-powered-by")];
        let told = told.into_iter().flatten().collect::<Vec<_>>().join(" ");
        let known = [
            ("nginx", Self::Nginx),
            ("openresty", Self::Nginx),
            ("apache", Self::Apache),
            ("caddy", Self::Caddy),
            ("traefik", Self::Traefik),
            ("cloudflare", Self::Cloudflare),
            ("envoy", Self::Envoy),
            ("haproxy", Self::HaProxy),
            ("varnish", Self::Varnish),
        ];
        let found = known.iter().find(|(word, _)| told.contains(word));
        found.map_or(Self::Unknown, |(_, hop)| *hop)
    }

    fn name(self) -> &'static str {
        match self {
            Self::Nginx => "nginx",
            Self::Apache => "Apache",
            Self::Caddy => "Caddy",
            Self::Traefik => "Traefik",
            Self::Cloudflare => "Cloudflare",
            Self::Envoy => "Envoy",
            Self::HaProxy => "HAProxy",
            Self::Varnish => "Varnish",
            Self::Unknown => "Something between you and the server",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pads(heard: impl Fn(f64) -> f64) -> Vec<Pad> {
        let times = (0..=20).map(|n| f64::from(n) * 100.0);
        times
            .map(|at| Pad {
                at,
                heard: heard(at),
            })
            .collect()
    }

    fn measured(heard: impl Fn(f64) -> f64, headers: &[(&str, &str)]) -> Measured {
        let headers = headers
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Measured {
            pads: pads(heard),
            headers: headers.collect(),
            ..Measured::default()
        }
    }

    fn only(found: &[Finding]) -> &Finding {
        assert_eq!(found.len(), 1, "{found:?}");
        &found[0]
    }

    #[test]
    fn a_stream_at_its_own_pace_is_good_however_far_the_server_is() {
        for delay in [0.0, 300.0, 2_000.0] {
            // With a busy moment in it.
            let heard = |at: f64| at + delay + if at == 700.0 { 90.0 } else { 0.0 };
            let found = diagnose(&measured(heard, &[("server", "nginx/1.22.1")]));
            assert!(only(&found).good, "{found:?}");
        }
    }

    #[test]
    fn a_stream_that_comes_at_once_or_in_lumps_is_held_back() {
        let whole = |_| 2_050.0;
        let lumps = |at: f64| (at / 1_500.0).ceil() * 1_500.0 + 50.0;
        for heard in [&whole as &dyn Fn(f64) -> f64, &lumps] {
            let found = diagnose(&measured(heard, &[("server", "nginx/1.22.1")]));
            let found = only(&found);
            assert!(!found.good && found.text.contains("nginx"), "{found:?}");
            assert_eq!(found.setting.as_deref(), Some("proxy_buffering off;"));
        }
        let unknown = diagnose(&measured(whole, &[]));
        assert!(
            only(&unknown).text.contains("Something between"),
            "{unknown:?}"
        );
    }

    #[test]
    fn each_trouble_names_the_hop_and_the_setting() {
        let mut all = measured(
            |at| at,
            &[("via", "1.1 Caddy"), ("content-encoding", "gzip")],
        );
        all.socket = Some(false);
        all.ping = Some(5.0);
        let cut = |wanted, lasted| Cut {
            wanted,
            lasted,
            whole: false,
        };
        all.silence = Some(cut(75.0, 4.0));
        all.lasting = Some(cut(120.0, 30.0));
        let found = diagnose(&all);
        let bad: Vec<_> = found.iter().filter(|one| !one.good).collect();
        assert_eq!(bad.len(), 4, "{found:?}");
        assert!(bad.iter().all(|one| one.text.contains("Caddy")), "{bad:?}");
        // One that is above the pings does no harm, and the setting is named all the same.
        all.silence = Some(cut(75.0, 60.0));
        all.headers.insert("server".into(), "nginx".into());
        let found = diagnose(&all);
        let silent = found.iter().find(|one| one.title.contains("Silent"));
        assert!(
            silent.is_some_and(|one| one.good && one.setting.is_some()),
            "{found:?}"
        );
    }

    #[test]
    fn nothing_measured_is_said_and_is_no_success() {
        let nothing = diagnose(&Measured::default());
        assert!(!only(&nothing).good);
        let failed = diagnose(&Measured {
            failure: Some("HTTP status 502".into()),
            ..Measured::default()
        });
        assert!(only(&failed).text.contains("502"));
    }
}
