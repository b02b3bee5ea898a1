//! Entries on their way into the log.

use super::frame;
use crate::packed::{Chunk, State};
use bytes::{Bytes, BytesMut};
use headwater_protocol::{Entry, Event, Seq};

/// Bytes of a frame with a token of usual length; only a first guess of the buffer's size.
const FRAME: usize = 96;

/// Consecutive entries of one run, encoded once: packed for the disk, and as frames for readers.
#[derive(Debug)]
pub struct Batch {
    pub(super) entries: Vec<Entry>,
    pub(super) chunk: Chunk,
    pub(super) frames: Vec<Bytes>,
}

impl Batch {
    /// Encodes the entries for the place behind `state`.
    pub fn new(state: State, entries: Vec<Entry>) -> Self {
        Self {
            frames: frames(&entries),
            chunk: Chunk::new(state, &entries),
            entries,
        }
    }

    /// The number of the first entry.
    pub(super) fn first(&self) -> Seq {
        self.entries.first().map_or(0, |entry| entry.seq)
    }

    /// The entries in their packed form.
    pub(super) fn packed(&self) -> &[u8] {
        self.chunk.as_bytes()
    }

    /// The end of the log behind the entries.
    pub(super) fn state(&self) -> State {
        self.chunk.state()
    }

    pub(super) fn into_entries(self) -> Vec<Entry> {
        self.entries
    }

    /// Whether all of them are pieces of text.
    pub(super) fn is_text(&self) -> bool {
        let mut entries = self.entries.iter();
        entries.all(|entry| matches!(entry.event, Event::Delta { .. }))
    }

    /// Whether the run's last entry is among them.
    pub(super) fn is_last(&self) -> bool {
        let last = self.entries.last();
        last.is_some_and(|entry| entry.event.is_terminal())
    }
}

/// Encodes entries into one allocation that all frames share.
pub(super) fn frames(entries: &[Entry]) -> Vec<Bytes> {
    let mut out = BytesMut::with_capacity(entries.len() * FRAME);
    let mut frames = Vec::with_capacity(entries.len());
    for entry in entries {
        debug_assert!(!matches!(entry.event, Event::Ping { .. }));
        frame::encode(Some(entry.seq), &entry.event, &mut out);
        frames.push(out.split().freeze());
    }
    frames
}
