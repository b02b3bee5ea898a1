//! The largest number of streams that one core serves on time: 99 of 100 tokens within 50 ms, answers
//! at most a twentieth longer than scheduled, nothing lost.

use crate::{
    bench::{Bench, drained},
    load::Load,
    peers::Kind,
    prompt::Prompt,
    report::Table,
    stats::figure,
};
use std::{collections::HashMap, time::Duration};

/// With two sockets each, as many as a process may have.
const MOST: usize = 9_900;

/// The first number that is tried.
const FIRST: usize = 16;

/// Beginnings of streams in a second, so that the tokens are the load and not the questions.
const STARTS: usize = 500;

const KINDS: [Kind; 5] = [
    Kind::Nginx,
    Kind::Headwater,
    Kind::LangChain,
    Kind::LiteLlm,
    Kind::AiSdk,
];

/// How a number of streams went.
struct Trial {
    fits: bool,
    /// Whether it was the upstream that was late.
    upstream_late: bool,
}

pub(super) async fn run(bench: &mut Bench) -> Result<(), String> {
    let rates: &[u32] = bench.pick(&[50], &[20, 50, 100]);
    let kinds = match bench.quick {
        true => &KINDS[1..4],
        false => &KINDS[..],
    };
    let kinds = bench.available(kinds).await;
    let mut found: HashMap<(Kind, u32), (usize, bool)> = HashMap::new();
    for &rate in rates {
        for &kind in &kinds {
            let most = largest(bench, kind, rate).await;
            found.insert((kind, rate), most);
        }
    }
    bench.report.section(
        "Streams on one core",
        "The largest number of streams with 99 of 100 tokens within 50 ms, no answer of 100 more than \
         1.05 times as long as scheduled, and nothing lost; found by doubling and halving, to a tenth. \
         A + marks where upstream and readers, on their one core, or the limit of open files were the \
         bound.",
    );
    let mut table = Table::new(["", "20 tokens a second", "50", "100"]);
    for &kind in &kinds {
        let cell = |rate: u32| match found.get(&(kind, rate)) {
            Some((most, bounded)) => format!("{most}{}", if *bounded { "+" } else { "" }),
            None => "–".to_owned(),
        };
        table.row([kind.name().to_owned(), cell(20), cell(50), cell(100)]);
    }
    bench.report.table(&table);
    for (kind, limit) in [(Kind::LangChain, 10.0), (Kind::LiteLlm, 20.0)] {
        for &rate in rates {
            let most = |kind| found.get(&(kind, rate)).map(|(most, _)| *most as f64);
            let ratio = most(Kind::Headwater)
                .zip(most(kind))
                .map(|(ours, theirs)| ours / theirs.max(1.0));
            let what = format!("streams at {rate} tokens a second, over {}'s", kind.name());
            bench.report.at_least(&what, ratio, limit, "×");
        }
    }
    Ok(())
}

/// The largest number for a peer, and whether something other than the peer was the bound.
async fn largest(bench: &mut Bench, kind: Kind, rate: u32) -> (usize, bool) {
    let (mut good, mut bad, mut bounded) = (0, MOST + 1, false);
    let mut next = FIRST;
    // To a tenth; the quick form only doubles.
    let fine = bench.pick(1, 10);
    loop {
        let trial = try_number(bench, kind, rate, next).await;
        eprintln!(
            "bench: {}: {next} streams at {rate} tokens a second {}",
            kind.name(),
            if trial.fits {
                "are on time"
            } else {
                "are too many"
            }
        );
        if trial.fits {
            good = next;
        } else {
            bad = next;
            bounded = trial.upstream_late;
        }
        if bad - good <= (good / fine).max(1) || good == MOST {
            return (good, bounded || good == MOST);
        }
        next = match bad > MOST {
            true => (good * 2).min(MOST),
            false => good.midpoint(bad),
        };
    }
}

async fn try_number(bench: &mut Bench, kind: Kind, rate: u32, streams: usize) -> Trial {
    let upstream = bench.setup.upstream.clone();
    let spread = Duration::from_millis((streams * 1000 / STARTS) as u64 + 500);
    let whole = bench.pick(1.0, 4.0);
    let tokens = ((spread.as_secs_f64() + whole) * f64::from(rate)) as u32;
    let load = Load {
        streams,
        prompt: Prompt::new(tokens, rate),
        spread,
        patience: Duration::from_secs(3),
    };
    let Some(peer) = bench.peer(kind).await else {
        return Trial {
            fits: false,
            upstream_late: false,
        };
    };
    peer.wake();
    let round = load.run(&peer.target, &upstream).await;
    let clean = drained(&upstream).await;
    peer.pause();
    if !clean {
        bench.retire(kind);
    }
    let fits = round.exact() && round.p99 < 50.0 && round.stretch <= 1.05;
    if !fits {
        eprintln!(
            "bench: p99 {} ms, stretch {}, {} lost, {} doubled, upstream late by {} ms, {}",
            figure(round.p99),
            figure(round.stretch),
            round.lost,
            round.doubled,
            figure(round.late_p99),
            round.error.as_deref().unwrap_or("no failure")
        );
    }
    Trial {
        fits,
        upstream_late: round.late_p99 > 10.0,
    }
}
