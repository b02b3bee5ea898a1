//! `headwater ask`: the smallest reader. It starts a run and follows it with a cursor. If no server
//! is running, it starts one.

use super::{inspect, logging, printed::Printed, serve::Server};
use crate::server::config::Config;
use futures::StreamExt;
use headwater_engine::{
    lock::{self, Holder},
    provider::sse::Decoder,
};
use headwater_protocol::{
    Error, ErrorCode, Event, IMAGES, ImageId, RunId, Stage, Started, Status, chat::Applied,
};
use std::{
    io::{IsTerminal, Stdout},
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

/// The pause between two attempts to reach a server that went away.
const RETRY: Duration = Duration::from_millis(500);

/// The most attempts in a row: half a minute, which is enough for a server to restart.
const TRIES: u32 = 60;

/// The longest silence on an event stream before it counts as dead. The server pings every 5 s.
const WATCHDOG: Duration = Duration::from_secs(20);

pub(super) async fn ask(
    mut config: Config,
    text: String,
    model: Option<String>,
    images: Vec<PathBuf>,
    trace: bool,
) -> Result<(), Error> {
    logging::init(config.log_format, "error");
    // Read before anything is started, because a wrong file name is the most likely mistake.
    let images = images.iter().map(read_image).collect::<Result<_, _>>()?;
    let (address, server) = match lock::take(&config.engine.data)? {
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
    let mut asker = Asker::new(&address)?;
    let result = asker.ask(&text, model, images).await;
    let traced = match (trace, asker.run) {
        (true, Some(run)) => inspect::trace(&config.engine.data, run, std::io::stderr()).await,
        _ => Ok(()),
    };
    if let Some(server) = server {
        server.stop(Duration::ZERO).await;
    }
    result.and(traced)
}

struct Asker {
    http: reqwest::Client,
    address: String,
    /// Whether the state can be shown, because standard error is a terminal.
    shows_state: bool,
    /// The run that answers.
    run: Option<RunId>,
}

impl Asker {
    fn new(address: &str) -> Result<Self, Error> {
        let http = reqwest::Client::builder()
            .no_proxy()
            .tcp_nodelay(true)
            // The server on this machine says its address in the data folder, which belongs to the same person.
            // Its certificate is for the name under which others reach it.
            .danger_accept_invalid_certs(true)
            .build()
            .map_err(|why| Error::new(ErrorCode::Internal, why.to_string()))?;
        let shows_state = std::io::stderr().is_terminal();
        Ok(Self {
            http,
            address: address.to_owned(),
            shows_state,
            run: None,
        })
    }

    async fn ask(
        &mut self,
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
        self.run = Some(started.run);
        let mut printed = Printed::new(std::io::stdout());
        let mut tries = 0;
        while printed.answer().status.is_none() {
            let before = printed.answer().seq;
            match self.follow(&started, &mut printed).await {
                Ok(()) => {}
                Err(why) if !why.retryable => return Err(why),
                Err(_) => {}
            }
            let came = printed.answer().seq > before;
            tries = if came { 0 } else { tries + 1 };
            if printed.answer().status.is_none() {
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
        for image in printed.answer().images() {
            println!("{}{}", self.address, image.address());
        }
        match (printed.answer().status, &printed.answer().error) {
            (Some(Status::Ok), _) => Ok(()),
            (_, Some(error)) => Err(error.clone()),
            _ => Err(Error::new(ErrorCode::Stopped, "The answer was stopped.")),
        }
    }

    /// Prints what one connection delivers until it ends.
    async fn follow(&self, started: &Started, printed: &mut Printed<Stdout>) -> Result<(), Error> {
        let url = format!(
            "{}/api/runs/events?run={}&after={}",
            self.address,
            started.run,
            printed.answer().seq
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
                if matches!(event, Event::Delta { .. }) {
                    self.state("");
                }
                let (applied, said) = printed.apply(seq, &event).map_err(nobody_reads)?;
                if let Some(sentence) = said {
                    self.state("");
                    eprintln!("{sentence}");
                }
                if let (Applied::New, Event::Progress { stage, .. }) = (applied, &event) {
                    self.state(&stage_words(stage));
                }
            }
        }
        Ok(())
    }

    /// Replaces the state on the last line of the terminal.
    fn state(&self, words: &str) {
        if self.shows_state {
            eprint!("\r\x1b[2K{words}");
        }
    }
}

fn read_image(path: &PathBuf) -> Result<Vec<u8>, Error> {
    std::fs::read(path).map_err(|why| {
        let sentence = format!("The image {} cannot be read: {why}.", path.display());
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

/// The error when nobody reads standard output any more. The answer itself goes on.
fn nobody_reads(why: std::io::Error) -> Error {
    let sentence = format!("The answer cannot be printed: {why}. What was written is kept.");
    Error::new(ErrorCode::InvalidRequest, sentence)
}

fn unreachable(why: reqwest::Error) -> Error {
    Error::new(
        ErrorCode::Connection,
        format!("The server cannot be reached: {why}"),
    )
}
