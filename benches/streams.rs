//! What the server adds to a stream: latency for each token, processor time for 1,000 tokens,
//! memory for an open stream.
//!
//! An upstream in this process writes the time into every token; the real program relays them in
//! a process of its own, through its log; readers in this process compare the times. The same
//! readers read the upstream directly, and the difference is what the server adds.
//!
//! `cargo bench --bench streams -- [RUNS] [SECONDS]`, by default 200 runs for 60 seconds.

use axum::{
    Router,
    body::Body,
    response::{IntoResponse, Response},
    routing::post,
    serve::ListenerExt,
};
use futures::{StreamExt, future::join_all, stream};
use headwater_engine::provider::sse::Decoder;
use headwater_protocol::{
    BlockKind, Event, SpanKind, Started, Status,
    chat::{Answer, Applied},
};
use std::{
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
    sync::OnceLock,
    time::{Duration, Instant},
};
use tokio::time::sleep_until;

/// Tokens a second that each upstream stream sends.
const PACE: u32 = 50;

/// Bytes of a token.
const TOKEN: usize = 10;

/// Streams that are opened and left alone to see what one costs in memory.
const PARKED: usize = 1000;

static CLOCK: OnceLock<Instant> = OnceLock::new();

/// Microseconds on the one clock that writer and readers share.
fn now() -> u64 {
    CLOCK.get_or_init(Instant::now).elapsed().as_micros() as u64
}

fn main() {
    // `cargo bench` adds `--bench`.
    let mut numbers = std::env::args()
        .skip(1)
        .filter_map(|word| word.parse::<u64>().ok());
    let runs = numbers.next().unwrap_or(200) as usize;
    let seconds = numbers.next().unwrap_or(60);
    let runtime = tokio::runtime::Runtime::new().expect("runtime");
    runtime.block_on(bench(runs, seconds));
}

async fn bench(runs: usize, seconds: u64) {
    now();
    let upstream = upstream(seconds).await;
    println!("{runs} runs at once, {PACE} tokens a second each, for {seconds} s\n");
    let direct = join_all((0..runs).map(|_| read_direct(&upstream)))
        .await
        .concat();
    report("directly", &direct);

    let server = Server::start(&upstream);
    let http = client();
    parked(&http, &server).await;
    let before = server.cpu();
    let disk = server.written();
    let begin = server.memory();
    let readers = join_all((0..runs).map(|_| read_through(&http, &server.base)));
    let samples = async {
        tokio::time::sleep(Duration::from_secs(seconds / 2)).await;
        server.memory()
    };
    let (through, middle) = futures::join!(readers, samples);
    let end = server.memory();
    let through = through.concat();
    report("through the server", &through);
    let expected = runs * (seconds as usize * PACE as usize);
    assert_eq!(through.len(), expected, "no token is lost or doubled");
    println!("\nlost or doubled tokens: 0 of {expected}");
    let added = |share| percentile(&through, share).saturating_sub(percentile(&direct, share));
    println!(
        "added latency a token: p50 {:.2} ms, p99 {:.2} ms (expected: under 1 and 5)",
        added(50.0) as f64 / 1000.0,
        added(99.0) as f64 / 1000.0
    );
    let cpu = server.cpu() - before;
    println!(
        "processor time: {:.2} ms for 1,000 tokens ({:.0} % of one core)",
        cpu.as_secs_f64() * 1000.0 / (expected as f64 / 1000.0),
        cpu.as_secs_f64() * 100.0 / seconds as f64
    );
    println!(
        "memory: {begin} kB before, {middle} kB half-way, {end} kB at the end \
         ({:.1} bytes for each token half-way, log and answers included)",
        (middle.saturating_sub(begin) * 1024) as f64 / (expected as f64 / 2.0)
    );
    let text = expected as f64 * TOKEN as f64;
    println!(
        "disk: {:.1} bytes written for each byte of text",
        (server.written() - disk) as f64 / text
    );
    read_back(&http, &server).await;
    arguments();
}

/// How long the fold of a tool call's arguments takes: it has to be linear in their length.
fn arguments() {
    const PIECE: &str = "\"twenty bytes here\",";
    let fold = |deltas: u64| {
        let mut answer = Answer::default();
        let mut events = vec![
            Event::SpanStarted {
                span: 1,
                parent: None,
                kind: SpanKind::ChatModel,
                name: String::new(),
                tags: Vec::new(),
                metadata: serde_json::Value::Null,
                input: serde_json::Value::Null,
                replaces: None,
            },
            Event::BlockStarted {
                span: 1,
                block: 1,
                kind: BlockKind::ToolInput,
                tool: None,
            },
        ];
        events.extend((0..deltas).map(|_| Event::Delta {
            span: 1,
            block: 1,
            text: PIECE.into(),
            from: None,
        }));
        let begin = Instant::now();
        for (seq, event) in (1..).zip(&events) {
            answer.apply(seq, event);
        }
        let took = begin.elapsed();
        assert_eq!(answer.blocks[0].text.len(), PIECE.len() * deltas as usize);
        took.as_secs_f64() * 1e9 / deltas as f64
    };
    fold(16_000);
    let (small, middle, large) = (fold(4_000), fold(16_000), fold(64_000));
    println!(
        "folding a tool's arguments: {small:.0} ns a delta of 4,000, {middle:.0} of 16,000 (320 kB), \
         {large:.0} of 64,000 (1 : {:.1} : {:.1})",
        middle / small,
        large / small
    );
}

/// Memory for a stream that is open and waits for its first token.
async fn parked(http: &reqwest::Client, server: &Server) {
    let started = start(http, &server.base, "scripted/silent").await;
    let before = server.memory();
    let url = format!("{}/api/runs/events?run={}", server.base, started.run);
    let mut streams = Vec::new();
    for _ in 0..PARKED {
        let mut bytes = http.get(&url).send().await.expect("answer").bytes_stream();
        bytes.next().await.expect("a ping").expect("bytes");
        streams.push(bytes);
    }
    let cost = server.memory().saturating_sub(before) as f64 / PARKED as f64;
    println!("memory for an open stream: {cost:.1} kB ({PARKED} of them)");
}

/// How fast a finished answer comes back to a page that was away.
async fn read_back(http: &reqwest::Client, server: &Server) {
    let started = start(http, &server.base, "scripted/firehose").await;
    let first = Instant::now();
    let whole = follow(http, &server.base, &started, |_| {}).await;
    let written = first.elapsed();
    let again = Instant::now();
    let read = follow(http, &server.base, &started, |_| {}).await;
    assert_eq!(read, whole);
    println!(
        "{} entries, {} kB of text: written and read in {:.0} ms, read back in {:.1} ms (1 : {:.0})",
        whole.seq,
        whole.visible_length() / 1024,
        written.as_secs_f64() * 1000.0,
        again.elapsed().as_secs_f64() * 1000.0,
        written.as_secs_f64() / again.elapsed().as_secs_f64()
    );
}

/// An OpenAI-compatible upstream whose tokens are ten digits: the microsecond they were sent.
async fn upstream(seconds: u64) -> String {
    let app = Router::new().route("/v1/chat/completions", post(move || answer(seconds)));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("port");
    let address = listener.local_addr().expect("address");
    let listener = listener.tap_io(|socket| {
        let _ = socket.set_nodelay(true);
    });
    tokio::spawn(async move { axum::serve(listener, app).await });
    format!("http://{address}/v1")
}

async fn answer(seconds: u64) -> Response {
    let start = tokio::time::Instant::now();
    let tokens = seconds as u32 * PACE;
    let body = stream::unfold(0u32, move |sent| async move {
        if sent > tokens {
            return None;
        }
        sleep_until(start + Duration::from_secs(1) * sent / PACE).await;
        let line = if sent == tokens {
            "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n"
                .to_owned()
        } else {
            format!(
                "data: {{\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\"{:010}\"}}}}]}}\n\n",
                now()
            )
        };
        Some((Ok::<_, std::convert::Infallible>(line), sent + 1))
    });
    (
        [("content-type", "text/event-stream")],
        Body::from_stream(body),
    )
        .into_response()
}

fn client() -> reqwest::Client {
    reqwest::Client::builder()
        .no_proxy()
        .tcp_nodelay(true)
        .build()
        .expect("client")
}

/// Latencies of an upstream stream read without the server, in microseconds.
async fn read_direct(upstream: &str) -> Vec<u64> {
    let response = client()
        .post(format!("{upstream}/chat/completions"))
        .send()
        .await
        .expect("answer");
    let mut bytes = response.bytes_stream();
    let (mut decoder, mut latencies) = (Decoder::new(), Vec::new());
    while let Some(chunk) = bytes.next().await {
        decoder.push(&chunk.expect("bytes"));
        while let Some(frame) = decoder.next_event().expect("well-formed") {
            if let Some((_, rest)) = frame.data.split_once("\"content\":\"") {
                latencies.push(now() - rest[..10].parse::<u64>().expect("digits"));
            }
        }
    }
    latencies
}

/// Latencies of a run read through the server.
async fn read_through(http: &reqwest::Client, base: &str) -> Vec<u64> {
    let started = start(http, base, "custom/bench").await;
    let mut latencies = Vec::new();
    let answer = follow(http, base, &started, |text| {
        let arrived = now();
        for digits in text.as_bytes().chunks(10) {
            let sent: u64 = std::str::from_utf8(digits)
                .expect("digits")
                .parse()
                .expect("digits");
            latencies.push(arrived - sent);
        }
    })
    .await;
    assert_eq!(answer.status, Some(Status::Ok), "{:?}", answer.error);
    latencies
}

async fn start(http: &reqwest::Client, base: &str, model: &str) -> Started {
    let form = [("text", "Go"), ("model", model)];
    let response = http
        .post(format!("{base}/api/runs/start"))
        .form(&form)
        .send()
        .await
        .expect("answer");
    serde_json::from_slice(&response.bytes().await.expect("body")).expect("started")
}

async fn follow(
    http: &reqwest::Client,
    base: &str,
    started: &Started,
    mut text_came: impl FnMut(&str),
) -> Answer {
    let mut answer = Answer::default();
    while answer.status.is_none() {
        let url = format!(
            "{base}/api/runs/events?run={}&after={}",
            started.run, answer.seq
        );
        let mut bytes = http.get(url).send().await.expect("answer").bytes_stream();
        let mut decoder = Decoder::new();
        while let Some(chunk) = bytes.next().await {
            decoder.push(&chunk.expect("bytes"));
            while let Some(frame) = decoder.next_event().expect("well-formed") {
                let event: Event = serde_json::from_str(&frame.data).expect("an event");
                let applied = answer.apply(frame.id.parse().unwrap_or(0), &event);
                assert_ne!(applied, Applied::Gap);
                if let (Applied::New, Event::Delta { text, .. }) = (applied, &event) {
                    text_came(text);
                }
            }
        }
    }
    answer
}

fn percentile(latencies: &[u64], share: f64) -> u64 {
    let mut sorted = latencies.to_vec();
    sorted.sort_unstable();
    let rank = (sorted.len() as f64 * share / 100.0) as usize;
    sorted
        .get(rank.min(sorted.len().saturating_sub(1)))
        .copied()
        .unwrap_or(0)
}

fn report(way: &str, latencies: &[u64]) {
    let ms = |share| percentile(latencies, share) as f64 / 1000.0;
    println!(
        "{way:>20}: p50 {:.2} ms, p99 {:.2} ms, p99.9 {:.2} ms, {} tokens",
        ms(50.0),
        ms(99.0),
        ms(99.9),
        latencies.len()
    );
}

/// The real program.
struct Server {
    child: Child,
    base: String,
    _data: tempfile::TempDir,
}

impl Server {
    fn start(upstream: &str) -> Self {
        let data = tempfile::tempdir().expect("folder");
        let mut child = Command::new(env!("CARGO_BIN_EXE_headwater"))
            .args([
                "--addr",
                "127.0.0.1:0",
                "--model",
                "none",
                "--script",
                "builtin",
            ])
            .args(["--provider-url", upstream, "serve"])
            .env("HEADWATER_DATA", data.path())
            .env("HEADWATER_LOG", "warn")
            .env_remove("OPENAI_API_KEY")
            .stdout(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let mut line = String::new();
        let stdout = child.stdout.take().expect("stdout");
        BufReader::new(stdout).read_line(&mut line).expect("a line");
        let base = line
            .trim()
            .strip_prefix("listening on ")
            .expect("an address")
            .to_owned();
        Self {
            child,
            base,
            _data: data,
        }
    }

    /// Processor time so far, of all threads.
    fn cpu(&self) -> Duration {
        let stat =
            std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap_or_default();
        let ticks: u64 = stat
            .rsplit(") ")
            .next()
            .unwrap_or_default()
            .split(' ')
            .skip(11)
            .take(2)
            .filter_map(|word| word.parse::<u64>().ok())
            .sum();
        // Linux counts in hundredths of a second on every machine we know.
        Duration::from_millis(ticks * 10)
    }

    /// Bytes that the process has had written to the disk.
    fn written(&self) -> u64 {
        let io = std::fs::read_to_string(format!("/proc/{}/io", self.child.id()));
        io.unwrap_or_default()
            .lines()
            .find_map(|line| line.strip_prefix("write_bytes: ")?.parse().ok())
            .unwrap_or(0)
    }

    /// Resident memory in kilobytes.
    fn memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))
            .unwrap_or_default();
        status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:"))
            .and_then(|rest| rest.trim().split(' ').next()?.parse().ok())
            .unwrap_or(0)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
