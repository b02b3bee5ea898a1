//! Writes one run's log: numbers the entries, stamps them, hands them to the log's writer.

use super::bounds::Held;
use crate::{
    db::writer::Writer,
    log::{Log, appender::Appender, control::Stop, live::Live},
    packed::{State, hash},
    provider::Image,
    rewrite::{self, Rewrite, Rewriter},
};
use gaps::Gaps;
use headwater_protocol::{
    BlockKind, BlockNo, Entry, Error, Event, Finish, ImageId, Seq, SpanNo, Stage, Status, Timing,
    ToolCall, Usage, chat::beginning,
};
use serde_json::Value;
use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::{Duration, Instant},
};

mod gaps;
mod images;

/// A stop does not take back text that was in the log for this long: it has been on the screens of
/// all who follow the run.
const SHOWN_AFTER: Duration = Duration::from_secs(1);

/// The one writer of a run. [`Recorder::note`] collects entries, and [`Recorder::flush`] hands them
/// to the log together.
pub struct Recorder {
    live: Arc<Live>,
    appender: Appender,
    writer: Writer,
    /// The end of the log, for the next entries.
    state: State,
    seq: Seq,
    clock: Instant,
    batch: Vec<Entry>,
    held: Held,
    /// The open blocks by their span and by the provider's number for them.
    blocks: BTreeMap<(SpanNo, u32), OpenBlock>,
    /// Images whose blocks are noted and that are not stored yet.
    images: VecDeque<(ImageId, Image)>,
    rewrite: Option<Arc<dyn Rewrite>>,
    block_count: BlockNo,
    span_count: SpanNo,
    usage: Usage,
    timing: Timing,
    gaps: Gaps,
}

struct OpenBlock {
    block: BlockNo,
    kind: BlockKind,
    /// Bytes of text so far.
    length: u64,
    rewriter: Option<Box<dyn Rewriter>>,
}

/// How a span ended.
#[derive(Debug)]
pub struct SpanEnd {
    /// The status of the span.
    pub status: Status,
    /// The tokens that it used.
    pub usage: Usage,
    /// What went wrong, if anything did.
    pub error: Option<Error>,
    /// Why the model ended, where it said so.
    pub finish: Option<Finish>,
    /// See [`Event::SpanFinished`].
    pub output: Value,
}

impl SpanEnd {
    /// An end with nothing to say but its status and its costs.
    pub fn new(status: Status, usage: Usage) -> Self {
        Self {
            status,
            usage,
            error: None,
            finish: None,
            output: Value::Null,
        }
    }

    /// Adds what went wrong.
    pub fn because(self, error: Option<Error>) -> Self {
        Self { error, ..self }
    }
}

impl Recorder {
    /// Continues a log after the entries that `live` has.
    pub fn new(live: Arc<Live>, log: &Log) -> Self {
        Self {
            state: live.packed_state(),
            seq: live.head().seq,
            timing: Timing {
                accepted: live.accepted,
                ..Timing::default()
            },
            live,
            appender: log.appender.clone(),
            writer: log.writer.clone(),
            clock: Instant::now(),
            batch: Vec::new(),
            held: Held::default(),
            blocks: BTreeMap::new(),
            images: VecDeque::new(),
            rewrite: None,
            block_count: 0,
            span_count: 0,
            usage: Usage::default(),
            gaps: Gaps::default(),
        }
    }

    /// Rewrites what is noted from now on.
    pub fn rewriting(self, rewrite: Option<Arc<dyn Rewrite>>) -> Self {
        Self { rewrite, ..self }
    }

    /// Milliseconds since the run was accepted.
    pub fn now(&self) -> u64 {
        self.clock.elapsed().as_millis() as u64
    }

    /// The times of the run so far, to be completed.
    pub fn timing(&mut self) -> &mut Timing {
        &mut self.timing
    }

    /// Notes an event. Nobody sees it before the next flush is committed.
    pub fn note(&mut self, mut event: Event) {
        if let Some(all) = &self.rewrite {
            rewrite_facts(&**all, &mut event);
        }
        self.held.count(&event);
        self.seq += 1;
        self.batch.push(Entry {
            seq: self.seq,
            at: self.now(),
            event,
        });
    }

    /// Notes a stage that a span has entered.
    pub fn progress(&mut self, span: SpanNo, stage: Stage) {
        let at = self.now();
        self.note(Event::Progress { span, at, stage });
    }

    /// Why the run has to end, if it holds more than a run may hold.
    pub fn excess(&self) -> Option<Error> {
        self.held.excess()
    }

    /// Hands the noted entries to the log. Waits for images to be stored, as long as the disk does not
    /// take the entries, and for observers that the run waits for. Dropping the future meanwhile loses
    /// nothing: until the log has them, they stay noted for the next flush.
    pub async fn flush(&mut self) {
        self.append().await;
        for mut gate in self.live.gates() {
            gate.room(self.seq).await;
        }
    }

    async fn append(&mut self) {
        if self.batch.is_empty() {
            return;
        }
        self.keep_images().await;
        let append = self
            .appender
            .append(&self.live, &mut self.state, &mut self.batch);
        append.await;
    }

    /// The number of the next span.
    pub fn next_span(&mut self) -> SpanNo {
        self.span_count += 1;
        self.span_count
    }

    /// Notes the beginning of a block. `index` is the provider's number for it; a block of the same
    /// number that is still open ends here.
    pub fn open(&mut self, span: SpanNo, index: u32, kind: BlockKind, tool: Option<ToolCall>) {
        self.close(span, index, Value::Null);
        self.block_count += 1;
        let block = self.block_count;
        let open = OpenBlock {
            block,
            kind,
            length: 0,
            rewriter: self.rewrite.as_ref().and_then(|all| all.block(kind)),
        };
        self.blocks.insert((span, index), open);
        self.note(Event::BlockStarted {
            span,
            block,
            kind,
            tool,
        });
    }

    /// Notes text of a model. A block that the provider did not announce is opened as text. Returns
    /// whether the text belongs to what a person reads as the answer.
    pub fn text(&mut self, span: SpanNo, index: u32, text: String) -> bool {
        if !self.blocks.contains_key(&(span, index)) {
            self.open(span, index, BlockKind::Text, None);
        }
        self.note_token();
        self.output(span, index, text)
    }

    /// Notes text of an open block that is no token of a model, such as the output of a tool. Returns
    /// the same as [`Recorder::text`].
    pub fn output(&mut self, span: SpanNo, index: u32, text: String) -> bool {
        let Some(open) = self.blocks.get_mut(&(span, index)) else {
            return false;
        };
        let text = match &mut open.rewriter {
            Some(rewriter) => rewriter.push(&text),
            None => text,
        };
        open.length += text.len() as u64;
        let (block, kind, written) = (open.block, open.kind, !text.is_empty());
        if written {
            self.note(Event::Delta {
                span,
                block,
                text,
                from: None,
            });
        }
        written && matches!(kind, BlockKind::Text | BlockKind::Refusal)
    }

    /// Notes that an open block is of another kind than it seemed. The same holds for the text of
    /// earlier attempts that it continues.
    pub fn relabel(&mut self, span: SpanNo, index: u32, kind: BlockKind) {
        let Some(open) = self.blocks.get_mut(&(span, index)) else {
            return;
        };
        open.kind = kind;
        let mut blocks = vec![(span, open.block)];
        self.live.with_answer(|answer| {
            let is_tool = |kind| matches!(kind, BlockKind::ToolInput | BlockKind::ToolOutput);
            let before = answer.blocks.iter().rev();
            let before = before.take_while(|block| !is_tool(block.kind));
            let before = before.filter(|block| block.span != span && answer.is_visible(block));
            blocks.extend(before.map(|block| (block.span, block.block)));
        });
        for (span, block) in blocks {
            self.note(Event::BlockRelabelled { span, block, kind });
        }
    }

    /// Notes the end of a block. Does nothing if it is not open.
    pub fn close(&mut self, span: SpanNo, index: u32, value: Value) {
        self.close_block(span, index, value, false);
    }

    fn close_block(&mut self, span: SpanNo, index: u32, mut value: Value, breaks_off: bool) {
        let Some(mut open) = self.blocks.remove(&(span, index)) else {
            return;
        };
        match &self.rewrite {
            Some(all) if open.kind == BlockKind::Reasoning => {
                rewrite::reasoning(&**all, &mut value);
            }
            Some(all) => all.value(&mut value),
            None => {}
        }
        let block = open.block;
        let rest = open
            .rewriter
            .map_or_else(String::new, |mut one| match breaks_off {
                true => one.break_off(),
                false => one.finish(),
            });
        open.length += rest.len() as u64;
        if !rest.is_empty() {
            self.note(Event::Delta {
                span,
                block,
                text: rest,
                from: None,
            });
        }
        self.note(Event::BlockFinished {
            span,
            block,
            length: open.length,
            value,
        });
    }

    /// Notes the end of a span and of its open blocks, with its timing.
    pub fn finish_span(&mut self, span: SpanNo, end: SpanEnd) {
        (self.timing.gap_p50, self.timing.gap_p99) = self.gaps.percentiles();
        self.timing.finished = self.now();
        self.end_span(span, end, Some(self.timing));
    }

    /// Notes the end of a span beside others that go on, such as a tool. It has no timing: that
    /// belongs to the others.
    pub fn finish_idle_span(&mut self, span: SpanNo, end: SpanEnd) {
        self.end_span(span, end, None);
    }

    fn end_span(&mut self, span: SpanNo, end: SpanEnd, timing: Option<Timing>) {
        let open = self.blocks.range((span, 0)..=(span, u32::MAX));
        let mut open: Vec<(BlockNo, u32)> = open.map(|(key, open)| (open.block, key.1)).collect();
        open.sort_unstable();
        for (_, index) in open {
            self.close_block(span, index, Value::Null, end.status != Status::Ok);
        }
        self.usage = self.usage.plus(end.usage);
        self.note(Event::SpanFinished {
            span,
            status: end.status,
            output: end.output,
            finish: end.finish,
            usage: Some(end.usage),
            timing,
            error: end.error,
        });
    }

    /// Writes the last entry and returns when it is committed. A stop keeps the text that whoever
    /// stopped had on the screen, and in any case what was in the log `SHOWN_AFTER` before.
    pub async fn finish(mut self, status: Status, error: Option<Error>, stop: Option<Stop>) {
        self.keep_last_images().await;
        self.append().await;
        self.committed().await;
        let whole = self.live.with_answer(|answer| answer.visible_text());
        let kept = match stop {
            Some(Stop {
                at,
                seen: Some(seen),
            }) => {
                let since = at.saturating_duration_since(self.clock);
                let shown = since
                    .checked_sub(SHOWN_AFTER)
                    .map(|shown| shown.as_millis() as u64);
                beginning(&whole, self.live.visible_length_at(seen, shown) as usize)
            }
            _ => &whole,
        };
        let hash = hash(kept);
        self.timing.finished = self.now();
        let (timing, usage) = (self.timing, self.usage);
        let length = kept.len() as u64;
        self.note(Event::RunFinished {
            status,
            usage,
            timing,
            error,
            length,
            hash,
        });
        self.append().await;
        self.committed().await;
    }

    /// Waits until everything that was flushed is in the log.
    pub async fn committed(&self) {
        let seq = self.seq;
        // The sender lives in `live`, so this cannot fail.
        let _ = self.live.watch().wait_for(|head| head.seq >= seq).await;
    }

    /// The time from here to the next token is no gap, because another call begins.
    pub fn pause(&mut self) {
        self.gaps.pause();
    }

    fn note_token(&mut self) {
        let now = self.now();
        self.timing.first_token.get_or_insert(now);
        self.timing.last_token = Some(now);
        self.timing.chunks += 1;
        self.gaps.token(now);
    }
}

/// Rewrites what an event says beside the text of blocks. The name of a tool in a call stays, because the
/// tool is found by it.
fn rewrite_facts(all: &dyn Rewrite, event: &mut Event) {
    match event {
        Event::SpanStarted { name, input, .. } => {
            rewrite::text(all, name);
            all.value(input);
        }
        Event::SpanFinished {
            output,
            finish,
            error,
            ..
        } => {
            all.value(output);
            if let Some(finish) = finish {
                rewrite::text(all, &mut finish.word);
            }
            if let Some(error) = error {
                rewrite::text(all, &mut error.message);
            }
        }
        Event::RunFinished {
            error: Some(error), ..
        }
        | Event::Progress {
            stage: Stage::Retrying { error, .. },
            ..
        } => rewrite::text(all, &mut error.message),
        Event::Custom { data, .. } => all.value(data),
        _ => {}
    }
}
