//! The answer that all instruction budgets are for, and what a budget is.

use gungraun::{Callgrind, EventKind, LibraryBenchmarkConfig};
use headwater_protocol::{
    BlockKind, ConversationId, Entry, Event, MessageId, PROTOCOL_VERSION, RunId, Seq, SpanKind,
};
use serde_json::Value;
use uuid::Uuid;

/// The length of the answer. `scripts/instructions.sh` divides the counts by it.
const TOKENS: usize = 1_000;

/// Headings, emphasis, a list, code, a table and a quote; repeated until the answer is long enough.
const TEXT: &str = include_str!("answer.md");

/// The tokens of the answer: words with the space behind them, six bytes on average.
pub(crate) fn tokens() -> impl Iterator<Item = &'static str> {
    let texts = std::iter::repeat(TEXT);
    texts
        .flat_map(|text| text.split_inclusive(' '))
        .take(TOKENS)
}

/// The log of the answer up to its last token: three entries, and one for each token.
pub(crate) fn log() -> Vec<Entry> {
    let first = [
        Event::RunStarted {
            protocol: PROTOCOL_VERSION,
            run: RunId(Uuid::nil()),
            conversation: ConversationId(Uuid::nil()),
            message: MessageId(Uuid::nil()),
            parent: MessageId(Uuid::nil()),
            model: "provider/model".into(),
            at: 0,
            continues: None,
        },
        Event::SpanStarted {
            span: 1,
            parent: None,
            kind: SpanKind::ChatModel,
            name: "provider/model".into(),
            tags: Vec::new(),
            metadata: Value::Null,
            input: Value::Null,
            replaces: None,
        },
        Event::BlockStarted {
            span: 1,
            block: 1,
            kind: BlockKind::Text,
            tool: None,
        },
    ];
    let deltas = tokens().map(|token| Event::Delta {
        span: 1,
        block: 1,
        text: token.into(),
        from: None,
    });
    // 50 tokens a second.
    let numbered = (1..).zip(first.into_iter().chain(deltas));
    let entries = numbered.map(|(seq, event): (Seq, Event)| Entry {
        seq,
        at: seq * 20,
        event,
    });
    entries.collect()
}

/// Fails a benchmark that needs more than so many instructions for each token.
///
/// A budget is 1.3 times the measured count: the same compiler gives the same count again, and
/// another version of it one that differs by a few percent.
pub(crate) fn budget(instructions: u64) -> LibraryBenchmarkConfig {
    let limit = instructions * TOKENS as u64;
    let callgrind = Callgrind::with_args(["--cache-sim=no"])
        .format([EventKind::Ir])
        .hard_limits([(EventKind::Ir, limit)])
        .clone();
    LibraryBenchmarkConfig::default().tool(callgrind).clone()
}
