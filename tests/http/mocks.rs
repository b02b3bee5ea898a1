//! Providers that none of us wrote, as processes of their own.
//!
//! `make test` installs them and asks for them by `HEADWATER_MOCKS=required`; where they are missing
//! otherwise, their tests say so and pass.

use crate::{
    asking::{Way, ask, server},
    vendors::Vendor,
};
use futures::future::join_all;
use headwater_protocol::{BlockKind, ErrorCode, Status, chat::Answer};
use serde_json::Value;
use std::{
    io::{BufRead, BufReader, Read, Write},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel},
    time::{Duration, Instant},
};

/// How long a program of others may take to start, or to do its work.
const PATIENCE: Duration = Duration::from_secs(60);

/// What a mock answers where nothing fails.
pub const TEXT: &str = "Grüße 👩‍👩‍👧 aus dem Tal, 日本 und weiter bis ans Ende.";

/// Node.js with a script, if the package that it needs is installed.
pub fn node(script: &Path, package: &str) -> Option<Command> {
    if !node_modules().join(package).exists() {
        return missing(&format!("the npm package {package} is not there"));
    }
    let mut node = Command::new("node");
    node.arg(script);
    Some(node)
}

/// Where npm puts what the tests need.
pub fn node_modules() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("end2end/node_modules")
}

/// Python with the packages that the tests need, if the set-up put them there.
pub fn python() -> Option<Command> {
    match std::env::var_os("HEADWATER_TEST_PYTHON") {
        Some(python) => Some(Command::new(python)),
        None => missing("HEADWATER_TEST_PYTHON names no Python with the packages"),
    }
}

/// Says that a program is missing, which is a failure where all must be there.
fn missing<T>(what: &str) -> Option<T> {
    let required = std::env::var("HEADWATER_MOCKS").is_ok_and(|value| value == "required");
    assert!(!required, "{what}, and HEADWATER_MOCKS requires it");
    // Written past the test's captured output, or nobody would see it.
    let _ = writeln!(std::io::stderr(), "skipped: {what}; `make test` gets it");
    None
}

/// A server of somebody else, ended with this value.
pub struct Mock {
    child: Child,
    /// `http://127.0.0.1:` and its port.
    pub base: String,
    _said: Receiver<String>,
}

impl Mock {
    /// Starts it and waits until it says where it listens.
    pub fn start(mut program: Command) -> Self {
        let mut child = program
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the mock starts");
        let (lines, said) = channel();
        read(child.stdout.take().expect("stdout"), lines.clone());
        read(child.stderr.take().expect("stderr"), lines);
        let mut mock = Self {
            child,
            base: String::new(),
            _said: said,
        };
        let (until, mut seen) = (Instant::now() + PATIENCE, String::new());
        while mock.base.is_empty() {
            let left = until.saturating_duration_since(Instant::now());
            match mock._said.recv_timeout(left) {
                Ok(line) => {
                    mock.base = address(&line).unwrap_or_default();
                    seen += &line;
                    seen.push('\n');
                }
                Err(RecvTimeoutError::Timeout) => panic!("the mock does not listen: {seen}"),
                Err(RecvTimeoutError::Disconnected) => panic!("the mock ended: {seen}"),
            }
        }
        mock
    }
}

impl Drop for Mock {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Reads all that a program says, so that no full pipe stops it.
fn read(pipe: impl Read + Send + 'static, lines: Sender<String>) {
    std::thread::spawn(move || {
        for line in BufReader::new(pipe).lines().map_while(Result::ok) {
            let _ = lines.send(line);
        }
    });
}

/// The loopback address with a port in a line.
fn address(line: &str) -> Option<String> {
    const BEFORE: &str = "http://127.0.0.1:";
    let port = line.split_once(BEFORE)?.1;
    let port: String = port.chars().take_while(char::is_ascii_digit).collect();
    (!port.is_empty()).then(|| format!("{BEFORE}{port}"))
}

/// Runs a program to its end, and gives what it wrote on standard output.
pub fn output(mut program: Command) -> Vec<u8> {
    let child = program
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("starts");
    let id = child.id();
    let (done, wait) = channel();
    std::thread::spawn(move || done.send(child.wait_with_output()));
    let Ok(output) = wait.recv_timeout(PATIENCE) else {
        let _ = Command::new("kill").args(["-9", &id.to_string()]).status();
        panic!("{program:?} does not end");
    };
    let Output {
        status,
        stdout,
        stderr,
    } = output.expect("ended");
    assert!(
        status.success(),
        "{program:?}: {}",
        String::from_utf8_lossy(&stderr)
    );
    stdout
}

/// A failure of a mock's making.
pub struct Fault {
    pub name: &'static str,
    /// How the mock is told.
    pub how: Value,
    /// What comes of it where nothing is tried again; `None` for what harms nobody.
    pub error: Option<ErrorCode>,
    /// Whether another attempt is made.
    pub again: bool,
}

impl Fault {
    /// A failure that another attempt mends.
    pub fn new(name: &'static str, how: Value, error: Option<ErrorCode>) -> Self {
        let again = error.is_some_and(ErrorCode::is_retryable);
        Self {
            name,
            how,
            error,
            again,
        }
    }

    /// How many attempts come of it where one more is allowed.
    pub fn attempts(&self) -> usize {
        1 + usize::from(self.again)
    }

    /// The name of the provider, and of its model, that fails like this.
    pub fn model(&self, vendor: Vendor, way: Way) -> String {
        format!("{}-{}-{way:?}", vendor.name, self.name).to_lowercase()
    }
}

/// The arguments of the tools that an answer calls.
pub fn tool_inputs(answer: &Answer) -> Vec<Value> {
    let calls = answer.blocks.iter();
    calls
        .filter(|block| block.kind == BlockKind::ToolInput)
        .map(|block| serde_json::from_str(&block.text).expect("json"))
        .collect()
}

/// Asks a mock for every failure through the whole server. It answers [`TEXT`] where nothing fails.
pub async fn check(vendor: Vendor, way: Way, url: &str, faults: &[Fault]) {
    let providers: Vec<_> = faults
        .iter()
        .map(|fault| (fault.model(vendor, way), url.to_owned()))
        .collect();
    let server = server(vendor, way.recovery(), &providers).await;
    join_all(faults.iter().map(async |fault| {
        let model = fault.model(vendor, way);
        let answer = ask(&server, &model).await;
        let mended = way == Way::Anew && fault.again;
        let expected = fault.error.filter(|_| !mended);
        let code = answer.error.as_ref().map(|error| error.code);
        assert_eq!(code, expected, "{model}: {:?}", answer.error);
        match expected {
            None => {
                assert_eq!(answer.status, Some(Status::Ok), "{model}");
                assert_eq!(answer.visible_text(), TEXT, "{model}");
            }
            Some(_) => {
                let part = answer.visible_text();
                assert!(
                    TEXT.starts_with(&part) && part.len() < TEXT.len(),
                    "{model}: {part:?}"
                );
            }
        }
        assert_eq!(answer.spans.len(), 1 + usize::from(mended), "{model}");
    }))
    .await;
}
