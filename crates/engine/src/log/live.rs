//! A run in memory while it is being written: what is in the log, and how readers hear of more.

use crate::{
    log::{BATCH, control::Control, frame},
    packed::{Item, Packed},
};
use bytes::{Bytes, BytesMut};
use headwater_protocol::{BlockNo, ConversationId, Entry, Event, RunId, Seq, UnixMs, chat::Answer};
use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tokio::sync::watch;

/// A reader that is further behind than this many entries gets merged deltas: one frame of text
/// costs it less than a hundred small ones, and costs the server no queue.
const BEHIND: Seq = 64;

/// The most that one read hands out, in bytes.
const READ: usize = 64 * 1024;

/// A run's log in memory. Only what is committed ever gets in here, so whatever a reader sees is
/// on disk. The writer thread appends; any number of readers look, each with a cursor of its own.
#[derive(Debug)]
pub struct Live {
    /// Which run.
    pub run: RunId,
    /// Its conversation.
    pub conversation: ConversationId,
    /// Its number in the database.
    pub no: i64,
    /// When it was accepted.
    pub accepted: UnixMs,
    /// How it is stopped.
    pub control: Arc<Control>,
    state: Mutex<State>,
    head: watch::Sender<Head>,
}

#[derive(Debug, Default)]
struct State {
    packed: Packed,
    frames: Vec<Bytes>,
    answer: Answer,
}

/// How far a log is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Head {
    /// The last entry.
    pub seq: Seq,
    /// Whether that is the last one there will be.
    pub finished: bool,
}

impl Live {
    /// A log with the entries that are already stored.
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
        };
        let entries = stored.after(0).collect::<Vec<_>>();
        let frames = encode_all(&entries);
        live.publish(entries, frames);
        live
    }

    /// Takes entries that have been committed and wakes the readers.
    pub fn publish(&self, entries: Vec<Entry>, frames: Vec<Bytes>) {
        let mut finished = false;
        let seq = {
            let mut state = self.lock();
            for entry in &entries {
                state.packed.push(entry.at, &entry.event);
                state.answer.apply(entry.seq, &entry.event);
                finished |= entry.event.is_terminal();
            }
            state.frames.extend(frames);
            state.packed.len()
        };
        self.head.send_modify(|head| {
            head.seq = seq;
            head.finished |= finished;
        });
    }

    /// How far the log is.
    pub fn head(&self) -> Head {
        *self.head.borrow()
    }

    /// Hears of every change of [`Live::head`].
    pub fn watch(&self) -> watch::Receiver<Head> {
        self.head.subscribe()
    }

    /// Waits for the end.
    pub async fn finished(&self) {
        // The sender lives in `self`, so this cannot fail.
        let _ = self.watch().wait_for(|head| head.finished).await;
    }

    /// The fold of everything so far, with the cursor that goes with it.
    pub fn answer(&self) -> Answer {
        self.lock().answer.clone()
    }

    /// Looks at the fold without copying it.
    pub fn with_answer<R>(&self, look: impl FnOnce(&Answer) -> R) -> R {
        look(&self.lock().answer)
    }

    /// The log itself, to be stored in one piece.
    pub fn packed(&self) -> Packed {
        self.lock().packed.clone()
    }

    /// The frames after `after`: shared bytes where the reader keeps up, merged deltas where it
    /// does not. Returns the cursor that they lead to.
    pub fn read(&self, after: Seq, out: &mut VecDeque<Bytes>) -> Seq {
        let state = self.lock();
        let head = state.packed.len();
        if head.saturating_sub(after) > BEHIND {
            let (bytes, cursor) = frame::merged(&state.packed, after, READ);
            out.push_back(bytes);
            return cursor;
        }
        let start = usize::try_from(after).unwrap_or(usize::MAX);
        out.extend(state.frames.iter().skip(start).cloned());
        head.max(after)
    }

    /// The entries after `after`, a bounded number of them. Waits for the next one where there is
    /// none yet, and is empty behind the last one.
    pub(super) async fn entries_after(&self, after: Seq) -> Vec<Entry> {
        // The sender lives in `self`, so this cannot fail.
        let mut watch = self.watch();
        let _ = watch
            .wait_for(|head| head.seq > after || head.finished)
            .await;
        self.lock().packed.after(after).take(BATCH).collect()
    }

    /// How many bytes of the text that is visible now were there with entry `seen`, or `until`
    /// milliseconds after the run was accepted, whichever is more. What has been replaced since is
    /// not counted, and text of which a later block was there counts as a whole.
    pub fn visible_length_at(&self, seen: Seq, until: Option<u64>) -> u64 {
        let state = self.lock();
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
        // Nothing in here panics half-way through a change, so a poisoned lock is still whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Encodes entries once, in one allocation that all frames share.
pub fn encode_all(entries: &[Entry]) -> Vec<Bytes> {
    let mut out = BytesMut::with_capacity(entries.len() * 96);
    let mut frames = Vec::with_capacity(entries.len());
    for entry in entries {
        debug_assert!(!matches!(entry.event, Event::Ping { .. }));
        frame::encode(Some(entry.seq), &entry.event, &mut out);
        frames.push(out.split().freeze());
    }
    frames
}

#[cfg(test)]
mod tests {
    use super::*;

    fn live(entries: u64) -> Live {
        let id = uuid::Uuid::from_u128(1);
        let live = Live::new(RunId(id), ConversationId(id), 1, 0, Packed::default());
        let entries: Vec<Entry> = (1..=entries)
            .map(|seq| Entry {
                seq,
                at: seq,
                event: Event::Delta {
                    span: 1,
                    block: 1,
                    text: format!("{seq} "),
                    from: None,
                },
            })
            .collect();
        let frames = encode_all(&entries);
        live.publish(entries, frames);
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
}
