//! A run's log as bytes, compact enough to keep for ever and exact enough to replay.
//!
//! One entry is `varint(length << 2 | tag)`, `varint(milliseconds since the entry before)`, then:
//!
//! | tag | meaning | followed by |
//! |---|---|---|
//! | 0 | delta of the same span and block as the delta before | `length` bytes of text |
//! | 1 | delta of another one | `varint(span)`, `varint(block)`, `length` bytes of text |
//! | 2 | any other event | `length` bytes of JSON |
//!
//! A token of four letters costs two or three bytes beside its text, where a JSON line would cost
//! fifty. A varint is little-endian base 128, at most ten bytes.

mod ending;

pub(crate) use ending::interrupted;
pub use ending::{end, fold, hash};
use headwater_protocol::{BlockNo, Entry, Error, ErrorCode, Event, Seq, SpanNo};

const SAME: u64 = 0;
const OTHER: u64 = 1;
const JSON: u64 = 2;

/// Entries `1..=len`, packed, with an index for random access.
#[derive(Clone, Debug, Default)]
pub struct Packed {
    bytes: Vec<u8>,
    /// Where each entry starts and what must be known there: 16 bytes an entry, in memory only.
    index: Vec<Mark>,
    state: State,
}

#[derive(Clone, Copy, Debug)]
struct Mark {
    offset: u32,
    before: State,
}

/// What the next entry is relative to.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct State {
    at: u32,
    span: SpanNo,
    block: BlockNo,
}

impl Packed {
    /// Number of entries; also the number of the last one.
    pub fn len(&self) -> Seq {
        self.index.len() as Seq
    }

    /// Whether there is no entry.
    pub fn is_empty(&self) -> bool {
        self.index.is_empty()
    }

    /// The packed form.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Adds an event that happened `at` milliseconds after the run was accepted.
    pub fn push(&mut self, at: u64, event: &Event) {
        let before = self.state;
        self.index.push(Mark {
            offset: u32::try_from(self.bytes.len()).unwrap_or(u32::MAX),
            before,
        });
        // 49 days in milliseconds fit; a run that old has other worries.
        let at = u32::try_from(at).unwrap_or(u32::MAX).max(before.at);
        let since = u64::from(at - before.at);
        self.state.at = at;
        match event {
            Event::Delta {
                span, block, text, ..
            } => {
                let same = (*span, *block) == (before.span, before.block);
                let tag = if same { SAME } else { OTHER };
                put(&mut self.bytes, (text.len() as u64) << 2 | tag);
                put(&mut self.bytes, since);
                if !same {
                    put(&mut self.bytes, u64::from(*span));
                    put(&mut self.bytes, u64::from(*block));
                    (self.state.span, self.state.block) = (*span, *block);
                }
                self.bytes.extend_from_slice(text.as_bytes());
            }
            other => {
                let json = serde_json::to_vec(other).unwrap_or_default();
                put(&mut self.bytes, (json.len() as u64) << 2 | JSON);
                put(&mut self.bytes, since);
                self.bytes.extend_from_slice(&json);
            }
        }
    }

    /// Reads what [`Packed::as_bytes`] gave.
    ///
    /// # Errors
    /// `storage`, if the bytes are not a log: the file was damaged or written by something else.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Error> {
        match Self::readable(bytes) {
            (packed, None) => Ok(packed),
            (_, Some(why)) => Err(why),
        }
    }

    /// The entries that can be read, and what is wrong behind them if anything is.
    pub fn readable(bytes: &[u8]) -> (Self, Option<Error>) {
        let mut packed = Self::default();
        let mut reader = Reader {
            bytes,
            offset: 0,
            state: State::default(),
        };
        let mut why = None;
        while reader.offset < bytes.len() {
            let (start, before) = (reader.offset, reader.state);
            let offset = u32::try_from(start).ok();
            let Some(offset) = offset.filter(|_| reader.next_item().is_some()) else {
                (reader.offset, reader.state) = (start, before);
                why = Some(damaged());
                break;
            };
            packed.index.push(Mark { offset, before });
        }
        packed.state = reader.state;
        packed.bytes = bytes[..reader.offset].to_vec();
        (packed, why)
    }

    /// Whether the last entry is the last one that there will be.
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

    /// The entries after `after` without a copy of their texts.
    pub fn items_after(&self, after: Seq) -> impl Iterator<Item = (Seq, u64, Item<'_>)> + '_ {
        let start = usize::try_from(after).unwrap_or(usize::MAX);
        let mark = self.index.get(start);
        let mut reader = Reader {
            bytes: &self.bytes,
            offset: mark.map_or(self.bytes.len(), |mark| mark.offset as usize),
            state: mark.map_or(State::default(), |mark| mark.before),
        };
        let mut seq = after;
        std::iter::from_fn(move || {
            let item = reader.next_item()?;
            seq += 1;
            Some((seq, u64::from(reader.state.at), item))
        })
    }
}

/// An entry as it lies in the packed form.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Item<'a> {
    /// A piece of text.
    Delta {
        /// The span that wrote it.
        span: SpanNo,
        /// The block it extends.
        block: BlockNo,
        /// The text.
        text: &'a str,
    },
    /// Any other event as JSON.
    Json(&'a [u8]),
}

impl Item<'_> {
    /// The event itself; a kind that this version does not know becomes [`Event::Unknown`].
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
        let mut value = 0u64;
        for shift in (0..70).step_by(7) {
            let byte = *self.bytes.get(self.offset)?;
            self.offset += 1;
            value |= u64::from(byte & 0x7f).checked_shl(shift)?;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }
}

fn put(bytes: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        bytes.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
}

/// What is said of bytes that are no log.
pub fn damaged() -> Error {
    Error::new(
        ErrorCode::Storage,
        "A stored answer is damaged and cannot be read.",
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use headwater_protocol::Stage;
    use proptest::prelude::*;

    fn event() -> impl Strategy<Value = Event> {
        prop_oneof![
            (1u32..4, 1u32..4, ".{0,12}").prop_map(|(span, block, text)| Event::Delta {
                span,
                block,
                text,
                from: None
            }),
            (0u32..9).prop_map(|ahead| Event::Progress {
                span: 1,
                at: 0,
                stage: Stage::Queued { ahead }
            }),
        ]
    }

    proptest! {
        #[test]
        fn packed_log_reads_back_from_every_cursor(
            events in proptest::collection::vec((0u64..300, event()), 0..40),
        ) {
            let mut packed = Packed::default();
            let mut entries = Vec::new();
            let mut at = 0;
            for (seq, (pause, event)) in (1..).zip(events) {
                at += pause;
                packed.push(at, &event);
                entries.push(Entry { seq, at, event });
            }
            let read = Packed::from_bytes(packed.as_bytes()).expect("own bytes");
            for after in 0..=entries.len() {
                prop_assert_eq!(read.after(after as u64).collect::<Vec<_>>(), &entries[after..]);
                prop_assert_eq!(packed.after(after as u64).collect::<Vec<_>>(), &entries[after..]);
            }
        }

        #[test]
        fn damaged_bytes_are_an_error_and_never_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(packed) = Packed::from_bytes(&bytes) {
                let _ = packed.after(0).count();
            }
        }
    }

    #[test]
    fn ten_thousand_tokens_take_less_than_twice_their_text() {
        let words = [
            "the ", "river ", "runs", " down", " to ", "sea, ", "and", " it ", "tells ",
        ];
        let mut packed = Packed::default();
        let mut text = 0;
        for token in 0..10_000u64 {
            let word = words[token as usize % words.len()];
            text += word.len();
            packed.push(
                token * 21,
                &Event::Delta {
                    span: 1,
                    block: 1,
                    text: word.into(),
                    from: None,
                },
            );
        }
        assert!(
            packed.as_bytes().len() < text * 2,
            "{} of {text}",
            packed.as_bytes().len()
        );
    }
}
