//! The form of an entry in an event stream, by the
//! [HTML standard](https://html.spec.whatwg.org/multipage/server-sent-events.html).
//!
//! `id:` is the number of the entry, `data:` its JSON on one line. Pings and notices that the
//! connection ends have no `id:`, so they never move the cursor of a reader. A snapshot has the number
//! of the last entry in it.

use crate::packed::{Item, Packed};
use bytes::{BufMut, Bytes, BytesMut};
use headwater_protocol::{BlockNo, Event, Seq, SpanNo};
use std::io::Write;

/// The most bytes of text in one merged delta: a reader catches up in few frames, and a page stays
/// responsive between two of them.
const MERGED_TEXT: usize = 16 * 1024;

/// Encodes one entry.
pub fn encode(seq: Option<Seq>, event: &Event, out: &mut BytesMut) {
    if let Some(seq) = seq {
        put_id(seq, out);
    }
    out.put_slice(b"data:");
    // Serialising these types into memory cannot fail: no map has a key that is not a string.
    let _ = serde_json::to_writer(out.writer(), event);
    out.put_slice(b"\n\n");
}

/// Encodes an event that belongs to the delivery and not to the log.
pub fn delivery(event: &Event) -> Bytes {
    let mut out = BytesMut::new();
    let seq = match event {
        Event::Snapshot { seq, .. } => Some(*seq),
        _ => None,
    };
    encode(seq, event, &mut out);
    out.freeze()
}

/// Encodes one entry in its packed form, to the same bytes.
pub(crate) fn encode_item(seq: Seq, item: Item<'_>, out: &mut BytesMut) {
    match item {
        Item::Json(json) => {
            put_id(seq, out);
            out.put_slice(b"data:");
            out.put_slice(json);
            out.put_slice(b"\n\n");
        }
        delta @ Item::Delta { .. } => encode(Some(seq), &delta.into_event(), out),
    }
}

/// Encodes one entry in its packed form with its number and its time: the JSON of a
/// [`headwater_protocol::Entry`].
pub(crate) fn encode_entry(seq: Seq, at: u64, item: Item<'_>, out: &mut BytesMut) {
    put_id(seq, out);
    out.put_slice(b"data:");
    put_entry(seq, at, item, out);
    out.put_slice(b"\n\n");
}

/// The JSON of an entry, on one line.
pub(crate) fn put_entry(seq: Seq, at: u64, item: Item<'_>, out: &mut BytesMut) {
    let _ = write!(out.writer(), "{{\"seq\":{seq},\"at\":{at},\"event\":");
    match item {
        Item::Json(json) => out.put_slice(json),
        delta @ Item::Delta { .. } => {
            let _ = serde_json::to_writer(out.writer(), &delta.into_event());
        }
    }
    out.put_slice(b"}");
}

/// Encodes the entries after `after` for a reader that is behind. Successive deltas of one block
/// become one delta with the number of the first in `from`. Stops after about `limit` bytes, and
/// returns the frames with the cursor that they lead to.
pub fn merged(log: &Packed, after: Seq, limit: usize) -> (Bytes, Seq) {
    let mut out = BytesMut::new();
    let mut run: Option<Merge> = None;
    let mut cursor = after;
    for (seq, _, item) in log.items_after(after) {
        match item {
            Item::Delta { span, block, text } => {
                let fits = run.as_ref().is_some_and(|merge| {
                    (merge.span, merge.block) == (span, block)
                        && merge.text.len() + text.len() <= MERGED_TEXT
                });
                if !fits {
                    flush(run.take(), &mut out);
                    if out.len() >= limit {
                        return (out.freeze(), cursor);
                    }
                }
                run.get_or_insert_with(|| Merge::new(span, block, seq))
                    .push(seq, text);
            }
            Item::Json(_) => {
                flush(run.take(), &mut out);
                if out.len() >= limit {
                    return (out.freeze(), cursor);
                }
                encode_item(seq, item, &mut out);
            }
        }
        cursor = seq;
    }
    flush(run.take(), &mut out);
    (out.freeze(), cursor)
}

struct Merge {
    span: SpanNo,
    block: BlockNo,
    first: Seq,
    last: Seq,
    text: String,
}

impl Merge {
    fn new(span: SpanNo, block: BlockNo, first: Seq) -> Self {
        Self {
            span,
            block,
            first,
            last: first,
            text: String::new(),
        }
    }

    fn push(&mut self, seq: Seq, text: &str) {
        self.last = seq;
        self.text.push_str(text);
    }
}

fn flush(run: Option<Merge>, out: &mut BytesMut) {
    if let Some(Merge {
        span,
        block,
        first,
        last,
        text,
    }) = run
    {
        let from = (first != last).then_some(first);
        encode(
            Some(last),
            &Event::Delta {
                span,
                block,
                text,
                from,
            },
            out,
        );
    }
}

fn put_id(seq: Seq, out: &mut BytesMut) {
    let _ = writeln!(out.writer(), "id:{seq}");
}

/// The same frames, each as long as a multiple of `to` bytes, which is not 0. Spaces behind JSON mean nothing.
pub(crate) fn padded(frames: &[u8], to: usize) -> Bytes {
    let mut out = BytesMut::with_capacity(frames.len() + to);
    // A frame ends with an empty line.
    let mut begun = 0;
    for line in frames.split_inclusive(|byte| *byte == b'\n') {
        let Some(data) = line
            .strip_suffix(b"\n")
            .filter(|line| line.starts_with(b"data:"))
        else {
            out.put_slice(line);
            if line == b"\n" {
                begun = out.len();
            }
            continue;
        };
        out.put_slice(data);
        // Both ends of lines belong to the frame.
        let length = out.len() - begun + 2;
        out.put_bytes(b' ', length.next_multiple_of(to) - length);
        out.put_u8(b'\n');
    }
    out.freeze()
}

/// A frame taken apart, for transports that have frames of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part<'a> {
    /// The number of the entry, if the frame has one.
    pub id: Option<Seq>,
    /// The JSON.
    pub data: &'a str,
}

/// The frames in what a stream of events or entries yields. Lines of other kinds are passed over.
pub fn parts(frames: &[u8]) -> impl Iterator<Item = Part<'_>> {
    let mut id = None;
    frames.split(|byte| *byte == b'\n').filter_map(move |line| {
        if let Some(number) = line.strip_prefix(b"id:") {
            id = std::str::from_utf8(number).ok()?.parse().ok();
        }
        let data = std::str::from_utf8(line.strip_prefix(b"data:")?).ok()?;
        // The next frame may have no number.
        let id = id.take();
        Some(Part { id, data })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_delta_costs_at_most_sixty_bytes_beyond_its_text() {
        let mut out = BytesMut::new();
        let event = Event::Delta {
            span: 1,
            block: 1,
            text: "word".into(),
            from: None,
        };
        // From entry 10,000 on, each further digit of the number costs one byte more.
        encode(Some(9_999), &event, &mut out);
        assert!(out.len() - 4 <= 60, "{}", out.len() - 4);
        assert_eq!(
            std::str::from_utf8(&out).expect("UTF-8"),
            "id:9999\ndata:{\"type\":\"delta\",\"span\":1,\"block\":1,\"text\":\"word\"}\n\n"
        );
    }

    #[test]
    fn frames_are_taken_apart_as_they_were_put_together() {
        let mut out = BytesMut::from("retry:1000\n");
        let text = |text: &str| Event::Delta {
            span: 1,
            block: 1,
            text: text.into(),
            from: None,
        };
        let all = [
            (None, Event::Ping { notice: None }),
            (Some(7), text("id:3\ndata:no\n\n")),
            (None, Event::Ping { notice: None }),
            (Some(8), text("\u{2028}ü")),
        ];
        for (seq, event) in &all {
            encode(*seq, event, &mut out);
        }
        let read = parts(&out).map(|part| (part.id, serde_json::from_str(part.data).ok()));
        let expected = all.map(|(seq, event)| (seq, Some(event)));
        assert_eq!(read.collect::<Vec<_>>(), expected);
    }

    #[test]
    fn padded_frames_have_lengths_of_one_kind_and_say_the_same() {
        let mut out = BytesMut::new();
        let lengths = [0, 1, 2, 3, 50, 51, 52, 53, 54, 200, 1_000];
        for (seq, length) in (1..).zip(lengths) {
            let text = "ü".repeat(length);
            let delta = Event::Delta {
                span: 1,
                block: 1,
                text,
                from: None,
            };
            encode(Some(seq), &delta, &mut out);
            encode(None, &Event::Ping { notice: None }, &mut out);
        }
        let read = |bytes: &[u8]| -> Vec<(Option<Seq>, Event)> {
            let event = |part: Part<'_>| (part.id, serde_json::from_str(part.data).expect("JSON"));
            parts(bytes).map(event).collect()
        };
        for to in [1, 64, 128, 256] {
            let padded = padded(&out, to);
            let text = std::str::from_utf8(&padded).expect("UTF-8");
            for frame in text.split_inclusive("\n\n") {
                assert_eq!(frame.len() % to, 0, "{to}: {frame:?}");
            }
            assert_eq!(read(&padded), read(&out), "{to}");
        }
    }

    #[test]
    fn merged_frames_cover_every_entry_once() {
        let mut log = Packed::default();
        for n in 0..100u64 {
            log.push(
                n,
                &Event::Delta {
                    span: 1,
                    block: 1 + (n / 30) as u32,
                    text: format!("{n} "),
                    from: None,
                },
            );
        }
        let (mut cursor, mut text, mut rounds) = (0, String::new(), 0);
        while cursor < log.len() {
            let (bytes, next) = merged(&log, cursor, 64);
            assert!(next > cursor);
            for frame in std::str::from_utf8(&bytes)
                .expect("UTF-8")
                .split_terminator("\n\n")
            {
                let data = frame.split_once("data:").expect("data").1;
                let Ok(Event::Delta { text: piece, .. }) = serde_json::from_str(data) else {
                    panic!("{data}")
                };
                text.push_str(&piece);
            }
            cursor = next;
            rounds += 1;
        }
        assert_eq!(text, (0..100).map(|n| format!("{n} ")).collect::<String>());
        assert!(rounds < 100);
    }
}
