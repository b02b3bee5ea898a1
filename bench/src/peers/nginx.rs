//! nginx with `proxy_buffering off`.

use super::{Kind, Peer, Setup, source};
use crate::{
    load::Target,
    machine,
    process::{Process, free_address},
};
use std::{fs, process::Command};

pub(super) async fn start(setup: &Setup) -> Result<Peer, String> {
    let version = machine::first_line("nginx", &["-v"]);
    if version.is_empty() {
        return Err("not installed: apt-get install nginx-light".to_owned());
    }
    let (folder, address) = (setup.folder()?, free_address()?);
    let configuration = fs::read_to_string(source("nginx/nginx.conf"))
        .map_err(|error| format!("no configuration: {error}"))?
        .replace("{UPSTREAM}", &setup.upstream.address.to_string())
        .replace("{PORT}", &address.port().to_string());
    let file = folder.path().join("nginx.conf");
    fs::write(&file, configuration).map_err(|error| format!("no configuration: {error}"))?;
    let mut command = Command::new("nginx");
    command.arg("-p").arg(folder.path()).arg("-c").arg(file);
    let log = folder.path().join("log");
    let mut process = Process::start(setup.cores.server, &command, &log)?;
    process.ready(address, "/v1/models").await?;
    Ok(Peer {
        kind: Kind::Nginx,
        version: version.replace("nginx version: nginx/", ""),
        target: Target::completions(address),
        processes: vec![process],
        _folder: Some(folder),
    })
}
