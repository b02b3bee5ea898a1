//! One answer and many readers: what a delivered frame costs, and how long after the first reader the
//! last one has a token.

use crate::{
    bench::Bench,
    clock::ms,
    load::new_id,
    peers::Kind,
    process::sampling::CpuMeter,
    prompt::Prompt,
    report::Table,
    stats::{figure, percentile},
};
use std::time::Duration;

/// Milliseconds for the readers to come, before the first token, for a thousand of them.
const COME: u32 = 1_500;

pub(super) async fn run(bench: &mut Bench) -> Result<(), String> {
    bench.report.section(
        "Fan-out",
        "One answer, followed by many readers from its beginning. The skew of a token is the time from \
         its arrival at the first reader to that at the last; one core reads for all of them.",
    );
    let mut table = Table::new([
        "",
        "readers",
        "tokens a second",
        "processor µs a delivered token",
        "skew p50, ms",
        "skew p99, ms",
        "whole readings",
    ]);
    // Readers, tokens a second, tokens.
    let cases = [(10, 50, 100), (1_000, 10, 30), (10_000, 1, 10)];
    for &case in bench.pick(&cases[..2], &cases) {
        for kind in bench
            .available(&[Kind::Headwater, Kind::DurableMemory])
            .await
        {
            table.row(fan(bench, kind, case).await?);
        }
    }
    bench.report.table(&table);
    Ok(())
}

async fn fan(
    bench: &mut Bench,
    kind: Kind,
    (readers, rate, tokens): (usize, u32, u32),
) -> Result<[String; 7], String> {
    let Some(peer) = bench.peer(kind).await else {
        return Err(format!("{} is gone", kind.name()));
    };
    peer.wake();
    let wait = 1_000 + COME * (readers as u32).div_ceil(1_000);
    let prompt = Prompt {
        id: new_id(),
        wait,
        ..Prompt::new(tokens, rate)
    };
    let opened = peer
        .target
        .open(prompt)
        .await
        .map_err(|error| error.to_string())?;
    let following: Vec<_> = (0..readers)
        .map(|_| {
            let opened = opened.clone();
            tokio::spawn(async move { opened.follow().await })
        })
        .collect();
    tokio::time::sleep(Duration::from_millis(u64::from(wait) - 500)).await;
    let meter = CpuMeter::start(peer.pids());
    let mut whole = Vec::new();
    for reader in following {
        if let Ok(reading) = reader.await
            && reading.error.is_none()
            && reading.lost + reading.doubled == 0
        {
            whole.push(reading.ages);
        }
    }
    let cpu = meter.stop();
    peer.pause();
    let mut skews: Vec<u64> = (0..tokens as usize)
        .filter_map(|token| {
            let ages = || whole.iter().filter_map(|ages| ages.get(token));
            Some(ages().max()? - ages().min()?)
        })
        .collect();
    let delivered = (whole.len() * tokens as usize).max(1) as f64;
    Ok([
        kind.name().to_owned(),
        readers.to_string(),
        rate.to_string(),
        figure(cpu as f64 / 1e3 / delivered),
        figure(ms(percentile(&mut skews, 50.0))),
        figure(ms(percentile(&mut skews, 99.0))),
        whole.len().to_string(),
    ])
}
