//! How long the server takes to answer its first request: with an empty folder, with a large one, and
//! with a large one whose server was killed.

use crate::{
    bench::Bench,
    clock::{ms, now},
    http,
    load::{Target, new_id},
    peers::{Headwater, Setup},
    prompt::Prompt,
    report::Table,
    stamp,
    stats::Spread,
};
use std::{
    fs,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

/// Tokens of a stored answer, each of [`TOKEN`] bytes: with what is kept for the search, 100 KB.
const TOKENS: u32 = 12;

/// Bytes of a token of a stored answer.
const TOKEN: u32 = 4_096;

/// Answers that are written at once while the folder is filled.
const WRITERS: usize = 32;

pub(super) async fn run(bench: &mut Bench) -> Result<(), String> {
    let starts = bench.pick(3, 10);
    let conversations = bench.pick(200, 10_000);
    let setup = bench.setup.clone();
    let mut table = Table::new(["", "ms to the first answer"]);

    let mut times = Vec::new();
    for _ in 0..starts {
        let folder = setup.folder()?;
        let (_, took) = timed(&setup, &folder.path().join("data")).await?;
        times.push(took);
    }
    let empty = Spread::of(times);
    table.row(["an empty folder".to_owned(), show(empty)]);

    let folder = setup.folder()?;
    let data = folder.path().join("data");
    fill(&setup, &data, conversations).await?;
    let mut times = Vec::new();
    for _ in 0..starts {
        let (mut server, took) = timed(&setup, &data).await?;
        server.process.stop();
        times.push(took);
    }
    let large = Spread::of(times);
    let size = size(&data) as f64 / 1e9;
    table.row([
        format!("{conversations} conversations, {size:.2} GB"),
        show(large),
    ]);

    let mut times = Vec::new();
    let (mut server, _) = timed(&setup, &data).await?;
    for _ in 0..starts {
        // Answers on their way, whose logs have no end afterwards.
        for _ in 0..20 {
            let prompt = Prompt {
                id: new_id(),
                ..Prompt::new(1_000, 50)
            };
            let opened = server.target().open(prompt).await;
            opened.map_err(|error| error.to_string())?;
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
        server.process.kill();
        let took;
        (server, took) = timed(&setup, &data).await?;
        times.push(took);
    }
    let killed = Spread::of(times);
    table.row([
        "the same after kill -9 with 20 running answers".to_owned(),
        show(killed),
    ]);

    bench.report.section(
        "Start",
        "From starting the process, without the built-in model, to the answer of the first request, \
         with the files in the kernel's cache.",
    );
    bench.report.table(&table);
    let report = &mut bench.report;
    let median = |spread: Option<Spread>| spread.map(|spread| spread.median);
    report.at_most("start to the first request", median(empty), 100.0, "ms");
    let (large, killed) = match bench.quick {
        true => (None, None),
        false => (median(large), median(killed)),
    };
    report.at_most(
        "start with 10,000 conversations and 1 GB",
        large,
        300.0,
        "ms",
    );
    report.at_most("the same after kill -9", killed, 300.0, "ms");
    Ok(())
}

fn show(spread: Option<Spread>) -> String {
    spread.map_or_else(|| "–".to_owned(), |spread| spread.show())
}

/// Starts a server and asks until it answers. Returns the milliseconds that took.
async fn timed(setup: &Setup, data: &Path) -> Result<(Headwater, f64), String> {
    let request = http::request("GET", "/ready", "text/plain", "");
    let begin = now();
    let server = Headwater::spawn(setup, data)?;
    while now() - begin < 60_000_000_000 {
        if let Ok((200, _)) = http::call(server.address, &request).await {
            return Ok((server, ms(now() - begin)));
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    Err(format!("does not start: {}", server.process.last_words()))
}

/// Fills a folder with conversations of one answer each, as anybody would: by asking.
async fn fill(setup: &Setup, data: &Path, conversations: u32) -> Result<(), String> {
    let mut server = Headwater::start(setup, data).await?;
    let left = Arc::new(AtomicU32::new(conversations));
    let writers: Vec<_> = (0..WRITERS)
        .map(|_| {
            let (target, left) = (server.target(), left.clone());
            tokio::spawn(async move { write(&target, &left).await })
        })
        .collect();
    for writer in writers {
        writer.await.map_err(|error| error.to_string())??;
    }
    server.process.stop();
    Ok(())
}

async fn write(target: &Target, left: &AtomicU32) -> Result<(), String> {
    let take = |left: u32| left.checked_sub(1);
    while left
        .fetch_update(Ordering::Relaxed, Ordering::Relaxed, take)
        .is_ok()
    {
        let prompt = Prompt {
            id: new_id(),
            filler: TOKEN - stamp::LENGTH as u32,
            ..Prompt::new(TOKENS, 0)
        };
        let reading = target.ask(prompt, now() + 60_000_000_000).await;
        if let Some(error) = reading.error {
            return Err(format!("the folder could not be filled: {error}"));
        }
    }
    Ok(())
}

/// Bytes of the files in a folder.
fn size(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .map(|entry| match entry.metadata() {
            Ok(data) if data.is_dir() => size(&entry.path()),
            Ok(data) => data.len(),
            Err(_) => 0,
        })
        .sum()
}
