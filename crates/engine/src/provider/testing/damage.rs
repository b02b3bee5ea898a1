//! What becomes of a recorded stream that is damaged at any byte.
//!
//! Not all damage can be seen: another letter is another text, and a lost event of a vendor that
//! does not number them is lost. What can be seen must be: where the damage leaves an event that is
//! no JSON, the answer is whole all the same or ends in an error, and never passes for whole.

use super::{
    Folded, endpoint, fold,
    laws::{Fixtures, read},
};
use crate::provider::{
    ProviderEvent,
    exchange::{Decode, Flow, Ready, reader::Reader},
    sse,
};

/// Every byte is tried by `make test`; every fifth one where nothing is optimised, so that the engine's
/// tests stay within a minute while one works on it.
const STEP: usize = if cfg!(debug_assertions) { 5 } else { 1 };

/// Any byte that is another one: a quote, the ends of a line, what no JSON and what no text holds.
pub(in crate::provider) fn any_garbled<D: Decode>(new: impl Fn() -> D, fixtures: Fixtures) {
    each(&new, fixtures, |name, bytes, whole| {
        for at in (0..bytes.len()).step_by(STEP) {
            for other in [b'"', b'\n', b'\r', 0x01, 0xff] {
                let mut damaged = bytes.to_vec();
                damaged[at] = other;
                check(
                    &new,
                    &damaged,
                    whole,
                    &format!("{name}, {other:#x} at {at}"),
                );
            }
        }
    });
}

/// Any piece, from a byte to the rest of its event, arrives twice.
pub(in crate::provider) fn any_repeated<D: Decode>(new: impl Fn() -> D, fixtures: Fixtures) {
    each(&new, fixtures, |name, bytes, whole| {
        for start in (0..bytes.len()).step_by(STEP) {
            let event = bytes[start..].windows(2).position(|two| two == b"\n\n");
            let event = event.map_or(bytes.len() - start, |at| at + 2);
            for length in [1, 2, 5, 16, 64, event] {
                let end = (start + length).min(bytes.len());
                let damaged = [&bytes[..end], &bytes[start..]].concat();
                check(
                    &new,
                    &damaged,
                    whole,
                    &format!("{name}, {start}..{end} twice"),
                );
            }
        }
    });
}

/// Any byte is missing.
pub(in crate::provider) fn any_lost<D: Decode>(new: impl Fn() -> D, fixtures: Fixtures) {
    each(&new, fixtures, |name, bytes, whole| {
        for at in (0..bytes.len()).step_by(STEP) {
            let damaged = [&bytes[..at], &bytes[at + 1..]].concat();
            check(&new, &damaged, whole, &format!("{name}, without {at}"));
        }
    });
}

/// A stream that falls silent after any byte has not finished, unless all its text is there.
pub(in crate::provider) fn any_stalled<D: Decode>(new: impl Fn() -> D, fixtures: Fixtures) {
    each(&new, fixtures, |name, bytes, whole| {
        let (mut reader, mut out) = (Reader::new(endpoint(), new()), Ready::new());
        for (at, byte) in bytes.iter().enumerate() {
            if reader.push(std::slice::from_ref(byte), &mut out) != Ok(Flow::More) {
                return;
            }
            if matches!(out.back(), Some(ProviderEvent::Finished { .. })) {
                let items: Vec<_> = out.iter().cloned().map(Ok).collect();
                let folded = fold(&items);
                assert_eq!(folded.text, whole.text, "{name} after {at}");
                assert_eq!(folded.tools, whole.tools, "{name} after {at}");
                return;
            }
        }
    });
}

fn each<D: Decode>(new: impl Fn() -> D, fixtures: Fixtures, law: impl Fn(&str, &[u8], &Folded)) {
    for (name, bytes) in fixtures {
        law(name, bytes, &fold(&read(new(), [*bytes])));
    }
}

/// The fold checks that nothing comes after the end and that all blocks are closed.
fn check<D: Decode>(new: impl Fn() -> D, damaged: &[u8], whole: &Folded, at: &str) {
    let folded = fold(&read(new(), [damaged]));
    if folded.finish.is_some() && is_seen(damaged) {
        assert_eq!(folded.text, whole.text, "{at}");
        assert_eq!(folded.refusal, whole.refusal, "{at}");
        assert_eq!(folded.finish, whole.finish, "{at}");
    }
}

/// Whether one of the events is no JSON.
fn is_seen(damaged: &[u8]) -> bool {
    let mut decoder = sse::Decoder::new();
    decoder.push(damaged);
    while let Ok(Some(event)) = decoder.next_event() {
        let data = event.data.trim();
        let is_json = serde_json::from_str::<serde::de::IgnoredAny>(data).is_ok();
        if !is_json && data != "[DONE]" && !data.is_empty() {
            return true;
        }
    }
    false
}
