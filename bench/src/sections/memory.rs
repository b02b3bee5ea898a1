//! What a stream costs in memory: one that waits for its first token, and one half-way through a long
//! answer.

use crate::{
    bench::{Bench, drained, load},
    clock::{now, sleep_until},
    http::{self, Response},
    load::{Target, events, new_id, start_run},
    peers::{Headwater, Setup},
    process::sampling,
    prompt::Prompt,
    report::Table,
    stamp,
    stats::figure,
};
use std::{io, time::Duration};
use tokio::net::TcpStream;

/// Bytes of a token of a long answer.
const TOKEN: u32 = 1024;

/// Starts of parked streams in a second.
const STARTS: u64 = 1_000;

const KIB: f64 = 1024.0;

pub(super) async fn run(bench: &mut Bench) -> Result<(), String> {
    bench.report.section(
        "Memory",
        "The proportional set size of Headwater's process, by which it grows for each stream. A parked \
         stream has a run, a connection to the provider and one of a reader, and waits for its first \
         token; what the kernel keeps for its sockets is not in it.",
    );
    let mut table = Table::new(["parked streams", "opened", "KiB for each"]);
    let mut cost = None;
    let mut opened = 0;
    for &number in bench.pick(&[500][..], &[1_000, 4_000, 9_900][..]) {
        // Both ends of a stream are sockets of this process, which has others as well.
        let room = usize::try_from(bench.files.saturating_sub(300) / 2).unwrap_or(number);
        let number = number.min(room);
        let parked = parked(&bench.setup, number).await?;
        // Where files have run out, the memory cannot be read either.
        let bytes = parked.error.is_none().then_some(parked.bytes / KIB);
        table.row([
            number.to_string(),
            parked.opened.to_string(),
            bytes.map_or_else(|| "–".to_owned(), figure),
        ]);
        cost = bytes.or(cost);
        opened = parked.opened;
        if let Some(error) = parked.error {
            let note = format!("Of {number} parked streams, some did not open: {error}.");
            bench.report.note(note);
        }
    }
    bench.report.table(&table);
    let report = &mut bench.report;
    report.at_most("memory of a parked stream", cost, 8.0, "KiB");
    let all = (!bench.quick).then_some(opened as f64);
    report.at_least("streams in one process", all, 9_900.0, "");

    // Else the sockets of the parked streams are in the way of what follows.
    drained(&bench.setup.upstream).await;
    let runs = bench.pick(50, 100);
    let (text, growth) = half_way(&bench.setup, runs, bench.pick(100, 400)).await?;
    bench.report.say(&format!(
        "Half-way through {runs} answers at once, with {} KiB of text each so far, a run takes {} KiB.",
        figure(text / KIB),
        figure(growth / KIB)
    ));
    let beyond = Some((growth - 2.0 * text) / KIB);
    let what = "memory of a run half-way, beyond twice its text";
    bench.report.at_most(what, beyond, 16.0, "KiB");
    Ok(())
}

struct Parked {
    opened: usize,
    /// For each stream that is open.
    bytes: f64,
    error: Option<String>,
}

async fn parked(setup: &Setup, number: usize) -> Result<Parked, String> {
    let folder = setup.folder()?;
    let server = Headwater::start(setup, &folder.path().join("data")).await?;
    warm(setup, &server).await;
    let before = sampling::memory(&server.process.tree());
    let begin = now();
    let opening: Vec<_> = (0..number as u64)
        .map(|place| {
            let target = server.target();
            tokio::spawn(async move {
                sleep_until(begin + place * 1_000_000_000 / STARTS).await;
                let wait = Duration::from_secs(20);
                match tokio::time::timeout(wait, park(&target)).await {
                    Ok(opened) => opened,
                    Err(_) => Err(io::ErrorKind::TimedOut.into()),
                }
            })
        })
        .collect();
    let (mut open, mut error) = (Vec::new(), None);
    for stream in opening {
        match stream.await {
            Ok(Ok(socket)) => open.push(socket),
            Ok(Err(why)) => error = Some(why.to_string()),
            Err(why) => error = Some(why.to_string()),
        }
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    let grown = sampling::memory(&server.process.tree()).saturating_sub(before);
    Ok(Parked {
        opened: open.len(),
        bytes: grown as f64 / open.len().max(1) as f64,
        error,
    })
}

/// Opens a stream that waits for its first token.
async fn park(target: &Target) -> io::Result<TcpStream> {
    let prompt = Prompt {
        id: new_id(),
        wait: 600_000,
        ..Prompt::new(1, 1)
    };
    let socket = http::connect(target.address).await?;
    let run = start_run(&socket, prompt).await?;
    http::write(&socket, &events(&run, 0)).await?;
    let (mut response, mut started) = (Response::default(), false);
    while !started {
        http::read(&socket, |bytes| response.push(bytes, |_| started = true)).await??;
    }
    Ok(socket)
}

/// The text and the growth of a run's memory, in bytes, in the middle of its answer.
async fn half_way(setup: &Setup, runs: usize, tokens: u32) -> Result<(f64, f64), String> {
    const RATE: u32 = 20;
    let folder = setup.folder()?;
    let server = Headwater::start(setup, &folder.path().join("data")).await?;
    warm(setup, &server).await;
    let before = sampling::memory(&server.process.tree());
    let prompt = Prompt {
        filler: TOKEN - stamp::LENGTH as u32,
        ..Prompt::new(tokens, RATE)
    };
    let (target, upstream) = (server.target(), setup.upstream.clone());
    let load = load(runs, prompt, Duration::from_millis(200));
    let begin = now();
    let reading = tokio::spawn(async move { load.run(&target, &upstream).await });
    let middle = begin + prompt.ideal() / 2;
    sleep_until(middle).await;
    let grown = sampling::memory(&server.process.tree()).saturating_sub(before);
    let round = reading.await.map_err(|error| error.to_string())?;
    if !round.exact() {
        let why = round.error.as_deref().unwrap_or("tokens are missing");
        return Err(format!("a long answer was not whole: {why}"));
    }
    let text = f64::from(tokens / 2) * f64::from(TOKEN);
    Ok((text, grown as f64 / runs as f64))
}

/// Some answers first, so that pools and caches are not counted as the cost of a stream.
async fn warm(setup: &Setup, server: &Headwater) {
    let load = load(100, Prompt::new(20, 50), Duration::from_millis(500));
    load.run(&server.target(), &setup.upstream).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
}
