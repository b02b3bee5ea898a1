//! Chromium, which `bench/browser/run.mjs` lets show recorded answers on our page and on others.

use super::{Headwater, Setup, package_version};
use crate::process::{Process, free_address};
use serde::{Deserialize, Serialize};
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

/// How often the process is looked at.
const LOOK: Duration = Duration::from_millis(200);

/// A recorded answer on a page.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Play {
    /// `Headwater`, or the package that renders the page.
    pub(crate) page: String,
    /// Tokens of the answer.
    pub(crate) tokens: u32,
    /// Tokens a second.
    pub(crate) rate: u32,
}

/// What became of it.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Played {
    /// What was played.
    #[serde(flatten)]
    pub(crate) play: Play,
    /// Why it could not be.
    pub(crate) error: Option<String>,
    /// Whether the end was on the page before the time was up.
    #[serde(default)]
    pub(crate) is_in_time: bool,
    /// From the first token until the end was on the page or the time was up, in milliseconds.
    pub(crate) took_ms: Option<f64>,
    /// What it took, unless the page was too busy to be asked.
    pub(crate) figures: Option<Figures>,
}

/// What a page took for an answer.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Figures {
    /// Processor time of the page's main thread, in milliseconds for 1,000 tokens.
    pub(crate) main_thread_ms: f64,
    /// Its share in scripts and WebAssembly.
    pub(crate) script_ms: f64,
    /// Its share in styles and layout.
    pub(crate) layout_ms: f64,
    /// Tasks of 50 ms and more, by the clock.
    pub(crate) long_tasks: f64,
    /// The longest of them, in milliseconds.
    pub(crate) longest_task_ms: f64,
    /// Frames.
    pub(crate) frames: f64,
    /// Those that came more than 33 ms after the one before.
    pub(crate) late_frames: f64,
    /// Bytes of the script's heap after a collection, and of WebAssembly's memory.
    pub(crate) memory: f64,
    /// Whether every word of the answer is on the page, in order.
    pub(crate) is_whole: bool,
}

/// All that was played.
#[derive(Debug, Deserialize)]
pub(crate) struct Session {
    /// Chromium's version.
    pub(crate) chromium: String,
    /// One after the other.
    pub(crate) runs: Vec<Played>,
}

/// What the pages are made with.
///
/// # Errors
/// Why it is not there.
pub(crate) fn versions(setup: &Setup) -> Result<String, String> {
    let modules = setup.tool("browser")?;
    let packages = [
        "streamdown",
        "react-markdown",
        "remark-gfm",
        "react",
        "marked",
    ];
    let versions = packages.map(|name| format!("{name} {}", package_version(&modules, name)));
    Ok(versions.join(", "))
}

/// Plays answers one after the other, for at most `patience`.
///
/// # Errors
/// Why they could not be played.
pub(crate) async fn play(
    setup: &Setup,
    plays: &[Play],
    patience: Duration,
) -> Result<Session, String> {
    let modules = setup.tool("browser")?;
    copy_programs(&modules).map_err(|error| format!("no program: {error}"))?;
    let folder = setup.folder()?;
    let player = free_address()?;
    let server = Headwater::start_with(setup, &folder.path().join("data"), player).await?;

    let out = folder.path().join("runs.json");
    let task = serde_json::json!({
        "headwater": format!("http://{}", server.address),
        "port": player.port(),
        "out": out,
        "runs": plays,
    });
    let mut command = Command::new("node");
    command
        .arg(modules.join("run.mjs"))
        .arg(task.to_string())
        .env("NODE_ENV", "production");
    // A browser has more threads than one that matter to its user.
    let cores = format!("{},{}", setup.cores.server, setup.cores.load);
    let mut node = Process::start(cores, &command, &folder.path().join("node.log"))?;
    let ended = async {
        loop {
            match node.ended() {
                Some(status) => break status,
                None => tokio::time::sleep(LOOK).await,
            }
        }
    };
    match tokio::time::timeout(patience, ended).await {
        Ok(status) if status.success() => {}
        Ok(status) => return Err(format!("ended with {status}: {}", node.last_words())),
        Err(_) => return Err(format!("not done in time: {}", node.last_words())),
    }
    let text = fs::read(&out).map_err(|error| format!("no figures: {error}"))?;
    serde_json::from_slice(&text).map_err(|error| format!("no figures: {error}"))
}

/// Node.js looks for packages beside the program.
fn copy_programs(modules: &Path) -> std::io::Result<()> {
    let programs = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/browser"));
    for file in fs::read_dir(programs)? {
        let file = file?;
        let name = file.file_name();
        let is_program = [".mjs", ".js", ".jsx"]
            .iter()
            .any(|end| name.to_string_lossy().ends_with(end));
        if is_program {
            fs::copy(file.path(), modules.join(name))?;
        }
    }
    Ok(())
}
