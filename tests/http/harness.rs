//! A server to test against: either in this process, or the real program in one of its own.

use futures::{Stream, StreamExt};
use headwater::server::{
    base_path::BasePath,
    connections::{self, Limits, Tls},
    guard::Hosts,
    router,
};
use headwater_engine::{
    Builder, Config, Engine,
    config::{Kind, ProviderConfig, Script},
    observer::Metrics,
    provider::sse::Decoder,
};
use headwater_protocol::{
    ConversationId, Entry, Error, Event, RunId, Seq, Started, Stopped,
    chat::{Answer, Applied, Conversation},
};
use leptos::config::LeptosOptions;
use reqwest::{Client, Response, StatusCode};
use std::{
    io::{BufRead, BufReader, Read},
    path::Path,
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    time::Duration,
};
use tempfile::TempDir;

/// Long enough for the slowest machine, short enough to see that something hangs.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A client that talks to one server.
#[derive(Clone)]
pub struct Api {
    pub base: String,
    pub http: Client,
}

/// A frame as it was delivered: its number, if it has one, and its event.
pub type Frame = (Option<Seq>, Event);

impl Api {
    pub fn new(base: &str) -> Self {
        let http = Client::builder()
            .no_proxy()
            // Certificates of our own.
            .danger_accept_invalid_certs(true)
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .expect("client");
        Self {
            base: base.to_owned(),
            http,
        }
    }

    pub async fn get(&self, path: &str) -> Response {
        self.http
            .get(format!("{}{path}", self.base))
            .send()
            .await
            .expect("answer")
    }

    /// What stands at an address, as text.
    pub async fn text(&self, path: &str) -> String {
        self.get(path).await.text().await.expect("text")
    }

    pub async fn post(&self, path: &str, form: &[(&str, &str)]) -> Response {
        self.http
            .post(format!("{}{path}", self.base))
            .form(form)
            .send()
            .await
            .expect("answer")
    }

    pub async fn try_start(&self, form: &[(&str, &str)]) -> Result<Started, (StatusCode, Error)> {
        answer(self.post("/api/runs/start", form).await).await
    }

    /// Starts a run with a scripted scenario.
    pub async fn start(&self, scenario: &str, text: &str) -> Started {
        let model = format!("scripted/{scenario}");
        self.try_start(&[("text", text), ("model", &model)])
            .await
            .expect("started")
    }

    pub async fn stop(&self, run: RunId, seen: Option<Seq>) -> Stopped {
        let (run, seen) = (run.to_string(), seen.map(|seen| seen.to_string()));
        let mut form = vec![("run", run.as_str())];
        form.extend(seen.as_deref().map(|seen| ("seen", seen)));
        answer(self.post("/api/runs/stop", &form).await)
            .await
            .expect("stopped")
    }

    pub async fn again(&self, command: &str, run: RunId) -> Result<Started, (StatusCode, Error)> {
        let path = format!("/api/runs/{command}");
        answer(self.post(&path, &[("run", &run.to_string())]).await).await
    }

    pub async fn load(&self, started: &Started) -> Conversation {
        self.load_conversation(started.conversation).await
    }

    pub async fn load_conversation(&self, id: ConversationId) -> Conversation {
        let path = format!("/api/conversations/load?id={id}");
        answer(self.get(&path).await).await.expect("loaded")
    }

    /// Follows a run after a cursor, frame by frame, to the end of the connection.
    pub async fn follow(
        &self,
        run: RunId,
        after: Seq,
    ) -> impl Stream<Item = Frame> + Unpin + use<> {
        let response = self
            .get(&format!("/api/runs/events?run={run}&after={after}"))
            .await;
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        frames(response)
    }

    /// Follows a run to its end, through as many connections as it takes.
    pub async fn fold(&self, run: RunId) -> Answer {
        let mut answer = Answer::default();
        tokio::time::timeout(PATIENCE, async {
            while answer.status.is_none() {
                let mut frames = self.follow(run, answer.seq).await;
                while let Some((seq, event)) = frames.next().await {
                    assert_ne!(answer.apply(seq.unwrap_or(0), &event), Applied::Gap);
                }
            }
        })
        .await
        .expect("the run ends");
        answer
    }
}

/// The frames of an event stream.
pub fn frames(response: Response) -> impl Stream<Item = Frame> + Unpin + use<> {
    let bytes = Box::pin(response.bytes_stream());
    Box::pin(futures::stream::unfold(
        (bytes, Decoder::new()),
        |(mut bytes, mut decoder)| async {
            loop {
                if let Some(frame) = decoder.next_event().expect("well-formed") {
                    let event = serde_json::from_str(&frame.data).expect("an event");
                    let seq = (!frame.id.is_empty()).then(|| frame.id.parse().expect("a number"));
                    let delivered = matches!(event, Event::Ping { .. } | Event::GoingAway { .. });
                    return Some(((seq.filter(|_| !delivered), event), (bytes, decoder)));
                }
                match tokio::time::timeout(PATIENCE, bytes.next())
                    .await
                    .expect("no hang")
                {
                    Some(Ok(chunk)) => decoder.push(&chunk),
                    Some(Err(_)) | None => return None,
                }
            }
        },
    ))
}

/// Reads on until there are so many bytes of text.
pub async fn read_on(
    frames: &mut (impl Stream<Item = Frame> + Unpin),
    seen: &mut Answer,
    bytes: u64,
) {
    while seen.visible_length() < bytes {
        let (seq, event) = frames.next().await.expect("more");
        seen.apply(seq.unwrap_or(0), &event);
    }
}

/// The body of an answer, or its error with its status.
pub async fn answer<T: serde::de::DeserializeOwned>(
    response: Response,
) -> Result<T, (StatusCode, Error)> {
    let status = response.status();
    parse(status, &response.bytes().await.expect("body"))
}

/// The same of a body that was read.
pub fn parse<T: serde::de::DeserializeOwned>(
    status: StatusCode,
    bytes: &[u8],
) -> Result<T, (StatusCode, Error)> {
    if status.is_success() {
        return Ok(serde_json::from_slice(bytes).expect("the documented body"));
    }
    let error = serde_json::from_slice(bytes)
        .unwrap_or_else(|_| panic!("{status}: {}", String::from_utf8_lossy(bytes)));
    Err((status, error))
}

/// What stands between a server and its clients.
#[derive(Default)]
pub struct Outside {
    pub limits: Limits,
    pub path: BasePath,
    pub tls: Option<Tls>,
}

/// A server in this process, on a free port, with the scripted provider and its own folder.
pub struct InProcess {
    pub api: Api,
    pub engine: Arc<Engine>,
    _data: TempDir,
}

impl InProcess {
    pub async fn start() -> Self {
        Self::with(|_| {}).await
    }

    pub async fn with(change: impl FnOnce(&mut Config)) -> Self {
        Self::within(Limits::default(), change).await
    }

    /// With other limits on its sockets.
    pub async fn within(limits: Limits, change: impl FnOnce(&mut Config)) -> Self {
        Self::built(limits, change, |builder| builder).await
    }

    /// With another way from its clients to it.
    pub async fn reached(outside: Outside) -> Self {
        Self::whole(outside, |_| {}, |builder| builder).await
    }

    /// With what only Rust can add to an engine.
    pub async fn built(
        limits: Limits,
        change: impl FnOnce(&mut Config),
        add: impl FnOnce(Builder) -> Builder,
    ) -> Self {
        let outside = Outside {
            limits,
            ..Outside::default()
        };
        Self::whole(outside, change, add).await
    }

    async fn whole(
        outside: Outside,
        change: impl FnOnce(&mut Config),
        add: impl FnOnce(Builder) -> Builder,
    ) -> Self {
        let data = tempfile::tempdir().expect("folder");
        let mut config = config(data.path());
        change(&mut config);
        let metrics = Metrics::default();
        let engine = add(Engine::builder(config).observer(metrics.clone()));
        let engine = engine.open().expect("opens");
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
            .await
            .expect("port");
        let address = listener.local_addr().expect("address");
        let options = LeptosOptions::builder().output_name("headwater").build();
        let routes = router(
            engine.clone(),
            metrics,
            options,
            Hosts::default(),
            outside.path,
        );
        let ended = engine.shutdown.cut.clone();
        let tls = outside
            .tls
            .map(|tls| tls.acceptor().expect("a certificate"));
        let scheme = if tls.is_some() { "https" } else { "http" };
        tokio::spawn(connections::serve(
            listener,
            routes,
            outside.limits,
            tls,
            ended,
        ));
        let api = Api::new(&format!("{scheme}://{address}"));
        Self {
            api,
            engine,
            _data: data,
        }
    }
}

/// Defaults, the scripted provider alone, a folder.
pub fn config(data: &Path) -> Config {
    let mut config = Config::new(data);
    config.script = Some(Script::Builtin);
    // One attempt: a test that is about more says so.
    config.recovery.attempts = 1;
    config.recovery.max_recoveries = 0;
    config
}

/// The provider “p” at this address, with the model “m”.
pub fn provider(kind: Kind, url: String) -> ProviderConfig {
    ProviderConfig {
        name: "p".into(),
        kind,
        url: Some(url),
        models: Some(vec!["m".into()]),
        ..ProviderConfig::default()
    }
}

/// The real program, to be killed.
pub struct Process {
    pub child: Child,
    pub api: Api,
    stderr: Arc<Mutex<String>>,
}

impl Process {
    /// Starts it and waits for its first line.
    pub fn start(data: &Path, arguments: &[&str]) -> Self {
        Self::try_start(data, arguments).unwrap_or_else(|error| panic!("did not start: {error}"))
    }

    /// Starts it; if it ends by itself, returns what it said on standard error.
    pub fn try_start(data: &Path, arguments: &[&str]) -> Result<Self, String> {
        Self::serve(program(data), arguments)
    }

    /// The same with a command that ends in the program.
    pub fn serve(mut program: Command, arguments: &[&str]) -> Result<Self, String> {
        let mut child = program
            .env("HEADWATER_ADDR", "127.0.0.1:0")
            .args(arguments)
            .arg("serve")
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let mut line = String::new();
        let stdout = child.stdout.take().expect("stdout");
        BufReader::new(stdout).read_line(&mut line).expect("a line");
        match line.trim().strip_prefix("listening on ") {
            Some(base) => {
                // It is read at once: a full pipe would stop the program.
                let stderr = child.stderr.take().expect("stderr");
                let said = Arc::<Mutex<String>>::default();
                let hear = said.clone();
                std::thread::spawn(move || {
                    for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                        let mut said = hear.lock().expect("lock");
                        said.push_str(&line);
                        said.push('\n');
                    }
                });
                Ok(Self {
                    api: Api::new(base),
                    child,
                    stderr: said,
                })
            }
            None => {
                let mut error = String::new();
                child
                    .stderr
                    .take()
                    .expect("stderr")
                    .read_to_string(&mut error)
                    .expect("text");
                child.wait().expect("ended");
                Err(error)
            }
        }
    }

    /// What it has said on standard error so far.
    pub fn said(&self) -> String {
        self.stderr.lock().expect("lock").clone()
    }

    /// What it has said on standard error once `text` is in it: the pipe is read beside the test.
    pub async fn has_said(&self, text: &str) -> String {
        let heard = async {
            while !self.said().contains(text) {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        let heard = tokio::time::timeout(PATIENCE, heard).await;
        assert!(heard.is_ok(), "no “{text}” in: {}", self.said());
        self.said()
    }

    /// `kill -9`.
    pub fn kill(mut self) {
        self.child.kill().expect("killed");
        self.child.wait().expect("ended");
    }

    /// SIGTERM; returns without waiting.
    pub fn terminate(&self) {
        let status = Command::new("kill")
            .arg(self.child.id().to_string())
            .status();
        assert!(status.expect("kill").success());
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The real program with the scripted provider and a folder.
pub fn program(data: &Path) -> Command {
    with_defaults(Command::new(env!("CARGO_BIN_EXE_headwater")), data)
}

/// The same without the rights that root has over other processes, where the tests run as root.
#[cfg(target_os = "linux")]
pub fn program_of_a_plain_user(data: &Path) -> Command {
    use std::os::unix::fs::MetadataExt;
    let is_root = std::fs::metadata("/proc/self").is_ok_and(|myself| myself.uid() == 0);
    if !is_root {
        return program(data);
    }
    let mut program = Command::new("setpriv");
    program.args(["--bounding-set=-all", "--inh-caps=-all"]);
    program.arg(env!("CARGO_BIN_EXE_headwater"));
    with_defaults(program, data)
}

fn with_defaults(mut program: Command, data: &Path) -> Command {
    for name in [
        "OPENAI_API_KEY",
        "ANTHROPIC_API_KEY",
        "GEMINI_API_KEY",
        "OLLAMA_HOST",
        "HEADWATER_FALLBACK",
        "HEADWATER_PROVIDER_URL",
        "HEADWATER_CONFIG",
        "HEADWATER_LOG_FORMAT",
    ] {
        program.env_remove(name);
    }
    program
        .env("HEADWATER_DATA", data)
        .env("HEADWATER_SCRIPT", "builtin")
        .env("HEADWATER_MODEL", "none")
        // A test that is about more than one attempt says so.
        .env("HEADWATER_ATTEMPTS", "1")
        .env("HEADWATER_ON_BREAK", "stop")
        .stdin(Stdio::null());
    program
}

/// Numbers that look random and are the same every time.
pub struct Random(pub u64);

impl Random {
    fn next(&mut self) -> u64 {
        // SplitMix64.
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number from 0 to just below `end`.
    pub fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }
}

/// Checks that a log has one end, and that it is the last entry, whatever was tried.
pub async fn ends_once(engine: &Engine, run: RunId) {
    let log = stored(engine, run).await;
    let ends = log.iter().filter(|entry| entry.event.is_terminal()).count();
    assert_eq!(ends, 1);
    assert!(log[log.len() - 1].event.is_terminal());
}

/// The stored log of a run, read as the program reads it.
pub async fn stored(engine: &Engine, run: RunId) -> Vec<Entry> {
    let log = engine.log.stored(run).await;
    log.expect("readable").after(0).collect()
}
