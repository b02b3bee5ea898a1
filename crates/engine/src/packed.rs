//! A run's log as bytes: compact enough to keep for ever, exact enough to replay.
//!
//! An entry is `varint(length << 2 | tag)`, `varint(milliseconds since the entry before)`, then:
//!
//! | tag | meaning | followed by |
//! |---|---|---|
//! | 0 | delta of the same span and block as the delta before | `length` bytes of text |
//! | 1 | delta of another one | `varint(span)`, `varint(block)`, `length` bytes of text |
//! | 2 | any other event | `length` bytes of JSON |
//!
//! A token of four letters costs two or three bytes beside its text, where a JSON line would cost
//! fifty. A varint is little-endian base 128 with at most ten bytes, as in
//! [Protocol Buffers](https://protobuf.dev/programming-guides/encoding/#varints).

mod chunk;
mod ending;
pub(crate) mod varint;

pub use chunk::Chunk;
pub use ending::{end, fold, hash};
pub(crate) use ending::{fold_until, interrupted};
use headwater_protocol::{BlockNo, Entry, Error, ErrorCode, Event, Seq, SpanNo};

const SAME: u64 = 0;
const OTHER: u64 = 1;
const JSON: u64 = 2;

/// How many entries share one place in the index. Reading from the middle of a log decodes about as
/// many before the first one that it wants.
const STRIDE: Seq = 32;

/// Entries `1..=len` in packed form, with an index for random access.
#[derive(Clone, Debug, Default)]
pub struct Packed {
    bytes: Vec<u8>,
    len: Seq,
    /// Places where reading can begin, oldest first. They exist in memory only.
    index: Vec<Mark>,
    /// The state behind the last entry.
    state: State,
}

/// A place where reading can begin.
#[derive(Clone, Copy, Debug)]
struct Mark {
    /// How many entries come before it.
    after: Seq,
    offset: u32,
    state: State,
}

/// What the next entry is relative to.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct State {
    at: u32,
    span: SpanNo,
    block: BlockNo,
}

impl State {
    /// Encodes an entry behind this state.
    fn encode(&mut self, at: u64, item: Item<'_>, out: &mut Vec<u8>) {
        // A u32 holds 49 days of milliseconds, longer than any run may take.
        let at = u32::try_from(at).unwrap_or(u32::MAX).max(self.at);
        let since = u64::from(at - self.at);
        self.at = at;
        match item {
            Item::Delta { span, block, text } => {
                let same = (span, block) == (self.span, self.block);
                let tag = if same { SAME } else { OTHER };
                varint::put(out, (text.len() as u64) << 2 | tag);
                varint::put(out, since);
                if !same {
                    varint::put(out, u64::from(span));
                    varint::put(out, u64::from(block));
                    (self.span, self.block) = (span, block);
                }
                out.extend_from_slice(text.as_bytes());
            }
            Item::Json(json) => {
                varint::put(out, (json.len() as u64) << 2 | JSON);
                varint::put(out, since);
                out.extend_from_slice(json);
            }
        }
    }

    /// Encodes an event that happened `at` milliseconds after the run was accepted.
    fn encode_event(&mut self, at: u64, event: &Event, out: &mut Vec<u8>) {
        match event {
            Event::Delta {
                span, block, text, ..
            } => {
                let (span, block) = (*span, *block);
                self.encode(at, Item::Delta { span, block, text }, out);
            }
            other => {
                let json = serde_json::to_vec(other).unwrap_or_default();
                self.encode(at, Item::Json(&json), out);
            }
        }
    }
}

impl Packed {
    /// The number of entries, which is also the number of the last one.
    pub fn len(&self) -> Seq {
        self.len
    }

    /// Whether there is no entry.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The packed form.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Adds an event that happened `at` milliseconds after the run was accepted.
    pub fn push(&mut self, at: u64, event: &Event) {
        self.mark(self.len, self.bytes.len(), self.state);
        self.len += 1;
        self.state.encode_event(at, event, &mut self.bytes);
    }

    /// Adds entries that were encoded behind this log's [`Packed::state`]. The bytes are only copied.
    pub fn append(&mut self, chunk: &Chunk) {
        debug_assert_eq!(self.state, chunk.begins, "encoded for another place");
        self.mark(self.len, self.bytes.len(), self.state);
        self.bytes.extend_from_slice(&chunk.bytes);
        self.len += chunk.len;
        self.state = chunk.ends;
    }

    /// What an entry behind the last one is relative to.
    pub fn state(&self) -> State {
        self.state
    }

    /// Notes that reading can begin behind `after` entries, unless it can a little before.
    fn mark(&mut self, after: Seq, offset: usize, state: State) {
        let last = self.index.last();
        if last.is_none_or(|last| after >= last.after + STRIDE) {
            let offset = u32::try_from(offset).unwrap_or(u32::MAX);
            self.index.push(Mark {
                after,
                offset,
                state,
            });
        }
    }

    fn reader_at(&self, mark: Option<&Mark>) -> Reader<'_> {
        Reader {
            bytes: &self.bytes,
            offset: mark.map_or(0, |mark| mark.offset as usize),
            state: mark.map_or(State::default(), |mark| mark.state),
        }
    }

    /// Reads the bytes of [`Packed::as_bytes`].
    ///
    /// # Errors
    /// `storage`, if the bytes are not a log: the file was damaged or written by something else.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Error> {
        match Self::readable(bytes) {
            (packed, None) => Ok(packed),
            (_, Some(why)) => Err(why),
        }
    }

    /// The entries that can be read, and the error behind them if there is one.
    pub fn readable(bytes: &[u8]) -> (Self, Option<Error>) {
        let mut packed = Self::default();
        let why = packed.extend(bytes);
        (packed, why)
    }

    /// Adds entries in the form of [`Chunk::as_bytes`], as far as they can be read. Returns what is
    /// wrong behind them.
    pub fn extend(&mut self, bytes: &[u8]) -> Option<Error> {
        let own = self.bytes.len();
        let mut reader = Reader {
            bytes,
            offset: 0,
            state: self.state,
        };
        let mut why = None;
        while reader.offset < bytes.len() {
            let (start, before) = (reader.offset, reader.state);
            if u32::try_from(own + start).is_err() || reader.next_item().is_none() {
                (reader.offset, reader.state) = (start, before);
                why = Some(damaged());
                break;
            }
            self.mark(self.len, own + start, before);
            self.len += 1;
        }
        self.state = reader.state;
        self.bytes.extend_from_slice(&bytes[..reader.offset]);
        why
    }

    /// Adds the entries of another log.
    pub fn join(&mut self, other: &Self) {
        for (_, at, item) in other.items_after(0) {
            self.mark(self.len, self.bytes.len(), self.state);
            self.len += 1;
            self.state.encode(at, item, &mut self.bytes);
        }
    }

    /// Whether the log has its last entry, [`Event::RunFinished`].
    pub fn is_finished(&self) -> bool {
        let last = self.items_after(self.len().saturating_sub(1)).last();
        last.is_some_and(|(_, _, item)| item.into_event().is_terminal())
    }

    /// The entries after `after`, oldest first.
    pub fn after(&self, after: Seq) -> impl Iterator<Item = Entry> + '_ {
        self.items_after(after).map(|(seq, at, item)| Entry {
            seq,
            at,
            event: item.into_event(),
        })
    }

    /// The entries after `after`, oldest first, without a copy of their texts: number, milliseconds
    /// since the run was accepted, event.
    pub fn items_after(&self, after: Seq) -> impl Iterator<Item = (Seq, u64, Item<'_>)> + '_ {
        let place = self.index.partition_point(|mark| mark.after <= after);
        let mark = place.checked_sub(1).map(|place| &self.index[place]);
        let mut reader = self.reader_at(mark);
        let mut seq = mark.map_or(0, |mark| mark.after);
        std::iter::from_fn(move || {
            loop {
                let item = reader.next_item()?;
                seq += 1;
                if seq > after {
                    return Some((seq, u64::from(reader.state.at), item));
                }
            }
        })
    }
}

/// An event in its packed form.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Item<'a> {
    /// A piece of text.
    Delta {
        /// The span that wrote it.
        span: SpanNo,
        /// The block at whose end it stands.
        block: BlockNo,
        /// The text.
        text: &'a str,
    },
    /// Any other event as JSON.
    Json(&'a [u8]),
}

impl Item<'_> {
    /// Decodes the event. A kind that this version does not know becomes [`Event::Unknown`].
    pub fn into_event(self) -> Event {
        match self {
            Self::Delta { span, block, text } => Event::Delta {
                span,
                block,
                text: text.to_owned(),
                from: None,
            },
            Self::Json(json) => serde_json::from_slice(json).unwrap_or(Event::Unknown),
        }
    }
}

struct Reader<'a> {
    bytes: &'a [u8],
    offset: usize,
    state: State,
}

impl<'a> Reader<'a> {
    fn next_item(&mut self) -> Option<Item<'a>> {
        let head = self.varint()?;
        let since = self.varint()?;
        let length = usize::try_from(head >> 2).ok()?;
        let at = u32::try_from(u64::from(self.state.at) + since).ok()?;
        match head & 3 {
            tag @ (SAME | OTHER) => {
                if tag == OTHER {
                    self.state.span = u32::try_from(self.varint()?).ok()?;
                    self.state.block = u32::try_from(self.varint()?).ok()?;
                }
                let text = std::str::from_utf8(self.take(length)?).ok()?;
                self.state.at = at;
                let State { span, block, .. } = self.state;
                Some(Item::Delta { span, block, text })
            }
            JSON => {
                let json = self.take(length)?;
                self.state.at = at;
                Some(Item::Json(json))
            }
            _ => None,
        }
    }

    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let end = self.offset.checked_add(length)?;
        let slice = self.bytes.get(self.offset..end)?;
        self.offset = end;
        Some(slice)
    }

    fn varint(&mut self) -> Option<u64> {
        varint::take(self.bytes, &mut self.offset)
    }
}

/// The error for bytes that are not a log.
pub fn damaged() -> Error {
    Error::new(
        ErrorCode::Storage,
        "A stored answer is damaged and cannot be read.",
    )
}

#[cfg(test)]
mod tests;
