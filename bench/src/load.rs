//! Readers: they ask a peer for an answer, note when each of its tokens arrives, and count those that
//! are missing or come twice.

mod opened;
mod reading;
mod round;

pub(crate) use opened::Opened;
pub(crate) use reading::Reading;
pub(crate) use round::{Load, Round};

use crate::{clock::now, http, peers::MODEL, prompt::Prompt, upstream::Upstream};
use std::{
    io::{self, ErrorKind},
    net::SocketAddr,
    sync::atomic::{AtomicU32, Ordering},
};
use tokio::net::TcpStream;

/// A peer, as its readers see it.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    /// Where it listens.
    pub(crate) address: SocketAddr,
    protocol: Protocol,
}

/// How a peer is asked.
#[derive(Clone, Debug)]
enum Protocol {
    /// One request, whose answer is the stream. The body is made of the question and a number; where
    /// the answer can be followed by others, they ask for a path that is made of the number.
    Post {
        path: &'static str,
        body: fn(&str, u32) -> String,
        resume: Option<fn(u32) -> String>,
    },
    /// A command that starts a run, and a request that follows it, over one connection.
    Headwater,
    /// A request that makes a stream and one that follows it; the upstream appends to it.
    Appends(Upstream),
}

/// Numbers for answers, never twice in one process.
pub(crate) fn new_id() -> u32 {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

impl Target {
    /// A server with one request for one answer.
    pub(crate) fn post(
        address: SocketAddr,
        path: &'static str,
        body: fn(&str, u32) -> String,
    ) -> Self {
        let protocol = Protocol::Post {
            path,
            body,
            resume: None,
        };
        Self { address, protocol }
    }

    /// The same, for a server whose answers can be followed by others.
    pub(crate) fn resumable(mut self, path: fn(u32) -> String) -> Self {
        if let Protocol::Post { resume, .. } = &mut self.protocol {
            *resume = Some(path);
        }
        self
    }

    /// A server that is OpenAI-compatible.
    pub(crate) fn completions(address: SocketAddr) -> Self {
        Self::post(address, "/v1/chat/completions", |question, _| {
            format!(
                "{{\"model\":\"bench\",\"stream\":true,\"messages\":[{{\"role\":\"user\",\
                 \"content\":\"{question}\"}}]}}"
            )
        })
    }

    /// Headwater.
    pub(crate) fn headwater(address: SocketAddr) -> Self {
        let protocol = Protocol::Headwater;
        Self { address, protocol }
    }

    /// A server of Durable Streams, which `upstream` appends to.
    pub(crate) fn appends(address: SocketAddr, upstream: Upstream) -> Self {
        let protocol = Protocol::Appends(upstream);
        Self { address, protocol }
    }

    /// Asks for an answer, with the number in `prompt`, and follows it to its end, or until `until`.
    pub(crate) async fn ask(&self, prompt: Prompt, until: u64) -> Reading {
        let mut reading = Reading::new(prompt);
        let left = std::time::Duration::from_nanos(until.saturating_sub(now()));
        let asked = tokio::time::timeout(left, self.read(prompt, &mut reading)).await;
        reading.end(match asked {
            Ok(result) => result,
            Err(_) => Err(ErrorKind::TimedOut.into()),
        });
        reading
    }

    async fn read(&self, prompt: Prompt, reading: &mut Reading) -> io::Result<()> {
        let question = prompt.question();
        let socket = http::connect(self.address).await?;
        match &self.protocol {
            Protocol::Post { path, body, .. } => {
                let body = body(&question, prompt.id);
                let request = http::request("POST", path, "application/json", &body);
                reading.follow(&socket, &request).await
            }
            Protocol::Headwater => {
                let run = start_run(&socket, prompt).await?;
                reading.follow(&socket, &events(&run, 0)).await
            }
            Protocol::Appends(upstream) => {
                let path = format!("/bench-{}", prompt.id);
                let make = http::request("PUT", &path, "text/plain", "");
                http::exchange(&socket, &make).await?;
                let follow = format!("{path}?offset=-1&live=sse");
                let follow = http::request("GET", &follow, "text/plain", "");
                let appending = upstream.append(self.address, &path, prompt);
                // The stream stays open after its last token, so the reader has to know when to leave.
                reading.until_last = true;
                tokio::try_join!(reading.follow(&socket, &follow), appending).map(|_| ())
            }
        }
    }
}

/// Starts a run of Headwater and returns its identifier.
///
/// # Errors
/// Those of the socket; `Other` with the answer where it is no success.
pub(crate) async fn start_run(socket: &TcpStream, prompt: Prompt) -> io::Result<String> {
    let form = format!(
        "text={}&model={}",
        prompt.question(),
        MODEL.replace('/', "%2F")
    );
    let kind = "application/x-www-form-urlencoded";
    let start = http::request("POST", "/api/runs/start", kind, &form);
    let (status, body) = http::exchange(socket, &start).await?;
    let answer: serde_json::Value = serde_json::from_slice(&body).unwrap_or_default();
    match answer["run"].as_str() {
        Some(run) if status == 200 => Ok(run.to_owned()),
        _ => Err(io::Error::other(format!(
            "{status}: {}",
            String::from_utf8_lossy(&body)
        ))),
    }
}

/// The request that follows a run of Headwater after an entry.
pub(crate) fn events(run: &str, after: u64) -> Vec<u8> {
    let path = format!("/api/runs/events?run={run}&after={after}");
    http::request("GET", &path, "text/plain", "")
}
