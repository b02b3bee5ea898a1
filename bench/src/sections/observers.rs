//! What an observer that is slow does to the tokens, beside a callback handler of LangChain that is as slow.

use crate::{
    bench::Bench,
    clock::{ms, now},
    peers::{Gaps, Setup, slow_handler},
    report::Table,
    stats::{figure, percentile},
};
use futures::StreamExt;
use headwater_engine::{
    Config, Engine, StartRun,
    config::Script,
    observer::{At, Interest, Observed, Observer, Options, Token},
};
use headwater_protocol::Event;
use std::{pin::pin, sync::Arc, time::Duration};

/// Tokens of an answer.
const TOKENS: usize = 100;

/// Milliseconds between two tokens. At 0 they come as fast as they are read.
const INTERVALS: [u64; 2] = [2, 0];

/// What an observer takes for each token.
const PAUSE: Duration = Duration::from_millis(10);

pub(super) async fn run(bench: &mut Bench) -> Result<(), String> {
    let rounds = bench.pick(1, 40);
    bench.report.section(
        "Observers",
        &format!(
            "An answer of {TOKENS} tokens from a model in the same process, which is the engine's library in \
             one case and LangChain's in the other, read token by token; without an observer, and with one \
             that takes {} ms for each token: a thread that sleeps here, an `AsyncCallbackHandler` that awaits \
             a sleep there. {rounds} rounds in turn; gaps are those that the reader sees. Those of a stream \
             as fast as possible are what the library itself takes.",
            PAUSE.as_millis()
        ),
    );
    let mut table = Table::new([
        "a token every",
        "",
        "p50 without, ms",
        "p50 with",
        "p99 without, ms",
        "p99 with",
        "p99, ratio",
    ]);
    let mut growth = None;
    for interval in INTERVALS {
        let ours = observed(&bench.setup, interval, rounds).await?;
        let ratio = row(&mut table, interval, "Headwater", ours);
        growth = growth.or(Some(ratio));
        let theirs = slow_handler(&bench.setup, TOKENS, interval, PAUSE, rounds).await;
        match theirs {
            Ok((version, gaps)) => {
                row(&mut table, interval, &version, gaps);
            }
            Err(reason) => bench.report.missing("LangChain's handlers", &reason),
        }
    }
    bench.report.table(&table);
    let what = "p99 gap between tokens with a slow observer over that without";
    bench.report.at_most(what, growth, 1.05, "×");
    Ok(())
}

/// Adds the figures of a library, and returns how much longer the p99 gap is.
fn row(table: &mut Table, interval: u64, name: &str, mut gaps: Gaps) -> f64 {
    let mut at = |share| {
        let both = [&mut gaps.without, &mut gaps.with];
        both.map(|gaps| ms(percentile(gaps, share)))
    };
    let (p50, p99) = (at(50.0), at(99.0));
    let ratio = p99[1] / p99[0];
    let pace = match interval {
        0 => "as fast as possible".to_owned(),
        ms => format!("{ms} ms"),
    };
    let figures = [p50[0], p50[1], p99[0], p99[1], ratio].map(figure);
    table.row([&[pace, name.to_owned()][..], &figures[..]].concat());
    ratio
}

/// Takes its time for each token, on the thread that observers have of their own.
struct Slow;

impl Observer for Slow {
    fn interest(&self) -> Interest {
        Interest::TOKENS
    }

    async fn token(&self, _: &At<'_>, token: &Token<'_>) -> Observed {
        std::thread::sleep(PAUSE * token.entries);
        Ok(())
    }
}

/// All rounds of the engine: without and with in turn, behind one that fills caches.
async fn observed(setup: &Setup, interval: u64, rounds: usize) -> Result<Gaps, String> {
    let folder = setup.folder()?;
    let mut config = Config::new(folder.path());
    let pace = 1000_u64.checked_div(interval).unwrap_or(0);
    config.script = Some(Script::Text(format!(
        "[[scenario]]\nname = \"words\"\npace = {pace}\nsteps = [{{ words = {TOKENS} }}]\n"
    )));
    let engine = Engine::builder(config)
        .open()
        .map_err(|why| why.to_string())?;
    let mut gaps = Gaps::default();
    read(&engine, false).await?;
    for _ in 0..rounds {
        gaps.without.extend(read(&engine, false).await?);
        gaps.with.extend(read(&engine, true).await?);
    }
    Ok(gaps)
}

/// One answer, read token by token: the gaps in nanoseconds.
async fn read(engine: &Arc<Engine>, is_observed: bool) -> Result<Vec<u64>, String> {
    let said = |why: headwater_protocol::Error| why.to_string();
    let question = StartRun {
        text: "Go.".into(),
        model: Some("scripted/words".into()),
        ..StartRun::default()
    };
    let run = engine.start(question).await.map_err(said)?.run;
    let mut observation = None;
    if is_observed {
        let observing = engine.observe(run, Slow, Options::default());
        observation = Some(observing.await.map_err(said)?);
    }
    let mut entries = pin!(engine.follow(run, 0).await.map_err(said)?);
    let mut times = Vec::with_capacity(TOKENS);
    while let Some(entry) = entries.next().await {
        if let Event::Delta { .. } = entry.event {
            times.push(now());
        }
    }
    if times.len() != TOKENS {
        return Err(format!("{} tokens came in place of {TOKENS}", times.len()));
    }
    if let Some(observation) = observation {
        let summary = observation.finished().await;
        if summary.failed > 0 || summary.missed.lost > 0 {
            return Err("the observer has not seen all tokens".to_owned());
        }
    }
    Ok(times.windows(2).map(|two| two[1] - two[0]).collect())
}
