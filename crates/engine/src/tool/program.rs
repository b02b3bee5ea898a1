//! A tool that is a program: the arguments go to its standard input, what it writes is the result.
//!
//! Any language will do, and a program can be tried by hand. It runs in a process group of its own,
//! and what it starts carries its mark, so that a stop reaches all of it; and it is told nothing of
//! the server's keys.

use super::{Tool, USUAL_LIMIT};
use crate::clock::seconds;
use crate::provider::ToolDefinition;
use futures::{StreamExt, stream, stream::BoxStream};
use headwater_protocol::{Error, ErrorCode};
use rustix::process::{Pid, Signal, kill_process_group};
use serde::Deserialize;
use serde_json::{Value, json};
use std::{
    io,
    process::{ExitStatus, Stdio},
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    process::{Child, ChildStdout, Command},
    task::JoinHandle,
    time::timeout,
};
use uuid::Uuid;

mod kin;

/// How long what a program wrote before its end is waited for. It is in the pipe already; only a
/// child in a session of its own can hold the pipe open for longer.
const DRAIN: Duration = Duration::from_millis(250);

/// How much of what a failing program said on standard error the model is told, in bytes.
const MAX_COMPLAINT: usize = 2048;

/// Variables that every program gets, where they are set: what it needs to find its way, and no
/// keys.
const PASSED: [&str; 8] = [
    "PATH", "HOME", "USER", "LANG", "LC_ALL", "TZ", "TMPDIR", "SHELL",
];

/// A `[[tool]]` of the configuration.
#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct ToolConfig {
    /// Its name for the model: letters, digits, `_` and `-`, at most 64.
    pub name: String,
    /// For the model: what it does and when to use it.
    pub description: String,
    /// JSON Schema of its arguments; without it, the tool takes none.
    #[serde(default)]
    pub parameters: Option<Value>,
    /// The program and its own arguments.
    pub command: Vec<String>,
    /// Names of further environment variables that the program gets.
    #[serde(default)]
    pub env: Vec<String>,
    /// Seconds that a call may take.
    #[serde(default)]
    pub timeout: Option<f64>,
}

/// A program that a model may call.
#[derive(Clone, Debug)]
pub struct Program {
    definition: ToolDefinition,
    command: Vec<String>,
    env: Vec<String>,
    limit: Duration,
}

impl Program {
    /// Takes a program from the configuration. It is not looked for before it is called.
    ///
    /// # Errors
    /// `invalid_request` for an empty command and for what is no number of seconds.
    pub fn new(config: &ToolConfig) -> Result<Self, Error> {
        let wrong = |why: &str| {
            let sentence = format!("The tool “{}” cannot be used: {why}.", config.name);
            Error::new(ErrorCode::InvalidRequest, sentence).at("reading the configuration")
        };
        if config.command.first().is_none_or(String::is_empty) {
            return Err(wrong("its command is empty"));
        }
        let limit = config.timeout.unwrap_or(USUAL_LIMIT.as_secs_f64());
        let nothing = || json!({ "type": "object", "properties": {} });
        Ok(Self {
            definition: ToolDefinition {
                name: config.name.clone(),
                description: config.description.clone(),
                parameters: config.parameters.clone().unwrap_or_else(nothing),
            },
            command: config.command.clone(),
            env: config.env.clone(),
            limit: seconds(limit)
                .ok_or_else(|| wrong("its timeout must be a number of seconds"))?,
        })
    }

    fn start(&self, arguments: &Value) -> io::Result<Running> {
        let mut command = Command::new(&self.command[0]);
        command.args(&self.command[1..]).env_clear();
        for name in PASSED
            .into_iter()
            .chain(self.env.iter().map(String::as_str))
        {
            if let Some(value) = std::env::var_os(name) {
                command.env(name, value);
            }
        }
        let mark = Uuid::now_v7().to_string();
        let mut child = command
            .env(kin::MARK, &mark)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true)
            .spawn()?;
        let (stdin, stderr) = (child.stdin.take(), child.stderr.take());
        let input = arguments.to_string();
        // Beside each other: a program may write much before it reads, or never read.
        tokio::spawn(async move {
            if let Some(mut stdin) = stdin {
                let _ = stdin.write_all(input.as_bytes()).await;
            }
        });
        let group = child.id().and_then(|id| Pid::from_raw(id.cast_signed()));
        Ok(Running {
            mark,
            status: None,
            group,
            output: child.stdout.take(),
            complaint: tokio::spawn(async move {
                let mut last = Vec::new();
                if let Some(mut stderr) = stderr {
                    let mut piece = [0; 4096];
                    while let Ok(length @ 1..) = stderr.read(&mut piece).await {
                        last.extend_from_slice(&piece[..length]);
                        let surplus = last.len().saturating_sub(MAX_COMPLAINT);
                        last.drain(..surplus);
                    }
                }
                String::from_utf8_lossy(&last).trim().to_owned()
            }),
            child,
            held: Vec::new(),
        })
    }
}

impl Tool for Program {
    fn definition(&self) -> &ToolDefinition {
        &self.definition
    }

    fn limit(&self) -> Duration {
        self.limit
    }

    fn call(&self, arguments: Value) -> BoxStream<'static, Result<String, Error>> {
        let program = self.clone();
        let name = program.command[0].clone();
        let begin = stream::once(async move {
            program.start(&arguments).map_err(|why| {
                Error::new(
                    ErrorCode::ToolFailed,
                    format!("The program {name} cannot be started: {why}."),
                )
            })
        });
        begin
            .flat_map(|started| match started {
                Ok(running) => stream::unfold(Some(running), Running::next).boxed(),
                Err(why) => stream::once(async { Err(why) }).boxed(),
            })
            .boxed()
    }
}

/// A program at work. Dropping it kills the program and all that it has started.
struct Running {
    child: Child,
    /// Tells its children from all other processes.
    mark: String,
    /// How it ended, once it has.
    status: Option<io::Result<ExitStatus>>,
    /// Its process group, until that has been ended.
    group: Option<Pid>,
    /// `None` when it has been read to its end.
    output: Option<ChildStdout>,
    complaint: JoinHandle<String>,
    /// The beginning of a character whose end has not come yet.
    held: Vec<u8>,
}

impl Running {
    async fn next(this: Option<Self>) -> Option<(Result<String, Error>, Option<Self>)> {
        let mut this = this?;
        if let Some(text) = this.text().await {
            return Some((Ok(text), Some(this)));
        }
        match this.end().await {
            Ok(()) => None,
            Err(why) => Some((Err(why), None)),
        }
    }

    /// More of the output; `None` at its end, which is that of the program: a child that it leaves
    /// behind with its output open does not prolong the call.
    async fn text(&mut self) -> Option<String> {
        let mut piece = [0; 8192];
        loop {
            let output = self.output.as_mut()?;
            let read = match self.status {
                Some(_) => timeout(DRAIN, output.read(&mut piece))
                    .await
                    .unwrap_or(Ok(0)),
                None => tokio::select! {
                    biased;
                    read = output.read(&mut piece) => read,
                    status = self.child.wait() => {
                        self.status = Some(status);
                        // What it leaves behind would run for ever.
                        self.end_group();
                        continue;
                    }
                },
            };
            match read {
                Ok(length @ 1..) => {
                    self.held.extend_from_slice(&piece[..length]);
                    let text = take_characters(&mut self.held);
                    if !text.is_empty() {
                        return Some(text);
                    }
                }
                Ok(0) | Err(_) => {
                    self.output = None;
                    let rest =
                        String::from_utf8_lossy(&std::mem::take(&mut self.held)).into_owned();
                    return (!rest.is_empty()).then_some(rest);
                }
            }
        }
    }

    /// Kills all that is left of the program. The system gives the number of a group to nobody else
    /// while somebody is in it, and hardly within the moment in which it becomes empty.
    fn end_group(&mut self) {
        if let Some(group) = self.group.take() {
            let _ = kill_process_group(group, Signal::KILL);
        }
    }

    /// How the program ended.
    async fn end(&mut self) -> Result<(), Error> {
        let status = match self.status.take() {
            Some(status) => status,
            None => self.child.wait().await,
        };
        // What it leaves behind would run for ever.
        self.end_group();
        let ended = match status {
            Ok(status) if status.success() => return Ok(()),
            Ok(status) => format!("The program ended with {status}"),
            Err(why) => format!("The program's end cannot be seen: {why}"),
        };
        // A child in a session of its own may hold its standard error open.
        let complaint = timeout(DRAIN, &mut self.complaint).await;
        let complaint = complaint.ok().and_then(Result::ok).unwrap_or_default();
        let sentence = match complaint.as_str() {
            "" => format!("{ended}."),
            complaint => format!("{ended}: {complaint}"),
        };
        Err(Error::new(ErrorCode::ToolFailed, sentence))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.complaint.abort();
        // A program that has ended may have left something at work on purpose, in a session of its
        // own. One that is stopped may not.
        let stopped = self.group.is_some();
        self.end_group();
        if stopped {
            let mark = std::mem::take(&mut self.mark);
            match tokio::runtime::Handle::try_current() {
                Ok(runtime) => drop(runtime.spawn_blocking(move || kin::kill(&mark))),
                Err(_) => kin::kill(&mark),
            }
        }
    }
}

/// Takes all whole characters; what cannot be one becomes U+FFFD.
fn take_characters(held: &mut Vec<u8>) -> String {
    let mut text = String::new();
    let mut rest = 0;
    for chunk in held.utf8_chunks() {
        text.push_str(chunk.valid());
        rest += chunk.valid().len();
        let invalid = chunk.invalid();
        if invalid.is_empty() {
            continue;
        }
        let at_end = rest + invalid.len() == held.len();
        if at_end && std::str::from_utf8(invalid).is_err_and(|why| why.error_len().is_none()) {
            break;
        }
        text.push('\u{fffd}');
        rest += invalid.len();
    }
    held.drain(..rest);
    text
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may fail by panic")]
mod tests;
