//! `headwater doctor URL`: what lies between this machine and a server.

use crate::server::probe::{self, Cut, Measured, Pad};
use headwater_protocol::{Error, ErrorCode, socket};
use reqwest::{Client, Response, StatusCode};
use serde::Deserialize;
use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

/// The longest wait for a connection, and for a WebSocket.
const PATIENCE: Duration = Duration::from_secs(15);

/// Measures the way to the server at an address, which may have a path, and prints what was found. With `cuts`, it
/// also lets a stream be silent, and another one last, for so many seconds.
///
/// # Errors
/// `invalid_request` if something is wrong.
pub(in crate::cli) async fn check(address: &str, cuts: Option<u32>) -> Result<(), Error> {
    let measured = measure(address.trim_end_matches('/'), cuts).await;
    let measured = measured.unwrap_or_else(|why| Measured {
        failure: Some(why.message),
        ..Measured::default()
    });
    let mut bad = 0;
    for finding in probe::diagnose(&measured) {
        bad += u32::from(!finding.good);
        let word = if finding.good { "ok  " } else { "BAD " };
        println!("{word} {}. {}", finding.title, finding.text);
        let setting = finding.setting.unwrap_or_default();
        setting.lines().for_each(|line| println!("         {line}"));
    }
    super::verdict(bad)
}

async fn measure(base: &str, cuts: Option<u32>) -> Result<Measured, Error> {
    let http = client(false)?;
    let quick = Pads {
        pads: 20,
        every: 100,
        idle: 0,
    };
    let quick = quick.read(&http, base).await?;
    let mut measured = Measured {
        pads: quick.pads,
        ping: quick.ping,
        headers: headers_for_browsers(&http, base).await?,
        socket: Some(opens_socket(base).await?),
        ..Measured::default()
    };
    if let Some(seconds) = cuts {
        let silent = Pads {
            pads: 1,
            every: 100,
            idle: u64::from(seconds) * 1_000,
        };
        let lasting = Pads {
            pads: seconds,
            every: 1_000,
            idle: 0,
        };
        let (silent, lasting) =
            tokio::try_join!(silent.read(&http, base), lasting.read(&http, base))?;
        measured.silence = Some(silent.cut);
        measured.lasting = Some(lasting.cut);
    }
    Ok(measured)
}

fn client(http_1: bool) -> Result<Client, Error> {
    let mut builder = Client::builder().connect_timeout(PATIENCE);
    if http_1 {
        builder = builder.http1_only();
    }
    let unusable = |why: reqwest::Error| Error::new(ErrorCode::Internal, why.to_string());
    builder.build().map_err(unusable)
}

/// The pads that a stream should have: see [`probe::stream`].
struct Pads {
    pads: u32,
    every: u64,
    idle: u64,
}

/// What came of it.
struct Read {
    pads: Vec<Pad>,
    ping: Option<f64>,
    cut: Cut,
}

/// A pad as the server sends it.
#[derive(Deserialize)]
struct Sent {
    at: f64,
    ping: Option<f64>,
}

impl Pads {
    async fn open(&self, http: &Client, base: &str, encodings: &str) -> Result<Response, Error> {
        let Self { pads, every, idle } = self;
        let address = format!(
            "{base}{}?pads={pads}&every={every}&idle={idle}",
            probe::STREAM
        );
        let request = http.get(address).header("accept-encoding", encodings);
        // A proxy that collects may say nothing before the end, so this has no time of its own.
        let response = request.send().await.map_err(|why| of_request(&why))?;
        if response.status() == StatusCode::OK {
            return Ok(response);
        }
        Err(connection(format!(
            "{base} answered with status {}. Is that the address of a Headwater of this version?",
            response.status()
        )))
    }

    async fn read(&self, http: &Client, base: &str) -> Result<Read, Error> {
        let begun = Instant::now();
        let mut response = self.open(http, base, "identity").await?;
        let (mut pads, mut ping, mut text) = (Vec::new(), None, Vec::new());
        // A stream that breaks off is what is looked for, and no failure.
        while let Ok(Some(bytes)) = response.chunk().await {
            let heard = begun.elapsed().as_secs_f64() * 1_000.0;
            text.extend_from_slice(&bytes);
            while let Some(end) = text.windows(2).position(|two| two == b"\n\n") {
                let frame: Vec<u8> = text.drain(..end + 2).collect();
                let mut lines = frame.split(|byte| *byte == b'\n');
                let data = lines.find_map(|line| line.strip_prefix(b"data:"));
                if let Some(Ok(sent)) = data.map(serde_json::from_slice::<Sent>) {
                    ping = sent.ping.or(ping);
                    pads.push(Pad { at: sent.at, heard });
                }
            }
        }
        let wanted = u64::from(self.pads) * self.every + self.idle;
        let cut = Cut {
            wanted: Duration::from_millis(wanted).as_secs_f64(),
            lasted: begun.elapsed().as_secs_f64(),
            whole: pads.len() > self.pads as usize,
        };
        Ok(Read { pads, ping, cut })
    }
}

/// The headers of a stream for a client that takes compressed ones, as browsers do.
async fn headers_for_browsers(
    http: &Client,
    base: &str,
) -> Result<BTreeMap<String, String>, Error> {
    let short = Pads {
        pads: 1,
        every: 1,
        idle: 0,
    };
    let response = short.open(http, base, "gzip, br").await?;
    let headers = response.headers().iter().map(|(name, value)| {
        let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
        (name.as_str().to_owned(), value)
    });
    Ok(headers.collect())
}

/// Whether the way lets a WebSocket through, which HTTP/1.1 asks for by an upgrade.
async fn opens_socket(base: &str) -> Result<bool, Error> {
    let request = client(true)?
        .get(format!("{base}{}", socket::PATH))
        .header("connection", "upgrade")
        .header("upgrade", "websocket")
        .header("sec-websocket-version", "13")
        // Any sixteen bytes; what the server makes of them is not looked at.
        .header("sec-websocket-key", "aGVhZHdhdGVyIGRvY3Rvcg==");
    let opened = match tokio::time::timeout(PATIENCE, request.send()).await {
        Ok(Ok(response)) => response.status() == StatusCode::SWITCHING_PROTOCOLS,
        Ok(Err(_)) | Err(_) => false,
    };
    Ok(opened)
}

fn of_request(why: &reqwest::Error) -> Error {
    // The cause says more than the outermost sentence, which repeats the address.
    let mut cause: &dyn std::error::Error = why;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    connection(format!("{cause}."))
}

fn connection(sentence: String) -> Error {
    Error::new(ErrorCode::Connection, sentence)
}
