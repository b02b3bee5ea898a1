//! Headwater itself: the released program, over HTTP like every other peer.

use super::{Kind, Peer, Setup};
use crate::{
    load::Target,
    machine,
    process::{Process, free_address},
};
use std::{fs, net::SocketAddr, path::Path, process::Command};

/// The model of the upstream, as Headwater names it.
pub(crate) const MODEL: &str = "bench/bench";

/// A Headwater on a data folder.
#[derive(Debug)]
pub(crate) struct Headwater {
    /// The process.
    pub(crate) process: Process,
    /// Where it listens.
    pub(crate) address: SocketAddr,
}

impl Headwater {
    /// Starts it on `data`, with the upstream as its provider. It may not listen yet.
    ///
    /// # Errors
    /// A sentence, if it cannot be started.
    pub(crate) fn spawn(setup: &Setup, data: &Path) -> Result<Self, String> {
        Self::spawn_with(setup, data, setup.upstream.address, "process")
    }

    fn spawn_with(
        setup: &Setup,
        data: &Path,
        provider: SocketAddr,
        durability: &str,
    ) -> Result<Self, String> {
        let address = free_address()?;
        let file = data.with_extension("toml");
        let configuration = format!(
            "[[provider]]\nname = \"bench\"\nurl = \"http://{provider}/v1\"\nmodels = [\"bench\"]\n"
        );
        fs::write(&file, configuration).map_err(|error| format!("no configuration: {error}"))?;
        let mut command = Command::new(&setup.server);
        command
            .args(["--model", "none", "--addr", &address.to_string()])
            .args(["--durability", durability])
            .arg("--data")
            .arg(data)
            .arg("--config")
            .arg(file)
            .arg("serve")
            .env("HEADWATER_LOG", "warn");
        for name in ["OPENAI_API_KEY", "ANTHROPIC_API_KEY", "GEMINI_API_KEY"] {
            command.env_remove(name);
        }
        let log = data.with_extension("log");
        let process = Process::start(setup.cores.server, &command, &log)?;
        Ok(Self { process, address })
    }

    /// Starts it and waits until it answers.
    ///
    /// # Errors
    /// A sentence with the end of its log.
    pub(crate) async fn start(setup: &Setup, data: &Path) -> Result<Self, String> {
        Self::start_with(setup, data, setup.upstream.address).await
    }

    async fn ready(mut self) -> Result<Self, String> {
        self.process.ready(self.address, "/ready").await?;
        Ok(self)
    }

    /// The same with the model at `provider`.
    ///
    /// # Errors
    /// A sentence with the end of its log.
    pub(crate) async fn start_with(
        setup: &Setup,
        data: &Path,
        provider: SocketAddr,
    ) -> Result<Self, String> {
        Self::spawn_with(setup, data, provider, "process")?
            .ready()
            .await
    }

    /// How it is asked.
    pub(crate) fn target(&self) -> Target {
        Target::headwater(self.address)
    }
}

/// Starts it with a choice of `--durability`, of which `kind` is the name.
///
/// # Errors
/// A sentence with the end of its log.
pub(super) async fn peer(setup: &Setup, kind: Kind, durability: &str) -> Result<Peer, String> {
    let folder = setup.folder()?;
    let (data, provider) = (folder.path().join("data"), setup.upstream.address);
    let started = Headwater::spawn_with(setup, &data, provider, durability)?
        .ready()
        .await?;
    let version = machine::first_line(&setup.server.to_string_lossy(), &["--version"]);
    Ok(Peer {
        kind,
        version: version.replace("headwater ", ""),
        target: started.target(),
        processes: vec![started.process],
        _folder: Some(folder),
    })
}
