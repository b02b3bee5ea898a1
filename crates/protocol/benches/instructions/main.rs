//! How many instructions of the processor a token costs where it is folded and where it is drawn,
//! counted by Callgrind. `make test` runs this and holds the budgets; the count behind each was
//! measured.

#![allow(
    missing_docs,
    reason = "the macros of gungraun make items without docs"
)]

mod answer;

use answer::{budget, log, tokens};
use gungraun::{library_benchmark, library_benchmark_group, main};
use headwater_protocol::{Entry, chat::Answer, markdown::Renderer};
use std::hint::black_box;

// Every entry is folded as it comes.
#[library_benchmark]
#[bench::answer(args = (log()), config = budget(340))] // 256
fn fold(log: Vec<Entry>) -> Answer {
    let mut answer = Answer::default();
    for entry in &log {
        answer.apply(entry.seq, black_box(&entry.event));
    }
    answer
}

// The answer is drawn again after each token, the worst that a page can do.
#[library_benchmark]
#[bench::answer(args = (tokens().collect()), config = budget(16_800))] // 12,898
fn markdown(tokens: Vec<&'static str>) -> Renderer {
    let mut renderer = Renderer::new();
    for token in tokens {
        renderer.push(black_box(token));
        black_box(renderer.open());
    }
    renderer
}

library_benchmark_group!(name = instructions, benchmarks = [fold, markdown]);
main!(library_benchmark_groups = instructions);
