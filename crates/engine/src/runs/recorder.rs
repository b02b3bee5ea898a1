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
    BlockKind, BlockNo, Entry, Error, Event, Finish, ImageId, Seq, SpanKind, SpanNo, Stage, Status,
    Timing, ToolCall, Usage, chat::beginning,
};
use parking_lot::{Mutex, MutexGuard};
use serde_json::Value;
use std::{
    collections::{BTreeMap, VecDeque},
    mem,
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
///
/// The steps of a chain that work side by side have a recorder each ([`Recorder::part`]). They share the
/// numbers and the entries, so that the log has all of them in the order in which they were noted; each has
/// its own times and knows which spans are its own.
pub struct Recorder {
    run: Arc<Shared>,
    /// `None` for the recorder of the whole run.
    part: Option<Part>,
    clock: Instant,
    timing: Timing,
    gaps: Gaps,
    /// The last entry that was handed to the log for this recorder.
    flushed: Seq,
}

/// What is the same for all parts of a run.
struct Shared {
    live: Arc<Live>,
    appender: Appender,
    writer: Writer,
    noted: Mutex<Noted>,
    /// Held by whoever hands entries to the log.
    writing: tokio::sync::Mutex<Writing>,
}

/// The end of the log, for the next entries, and those that the disk has not taken yet.
struct Writing {
    state: State,
    batch: Vec<Entry>,
}

/// Entries that are not handed to the log yet, and what the next ones depend on.
struct Noted {
    clock: Instant,
    seq: Seq,
    batch: Vec<Entry>,
    held: Held,
    /// The open blocks by their span and by the provider's number for them.
    blocks: BTreeMap<(SpanNo, u32), OpenBlock>,
    /// The open spans with their parents, in the order in which they began.
    spans: Vec<(SpanNo, Option<SpanNo>)>,
    /// Images whose blocks are noted and that are not stored yet.
    images: VecDeque<(ImageId, Image)>,
    rewrite: Option<Arc<dyn Rewrite>>,
    block_count: BlockNo,
    span_count: SpanNo,
    usage: Usage,
    /// The times of all parts together.
    parts: Option<Timing>,
    /// Whether only the last entry may still come.
    closed: bool,
}

/// What a part of a run has of its own.
struct Part {
    /// The span that contains the spans of this part.
    parent: Option<SpanNo>,
    /// Labels of the spans of this part.
    tags: Vec<String>,
    /// The spans that began in this part.
    spans: Vec<SpanNo>,
}

struct OpenBlock {
    block: BlockNo,
    kind: BlockKind,
    /// Bytes of text so far.
    length: u64,
    rewriter: Option<Box<dyn Rewriter>>,
}

/// How a span begins.
#[derive(Debug)]
pub struct SpanStart {
    /// The kind of work.
    pub kind: SpanKind,
    /// See [`Event::SpanStarted`].
    pub name: String,
    /// The span that contains it. `None` stands for that of the part.
    pub parent: Option<SpanNo>,
    /// Facts about the work, any JSON.
    pub metadata: Value,
    /// The input of the work, any JSON.
    pub input: Value,
    /// The earlier span whose place this one takes.
    pub replaces: Option<SpanNo>,
}

impl SpanStart {
    /// A beginning with nothing to say but the kind of work and its name.
    pub fn new(kind: SpanKind, name: impl Into<String>) -> Self {
        Self {
            kind,
            name: name.into(),
            parent: None,
            metadata: Value::Null,
            input: Value::Null,
            replaces: None,
        }
    }
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
    /// Continues a log after the entries that `live` has. `rewrite` changes what is noted.
    pub fn new(live: Arc<Live>, log: &Log, rewrite: Option<Arc<dyn Rewrite>>) -> Self {
        let clock = Instant::now();
        let noted = Noted {
            clock,
            seq: live.head().seq,
            batch: Vec::new(),
            held: Held::default(),
            blocks: BTreeMap::new(),
            spans: Vec::new(),
            images: VecDeque::new(),
            rewrite,
            block_count: 0,
            span_count: 0,
            usage: Usage::default(),
            parts: None,
            closed: false,
        };
        let writing = Writing {
            state: live.packed_state(),
            batch: Vec::new(),
        };
        let run = Shared {
            live,
            appender: log.appender.clone(),
            writer: log.writer.clone(),
            noted: Mutex::new(noted),
            writing: tokio::sync::Mutex::new(writing),
        };
        Self::of(Arc::new(run), clock, None)
    }

    fn of(run: Arc<Shared>, clock: Instant, part: Option<Part>) -> Self {
        let timing = Timing {
            accepted: run.live.accepted,
            ..Timing::default()
        };
        Self {
            run,
            part,
            clock,
            timing,
            gaps: Gaps::default(),
            flushed: 0,
        }
    }

    /// A recorder for a part of the run, whose spans are in `parent` and have `tags`. Dropping it ends those of
    /// its spans that are still open as cancelled.
    pub fn part(&self, parent: Option<SpanNo>, tags: Vec<String>) -> Self {
        let part = Part {
            parent,
            tags,
            spans: Vec::new(),
        };
        Self::of(self.run.clone(), self.clock, Some(part))
    }

    /// Whether a span began here: always, unless this is a part of the run and the span is of another one.
    pub fn is_own(&self, span: SpanNo) -> bool {
        let part = self.part.as_ref();
        part.is_none_or(|part| part.spans.contains(&span))
    }

    /// The last span that began in this part.
    pub fn last_span(&self) -> Option<SpanNo> {
        self.part.as_ref()?.spans.last().copied()
    }

    fn noted(&self) -> MutexGuard<'_, Noted> {
        self.run.noted.lock()
    }

    /// Milliseconds since the run was accepted.
    pub fn now(&self) -> u64 {
        self.clock.elapsed().as_millis() as u64
    }

    /// The times so far, to be completed.
    pub fn timing(&mut self) -> &mut Timing {
        &mut self.timing
    }

    /// Notes an event. Nobody sees it before the next flush is committed.
    pub fn note(&self, event: Event) {
        self.noted().note(event);
    }

    /// Notes a stage that a span has entered.
    pub fn progress(&self, span: SpanNo, stage: Stage) {
        let mut noted = self.noted();
        let at = noted.now();
        noted.note(Event::Progress { span, at, stage });
    }

    /// Why the run has to end, if it holds more than a run may hold.
    pub fn excess(&self) -> Option<Error> {
        self.noted().held.excess()
    }

    /// Hands the noted entries to the log. Waits for images to be stored, as long as the disk does not
    /// take the entries, and for observers that the run waits for. Dropping the future meanwhile loses
    /// nothing: until the log has them, they stay noted for the next flush.
    pub async fn flush(&mut self) {
        self.append().await;
        for mut gate in self.run.live.gates() {
            gate.room(self.flushed).await;
        }
    }

    async fn append(&mut self) {
        let mut writing = self.run.writing.lock().await;
        loop {
            {
                let mut noted = self.run.noted.lock();
                if noted.images.is_empty() {
                    self.flushed = noted.hand_over(&mut writing.batch);
                    break;
                }
            }
            self.keep_images().await;
        }
        let Writing { state, batch } = &mut *writing;
        if !batch.is_empty() {
            let append = self.run.appender.append(&self.run.live, state, batch);
            append.await;
        }
    }

    /// Notes the beginning of a span, and returns its number.
    pub fn begin_span(&mut self, mut start: SpanStart) -> SpanNo {
        let mut noted = self.run.noted.lock();
        let Some(part) = &mut self.part else {
            return noted.begin_span(start, Vec::new());
        };
        start.parent = start.parent.or(part.parent);
        let span = noted.begin_span(start, part.tags.clone());
        part.spans.push(span);
        span
    }

    /// Notes the beginning of a block. `index` is the provider's number for it; a block of the same
    /// number that is still open ends here.
    pub fn open(&self, span: SpanNo, index: u32, kind: BlockKind, tool: Option<ToolCall>) {
        self.noted().open(span, index, kind, tool);
    }

    /// Notes text of a model. A block that the provider did not announce is opened as text. Returns
    /// whether the text belongs to what a person reads as the answer.
    pub fn text(&mut self, span: SpanNo, index: u32, text: String) -> bool {
        let mut noted = self.run.noted.lock();
        if !noted.blocks.contains_key(&(span, index)) {
            noted.open(span, index, BlockKind::Text, None);
        }
        let now = noted.now();
        self.timing.first_token.get_or_insert(now);
        self.timing.last_token = Some(now);
        self.timing.chunks += 1;
        self.gaps.token(now);
        noted.output(span, index, text)
    }

    /// Notes text of an open block that is no token of a model, such as the output of a tool. Returns
    /// the same as [`Recorder::text`].
    pub fn output(&self, span: SpanNo, index: u32, text: String) -> bool {
        self.noted().output(span, index, text)
    }

    /// Whether a block is open.
    pub fn is_open(&self, span: SpanNo, index: u32) -> bool {
        self.noted().blocks.contains_key(&(span, index))
    }

    /// Notes that an open block is of another kind than it seemed. The same holds for the text of
    /// earlier attempts that it continues.
    pub fn relabel(&self, span: SpanNo, index: u32, kind: BlockKind) {
        let mut blocks = {
            let mut noted = self.noted();
            let Some(open) = noted.blocks.get_mut(&(span, index)) else {
                return;
            };
            open.kind = kind;
            vec![(span, open.block)]
        };
        self.run.live.with_answer(|answer| {
            let is_tool = |kind| matches!(kind, BlockKind::ToolInput | BlockKind::ToolOutput);
            let before = answer.blocks.iter().rev();
            let before = before.filter(|block| self.is_own(block.span));
            let before = before.take_while(|block| !is_tool(block.kind));
            let before = before.filter(|block| block.span != span && answer.is_text(block));
            blocks.extend(before.map(|block| (block.span, block.block)));
        });
        for (span, block) in blocks {
            self.note(Event::BlockRelabelled { span, block, kind });
        }
    }

    /// Notes the end of a block. Does nothing if it is not open.
    pub fn close(&self, span: SpanNo, index: u32, value: Value) {
        self.noted().close(span, index, value, false);
    }

    /// Notes the end of a span and of its open blocks, with its timing.
    pub fn finish_span(&mut self, span: SpanNo, end: SpanEnd) {
        (self.timing.gap_p50, self.timing.gap_p99) = self.gaps.percentiles();
        let mut noted = self.run.noted.lock();
        self.timing.finished = noted.now();
        noted.end_span(span, end, Some(self.timing));
    }

    /// Notes the end of a span beside others that go on, such as a tool. It has no timing: that
    /// belongs to the others.
    pub fn finish_idle_span(&self, span: SpanNo, end: SpanEnd) {
        self.noted().end_span(span, end, None);
    }

    /// Writes the last entry and returns when it is committed. What is still open ends with it, and nothing that
    /// comes later is noted any more. A stop keeps the text that whoever stopped had on the screen, and in any
    /// case what was in the log `SHOWN_AFTER` before.
    pub async fn finish(mut self, status: Status, error: Option<Error>, stop: Option<Stop>) {
        {
            let mut noted = self.noted();
            noted.end_spans(status);
            noted.closed = true;
        }
        self.keep_last_images().await;
        self.append().await;
        self.committed().await;
        let live = self.run.live.clone();
        let whole = live.with_answer(|answer| answer.visible_text());
        let kept = match stop {
            Some(Stop {
                at,
                seen: Some(seen),
            }) => {
                let since = at.saturating_duration_since(self.clock);
                let shown = since
                    .checked_sub(SHOWN_AFTER)
                    .map(|shown| shown.as_millis() as u64);
                beginning(&whole, live.visible_length_at(seen, shown) as usize)
            }
            _ => &whole,
        };
        let (hash, length) = (hash(kept), kept.len() as u64);
        {
            let mut noted = self.run.noted.lock();
            let timing = Timing {
                finished: noted.now(),
                ..noted.parts.unwrap_or(self.timing)
            };
            let usage = noted.usage;
            noted.note(Event::RunFinished {
                status,
                usage,
                timing,
                error,
                length,
                hash,
            });
        }
        self.append().await;
        self.committed().await;
    }

    /// Waits until everything that was flushed is in the log.
    pub async fn committed(&self) {
        let seq = self.flushed;
        let mut head = self.run.live.watch();
        // The sender lives in `live`, so this cannot fail.
        let _ = head.wait_for(|head| head.seq >= seq).await;
    }

    /// The time from here to the next token is no gap, because another call begins.
    pub fn pause(&mut self) {
        self.gaps.pause();
    }
}

/// Whoever gives up a part of a run, such as a step of a chain beside one that failed, leaves nothing open.
impl Drop for Recorder {
    fn drop(&mut self) {
        let Some(part) = &self.part else { return };
        let mut noted = self.run.noted.lock();
        for span in &part.spans {
            noted.end_tree(*span, Status::Cancelled);
        }
        if self.timing.asked.is_some() {
            noted.add_part(&self.timing);
        }
    }
}

impl Noted {
    fn now(&self) -> u64 {
        self.clock.elapsed().as_millis() as u64
    }

    fn note(&mut self, mut event: Event) {
        if self.closed && !event.is_terminal() {
            return;
        }
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

    /// Adds all entries to those on their way into the log, and returns the number of the last one.
    fn hand_over(&mut self, batch: &mut Vec<Entry>) -> Seq {
        match batch.is_empty() {
            true => *batch = mem::take(&mut self.batch),
            false => batch.append(&mut self.batch),
        }
        self.seq
    }

    fn begin_span(&mut self, start: SpanStart, tags: Vec<String>) -> SpanNo {
        self.span_count += 1;
        let (span, parent) = (self.span_count, start.parent);
        self.spans.push((span, parent));
        self.note(Event::SpanStarted {
            span,
            parent,
            kind: start.kind,
            name: start.name,
            tags,
            metadata: start.metadata,
            input: start.input,
            replaces: start.replaces,
        });
        span
    }

    fn open(&mut self, span: SpanNo, index: u32, kind: BlockKind, tool: Option<ToolCall>) {
        self.close(span, index, Value::Null, false);
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

    fn output(&mut self, span: SpanNo, index: u32, text: String) -> bool {
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

    fn close(&mut self, span: SpanNo, index: u32, mut value: Value, breaks_off: bool) {
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

    fn end_span(&mut self, span: SpanNo, end: SpanEnd, timing: Option<Timing>) {
        let open = self.blocks.range((span, 0)..=(span, u32::MAX));
        let mut open: Vec<(BlockNo, u32)> = open.map(|(key, open)| (open.block, key.1)).collect();
        open.sort_unstable();
        for (_, index) in open {
            self.close(span, index, Value::Null, end.status != Status::Ok);
        }
        self.spans.retain(|(open, _)| *open != span);
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

    /// Ends the open spans, those that began last first.
    fn end_spans(&mut self, status: Status) {
        while let Some((span, _)) = self.spans.last().copied() {
            self.end_span(span, SpanEnd::new(status, Usage::default()), None);
        }
    }

    /// Ends a span with all that is open in it, if it is open.
    fn end_tree(&mut self, root: SpanNo, status: Status) {
        let Some(at) = self.spans.iter().position(|(span, _)| *span == root) else {
            return;
        };
        // Whatever is in it began after it.
        let mut inside = vec![root];
        for (span, parent) in &self.spans[at..] {
            if parent.is_some_and(|parent| inside.contains(&parent)) {
                inside.push(*span);
            }
        }
        for span in inside.into_iter().rev() {
            self.end_span(span, SpanEnd::new(status, Usage::default()), None);
        }
    }

    /// Adds the times of a part: the run began with the first and ended with the last of them.
    fn add_part(&mut self, part: &Timing) {
        let Some(all) = &mut self.parts else {
            self.parts = Some(*part);
            return;
        };
        let first = |one: Option<u64>, other| one.into_iter().chain(other).min();
        let last = |one: Option<u64>, other: Option<u64>| one.max(other);
        *all = Timing {
            accepted: all.accepted,
            asked: first(all.asked, part.asked),
            queued: first(all.queued, part.queued),
            connected: first(all.connected, part.connected),
            first_chunk: first(all.first_chunk, part.first_chunk),
            first_token: first(all.first_token, part.first_token),
            last_token: last(all.last_token, part.last_token),
            gap_p50: last(all.gap_p50, part.gap_p50),
            gap_p99: last(all.gap_p99, part.gap_p99),
            chunks: all.chunks + part.chunks,
            finished: all.finished.max(part.finished),
        };
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
        Event::Custom { name, data, .. } => {
            rewrite::text(all, name);
            all.value(data);
        }
        _ => {}
    }
}
