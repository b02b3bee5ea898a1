//! An answer that several readers follow, or that one comes back to.

use super::{Protocol, Reading, Target, start_run};
use crate::{clock::now, http, prompt::Prompt};
use std::{
    io::{self, ErrorKind},
    net::SocketAddr,
    time::Duration,
};

/// How long after its schedule an answer is given up, in nanoseconds.
const PATIENCE: u64 = 20_000_000_000;

/// An answer that is being written.
#[derive(Clone, Debug)]
pub(crate) struct Opened {
    /// What was asked for.
    pub(crate) prompt: Prompt,
    /// The run, where the peer is Headwater.
    pub(crate) run: String,
    address: SocketAddr,
    path: String,
}

/// Nanoseconds from the question to the last token.
fn schedule(prompt: Prompt) -> u64 {
    u64::from(prompt.wait) * 1_000_000 + prompt.ideal()
}

impl Target {
    /// Asks for an answer that others will follow.
    ///
    /// # Errors
    /// Those of the socket; `Unsupported` if the peer's answers belong to one reader.
    pub(crate) async fn open(&self, prompt: Prompt) -> io::Result<Opened> {
        let mut run = String::new();
        let path = match &self.protocol {
            Protocol::Post {
                resume: Some(resume),
                ..
            } => {
                let hold = u64::from(prompt.hold) * 1_000_000;
                let (target, until) = (self.clone(), now() + schedule(prompt) + hold + PATIENCE);
                // The answer begins with a reader, and others join.
                tokio::spawn(async move { target.ask(prompt, until).await });
                tokio::time::sleep(Duration::from_millis(300)).await;
                resume(prompt.id)
            }
            Protocol::Post { .. } => return Err(ErrorKind::Unsupported.into()),
            Protocol::Headwater => {
                run = start_run(&http::connect(self.address).await?, prompt).await?;
                format!("/api/runs/events?run={run}&after=0")
            }
            Protocol::Appends(upstream) => {
                let path = format!("/bench-{}", prompt.id);
                http::call(self.address, &http::request("PUT", &path, "text/plain", "")).await?;
                let (upstream, address, stream) = (upstream.clone(), self.address, path.clone());
                // Its failure shows at the readers.
                tokio::spawn(async move { upstream.append(address, &stream, prompt).await });
                format!("{path}?offset=-1&live=sse")
            }
        };
        Ok(Opened {
            prompt,
            run,
            address: self.address,
            path,
        })
    }
}

impl Opened {
    /// The same, for readers that have the entries up to `after` already; Headwater's only.
    pub(crate) fn after(&self, after: u64) -> Self {
        let path = format!("/api/runs/events?run={}&after={after}", self.run);
        Self {
            path,
            ..self.clone()
        }
    }

    /// Follows from the beginning to the last token.
    pub(crate) async fn follow(&self) -> Reading {
        self.read(Reading::new(self.prompt)).await
    }

    /// Follows from wherever the first token is to the last.
    pub(crate) async fn follow_from_middle(&self) -> Reading {
        let mut reading = Reading::new(self.prompt);
        reading.from_middle = true;
        self.read(reading).await
    }

    async fn read(&self, mut reading: Reading) -> Reading {
        reading.until_last = true;
        let request = http::request("GET", &self.path, "text/plain", "");
        let read = async {
            let socket = http::connect(self.address).await?;
            reading.follow(&socket, &request).await
        };
        let patience = Duration::from_nanos(schedule(self.prompt) + PATIENCE);
        let read = tokio::time::timeout(patience, read).await;
        reading.end(read.unwrap_or_else(|_| Err(ErrorKind::TimedOut.into())));
        reading
    }
}
