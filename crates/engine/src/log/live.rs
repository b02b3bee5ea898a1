//! A run in memory while it is written: its log, and how readers hear of more.

use crate::{
    log::{
        BATCH,
        batch::{Batch, frames},
        control::Control,
        frame,
        gate::Gate,
    },
    packed::{self, Item, Packed},
};
use bytes::Bytes;
use headwater_protocol::{BlockNo, ConversationId, Entry, RunId, Seq, UnixMs, chat::Answer};
use parking_lot::{Mutex, MutexGuard};
use std::{
    collections::{HashMap, VecDeque},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};
use tokio::sync::watch;

/// How many of the newest frames are kept. A reader that is further behind gets merged deltas: one
/// frame of text costs it less than a hundred small ones, and the server keeps no queue for it.
const FRAMES: usize = 64;

/// The most bytes of these frames together, unless the newest one alone has more. 64 frames with a
/// usual token each have half of this.
const FRAME_BYTES: usize = 16 * 1024;

/// The most bytes of merged frames that one read returns.
const READ: usize = 64 * 1024;

/// A run's log in memory. It holds only what is committed, so whatever a reader sees is on disk.
/// [`crate::log::appender`] appends; any number of readers look, each with its own cursor.
#[derive(Debug)]
pub struct Live {
    /// The run.
    pub run: RunId,
    /// The conversation of the run.
    pub conversation: ConversationId,
    /// The key of the run in the database.
    pub no: i64,
    /// When the run was accepted.
    pub accepted: UnixMs,
    /// Stops the run.
    pub control: Arc<Control>,
    state: Mutex<State>,
    head: watch::Sender<Head>,
    /// The same for whoever does not wait for text: told only when there is something else.
    events: watch::Sender<Head>,
    deleted: AtomicBool,
    /// Observers that the run waits for.
    gates: Mutex<Vec<Gate>>,
}

#[derive(Debug, Default)]
struct State {
    packed: Packed,
    frames: Newest,
    /// The fold of the entries up to `folded`. It catches up when somebody looks, because nobody looks
    /// at most tokens.
    answer: Answer,
    folded: Seq,
}

/// The frames of the last entries, for readers that keep up.
#[derive(Debug, Default)]
struct Newest {
    /// At most [`FRAMES`].
    frames: VecDeque<Bytes>,
    /// The bytes of all of them.
    bytes: usize,
}

impl Newest {
    /// Adds the frames of new entries, and drops the oldest ones.
    fn extend(&mut self, frames: Vec<Bytes>) {
        self.bytes += frames.iter().map(Bytes::len).sum::<usize>();
        self.frames.extend(frames);
        while self.frames.len() > FRAMES || (self.bytes > FRAME_BYTES && self.frames.len() > 1) {
            let oldest = self.frames.pop_front().unwrap_or_default();
            self.bytes -= oldest.len();
        }
    }
}

impl State {
    /// The fold of all entries.
    fn answer(&mut self) -> &Answer {
        for (seq, _, item) in self.packed.items_after(self.folded) {
            self.answer.apply(seq, &item.into_event());
        }
        self.folded = self.packed.len();
        &self.answer
    }
}

/// The end of a log as far as it is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Head {
    /// The number of the last entry.
    pub seq: Seq,
    /// Whether no more entries will come.
    pub finished: bool,
}

impl Live {
    /// A log with the entries that are stored already.
    pub fn new(
        run: RunId,
        conversation: ConversationId,
        no: i64,
        accepted: UnixMs,
        stored: Packed,
    ) -> Self {
        let live = Self {
            run,
            conversation,
            no,
            accepted,
            control: Arc::default(),
            state: Mutex::default(),
            head: watch::Sender::new(Head::default()),
            events: watch::Sender::new(Head::default()),
            deleted: AtomicBool::new(false),
            gates: Mutex::default(),
        };
        let mut state = live.state.lock();
        let newest = stored.len().saturating_sub(FRAMES as Seq);
        let newest: Vec<Entry> = stored.after(newest).collect();
        state.frames.extend(frames(&newest));
        let head = Head {
            seq: stored.len(),
            finished: stored.is_finished(),
        };
        live.head.send_replace(head);
        live.events.send_replace(head);
        state.packed = stored;
        drop(state);
        live
    }

    /// Takes entries that have been committed, and wakes the readers.
    pub fn publish(&self, batch: Batch) {
        let (finished, is_text) = (batch.is_last(), batch.is_text());
        let seq = {
            let mut state = self.lock();
            state.packed.append(&batch.chunk);
            state.frames.extend(batch.frames);
            state.packed.len()
        };
        self.head.send_modify(|head| {
            head.seq = seq;
            head.finished |= finished;
        });
        if !is_text {
            self.events.send_replace(self.head());
        }
    }

    /// The end of the log as far as it is written.
    pub fn head(&self) -> Head {
        *self.head.borrow()
    }

    /// Notifies of every change of [`Live::head`].
    pub fn watch(&self) -> watch::Receiver<Head> {
        self.head.subscribe()
    }

    /// Notifies of every entry that is no piece of text, and not of text alone.
    pub(crate) fn watch_events(&self) -> watch::Receiver<Head> {
        self.events.subscribe()
    }

    /// Waits for the last entry.
    pub async fn finished(&self) {
        // The sender lives in `self`, so this cannot fail.
        let _ = self.watch().wait_for(|head| head.finished).await;
    }

    /// The fold of all entries so far. [`Answer::seq`] is the cursor behind them.
    pub fn answer(&self) -> Answer {
        self.lock().answer().clone()
    }

    /// Looks at the fold without copying it.
    pub fn with_answer<R>(&self, look: impl FnOnce(&Answer) -> R) -> R {
        look(self.lock().answer())
    }

    /// Lets the run wait for an observer.
    pub(crate) fn add_gate(&self, gate: Gate) {
        self.gates.lock().push(gate);
    }

    /// The observers that the run waits for.
    pub(crate) fn gates(&self) -> Vec<Gate> {
        self.gates.lock().clone()
    }

    /// A copy of the log, to be stored in one piece.
    pub fn packed(&self) -> Packed {
        self.lock().packed.clone()
    }

    /// Looks at the log without copying it.
    pub(super) fn with_packed<R>(&self, look: impl FnOnce(&Packed) -> R) -> R {
        look(&self.lock().packed)
    }

    /// What an entry behind the last one is relative to.
    pub(crate) fn packed_state(&self) -> packed::State {
        self.lock().packed.state()
    }

    /// Whether the run's conversation was deleted. Nothing of it is written any more.
    pub(super) fn is_deleted(&self) -> bool {
        self.deleted.load(Ordering::Relaxed)
    }

    /// Notes that the run's conversation was deleted.
    pub(super) fn note_deleted(&self) {
        self.deleted.store(true, Ordering::Relaxed);
    }

    /// Adds the frames after `after` to `out`: shared bytes where the reader keeps up, merged deltas
    /// where it does not. Returns the cursor that they lead to.
    pub fn read(&self, after: Seq, out: &mut VecDeque<Bytes>) -> Seq {
        let state = self.lock();
        let head = state.packed.len();
        let behind = usize::try_from(head.saturating_sub(after)).unwrap_or(usize::MAX);
        let newest = &state.frames.frames;
        let Some(seen) = newest.len().checked_sub(behind) else {
            let (bytes, cursor) = frame::merged(&state.packed, after, READ);
            out.push_back(bytes);
            return cursor;
        };
        out.extend(newest.iter().skip(seen).cloned());
        head.max(after)
    }

    /// Some of the entries after `after`. Waits if there is none yet; returns none behind the last one.
    pub(super) async fn entries_after(&self, after: Seq) -> Vec<Entry> {
        // The sender lives in `self`, so this cannot fail.
        let mut watch = self.watch();
        let _ = watch
            .wait_for(|head| head.seq > after || head.finished)
            .await;
        self.lock().packed.after(after).take(BATCH).collect()
    }

    /// How many bytes of the text that is visible now were there with entry `seen`, or `until`
    /// milliseconds after the run was accepted, whichever is more. Text that was replaced since does
    /// not count. A block counts as a whole if a later one was there.
    pub fn visible_length_at(&self, seen: Seq, until: Option<u64>) -> u64 {
        let mut state = self.lock();
        state.answer();
        let mut lengths: HashMap<BlockNo, u64> = HashMap::new();
        for (seq, at, item) in state.packed.items_after(0) {
            if seq > seen && until.is_none_or(|until| at > until) {
                break;
            }
            if let Item::Delta { block, text, .. } = item {
                *lengths.entry(block).or_default() += text.len() as u64;
            }
        }
        let (mut before, mut shown) = (0, 0);
        for block in &state.answer.blocks {
            if state.answer.is_visible(block) {
                if let Some(length) = lengths.get(&block.block) {
                    shown = before + length;
                }
                before += block.text.len() as u64;
            }
        }
        shown
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use headwater_protocol::Event;

    fn live(entries: u64) -> Live {
        live_of(entries, |seq| format!("{seq} "))
    }

    fn live_of(entries: u64, text: impl Fn(u64) -> String) -> Live {
        let id = uuid::Uuid::from_u128(1);
        let live = Live::new(RunId(id), ConversationId(id), 1, 0, Packed::default());
        let entries: Vec<Entry> = (1..=entries)
            .map(|seq| Entry {
                seq,
                at: seq,
                event: Event::Delta {
                    span: 1,
                    block: 1,
                    text: text(seq),
                    from: None,
                },
            })
            .collect();
        live.publish(Batch::new(Default::default(), entries));
        live
    }

    fn read(live: &Live, after: Seq) -> (Vec<Bytes>, Seq) {
        let mut out = VecDeque::new();
        let cursor = live.read(after, &mut out);
        (out.into(), cursor)
    }

    #[test]
    fn readers_share_the_bytes_of_a_frame() {
        let live = live(10);
        let (one, cursor) = read(&live, 4);
        let (other, _) = read(&live, 4);
        assert_eq!((one.len(), cursor), (6, 10));
        for (a, b) in one.iter().zip(&other) {
            assert_eq!(a.as_ptr(), b.as_ptr(), "the same memory, not a copy");
        }
    }

    #[test]
    fn a_reader_that_is_behind_gets_merged_deltas_and_one_at_the_head_gets_nothing() {
        let live = live(1000);
        let (frames, cursor) = read(&live, 3);
        assert_eq!((frames.len(), cursor), (1, 1000));
        assert_eq!(
            frames[0]
                .windows(5)
                .filter(|bytes| bytes == b"data:")
                .count(),
            1
        );
        assert_eq!(read(&live, 1000), (Vec::new(), 1000));
    }

    #[test]
    fn only_the_newest_frames_are_kept_and_every_cursor_reads_on() {
        let stored = live(1000);
        assert_eq!(stored.lock().frames.frames.len(), FRAMES);
        let id = RunId(uuid::Uuid::from_u128(1));
        let again = Live::new(id, stored.conversation, 1, 0, stored.packed());
        assert_eq!(again.lock().frames.frames.len(), FRAMES);
        assert_eq!(again.head(), stored.head());
        for live in [stored, again] {
            for after in [0, 900, 935, 936, 937, 999] {
                let (frames, cursor) = read(&live, after);
                assert_eq!(cursor, 1000, "after {after}");
                let behind = 1000 - after as usize;
                let merged = behind > FRAMES;
                assert_eq!(frames.len(), if merged { 1 } else { behind });
            }
        }
    }

    #[test]
    fn long_frames_are_kept_up_to_their_bytes_and_the_newest_one_always() {
        for (length, kept) in [(1000, 15), (FRAME_BYTES / 2, 1), (FRAME_BYTES * 2, 1)] {
            let live = live_of(50, |_| "z".repeat(length));
            let state = live.lock();
            let bytes: usize = state.frames.frames.iter().map(Bytes::len).sum();
            assert_eq!(state.frames.bytes, bytes, "{length} bytes each");
            assert_eq!(state.frames.frames.len(), kept, "{length} bytes each");
            drop(state);
            for after in 0..50 {
                let (mut cursor, mut text) = (after, 0);
                while cursor < 50 {
                    let (frames, next) = read(&live, cursor);
                    cursor = next;
                    let frames = frames.iter();
                    text += frames
                        .map(|frame| frame.iter().filter(|byte| **byte == b'z').count())
                        .sum::<usize>();
                }
                assert_eq!(text, length * (50 - after as usize), "after {after}");
            }
        }
    }
}
