//! `kill -9` in the middle of answers, again and again on one folder: what a reader saw is there after
//! the next start, with one end and no gap.

use crate::{
    bench::Bench,
    clock::now,
    http::{self, Response},
    load::{events, new_id},
    peers::Headwater,
    prompt::Prompt,
    report::Table,
    stamp::Scanner,
};
use serde_json::Value;
use std::{net::SocketAddr, time::Duration};
use tokio::task::JoinHandle;

/// Answers that are being written when the server is killed.
const ANSWERS: usize = 4;

/// A token's number and time.
type Stamp = (u32, u64);

/// What was found over all kills.
#[derive(Debug, Default)]
struct Found {
    answers: u32,
    seen: u64,
    lost: u32,
    gaps: u32,
    ends: u32,
    first: Option<String>,
}

pub(super) async fn run(bench: &mut Bench) -> Result<(), String> {
    let kills = bench.pick(20, 1_000);
    let setup = bench.setup.clone();
    let folder = setup.folder()?;
    let data = folder.path().join("data");
    let mut found = Found::default();
    let mut before: Vec<(String, Vec<Stamp>)> = Vec::new();
    let begin = now();
    for kill in 0..=kills {
        let mut server = Headwater::start(&setup, &data).await?;
        for (run, seen) in before.drain(..) {
            check(server.address, &run, &seen, &mut found).await?;
        }
        if kill == kills {
            break;
        }
        before = interrupted(&mut server).await?;
        if kill % 100 == 99 {
            eprintln!("bench: {} kills", kill + 1);
        }
    }
    bench.report.section(
        "Kill",
        &format!(
            "{kills} times, one after the other on one folder, the server is killed with SIGKILL in the \
             middle of {ANSWERS} answers that are being read, after 20 to 200 ms, and started again. \
             It took {:.0} s.",
            (now() - begin) as f64 / 1e9
        ),
    );
    let mut table = Table::new(["", ""]);
    table.row(["answers", &found.answers.to_string()]);
    table.row(["tokens that readers had seen", &found.seen.to_string()]);
    table.row(["answers that lack what was seen", &found.lost.to_string()]);
    table.row(["answers with a gap in their log", &found.gaps.to_string()]);
    table.row([
        "answers without exactly one end, last",
        &found.ends.to_string(),
    ]);
    bench.report.table(&table);
    if let Some(first) = &found.first {
        bench.report.say(&format!("The first fault: {first}."));
    }
    let faults = f64::from(found.lost + found.gaps + found.ends);
    bench
        .report
        .at_most("faults after kill -9", Some(faults), 0.0, "");
    Ok(())
}

/// Has answers written and read, and kills the server in the middle. Returns what the readers saw.
async fn interrupted(server: &mut Headwater) -> Result<Vec<(String, Vec<Stamp>)>, String> {
    let mut reading: Vec<(String, JoinHandle<Vec<Stamp>>)> = Vec::new();
    for _ in 0..ANSWERS {
        let prompt = Prompt {
            id: new_id(),
            ..Prompt::new(1_000, 200)
        };
        let opened = server.target().open(prompt).await;
        let run = opened.map_err(|error| error.to_string())?.run;
        let (address, request) = (server.address, events(&run, 0));
        reading.push((
            run,
            tokio::spawn(async move { read(address, &request).await }),
        ));
    }
    tokio::time::sleep(Duration::from_millis(fastrand::u64(20..200))).await;
    server.process.kill();
    let mut seen = Vec::new();
    for (run, reader) in reading {
        seen.push((run, reader.await.map_err(|error| error.to_string())?));
    }
    Ok(seen)
}

/// Reads until the server is gone.
async fn read(address: SocketAddr, request: &[u8]) -> Vec<Stamp> {
    let (mut seen, mut scanner, mut response) =
        (Vec::new(), Scanner::default(), Response::default());
    let Ok(socket) = http::connect(address).await else {
        return seen;
    };
    if http::write(&socket, request).await.is_err() {
        return seen;
    }
    while let Ok(Ok(())) = http::read(&socket, |bytes| {
        response.push(bytes, |part| {
            scanner.scan(part, &mut |seq, at| seen.push((seq, at)));
        })
    })
    .await
    {}
    seen
}

/// Reads the log of a run after the next start, and compares.
async fn check(
    address: SocketAddr,
    run: &str,
    seen: &[Stamp],
    found: &mut Found,
) -> Result<(), String> {
    let (_, body) = http::call(address, &events(run, 0))
        .await
        .map_err(|error| format!("the log of a killed run cannot be read: {error}"))?;
    let (mut kept, mut scanner) = (Vec::new(), Scanner::default());
    scanner.scan(&body, &mut |seq, at| kept.push((seq, at)));
    let lost = !kept.starts_with(seen);
    let (gap, end) = log_faults(&String::from_utf8_lossy(&body));
    found.answers += 1;
    found.seen += seen.len() as u64;
    found.lost += u32::from(lost);
    found.gaps += u32::from(gap);
    found.ends += u32::from(end);
    if found.first.is_none() && (lost || gap || end) {
        found.first = Some(format!(
            "run {run}: {} tokens seen, {} kept, gap {gap}, end wrong {end}",
            seen.len(),
            kept.len()
        ));
    }
    Ok(())
}

/// Whether the entries of a log have a gap, and whether its end is not one, and last.
fn log_faults(stream: &str) -> (bool, bool) {
    let (mut next, mut gap, mut ends, mut last) = (1, false, 0, String::new());
    for frame in stream.split("\n\n") {
        let field = |name: &str| frame.lines().find_map(|line| line.strip_prefix(name));
        let (Some(id), Some(data)) = (field("id:"), field("data:")) else {
            continue;
        };
        let event: Value = serde_json::from_str(data).unwrap_or_default();
        let id: u64 = id.trim().parse().unwrap_or(0);
        // A frame may be several entries; it names the first.
        gap |= event["from"].as_u64().unwrap_or(id) != next;
        next = id + 1;
        last = event["type"].as_str().unwrap_or_default().to_owned();
        ends += u32::from(last == "run_finished");
    }
    (gap, ends != 1 || last != "run_finished")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_and_ends_of_a_log_are_seen() {
        let start =
            "retry:1000\ndata:{\"type\":\"ping\"}\n\nid:1\ndata:{\"type\":\"run_started\"}\n\n";
        let delta = "id:3\ndata:{\"type\":\"delta\",\"from\":2}\n\n";
        let end = "id:4\ndata:{\"type\":\"run_finished\"}\n\n";
        assert_eq!(log_faults(&[start, delta, end].concat()), (false, false));
        assert_eq!(log_faults(&[start, end].concat()), (true, false));
        assert_eq!(log_faults(&[start, delta].concat()), (false, true));
        assert_eq!(log_faults(&[start, delta, end, end].concat()), (true, true));
    }
}
