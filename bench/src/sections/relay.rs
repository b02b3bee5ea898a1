//! The same load on every peer, in rounds of random order: what each adds to a token, what it costs
//! in processor time, on the wire and on the disk.

use crate::{
    bench::{Bench, load},
    load::{Load, Round},
    machine::ForeignLoad,
    peers::{Kind, Peer},
    process::sampling::{self, CpuMeter},
    prompt::Prompt,
    report::Table,
    stamp,
    stats::{Spread, figure},
    upstream::Upstream,
};
use std::{collections::HashMap, time::Duration};

const STREAMS: usize = 100;
const RATE: u32 = 50;

/// In this order in the tables.
const KINDS: [Kind; 9] = [
    Kind::Direct,
    Kind::Nginx,
    Kind::Headwater,
    Kind::HeadwaterPower,
    Kind::DurableMemory,
    Kind::DurableWal,
    Kind::LangChain,
    Kind::LiteLlm,
    Kind::AiSdk,
];

/// A round is void if the upstream was later than this with one of 100 tokens, in milliseconds.
const LATE: f64 = 1.0;

/// One round of one peer.
#[derive(Debug)]
struct Visit {
    round: Round,
    /// Milliseconds of processor time for 1,000 tokens.
    cpu: f64,
    /// Bytes to the disk for each byte of text.
    disk: f64,
    /// Processors' worth of load by others.
    foreign: f64,
}

type Visits = HashMap<Kind, Vec<Visit>>;

pub(super) async fn run(bench: &mut Bench) -> Result<(), String> {
    let tokens = bench.pick(50, 300);
    // How often a void round is repeated.
    let repeats = bench.pick(1, 3);
    let rounds = bench.pick(1, 7);
    let load = load(STREAMS, Prompt::new(tokens, RATE), Duration::from_secs(1));
    let mut kinds = bench.available(&KINDS).await;
    let mut visits = Visits::new();
    let upstream = bench.setup.upstream.clone();
    for round in 1..=rounds {
        fastrand::shuffle(&mut kinds);
        for &kind in &kinds {
            let Some(peer) = bench.peer(kind).await else {
                continue;
            };
            let visit = measured(peer, &upstream, &load, repeats).await;
            eprintln!(
                "bench: round {round} of {rounds}, {}: p50 {:.2} ms, p99 {:.2} ms, {:.2} ms of \
                 processor time for 1,000 tokens, upstream late by {:.2} ms",
                kind.name(),
                visit.round.p50,
                visit.round.p99,
                visit.cpu,
                visit.round.late_p99
            );
            visits.entry(kind).or_default().push(visit);
        }
    }
    bench.report.section(
        "Side by side",
        &format!(
            "{STREAMS} streams at once, {RATE} tokens a second each, {tokens} tokens of {} bytes; \
             medians of {rounds} rounds in random order, with the middle half of the rounds. A round is \
             void, and repeated up to {repeats} times, if the upstream wrote one of 100 tokens more than \
             {LATE} ms late.",
            stamp::LENGTH
        ),
    );
    figures(bench, &visits);
    ratios(bench, &visits);
    targets(bench, &visits);
    Ok(())
}

/// One visit, repeated while the upstream was late.
async fn measured(peer: &Peer, upstream: &Upstream, load: &Load, mut repeats: usize) -> Visit {
    peer.wake();
    let visit = loop {
        let pids = peer.pids();
        let disk = sampling::written(&pids);
        let (foreign, meter) = (ForeignLoad::start(), CpuMeter::start(pids.clone()));
        let round = load.run(&peer.target, upstream).await;
        let (cpu, foreign) = (meter.stop(), foreign.stop());
        let tokens = round.tokens.max(1) as f64;
        let visit = Visit {
            cpu: cpu as f64 / 1e6 / (tokens / 1000.0),
            disk: sampling::written(&pids).saturating_sub(disk) as f64
                / (tokens * stamp::LENGTH as f64),
            foreign,
            round,
        };
        if visit.round.late_p99 <= LATE || repeats == 0 {
            break visit;
        }
        repeats -= 1;
    };
    peer.pause();
    visit
}

/// A figure of all rounds of a peer.
fn spread(visits: &Visits, kind: Kind, of: impl Fn(&Visit) -> f64) -> Option<Spread> {
    Spread::of(visits.get(&kind)?.iter().map(of))
}

/// What two peers have to do with each other, round by round.
fn paired(
    visits: &Visits,
    (left, right): (Kind, Kind),
    of: impl Fn(&Visit) -> f64,
    with: impl Fn(f64, f64) -> f64,
) -> Option<Spread> {
    let (left, right) = (visits.get(&left)?, visits.get(&right)?);
    Spread::of(left.iter().zip(right).map(|(a, b)| with(of(a), of(b))))
}

fn show(spread: Option<Spread>) -> String {
    spread.map_or_else(|| "–".to_owned(), |spread| spread.show())
}

fn figures(bench: &mut Bench, visits: &Visits) {
    let mut table = Table::new([
        "",
        "token p50, ms",
        "token p99, ms",
        "first token p50, ms",
        "first token p99, ms",
        "processor ms for 1,000 tokens",
        "stretch",
        "lost, doubled",
        "wire bytes a token beyond text",
        "disk bytes a byte of text",
        "void rounds kept",
        "foreign load",
    ]);
    for kind in KINDS {
        let Some(rounds) = visits.get(&kind) else {
            continue;
        };
        let of = |get: fn(&Visit) -> f64| show(spread(visits, kind, get));
        let late = rounds
            .iter()
            .filter(|one| one.round.late_p99 > LATE)
            .count();
        let lost: u64 = rounds.iter().map(|one| one.round.lost).sum();
        let doubled: u64 = rounds.iter().map(|one| one.round.doubled).sum();
        table.row([
            kind.name().to_owned(),
            of(|one| one.round.p50),
            of(|one| one.round.p99),
            of(|one| one.round.first_p50),
            of(|one| one.round.first_p99),
            if kind == Kind::Direct {
                "–".to_owned()
            } else {
                of(|one| one.cpu)
            },
            of(|one| one.round.stretch),
            format!("{lost}, {doubled}"),
            of(|one| one.round.overhead),
            of(|one| one.disk),
            late.to_string(),
            of(|one| one.foreign),
        ]);
        if let Some(error) = rounds.iter().find_map(|one| one.round.error.as_ref()) {
            bench
                .report
                .note(format!("{}: a stream failed: {error}.", kind.name()));
        }
    }
    bench.report.table(&table);
    bench.report.say(
        "A token's latency is the time from its writing by the upstream to its arrival at the \
         reader; that of the first token begins with the question, and has a command and a request \
         in it where a peer needs both. Stretch is the time of an answer over that of its schedule, \
         of 99 of 100 answers. For durable-streams the upstream appends and the readers tail; no \
         model's protocol is in it, so it is a peer of the log alone.",
    );
}

fn ratios(bench: &mut Bench, visits: &Visits) {
    let mut table = Table::new([
        "",
        "processor time over nginx's",
        "processor time over Headwater's",
        "added token p50 over nginx, ms",
        "added token p99 over nginx, ms",
    ]);
    for kind in KINDS {
        if !visits.contains_key(&kind) || kind == Kind::Direct {
            continue;
        }
        let ratio = |to| show(paired(visits, (kind, to), |one| one.cpu, |a, b| a / b));
        let added =
            |get: fn(&Visit) -> f64| show(paired(visits, (kind, Kind::Nginx), get, |a, b| a - b));
        table.row([
            kind.name().to_owned(),
            ratio(Kind::Nginx),
            ratio(Kind::Headwater),
            added(|one| one.round.p50),
            added(|one| one.round.p99),
        ]);
    }
    bench.report.table(&table);
}

fn targets(bench: &mut Bench, visits: &Visits) {
    let ours = (Kind::Headwater, Kind::Nginx);
    let median = |spread: Option<Spread>| spread.map(|spread| spread.median);
    let added = |get: fn(&Visit) -> f64| median(paired(visits, ours, get, |a, b| a - b));
    let own = |get: fn(&Visit) -> f64| median(spread(visits, Kind::Headwater, get));
    let report = &mut bench.report;
    let cpu = median(paired(visits, ours, |one| one.cpu, |a, b| a / b));
    report.at_most("processor time for a token, over nginx's", cpu, 1.5, "×");
    report.at_most(
        "added latency of a token over nginx, p50",
        added(|one| one.round.p50),
        0.4,
        "ms",
    );
    report.at_most(
        "added latency of a token over nginx, p99",
        added(|one| one.round.p99),
        3.0,
        "ms",
    );
    report.at_most(
        "added first token over nginx, p50",
        added(|one| one.round.first_p50),
        0.4,
        "ms",
    );
    report.at_most(
        "added first token over nginx, p99",
        added(|one| one.round.first_p99),
        2.0,
        "ms",
    );
    report.at_most(
        "bytes of a delta on the wire beyond its text",
        own(|one| one.round.overhead),
        60.0,
        "",
    );
    report.at_most(
        "bytes to the disk for each byte of text",
        own(|one| one.disk),
        3.0,
        "",
    );
    report.at_most(
        "tokens lost or doubled",
        own(|one| (one.round.lost + one.round.doubled) as f64),
        0.0,
        "",
    );
    let foreign = visits
        .values()
        .flatten()
        .map(|one| one.foreign)
        .fold(0.0, f64::max);
    if foreign > crate::machine::CALM {
        report.note(format!(
            "Others used up to {} processors during the rounds side by side.",
            figure(foreign)
        ));
    }
}
