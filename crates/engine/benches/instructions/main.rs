//! How many instructions of the processor a token costs on its way through the engine, counted by
//! Callgrind. `make test` runs this and holds the budgets; the count behind each was measured.

#![allow(
    missing_docs,
    reason = "the macros of gungraun make items without docs"
)]

#[path = "../../../protocol/benches/instructions/answer.rs"]
mod answer;
mod vendors;

use answer::{budget, log};
use bytes::Bytes;
use gungraun::{library_benchmark, library_benchmark_group, main};
use headwater_engine::{
    log::{Log, batch::Batch, frame, live::Live},
    packed::{Packed, State},
    provider::ProviderEvent,
};
use headwater_protocol::{ConversationId, Entry, Error, RunId, Seq};
use std::{hint::black_box, sync::Arc};
use tempfile::TempDir;
use uuid::Uuid;
use vendors::{Decoding, anthropic, gemini, ollama, openai, responses};

// The body of an answer becomes events. Each token arrives in a chunk of its own.
#[library_benchmark]
#[bench::openai(args = (openai()), config = budget(13_800))] // 10,634
#[bench::responses(args = (responses()), config = budget(22_100))] // 16,928
#[bench::anthropic(args = (anthropic()), config = budget(15_900))] // 12,176
#[bench::gemini(args = (gemini()), config = budget(51_700))] // 39,740
#[bench::ollama(args = (ollama()), config = budget(19_900))] // 15,302
fn decode(decoding: Decoding) -> Vec<Result<ProviderEvent, Error>> {
    decoding()
}

/// Entries, each with the end of the log before it.
fn placed() -> Vec<(State, Vec<Entry>)> {
    let mut packed = Packed::default();
    let place = |entry: Entry| {
        let state = packed.state();
        packed.push(entry.at, &entry.event);
        (state, vec![entry])
    };
    log().into_iter().map(place).collect()
}

// Each entry is packed for the disk, and encoded as a frame for readers.
#[library_benchmark]
#[bench::answer(args = (placed()), config = budget(3_700))] // 2,823
fn encode(entries: Vec<(State, Vec<Entry>)>) -> Vec<Batch> {
    let encoded = entries.into_iter();
    encoded
        .map(|(state, entry)| Batch::new(state, entry))
        .collect()
}

/// A run that is being written, in a folder of its own.
struct Appending {
    log: Log,
    live: Arc<Live>,
    state: State,
    entries: Vec<Entry>,
    _folder: TempDir,
}

fn appending() -> Appending {
    let folder = tempfile::tempdir().expect("a folder");
    let (log, _) = Log::open(folder.path(), 0).expect("opens");
    let (run, conversation) = (RunId(Uuid::nil()), ConversationId(Uuid::nil()));
    let live = Live::new(run, conversation, 1, 0, Packed::default());
    Appending {
        log,
        live: Arc::new(live),
        state: State::default(),
        entries: answer::log(),
        _folder: folder,
    }
}

// Each entry is written into the journal and then shown to readers.
#[library_benchmark]
#[bench::answer(args = (appending()), config = budget(6_000))] // 4,615
fn append(mut run: Appending) -> Appending {
    let append = async {
        for entry in run.entries.drain(..) {
            let mut entries = vec![entry];
            let appender = &run.log.appender;
            appender
                .append(&run.live, &mut run.state, &mut entries)
                .await;
        }
    };
    futures::executor::block_on(append);
    run
}

fn packed() -> Packed {
    let mut packed = Packed::default();
    for entry in log() {
        packed.push(entry.at, &entry.event);
    }
    packed
}

// A reader that is far behind gets merged frames.
#[library_benchmark]
#[bench::answer(args = (packed()), config = budget(420))] // 320
fn merged(packed: Packed) -> (Bytes, Seq) {
    frame::merged(black_box(&packed), 0, usize::MAX)
}

library_benchmark_group!(
    name = instructions,
    benchmarks = [decode, encode, append, merged]
);
main!(library_benchmark_groups = instructions);
