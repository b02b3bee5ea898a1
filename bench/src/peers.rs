//! What is measured: Headwater, and the programs that it is compared with, each set up as its own
//! documentation says, with one worker on one core.

mod aisdk;
pub(crate) mod browser;
mod durable;
mod headwater;
mod nginx;
mod python;

pub(crate) use headwater::{Headwater, MODEL};
pub(crate) use python::{Gaps, slow_handler};

use crate::{load::Target, machine::Cores, process::Process, upstream::Upstream};
use rustix::process::Signal;
use std::{
    fs,
    path::{Path, PathBuf},
};
use tempfile::TempDir;

/// Where everything is that peers are started from.
#[derive(Clone, Debug)]
pub(crate) struct Setup {
    /// The program `headwater`, as released.
    pub(crate) server: PathBuf,
    /// The folder that `scripts/setup.sh bench` installs peers into.
    pub(crate) tools: PathBuf,
    /// A folder on a real disk, for the data of servers.
    pub(crate) scratch: PathBuf,
    /// Which processor is whose.
    pub(crate) cores: Cores,
    /// The model's server.
    pub(crate) upstream: Upstream,
}

impl Setup {
    /// A new folder for data, removed with the value.
    ///
    /// # Errors
    /// A sentence, if it cannot be made.
    pub(crate) fn folder(&self) -> Result<TempDir, String> {
        tempfile::tempdir_in(&self.scratch).map_err(|error| format!("no folder for data: {error}"))
    }

    /// What the set-up installed as `name`.
    ///
    /// # Errors
    /// Why it is not there.
    fn tool(&self, name: &str) -> Result<PathBuf, String> {
        let path = self.tools.join(name);
        if path.exists() {
            return Ok(path);
        }
        let reason = fs::read_to_string(self.tools.join(format!("{name}.missing")));
        Err(reason.map_or_else(
            |_| "not installed: scripts/setup.sh bench".to_owned(),
            |reason| reason.trim().to_owned(),
        ))
    }
}

/// The file `name` of a peer, as it is in the repository.
fn source(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("peers")
        .join(name)
}

/// The version of an npm package among those that a peer is made of.
fn package_version(modules: &Path, name: &str) -> String {
    let file = modules.join(format!("node_modules/{name}/package.json"));
    let text = fs::read_to_string(file).unwrap_or_default();
    let package: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
    package["version"].as_str().unwrap_or_default().to_owned()
}

/// A kind of server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    /// No server: the readers are connected to the upstream.
    Direct,
    /// nginx, which passes bytes on.
    Nginx,
    /// This project.
    Headwater,
    /// The same with every token on the disk before it is shown.
    HeadwaterPower,
    /// FastAPI, sse-starlette and LangChain.
    LangChain,
    /// The proxy of LiteLLM.
    LiteLlm,
    /// The AI SDK with resumable streams over Valkey.
    AiSdk,
    /// Durable Streams, acknowledged once in memory of the kernel.
    DurableMemory,
    /// Durable Streams, acknowledged once on the disk.
    DurableWal,
}

impl Kind {
    /// Its name in tables.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Nginx => "nginx",
            Self::Headwater => "Headwater",
            Self::HeadwaterPower => "Headwater, `--durability power`",
            Self::LangChain => "FastAPI + LangChain",
            Self::LiteLlm => "LiteLLM",
            Self::AiSdk => "AI SDK + resumable-stream + Valkey",
            Self::DurableMemory => "durable-streams, memory",
            Self::DurableWal => "durable-streams, WAL",
        }
    }

    /// What of an answer is left when its process is killed in the middle of it.
    pub(crate) fn durability(self) -> &'static str {
        match self {
            Self::Direct | Self::Nginx | Self::LangChain | Self::LiteLlm => "nothing",
            Self::AiSdk => "nothing (resumes from the memory of the process)",
            Self::Headwater => "all that was seen; on the disk at its end",
            Self::DurableMemory => "all that was seen",
            Self::HeadwaterPower | Self::DurableWal => {
                "all that was seen, on the disk before it is seen"
            }
        }
    }

    /// Starts it and waits until it answers.
    ///
    /// # Errors
    /// Why it cannot be measured here.
    pub(crate) async fn start(self, setup: &Setup) -> Result<Peer, String> {
        match self {
            Self::Direct => Ok(direct(setup)),
            Self::Nginx => nginx::start(setup).await,
            Self::Headwater => headwater::peer(setup, self, "process").await,
            Self::HeadwaterPower => headwater::peer(setup, self, "power").await,
            Self::LangChain => python::langchain(setup).await,
            Self::LiteLlm => python::litellm(setup).await,
            Self::AiSdk => aisdk::start(setup).await,
            Self::DurableMemory => durable::start(setup, self, "memory").await,
            Self::DurableWal => durable::start(setup, self, "wal").await,
        }
    }
}

/// A server that runs.
#[derive(Debug)]
pub(crate) struct Peer {
    /// What it is.
    pub(crate) kind: Kind,
    /// Its version, and those of what it is made of.
    pub(crate) version: String,
    /// How it is asked.
    pub(crate) target: Target,
    // Before the folder, so that the processes are gone when it is removed.
    processes: Vec<Process>,
    _folder: Option<TempDir>,
}

impl Peer {
    /// All its processes.
    pub(crate) fn pids(&self) -> Vec<u32> {
        self.processes.iter().flat_map(Process::tree).collect()
    }

    /// Keeps it off the processor while another peer is measured.
    pub(crate) fn pause(&self) {
        self.signal(Signal::STOP);
    }

    /// Lets it go on.
    pub(crate) fn wake(&self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) {
        for process in &self.processes {
            process.signal(signal);
        }
    }
}

fn direct(setup: &Setup) -> Peer {
    Peer {
        kind: Kind::Direct,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        target: Target::completions(setup.upstream.address),
        processes: Vec::new(),
        _folder: None,
    }
}
