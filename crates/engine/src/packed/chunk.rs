//! Entries on their way to the end of a log.

use super::State;
use headwater_protocol::{Entry, Seq};

/// Consecutive entries, encoded for one place in one log. The chunks of a log one behind the other
/// are the log's packed form.
#[derive(Clone, Debug)]
pub struct Chunk {
    pub(super) begins: State,
    pub(super) ends: State,
    pub(super) len: Seq,
    pub(super) bytes: Vec<u8>,
}

impl Chunk {
    /// Encodes entries for the place behind `state`.
    pub fn new(state: State, entries: &[Entry]) -> Self {
        let mut chunk = Self {
            begins: state,
            ends: state,
            len: entries.len() as Seq,
            bytes: Vec::new(),
        };
        for entry in entries {
            chunk
                .ends
                .encode_event(entry.at, &entry.event, &mut chunk.bytes);
        }
        chunk
    }

    /// What an entry behind the last one is relative to.
    pub fn state(&self) -> State {
        self.ends
    }

    /// The packed form.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }
}
