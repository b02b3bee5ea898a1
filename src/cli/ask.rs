//! `headwater ask`: the smallest reader there is. It starts a run and follows it with a cursor,
//! through the server that is running, or through one that it starts for itself.

use super::{
    lock::{self, Holder},
    serve::Server,
};
use crate::{
    api::IMAGES,
    chat::{Answer, Applied},
    protocol::{BlockKind, Error, ErrorCode, Event, ImageId, Stage, Started, Status},
    server::{config::Config, provider::sse::Decoder},
};
use futures::StreamExt;
use std::{
    io::{IsTerminal, Write},
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

/// Pauses between two tries to reach a server that went away.
const RETRY: Duration = Duration::from_millis(500);

/// How often it is tried; the next process needs some seconds to start.
const TRIES: u32 = 60;

/// The longest silence on an event stream before it is taken for dead; the server pings.
const WATCHDOG: Duration = Duration::from_secs(20);

pub(super) async fn ask(
    mut config: Config,
    text: String,
    model: Option<String>,
    images: Vec<PathBuf>,
) -> Result<(), Error> {
    super::log_to_stderr("error");
    // Before anything is started: most mistakes are in a name.
    let images = images.iter().map(read_image).collect::<Result<_, _>>()?;
    let (address, server) = match lock::take(&config.data)? {
        Holder::Other(address) if !address.is_empty() => (address, None),
        Holder::Other(_) => {
            return Err(Error::new(
                ErrorCode::ShuttingDown,
                "Another Headwater is just starting. Try again in a moment.",
            ));
        }
        Holder::Us(lock) => {
            config.addr = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
            let server = Server::start(&config, lock).await?;
            (server.address.clone(), Some(server))
        }
    };
    let result = Asker::new(&address)?.ask(&text, model, images).await;
    if let Some(server) = server {
        server.stop(Duration::ZERO).await;
    }
    result
}

struct Asker {
    http: reqwest::Client,
    address: String,
    /// Whether standard error is a terminal, so that the state can be shown there.
    shows_state: bool,
}

impl Asker {
    fn new(address: &str) -> Result<Self, Error> {
        let http = reqwest::Client::builder()
            .no_proxy()
            .tcp_nodelay(true)
            .build()
            .map_err(|why| Error::new(ErrorCode::Internal, why.to_string()))?;
        let shows_state = std::io::stderr().is_terminal();
        Ok(Self {
            http,
            address: address.to_owned(),
            shows_state,
        })
    }

    async fn ask(
        &self,
        text: &str,
        model: Option<String>,
        images: Vec<Vec<u8>>,
    ) -> Result<(), Error> {
        let mut form = vec![("text", text.to_owned())];
        form.extend(model.map(|model| ("model", model)));
        let mut sent = Vec::new();
        for image in images {
            let response = self
                .http
                .post(format!("{}{IMAGES}", self.address))
                .body(image)
                .send()
                .await
                .map_err(unreachable)?;
            sent.push(answer_of::<ImageId>(response).await?.0);
        }
        if !sent.is_empty() {
            form.push(("images", sent.join(",")));
        }
        let response = self
            .http
            .post(format!("{}/api/runs/start", self.address))
            .form(&form)
            .send()
            .await
            .map_err(unreachable)?;
        let started: Started = answer_of(response).await?;
        let mut answer = Answer::default();
        let mut tries = 0;
        while answer.status.is_none() {
            let before = answer.seq;
            match self.follow(&started, &mut answer).await {
                Ok(()) => {}
                Err(why) if !why.retryable => return Err(why),
                Err(_) => {}
            }
            tries = if answer.seq > before { 0 } else { tries + 1 };
            if answer.status.is_none() {
                if tries > TRIES {
                    return Err(Error::new(
                        ErrorCode::Connection,
                        "The server went away and did not come back. What was written is kept; see \
                         `headwater replay`.",
                    ));
                }
                self.state(&format!("reconnecting ({tries})"));
                tokio::time::sleep(RETRY).await;
            }
        }
        self.state("");
        println!();
        match (answer.status, answer.error) {
            (Some(Status::Ok), _) => Ok(()),
            (_, Some(error)) => Err(error),
            _ => Err(Error::new(ErrorCode::Stopped, "The answer was stopped.")),
        }
    }

    /// One connection: prints what comes until it ends.
    async fn follow(&self, started: &Started, answer: &mut Answer) -> Result<(), Error> {
        let url = format!(
            "{}/api/runs/events?run={}&after={}",
            self.address, started.run, answer.seq
        );
        let response = self.http.get(url).send().await.map_err(unreachable)?;
        if !response.status().is_success() {
            return answer_of::<()>(response).await;
        }
        let mut bytes = response.bytes_stream();
        let mut decoder = Decoder::new();
        while let Ok(Some(chunk)) = tokio::time::timeout(WATCHDOG, bytes.next()).await {
            decoder.push(&chunk.map_err(unreachable)?);
            while let Some(frame) = decoder.next_event()? {
                let Ok(event) = serde_json::from_str::<Event>(&frame.data) else {
                    continue;
                };
                let seq = frame.id.parse().unwrap_or(0);
                if answer.apply(seq, &event) == Applied::New {
                    self.print(&event, answer);
                }
            }
        }
        Ok(())
    }

    fn print(&self, event: &Event, answer: &Answer) {
        match event {
            Event::Delta { block, text, .. } => {
                let visible = answer
                    .blocks
                    .iter()
                    .rfind(|known| known.block == *block)
                    .is_some_and(|known| {
                        matches!(known.kind, BlockKind::Text | BlockKind::Refusal)
                    });
                if visible {
                    self.state("");
                    let mut out = std::io::stdout().lock();
                    // A closed pipe ends the program elsewhere; here there is nobody to tell.
                    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
                }
            }
            Event::BlockRelabelled { .. } => {
                self.state("");
                println!("\n");
                eprintln!("(The text above was the model's thinking.)");
            }
            Event::BlockFinished { value, .. } => {
                if let Some(id) = value.get("image").and_then(serde_json::Value::as_str) {
                    let address = ImageId(id.to_owned()).address();
                    self.state("");
                    println!("\n{}{address}\n", self.address);
                }
            }
            Event::Progress { stage, .. } => self.state(&stage_words(stage)),
            _ => {}
        }
    }

    /// Shows where things stand on the terminal's last line, and takes it away again.
    fn state(&self, words: &str) {
        if self.shows_state {
            eprint!("\r\x1b[2K{words}");
        }
    }
}

fn read_image(path: &PathBuf) -> Result<Vec<u8>, Error> {
    std::fs::read(path).map_err(|why| {
        let sentence = format!("The picture {} cannot be read: {why}.", path.display());
        Error::new(ErrorCode::InvalidRequest, sentence)
    })
}

fn stage_words(stage: &Stage) -> String {
    match stage {
        Stage::Queued { ahead } => format!("queued, {ahead} ahead"),
        Stage::Connecting => "connecting".into(),
        Stage::Downloading { percent } => format!("fetching the model, {percent} %"),
        Stage::ReadingPrompt { percent } => format!("reading the prompt, {percent} %"),
        Stage::Waiting => "waiting for the first token".into(),
        Stage::RunningTool { name } => format!("running {name}"),
        Stage::ContextTrimmed { messages } => format!("{messages} old messages left out"),
        Stage::Retrying { in_ms, attempt, .. } => {
            format!("retrying in {} s (attempt {attempt})", in_ms.div_ceil(1000))
        }
        Stage::Unknown => String::new(),
    }
}

async fn answer_of<T: serde::de::DeserializeOwned>(
    response: reqwest::Response,
) -> Result<T, Error> {
    let success = response.status().is_success();
    let bytes = response.bytes().await.map_err(unreachable)?;
    let broken = |_| Error::new(ErrorCode::Malformed, "The server's answer cannot be read.");
    if success {
        serde_json::from_slice(&bytes).map_err(broken)
    } else {
        Err(serde_json::from_slice(&bytes).map_err(broken)?)
    }
}

fn unreachable(why: reqwest::Error) -> Error {
    Error::new(
        ErrorCode::Connection,
        format!("The server cannot be reached: {why}"),
    )
}
