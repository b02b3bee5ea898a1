//! The server of Durable Streams: each token is appended by one request, each reader follows by
//! server-sent events. It talks to no model, so it is a peer of the log only.

use super::{Kind, Peer, Setup};
use crate::{
    load::Target,
    process::{Process, free_address},
};
use std::{fs, process::Command};

pub(super) async fn start(setup: &Setup, kind: Kind, durability: &str) -> Result<Peer, String> {
    let tool = setup.tool("durable-streams")?;
    let program = tool.join("bin/durable-streams-server");
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
        // It does not tell its version; the set-up notes what it installed.
        version: fs::read_to_string(tool.join(".installed")).map_or_else(
            |_| "unknown".to_owned(),
            |version| version.trim().to_owned(),
        ),
        target: Target::appends(address, setup.upstream.clone()),
        processes: vec![process],
        _folder: Some(folder),
    })
}
