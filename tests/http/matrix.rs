//! Every failure of every vendor, through the whole server.
//!
//! A cell of the matrix is one failure of one vendor on its first connection. It is tried in all
//! ways of recovery: whatever happens, the answer is exact or there is one error of the expected
//! code, the log has one end, and no socket stays open.

use crate::{
    harness::{InProcess, stored},
    proxy::{End, Faults, Proxy},
    upstream::{Reply, Upstream},
    vendors::{ANTHROPIC, GEMINI, OPENAI, RESPONSES, TEXT, Vendor},
};
use futures::future::join_all;
use headwater::{
    chat::Answer,
    protocol::{BlockKind, ErrorCode, Status},
    server::{
        config::ProviderConfig,
        engine::recovery::{OnBreak, Recovery},
    },
};
use std::time::{Duration, Instant};

/// What happens to the first connection, and what comes of it where nothing is tried again.
struct Cell {
    name: &'static str,
    reply: Reply,
    faults: Faults,
    /// The error; `None` for what harms nobody.
    error: Option<ErrorCode>,
    /// Whether half of the text is there by then.
    wrote: bool,
}

fn cells(vendor: Vendor) -> Vec<Cell> {
    use ErrorCode::*;
    let whole = || Reply::stream(vendor.text);
    let half = vendor.half();
    let at = vendor.half_at();
    let clean = Faults::default;
    let ending = |end| Faults { end, ..clean() };
    let failing = |body: &str| Reply::stream(format!("{half}{body}"));
    let cell = |name, reply, faults, error: Option<ErrorCode>, wrote| Cell {
        name,
        reply,
        faults,
        error,
        wrote,
    };
    let error = r#"{"error":{"message":"Not now."}}"#;
    let status = |line: &str| Reply::status(line, error);
    let comments = ": nothing yet\n\n".repeat(3);
    let huge = format!("data: {}\n\n", "x".repeat(9 << 20));
    vec![
        cell(
            "429",
            status("429 Slow\r\nretry-after: 1"),
            clean(),
            Some(RateLimited),
            false,
        ),
        cell("500", status("500 Oh"), clean(), Some(ProviderError), false),
        cell("503", status("503 Busy"), clean(), Some(Overloaded), false),
        cell("529", status("529 Busy"), clean(), Some(Overloaded), false),
        cell(
            "slow-first-token",
            whole(),
            Faults {
                delay: Duration::from_millis(400),
                ..clean()
            },
            None,
            false,
        ),
        cell(
            "no-first-token",
            whole(),
            ending(End::Silent(0)),
            Some(FirstTokenTimeout),
            false,
        ),
        cell(
            "comments-for-ever",
            Reply::stream(format!("{comments}{}", vendor.text)),
            ending(End::Silent(comments.len())),
            Some(FirstTokenTimeout),
            false,
        ),
        cell("stall", whole(), ending(End::Silent(at)), Some(Stall), true),
        cell(
            "stall-in-line",
            whole(),
            ending(End::Silent(at + 9)),
            Some(Stall),
            true,
        ),
        cell(
            "reset",
            whole(),
            ending(End::Reset(at)),
            Some(Connection),
            true,
        ),
        cell(
            "reset-at-once",
            whole(),
            ending(End::Reset(0)),
            Some(Connection),
            false,
        ),
        // The line with the chunk's length is a few bytes more.
        cell(
            "fin-in-chunk",
            Reply::chunked(vendor.text),
            ending(End::Closed(at + 8)),
            Some(Connection),
            true,
        ),
        cell(
            "fin",
            whole(),
            ending(End::Closed(at)),
            Some(Truncated),
            true,
        ),
        cell(
            "fin-in-line",
            whole(),
            ending(End::Closed(at + 9)),
            Some(Truncated),
            true,
        ),
        cell(
            "silent-truncation",
            Reply::chunked(half),
            clean(),
            Some(Truncated),
            true,
        ),
        cell(
            "malformed",
            failing("data: {\"broken\n\n"),
            clean(),
            Some(Malformed),
            true,
        ),
        cell(
            "page",
            Reply::stream("<html>Sorry</html>"),
            clean(),
            Some(Malformed),
            false,
        ),
        cell(
            "error",
            failing(vendor.error.0),
            clean(),
            Some(vendor.error.1),
            true,
        ),
        cell("empty", Reply::stream(""), clean(), Some(Truncated), false),
        cell(
            "comments-only",
            Reply::stream(comments),
            clean(),
            Some(Truncated),
            false,
        ),
        cell(
            "huge-line",
            Reply::stream(huge),
            clean(),
            Some(Malformed),
            false,
        ),
        cell(
            "single-bytes",
            whole(),
            Faults {
                slice: Some(1),
                ..clean()
            },
            None,
            false,
        ),
        cell(
            "slow-bytes",
            whole(),
            Faults {
                slice: Some(97),
                rate: Some(8000),
                ..clean()
            },
            None,
            false,
        ),
        cell(
            "crlf",
            Reply::stream(vendor.text.replace('\n', "\r\n")),
            clean(),
            None,
            false,
        ),
        cell(
            "cr",
            Reply::stream(vendor.text.replace('\n', "\r")),
            Faults {
                slice: Some(3),
                ..clean()
            },
            None,
            false,
        ),
        cell(
            "bom",
            Reply::stream(format!("\u{feff}{}", vendor.text)),
            Faults {
                slice: Some(1),
                ..clean()
            },
            None,
            false,
        ),
    ]
}

/// What is done about failures.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Way {
    /// Nothing.
    Alone,
    /// The broken answer is begun anew.
    Anew,
    /// The broken answer is continued; the model repeats all that it said.
    Continued,
    /// It is tried again, and all the other connections fail as well.
    InVain,
}

impl Way {
    fn recovery(self) -> Recovery {
        let tries = u32::from(self != Self::Alone);
        Recovery {
            attempts: 1 + tries,
            mends: tries,
            pause: Duration::from_millis(20),
            on_break: match self {
                Self::Continued => OnBreak::Continue,
                _ => OnBreak::Restart,
            },
            ..Recovery::default()
        }
    }
}

/// A cell with its sockets.
struct Set {
    cell: Cell,
    upstream: Upstream,
    proxy: Proxy,
}

async fn set(vendor: Vendor, way: Way, cell: Cell) -> Set {
    let (replies, script) = match way {
        Way::InVain => (vec![cell.reply.clone()], vec![cell.faults.clone(); 9]),
        _ => (
            vec![cell.reply.clone(), Reply::stream(vendor.text)],
            vec![cell.faults.clone()],
        ),
    };
    let upstream = Upstream::start(replies).await;
    let proxy = Proxy::start(upstream.address, script).await;
    Set {
        cell,
        upstream,
        proxy,
    }
}

async fn server(vendor: Vendor, recovery: Recovery, providers: &[(&str, String)]) -> InProcess {
    InProcess::with(|config| {
        config.recovery = recovery;
        config.deadlines.first_token = Duration::from_millis(1500);
        config.deadlines.between_tokens = Duration::from_millis(1000);
        config.providers = providers
            .iter()
            .map(|(name, url)| ProviderConfig {
                name: (*name).to_owned(),
                kind: vendor.kind,
                url: Some(url.clone()),
                models: Some(vec!["m".into()]),
                ..ProviderConfig::default()
            })
            .collect();
    })
    .await
}

/// Asks, and checks what must hold whatever happens: one end, the last entry, and the same text for
/// whoever loads the page later.
async fn ask(server: &InProcess, provider: &str) -> Answer {
    let model = format!("{provider}/m");
    let started = server
        .api
        .try_start(&[("text", "Go"), ("model", &model)])
        .await
        .expect("started");
    let answer = server.api.fold(started.run).await;
    let log = stored(&server.app, started.run).await;
    let ends = log.iter().filter(|entry| entry.event.is_terminal()).count();
    assert!(
        ends == 1 && log[log.len() - 1].event.is_terminal(),
        "{provider}"
    );
    let loaded = server.api.load(&started).await;
    assert_eq!(
        loaded.messages[1].visible_text(),
        answer.visible_text(),
        "{provider}"
    );
    assert_eq!(
        answer.error.is_some(),
        answer.status == Some(Status::Error),
        "{provider}"
    );
    answer
}

async fn check(server: &InProcess, vendor: Vendor, way: Way, set: &Set) {
    let cell = &set.cell;
    let at = format!("{} {} {way:?}", vendor.name, cell.name);
    let since = Instant::now();
    let answer = ask(server, cell.name).await;
    let text = answer.visible_text();
    // A page instead of a stream is a wrong address, which does not pass by itself.
    let passes = cell.name != "page";
    let tries = match cell.error {
        Some(_) if way != Way::Alone && passes => 2,
        _ => 1,
    };
    let error = cell
        .error
        .filter(|_| matches!(way, Way::Alone | Way::InVain) || !passes);
    assert_eq!(
        answer.error.as_ref().map(|error| error.code),
        error,
        "{at}: {:?}",
        answer.error
    );
    match error {
        None => assert_eq!(text, TEXT, "{at}"),
        Some(_) => {
            assert!(
                TEXT.starts_with(&text) && text.len() < TEXT.len(),
                "{at}: {text:?}"
            );
            assert_eq!(!text.is_empty(), cell.wrote, "{at}");
        }
    }
    assert_eq!(answer.spans.len(), tries, "{at}");
    assert_eq!(set.upstream.requests().len(), tries, "{at}");
    assert_eq!(set.proxy.accepted(), tries, "{at}");
    if cell.name == "429" && tries == 2 {
        assert!(since.elapsed() >= Duration::from_secs(1), "{at}: too early");
    }
    let seams = (0..answer.blocks.len()).filter(|at| answer.is_seam(*at));
    let expected = usize::from(way == Way::Continued && cell.wrote);
    assert_eq!(seams.count(), expected, "{at}");
    let closed = set.proxy.closed_within(Duration::from_secs(5)).await;
    assert!(
        closed.is_some(),
        "{at}: open sockets {:?}",
        set.proxy.open()
    );
}

async fn matrix(vendor: Vendor) {
    for way in [Way::Alone, Way::Anew, Way::Continued, Way::InVain] {
        let sets = join_all(cells(vendor).into_iter().map(|cell| set(vendor, way, cell))).await;
        let providers: Vec<_> = sets
            .iter()
            .map(|set| (set.cell.name, set.proxy.url("")))
            .collect();
        let server = server(vendor, way.recovery(), &providers).await;
        join_all(sets.iter().map(|set| check(&server, vendor, way, set))).await;
    }
}

#[tokio::test]
async fn every_failure_of_chat_completions() {
    matrix(OPENAI).await;
}

#[tokio::test]
async fn every_failure_of_responses() {
    matrix(RESPONSES).await;
}

#[tokio::test]
async fn every_failure_of_anthropic() {
    matrix(ANTHROPIC).await;
}

#[tokio::test]
async fn every_failure_of_gemini() {
    matrix(GEMINI).await;
}

#[tokio::test]
async fn arguments_of_tools_are_exact_however_they_are_split() {
    for vendor in [OPENAI, RESPONSES, ANTHROPIC, GEMINI] {
        let upstream = Upstream::start(vec![Reply::chunked(vendor.tools)]).await;
        for slice in [1, 2, 7, 4096] {
            let faults = Faults {
                slice: Some(slice),
                ..Faults::default()
            };
            let proxy = Proxy::start(upstream.address, vec![faults]).await;
            let providers = [("p", proxy.url(""))];
            let server = server(vendor, Way::Alone.recovery(), &providers).await;
            let answer = ask(&server, "p").await;
            assert_eq!(
                answer.status,
                Some(Status::Ok),
                "{} by {slice}",
                vendor.name
            );
            let calls: Vec<_> = answer
                .blocks
                .iter()
                .filter(|block| block.kind == BlockKind::ToolInput)
                .map(|block| {
                    let name = block.tool.as_ref().map_or("", |tool| tool.name.as_str());
                    (name, block.text.as_str())
                })
                .collect();
            assert_eq!(calls, vendor.calls, "{} by {slice}", vendor.name);
        }
    }
}

#[tokio::test]
async fn a_stop_closes_the_providers_socket() {
    for vendor in [OPENAI, RESPONSES, ANTHROPIC, GEMINI] {
        let upstream = Upstream::start(vec![Reply::stream(vendor.text)]).await;
        let silent = Faults {
            end: End::Silent(vendor.half_at()),
            ..Faults::default()
        };
        let proxy = Proxy::start(upstream.address, vec![silent]).await;
        let server = InProcess::with(|config| {
            config.providers = vec![ProviderConfig {
                name: "p".into(),
                kind: vendor.kind,
                url: Some(proxy.url("")),
                models: Some(vec!["m".into()]),
                ..ProviderConfig::default()
            }];
        })
        .await;
        let form = [("text", "Go"), ("model", "p/m")];
        let started = server.api.try_start(&form).await.expect("started");
        let written = async {
            while server.api.load(&started).await.messages[1]
                .visible_text()
                .is_empty()
            {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let patience = Duration::from_secs(10);
        tokio::time::timeout(patience, written).await.expect("text");
        assert_eq!(proxy.open(), (1, 1), "{}", vendor.name);
        let since = Instant::now();
        server.api.stop(started.run, None).await;
        let closed = proxy.closed_within(Duration::from_secs(1)).await;
        assert!(closed.is_some(), "{}: {:?}", vendor.name, proxy.open());
        assert!(since.elapsed() < Duration::from_secs(1));
        let answer = server.api.fold(started.run).await;
        assert_eq!(answer.status, Some(Status::Cancelled));
        assert!(TEXT.starts_with(&answer.visible_text()));
    }
}
