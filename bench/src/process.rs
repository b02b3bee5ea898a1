//! The programs that are measured: started on one core, and watched with all that they start.

pub(crate) mod sampling;

use crate::{clock::now, http};
use rustix::process::{Pid, Signal, kill_process};
use std::{
    fmt::Display,
    fs::File,
    io,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    time::Duration,
};

/// How long a program may take to end when it is asked to.
const END: Duration = Duration::from_secs(5);

/// A running program. Dropped, it ends with all that it started.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts `command` on the processors `cores`, in the words of `taskset`. What it prints on standard error goes to `log`.
    ///
    /// # Errors
    /// A sentence, if `taskset` or the program cannot be started.
    pub(crate) fn start(
        cores: impl Display,
        command: &Command,
        log: &Path,
    ) -> Result<Self, String> {
        let said = |error: io::Error| format!("{}: {error}", command.get_program().display());
        let mut pinned = Command::new("taskset");
        pinned
            .args(["--cpu-list", &cores.to_string()])
            .arg(command.get_program())
            .args(command.get_args());
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => pinned.env(name, value),
                None => pinned.env_remove(name),
            };
        }
        if let Some(folder) = command.get_current_dir() {
            pinned.current_dir(folder);
        }
        let stderr = File::create(log).map_err(said)?;
        let child = pinned
            .stdin(Stdio::null())
            .stdout(stderr.try_clone().map_err(said)?)
            .stderr(stderr)
            .spawn()
            .map_err(said)?;
        Ok(Self {
            child,
            log: log.to_owned(),
        })
    }

    /// Waits until the program answers `path`.
    ///
    /// # Errors
    /// A sentence with the end of its log, if it ends or stays silent for a minute and a half.
    pub(crate) async fn ready(&mut self, address: SocketAddr, path: &str) -> Result<(), String> {
        let request = http::request("GET", path, "text/plain", "");
        let until = now() + 90_000_000_000;
        while now() < until {
            if let Some(status) = self.ended() {
                return Err(format!("ended with {status}: {}", self.last_words()));
            }
            let call = tokio::time::timeout(Duration::from_secs(5), http::call(address, &request));
            if let Ok(Ok((status, _))) = call.await
                && status < 500
            {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Err(format!("does not answer: {}", self.last_words()))
    }

    /// How the program ended; `None` while it runs.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// What the program wrote so far.
    pub(crate) fn printed(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// The last line that the program wrote.
    pub(crate) fn last_words(&self) -> String {
        let printed = self.printed();
        let last = printed.lines().rev().find(|line| !line.trim().is_empty());
        last.unwrap_or("it said nothing")
            .trim()
            .trim_end_matches('.')
            .to_owned()
    }

    /// The process and all that it started.
    pub(crate) fn tree(&self) -> Vec<u32> {
        sampling::descendants(self.child.id())
    }

    /// Sends a signal to the whole tree.
    pub(crate) fn signal(&self, signal: Signal) {
        for pid in self.tree() {
            if let Some(pid) = Pid::from_raw(pid as i32) {
                // It may have ended by itself.
                let _ = kill_process(pid, signal);
            }
        }
    }

    /// Ends it at once, as `kill -9` does, and waits until it is gone.
    pub(crate) fn kill(&mut self) {
        self.signal(Signal::KILL);
        let _ = self.child.wait();
    }

    /// Asks it to end, and waits until it is gone.
    pub(crate) fn stop(&mut self) {
        self.signal(Signal::CONT);
        if let Some(pid) = Pid::from_raw(self.child.id() as i32) {
            let _ = kill_process(pid, Signal::TERM);
        }
        let until = now() + END.as_nanos() as u64;
        while now() < until {
            if self.ended().is_some() {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        self.kill();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.stop();
    }
}

/// A port that nobody listens on.
///
/// # Errors
/// A sentence, if there is none.
pub(crate) fn free_address() -> Result<SocketAddr, String> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .and_then(|listener| listener.local_addr())
        .map_err(|error| format!("no free port: {error}"))
}
