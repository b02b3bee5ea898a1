//! A tool that is a program. It reads its arguments from standard input, and its output is the result.
//!
//! Programs can be written in any language and tried by hand. A program runs in its own process group,
//! and all processes that it starts inherit a mark in their environment, so that a stop ends all of
//! them. It does not get the keys of the server.

use super::{Output, Tool, USUAL_LIMIT};
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

mod descendants;

/// How long to read on after the end of a program. Its output is in the pipe already; only a child in
/// its own session can keep the pipe open for longer.
const DRAIN: Duration = Duration::from_millis(250);

/// How many bytes of a failing program's standard error the model reads, from its end.
const MAX_STDERR: usize = 2048;

/// Environment variables that every program gets if they are set. None of them has a key.
const INHERITED: [&str; 8] = [
    "PATH", "HOME", "USER", "LANG", "LC_ALL", "TZ", "TMPDIR", "SHELL",
];

/// A `[[tool]]` of the configuration.
#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct ToolConfig {
    /// The name that models see: 1 to 64 letters, digits, `_` or `-`.
    pub name: String,
    /// Tells models what the tool does and when to use it.
    pub description: String,
    /// The [JSON Schema](https://json-schema.org) of the arguments. Without it, the tool takes none.
    #[serde(default)]
    pub parameters: Option<Value>,
    /// The program and its command-line arguments. No shell is used.
    pub command: Vec<String>,
    /// Names of environment variables that the program gets in addition.
    #[serde(default)]
    pub env: Vec<String>,
    /// The time limit of a call in seconds, 60 by default.
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
    /// Makes a tool from its configuration. The program is looked up when it is called.
    ///
    /// # Errors
    /// `invalid_request` for an empty command, or for a timeout that is no number of seconds.
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
        for name in INHERITED
            .into_iter()
            .chain(self.env.iter().map(String::as_str))
        {
            if let Some(value) = std::env::var_os(name) {
                command.env(name, value);
            }
        }
        let mark = Uuid::now_v7().to_string();
        let mut child = command
            .env(descendants::MARK, &mark)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true)
            .spawn()?;
        let (stdin, stderr) = (child.stdin.take(), child.stderr.take());
        let input = arguments.to_string();
        // Concurrently: a program may write much before it reads, or never read.
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
            stderr: tokio::spawn(async move {
                let mut last = Vec::new();
                if let Some(mut stderr) = stderr {
                    let mut piece = [0; 4096];
                    while let Ok(length @ 1..) = stderr.read(&mut piece).await {
                        last.extend_from_slice(&piece[..length]);
                        let surplus = last.len().saturating_sub(MAX_STDERR);
                        last.drain(..surplus);
                    }
                }
                String::from_utf8_lossy(&last).trim().to_owned()
            }),
            child,
            incomplete: Vec::new(),
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

    fn call(&self, arguments: Value) -> BoxStream<'static, Result<Output, Error>> {
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

/// A running program. Dropping it kills the program and all processes that it has started.
struct Running {
    child: Child,
    /// The value of [`descendants::MARK`] for this call.
    mark: String,
    /// The exit status, after the end.
    status: Option<io::Result<ExitStatus>>,
    /// The process group, until it has been killed.
    group: Option<Pid>,
    /// `None` after its end.
    output: Option<ChildStdout>,
    /// Collects the end of standard error.
    stderr: JoinHandle<String>,
    /// The first bytes of a character that is not complete yet.
    incomplete: Vec<u8>,
}

impl Running {
    async fn next(this: Option<Self>) -> Option<(Result<Output, Error>, Option<Self>)> {
        let mut this = this?;
        if let Some(text) = this.text().await {
            return Some((Ok(text.into()), Some(this)));
        }
        match this.end().await {
            Ok(()) => None,
            Err(why) => Some((Err(why), None)),
        }
    }

    /// The next piece of the output, or `None` at its end. The end of the program ends its output: a
    /// child that it leaves behind with the pipe open does not prolong the call.
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
                        // Processes that it leaves behind would run for ever.
                        self.kill_group();
                        continue;
                    }
                },
            };
            match read {
                Ok(length @ 1..) => {
                    self.incomplete.extend_from_slice(&piece[..length]);
                    let text = take_characters(&mut self.incomplete);
                    if !text.is_empty() {
                        return Some(text);
                    }
                }
                Ok(0) | Err(_) => {
                    self.output = None;
                    let rest =
                        String::from_utf8_lossy(&std::mem::take(&mut self.incomplete)).into_owned();
                    return (!rest.is_empty()).then_some(rest);
                }
            }
        }
    }

    /// Kills what is left of the process group. The system does not give its number to another group
    /// while a process is in it.
    fn kill_group(&mut self) {
        if let Some(group) = self.group.take() {
            let _ = kill_process_group(group, Signal::KILL);
        }
    }

    /// Waits for the end of the program.
    ///
    /// # Errors
    /// `tool_failed` with the exit status and the end of standard error, unless it succeeded.
    async fn end(&mut self) -> Result<(), Error> {
        let status = match self.status.take() {
            Some(status) => status,
            None => self.child.wait().await,
        };
        // Processes that it leaves behind would run for ever.
        self.kill_group();
        let ended = match status {
            Ok(status) if status.success() => return Ok(()),
            Ok(status) => format!("The program ended with {status}"),
            Err(why) => format!("The program's end cannot be seen: {why}"),
        };
        // A child in its own session may keep the pipe open.
        let stderr = timeout(DRAIN, &mut self.stderr).await;
        let stderr = stderr.ok().and_then(Result::ok).unwrap_or_default();
        let sentence = match stderr.as_str() {
            "" => format!("{ended}."),
            stderr => format!("{ended}: {stderr}"),
        };
        Err(Error::new(ErrorCode::ToolFailed, sentence))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stderr.abort();
        // A program that has ended may have left a process on purpose, in its own session. A program
        // that is stopped may not.
        let stopped = self.group.is_some();
        self.kill_group();
        if stopped {
            let mark = std::mem::take(&mut self.mark);
            match tokio::runtime::Handle::try_current() {
                Ok(runtime) => drop(runtime.spawn_blocking(move || descendants::kill(&mark))),
                Err(_) => descendants::kill(&mark),
            }
        }
    }
}

/// Takes all complete characters from the bytes. Invalid bytes become U+FFFD.
fn take_characters(bytes: &mut Vec<u8>) -> String {
    let mut text = String::new();
    let mut rest = 0;
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        rest += chunk.valid().len();
        let invalid = chunk.invalid();
        if invalid.is_empty() {
            continue;
        }
        let at_end = rest + invalid.len() == bytes.len();
        if at_end && std::str::from_utf8(invalid).is_err_and(|why| why.error_len().is_none()) {
            break;
        }
        text.push('\u{fffd}');
        rest += invalid.len();
    }
    bytes.drain(..rest);
    text
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may fail by panic")]
mod tests;
