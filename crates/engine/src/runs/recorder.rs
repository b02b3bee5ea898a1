//! Writes one run's log: numbers the entries, stamps them, hands them to the log's writer.

use super::bounds::Held;
use crate::{
    db::images,
    log::{control::Stop, live::Live, writer::Writer},
    packed::hash,
    provider::Image,
};
use headwater_protocol::{
    BlockKind, BlockNo, Entry, Error, ErrorCode, Event, Finish, ImageId, Seq, SpanNo, Status,
    Timing, ToolCall, Usage, chat::beginning,
};
use rusqlite::Connection;
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::{Duration, Instant},
};

/// Between two tries to store a picture that the disk did not take.
const PAUSE: Duration = Duration::from_millis(250);

/// What was in the log for so long before a stop has been shown to all who follow it, so no stop
/// takes it back.
const SHOWN_AFTER: Duration = Duration::from_secs(1);

/// The one writer of a run. Entries are collected by [`Recorder::note`] and go to the log together
/// with [`Recorder::flush`], in order.
#[derive(Debug)]
pub struct Recorder {
    live: Arc<Live>,
    writer: Writer,
    seq: Seq,
    clock: Instant,
    batch: Vec<Entry>,
    held: Held,
    /// The open blocks, by their span and the provider's number.
    blocks: BTreeMap<(SpanNo, u32), OpenBlock>,
    /// The pictures in the batch.
    pictures: VecDeque<(ImageId, Image)>,
    block_count: BlockNo,
    span_count: SpanNo,
    usage: Usage,
    timing: Timing,
    gaps: Vec<u32>,
    /// The last token of the call that is being written.
    gap_since: Option<u64>,
}

#[derive(Debug)]
struct OpenBlock {
    block: BlockNo,
    kind: BlockKind,
    length: u64,
}

impl Recorder {
    /// Goes on after the entries that `live` already has.
    pub fn new(live: Arc<Live>, writer: Writer) -> Self {
        Self {
            seq: live.head().seq,
            timing: Timing {
                accepted: live.accepted,
                ..Timing::default()
            },
            live,
            writer,
            clock: Instant::now(),
            batch: Vec::new(),
            held: Held::default(),
            blocks: BTreeMap::new(),
            pictures: VecDeque::new(),
            block_count: 0,
            span_count: 0,
            usage: Usage::default(),
            gaps: Vec::new(),
            gap_since: None,
        }
    }

    /// Milliseconds since the run was accepted.
    pub fn now(&self) -> u64 {
        self.clock.elapsed().as_millis() as u64
    }

    /// When things happened so far.
    pub fn timing(&mut self) -> &mut Timing {
        &mut self.timing
    }

    /// Notes an event; nobody sees it before the next flush is committed.
    pub fn note(&mut self, event: Event) {
        self.held.count(&event);
        self.seq += 1;
        self.batch.push(Entry {
            seq: self.seq,
            at: self.now(),
            event,
        });
    }

    /// Why the run has to end, if what came from outside is more than a run may hold.
    pub fn excess(&self) -> Option<Error> {
        self.held.excess()
    }

    /// Hands what was noted to the log. Waits only while the log's queue is full, and for pictures to
    /// be stored; if this future is dropped while it waits, what was noted stays noted, and goes with
    /// the next flush.
    pub async fn flush(&mut self) {
        if self.batch.is_empty() {
            return;
        }
        self.keep_pictures().await;
        let place = self.writer.place().await;
        place.append(self.live.clone(), std::mem::take(&mut self.batch));
    }

    /// The number of the next span.
    pub fn next_span(&mut self) -> SpanNo {
        self.span_count += 1;
        self.span_count
    }

    /// Adds what a call has cost to the run's counts.
    pub fn count(&mut self, usage: Usage) {
        self.usage = self.usage.plus(usage);
    }

    /// Notes a block's beginning. `index` is the provider's number for it; a block of that number
    /// that is still open ends here.
    pub fn open(&mut self, span: SpanNo, index: u32, kind: BlockKind, tool: Option<ToolCall>) {
        self.close(span, index, Value::Null);
        self.block_count += 1;
        let block = self.block_count;
        let open = OpenBlock {
            block,
            kind,
            length: 0,
        };
        self.blocks.insert((span, index), open);
        self.note(Event::BlockStarted {
            span,
            block,
            kind,
            tool,
        });
    }

    /// Notes what a model wrote. A block that the provider did not announce is opened as text. The
    /// answer is whether the text is part of what a person reads as the answer.
    pub fn text(&mut self, span: SpanNo, index: u32, text: String) -> bool {
        if !self.blocks.contains_key(&(span, index)) {
            self.open(span, index, BlockKind::Text, None);
        }
        self.measure_gap();
        self.output(span, index, text)
    }

    /// Notes text of an open block, without counting it as a model's: what a tool gave back. The
    /// answer is that of [`Recorder::text`].
    pub fn output(&mut self, span: SpanNo, index: u32, text: String) -> bool {
        if let Some(open) = self.blocks.get_mut(&(span, index)) {
            open.length += text.len() as u64;
            let (block, kind) = (open.block, open.kind);
            self.note(Event::Delta {
                span,
                block,
                text,
                from: None,
            });
            return matches!(kind, BlockKind::Text | BlockKind::Refusal);
        }
        false
    }

    /// Notes that an open block is of another kind than it seemed, and with it the text of the
    /// attempts that it goes on from.
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

    /// Notes a picture that a model made, a block of its own. It is kept before the log tells of it.
    pub fn picture(&mut self, span: SpanNo, image: Image) {
        self.block_count += 1;
        let block = self.block_count;
        let id = images::id_of(&image.data);
        self.held.count_picture(image.data.len());
        self.note(Event::BlockStarted {
            span,
            block,
            kind: BlockKind::Data,
            tool: None,
        });
        self.note(Event::BlockFinished {
            span,
            block,
            length: 0,
            value: json!({ "image": id, "media_type": image.media_type }),
        });
        self.pictures.push_back((id, image));
    }

    /// Keeps the pictures that were noted. Where the disk does not take one, it is tried again until
    /// it does, as with the log itself.
    async fn keep_pictures(&mut self) {
        while let Some((id, image)) = self.pictures.front().cloned() {
            match self.keep_picture(id, image).await {
                Err(why) if why.code == ErrorCode::Storage => {
                    tracing::warn!(%why, "a picture waits for the disk");
                    tokio::time::sleep(PAUSE).await;
                }
                _ => drop(self.pictures.pop_front()),
            }
        }
    }

    async fn keep_picture(&self, id: ImageId, image: Image) -> Result<(), Error> {
        let run = self.live.no;
        let keep = move |db: &Connection| Ok(images::keep_of_run(db, run, &id, &image)?);
        self.writer.write(keep).await
    }

    /// Keeps the pictures that were noted, as far as the disk takes them. The end of a run is small,
    /// and does not wait for room for a picture that nobody has seen: its block is empty then.
    async fn keep_last_pictures(&mut self) {
        while let Some((id, image)) = self.pictures.pop_front() {
            let Err(why) = self.keep_picture(id.clone(), image).await else {
                continue;
            };
            tracing::warn!(%why, "a picture is given up, because its answer has ended");
            let shown = json!(id);
            for entry in &mut self.batch {
                if let Event::BlockFinished { value, .. } = &mut entry.event
                    && value.get("image") == Some(&shown)
                {
                    *value = Value::Null;
                }
            }
        }
    }

    /// Notes a block's end.
    pub fn close(&mut self, span: SpanNo, index: u32, value: Value) {
        if let Some(OpenBlock { block, length, .. }) = self.blocks.remove(&(span, index)) {
            self.note(Event::BlockFinished {
                span,
                block,
                length,
                value,
            });
        }
    }

    /// Notes the end of a span and of all its open blocks, and counts what it has cost.
    pub fn finish_span(
        &mut self,
        span: SpanNo,
        status: Status,
        finish: Option<Finish>,
        usage: Usage,
        error: Option<Error>,
        output: Value,
    ) {
        self.set_gaps();
        self.timing.finished = self.now();
        let timing = Some(self.timing);
        self.end_span(span, usage, |usage| Event::SpanFinished {
            span,
            status,
            output,
            finish,
            usage,
            timing,
            error,
        });
    }

    /// Notes the end of a span beside others that go on: a rival that wrote nothing, or a tool.
    pub fn finish_idle_span(
        &mut self,
        span: SpanNo,
        status: Status,
        usage: Usage,
        error: Option<Error>,
    ) {
        self.end_span(span, usage, |usage| Event::SpanFinished {
            span,
            status,
            output: Value::Null,
            finish: None,
            usage,
            timing: None,
            error,
        });
    }

    fn end_span(&mut self, span: SpanNo, usage: Usage, end: impl FnOnce(Option<Usage>) -> Event) {
        let open = self.blocks.range((span, 0)..=(span, u32::MAX));
        let mut open: Vec<(BlockNo, u32)> = open.map(|(key, open)| (open.block, key.1)).collect();
        open.sort_unstable();
        for (_, index) in open {
            self.close(span, index, Value::Null);
        }
        self.count(usage);
        self.note(end(Some(usage)));
    }

    /// Writes the last entry and returns when it is committed. After a stop the text is kept as far
    /// as whoever stopped had seen it, and at least as far as it was there [`SHOWN_AFTER`] before.
    pub async fn finish(mut self, status: Status, error: Option<Error>, stop: Option<Stop>) {
        self.keep_last_pictures().await;
        self.flush().await;
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
        self.flush().await;
        self.committed().await;
    }

    /// Waits until everything handed over is in the log.
    pub async fn committed(&self) {
        let seq = self.seq;
        // The sender lives in `live`, so this cannot fail.
        let _ = self.live.watch().wait_for(|head| head.seq >= seq).await;
    }

    /// The next token ends no gap: what comes before it is another call's.
    pub fn pause(&mut self) {
        self.gap_since = None;
    }

    fn measure_gap(&mut self) {
        let now = self.now();
        self.timing.first_token.get_or_insert(now);
        if let Some(last) = self.gap_since.replace(now) {
            self.gaps
                .push(u32::try_from(now - last).unwrap_or(u32::MAX));
        }
        self.timing.last_token = Some(now);
        self.timing.chunks += 1;
    }

    fn set_gaps(&mut self) {
        self.gaps.sort_unstable();
        let rank = |share: usize| {
            self.gaps
                .get(self.gaps.len() * share / 100)
                .copied()
                .map(u64::from)
        };
        (self.timing.gap_p50, self.timing.gap_p99) = (rank(50), rank(99));
    }
}
