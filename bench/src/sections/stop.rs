//! A stop under load: how long until the provider's socket is closed.

use crate::{
    bench::{Bench, load},
    clock::{ms, now, sleep_until},
    http,
    load::{Target, new_id},
    peers::Kind,
    prompt::Prompt,
    report::Table,
    stats::{figure, percentile},
    upstream::Upstream,
};
use std::{io, time::Duration};

const RATE: u32 = 50;

pub(super) async fn run(bench: &mut Bench) -> Result<(), String> {
    let (stops, seconds) = bench.pick((50, 3), (500, 15));
    let upstream = bench.setup.upstream.clone();
    let Some(peer) = bench.peer(Kind::Headwater).await else {
        return Err("Headwater does not answer".to_owned());
    };
    peer.wake();
    let (target, others) = (peer.target.clone(), upstream.clone());
    let background = load(
        50,
        Prompt::new(RATE * seconds, RATE),
        Duration::from_millis(500),
    );
    let busy = tokio::spawn(async move { background.run(&target, &others).await });
    let begin = now();
    let stopping: Vec<_> = (0..stops)
        .map(|_| {
            let (target, upstream) = (peer.target.clone(), upstream.clone());
            let start = begin + fastrand::u64(0..u64::from(seconds) * 1_000_000_000 * 8 / 10);
            tokio::spawn(async move {
                sleep_until(start).await;
                stop(&target, &upstream).await
            })
        })
        .collect();
    let (mut closed, mut answered, mut failures) = (Vec::new(), Vec::new(), Vec::new());
    for one in stopping {
        match one.await {
            Ok(Ok((provider, answer))) => {
                closed.push(provider);
                answered.push(answer);
            }
            Ok(Err(error)) => failures.push(error.to_string()),
            Err(error) => failures.push(error.to_string()),
        }
    }
    let whole = busy.await.is_ok_and(|round| round.exact());
    peer.pause();
    bench.report.section(
        "Stop",
        &format!(
            "{stops} runs are stopped at random times, beside 50 streams of {RATE} tokens a second: \
             from the command to the close of the provider's socket, and to the command's answer, by \
             when the end is on the disk."
        ),
    );
    let mut table = Table::new(["", "p50, ms", "p99, ms"]);
    let p99 = ms(percentile(&mut closed, 99.0));
    table.row([
        "provider's socket closed",
        &figure(ms(percentile(&mut closed, 50.0))),
        &figure(p99),
    ]);
    table.row([
        "stop answered",
        &figure(ms(percentile(&mut answered, 50.0))),
        &figure(ms(percentile(&mut answered, 99.0))),
    ]);
    bench.report.table(&table);
    bench.report.say(&format!(
        "Stops that closed no socket: {}. The other streams were {}.",
        failures.len(),
        if whole { "whole" } else { "not whole" }
    ));
    let p99 = (!closed.is_empty()).then_some(p99);
    bench.report.at_most(
        "a stop to the close of the provider's socket, p99",
        p99,
        20.0,
        "ms",
    );
    if let Some(first) = failures.first() {
        let note = format!("A stop closed no socket: {first}.");
        bench.report.note(note);
    }
    let failed = Some(failures.len() as f64);
    bench
        .report
        .at_most("stops that closed no socket", failed, 0.0, "");
    Ok(())
}

/// Nanoseconds from the command to the closed socket and to the answer.
async fn stop(target: &Target, upstream: &Upstream) -> io::Result<(u64, u64)> {
    let prompt = Prompt {
        id: new_id(),
        ..Prompt::new(RATE * 60, RATE)
    };
    let opened = target.open(prompt).await?;
    let reader = {
        let opened = opened.clone();
        tokio::spawn(async move { opened.follow().await })
    };
    tokio::time::sleep(Duration::from_millis(fastrand::u64(300..700))).await;
    let kind = "application/x-www-form-urlencoded";
    let command = http::request(
        "POST",
        "/api/runs/stop",
        kind,
        &format!("run={}", opened.run),
    );
    let socket = http::connect(target.address).await?;
    let begun = now();
    let (status, _) = http::exchange(&socket, &command).await?;
    let answered = now() - begun;
    reader.abort();
    // The socket may close after the answer.
    for _ in 0..200 {
        if let Some(at) = upstream.closed(prompt.id) {
            return Ok((at.saturating_sub(begun), answered));
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    Err(io::Error::other(format!(
        "still open after status {status}"
    )))
}
