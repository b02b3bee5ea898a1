//! Every failure of every vendor, through the whole server.
//!
//! A cell of the matrix is one failure of one vendor on its first connection. It is tried in all
//! ways of recovery: whatever happens, the answer is exact or there is one error of the expected
//! code, the log has one end, and no socket stays open.

use crate::{
    asking::{Way, ask, server},
    cells::{Cell, cells},
    harness::{InProcess, provider},
    proxy::{End, Faults, Proxy},
    upstream::{Reply, Upstream},
    vendors::{ALL, ANTHROPIC, GEMINI, OPENAI, RESPONSES, TEXT, Vendor},
};
use futures::future::join_all;
use headwater_protocol::{BlockKind, Status};
use std::time::{Duration, Instant};

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
            .map(|set| (set.cell.name.to_owned(), set.proxy.url("")))
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
    for vendor in ALL {
        let upstream = Upstream::start(vec![Reply::chunked(vendor.tools)]).await;
        for slice in [1, 2, 7, 4096] {
            let faults = Faults {
                slice: Some(slice),
                ..Faults::default()
            };
            let proxy = Proxy::start(upstream.address, vec![faults]).await;
            let providers = [("p".to_owned(), proxy.url(""))];
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
    for vendor in ALL {
        let upstream = Upstream::start(vec![Reply::stream(vendor.text)]).await;
        let silent = Faults {
            end: End::Silent(vendor.half_at()),
            ..Faults::default()
        };
        let proxy = Proxy::start(upstream.address, vec![silent]).await;
        let server = InProcess::with(|config| {
            config.providers = vec![provider(vendor.kind, proxy.url(""))];
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
