//! The server of Durable Streams: each token is appended by one request, each reader follows by
//! server-sent events. It talks to no model, so it is a peer of the log only.

use super::{Kind, Peer, Setup};
use crate::{
    load::Target,
    process::{Process, free_address},
};
use std::process::Command;

pub(super) async fn start(setup: &Setup, kind: Kind, durability: &str) -> Result<Peer, String> {
    let program = setup
        .tool("durable-streams")?
        .join("bin/durable-streams-server");
    let (folder, address) = (setup.folder()?, free_address()?);
    let mut command = Command::new(program);
    command
        .args(["--port", &address.port().to_string()])
        .args(["--durability", durability])
        .arg("--data-dir")
        .arg(folder.path().join("data"));
    let mut process = Process::start(setup.cores.server, &command, &folder.path().join("log"))?;
    process.ready(address, "/").await?;
    Ok(Peer {
        kind,
        version: "0.1.5".to_owned(),
        target: Target::appends(address, setup.upstream.clone()),
        processes: vec![process],
        _folder: Some(folder),
    })
}
