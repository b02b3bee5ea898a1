//! The fold of a tool call's arguments, in this process: its cost has to be linear in their length.

use crate::{bench::Bench, report::Table, stats::figure};
use headwater_protocol::{BlockKind, Event, SpanKind, chat::Answer};
use rustix::time::{ClockId, clock_gettime};

/// Twenty bytes of JSON.
const PIECE: &str = "\"twenty bytes here\",";

pub(super) fn run(bench: &mut Bench) {
    bench.report.section(
        "Fold",
        "The arguments of one tool call, in deltas of 20 bytes, folded into an answer; the best of five. \
         The longest take more for a delta because they are larger than the processor's caches; were \
         the fold quadratic, they would take sixteen times as much.",
    );
    let mut table = Table::new(["deltas", "ns for each"]);
    let counts = [4_000, 16_000, 64_000];
    let times = counts.map(|count| (0..5).map(|_| fold(count)).fold(f64::INFINITY, f64::min));
    for (count, time) in counts.iter().zip(times) {
        table.row([count.to_string(), figure(time)]);
    }
    bench.report.table(&table);
    let growth = Some(times[2] / times[0]);
    let what = "a delta of 64,000 over one of 4,000";
    bench.report.at_most(what, growth, 8.0, "×");
}

/// Nanoseconds that this thread has been on a processor.
fn cpu() -> i64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec * 1_000_000_000 + time.tv_nsec
}

/// Nanoseconds of processor time for each delta.
fn fold(deltas: u64) -> f64 {
    let mut answer = Answer::default();
    let mut events = vec![
        Event::SpanStarted {
            span: 1,
            parent: None,
            kind: SpanKind::ChatModel,
            name: String::new(),
            tags: Vec::new(),
            metadata: serde_json::Value::Null,
            input: serde_json::Value::Null,
            replaces: None,
        },
        Event::BlockStarted {
            span: 1,
            block: 1,
            kind: BlockKind::ToolInput,
            tool: None,
        },
    ];
    events.extend((0..deltas).map(|_| Event::Delta {
        span: 1,
        block: 1,
        text: PIECE.into(),
        from: None,
    }));
    let begin = cpu();
    for (seq, event) in (1..).zip(&events) {
        answer.apply(seq, event);
    }
    let took = cpu() - begin;
    assert_eq!(answer.blocks[0].text.len(), PIECE.len() * deltas as usize);
    took as f64 / deltas as f64
}
