//! The peers from PyPI: LiteLLM's proxy, and a chat server on LangChain.

use super::{Kind, Peer, Setup, source};
use crate::{
    load::Target,
    machine,
    process::{Process, free_address},
};
use serde::Deserialize;
use std::{fs, path::Path, process::Command, time::Duration};

/// Versions of installed packages, as `name 1.2, other 3.4`.
fn versions(python: &Path, packages: &[&str]) -> String {
    let code = format!(
        "import importlib.metadata as m; print(', '.join(f'{{n}} {{m.version(n)}}' for n in {packages:?}))"
    );
    machine::first_line(&python.to_string_lossy(), &["-c", &code])
}

pub(super) async fn langchain(setup: &Setup) -> Result<Peer, String> {
    let python = setup.tool("langchain")?.join("bin/python");
    let (folder, address) = (setup.folder()?, free_address()?);
    let mut command = Command::new(&python);
    command
        .arg(source("langchain/app.py"))
        .arg(address.port().to_string())
        .arg(setup.upstream.address.to_string());
    let mut process = Process::start(setup.cores.server, &command, &folder.path().join("log"))?;
    process.ready(address, "/health").await?;
    let packages = [
        "fastapi",
        "sse-starlette",
        "langchain-core",
        "langchain-openai",
        "uvicorn",
        "uvloop",
    ];
    Ok(Peer {
        kind: Kind::LangChain,
        version: versions(&python, &packages),
        target: Target::post(address, "/chat", |question, _| {
            format!("{{\"text\":\"{question}\"}}")
        }),
        processes: vec![process],
        _folder: Some(folder),
    })
}

pub(super) async fn litellm(setup: &Setup) -> Result<Peer, String> {
    let python = setup.tool("litellm")?.join("bin/python");
    let (folder, address) = (setup.folder()?, free_address()?);
    let file = folder.path().join("config.yaml");
    let configuration = fs::read_to_string(source("litellm/config.yaml"))
        .map_err(|error| format!("no configuration: {error}"))?
        .replace("{UPSTREAM}", &setup.upstream.address.to_string());
    fs::write(&file, configuration).map_err(|error| format!("no configuration: {error}"))?;
    let mut command = Command::new(&python);
    command
        .args(["-c", "from litellm import run_server; run_server()"])
        .args(["--host", "127.0.0.1", "--num_workers", "1", "--port"])
        .arg(address.port().to_string())
        .arg("--config")
        .arg(file)
        .current_dir(folder.path())
        .env("LITELLM_LOG", "ERROR")
        // Its list of prices, which it would fetch from the network.
        .env("LITELLM_LOCAL_MODEL_COST_MAP", "True");
    let mut process = Process::start(setup.cores.server, &command, &folder.path().join("log"))?;
    process.ready(address, "/health/liveliness").await?;
    Ok(Peer {
        kind: Kind::LiteLlm,
        version: versions(&python, &["litellm", "uvicorn", "uvloop"]),
        target: Target::completions(address),
        processes: vec![process],
        _folder: Some(folder),
    })
}

/// How long the rounds of [`slow_handler`] may take.
const PATIENCE: Duration = Duration::from_secs(300);

/// Nanoseconds between the tokens that a reader sees, without a slow observer and with one.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Gaps {
    /// Without.
    pub(crate) without: Vec<u64>,
    /// With.
    pub(crate) with: Vec<u64>,
}

/// What a callback handler of LangChain that takes `pause` for each token does to answers of `tokens`, one
/// every `interval` milliseconds. The program is where readers are otherwise, because it is one.
///
/// # Errors
/// Why it cannot be measured here.
pub(crate) async fn slow_handler(
    setup: &Setup,
    tokens: usize,
    interval: u64,
    pause: Duration,
    rounds: usize,
) -> Result<(String, Gaps), String> {
    let python = setup.tool("langchain")?.join("bin/python");
    let folder = setup.folder()?;
    let mut command = Command::new(&python);
    command.arg(source("langchain/observers.py")).args(
        [
            tokens as u64,
            interval,
            pause.as_millis() as u64,
            rounds as u64,
        ]
        .map(|n| n.to_string()),
    );
    let mut process = Process::start(setup.cores.load, &command, &folder.path().join("log"))?;
    let ended = async {
        loop {
            if let Some(status) = process.ended() {
                return status;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let status = tokio::time::timeout(PATIENCE, ended)
        .await
        .map_err(|_| "it does not end".to_owned())?;
    if !status.success() {
        return Err(format!("ended with {status}: {}", process.last_words()));
    }
    let gaps = serde_json::from_str(&process.printed())
        .map_err(|error| format!("it printed something else: {error}"))?;
    Ok((versions(&python, &["langchain-core"]), gaps))
}
