//! Our reader of server-sent events against two of others, on the same bytes in the same pieces.
//!
//! Where the others deviate from the standard, their scripts in `end2end/differential` say so and
//! put exactly that right.

use crate::{
    harness::Random,
    mocks::{node, output, python},
};
use headwater_engine::provider::sse::Decoder;
use serde::Deserialize;
use std::{fmt::Write, path::Path, process::Command};

/// How many streams are compared.
const STREAMS: u64 = 800;

/// What a reader makes of a stream.
#[derive(Debug, Default, PartialEq, Deserialize)]
struct Read {
    /// Type, data, and the last identifier if the reader says it.
    events: Vec<(String, String, Option<String>)>,
    /// The last reconnection time in milliseconds, if the reader says it.
    retry: Option<u64>,
}

impl Random {
    fn of<'a>(&mut self, choices: &[&'a [u8]]) -> &'a [u8] {
        choices[self.below(choices.len())]
    }

    /// A text with all that readers stumble over: characters of many bytes, what other standards
    /// take for the end of a line, and bytes that are no text.
    fn text(&mut self, out: &mut Vec<u8>) {
        for _ in 0..self.below(5) {
            out.extend_from_slice(self.of(&[
                b"a",
                b" ",
                b":",
                b"{\"x\": 1}",
                "é".as_bytes(),
                "日本".as_bytes(),
                "👩‍👩‍👧".as_bytes(),
                "\u{feff}".as_bytes(),
                "\u{2028}\u{85}".as_bytes(),
                b"\x0b\x0c\x1c\x1e",
                b"\0",
                b"\t",
                b"\xff",
                b"\xe6\x97",
                b"\xf0\x9f\x91",
                b"\xed\xa0\x80",
                b"\xc0\xaf",
            ]));
        }
    }

    fn line(&mut self, out: &mut Vec<u8>) {
        let colon = self.of(&[b": ", b":", b":  ", b" :"]);
        match self.below(16) {
            0..6 => out.extend_from_slice(b"data"),
            6 | 7 => out.extend_from_slice(b"event"),
            8 | 9 => out.extend_from_slice(b"id"),
            10 => {
                out.extend_from_slice(b"retry");
                out.extend_from_slice(colon);
                let value = self.of(&[
                    b"3000",
                    b"007",
                    b"",
                    b"-1",
                    b"1.5",
                    b"9x",
                    b"+5",
                    b"123456789",
                ]);
                return out.extend_from_slice(value);
            }
            11 | 12 => out.extend_from_slice(b""),
            13 => {
                return out
                    .extend_from_slice(self.of(&[b"data", b"event", b"id", b"retry", b"other"]));
            }
            14 => out.extend_from_slice(self.of(&[b"Data", b"datax", b"other", b" data", b"dat"])),
            _ => return self.text(out),
        }
        out.extend_from_slice(colon);
        self.text(out);
    }

    fn stream(&mut self) -> Vec<u8> {
        let mut out = Vec::new();
        for _ in 0..self.below(8).saturating_sub(5) {
            out.extend_from_slice("\u{feff}".as_bytes());
        }
        const ENDS: [&[u8]; 3] = [b"\n", b"\r\n", b"\r"];
        let usual = self.below(4);
        for _ in 0..self.below(40) {
            if self.below(3) > 0 {
                self.line(&mut out);
            }
            let end = ENDS.get(usual).copied();
            out.extend_from_slice(end.unwrap_or_else(|| self.of(&ENDS)));
        }
        if self.below(4) == 0 {
            self.line(&mut out);
        }
        out
    }

    /// Cuts bytes into pieces: whole, single bytes, or anything between; some are empty.
    fn pieces<'a>(&mut self, mut bytes: &'a [u8]) -> Vec<&'a [u8]> {
        let longest = [1, 2, 3, 7, 40, bytes.len().max(1)][self.below(6)];
        let mut pieces = Vec::new();
        while !bytes.is_empty() {
            let length = self.below(longest + 1).max(usize::from(longest == 1));
            let (piece, rest) = bytes.split_at(length.min(bytes.len()));
            pieces.push(piece);
            bytes = rest;
        }
        pieces
    }
}

fn ours(pieces: &[&[u8]]) -> Read {
    let mut decoder = Decoder::new();
    let mut read = Read::default();
    for piece in pieces {
        decoder.push(piece);
        while let Some(event) = decoder.next_event().expect("within the limits") {
            let name = match event.event.as_str() {
                // What the standard calls an event without a name.
                "" => "message".to_owned(),
                name => name.to_owned(),
            };
            read.events.push((name, event.data, Some(event.id)));
        }
    }
    read.retry = decoder
        .retry()
        .and_then(|retry| retry.as_millis().try_into().ok());
    read
}

fn compare(other: &str, program: impl FnOnce() -> Option<Command>, says_retry: bool) {
    let Some(mut program) = program() else { return };
    // Another seed shows other streams: HEADWATER_SEED=7 cargo test …
    let first = std::env::var("HEADWATER_SEED").map_or(1, |seed| seed.parse().expect("a number"));
    let seeds = (0..STREAMS).map(|number| first + number);
    let streams: Vec<(u64, Vec<u8>)> = seeds
        .map(|seed| {
            (
                seed,
                Random(seed.wrapping_mul(0x5851_f42d_4c95_7f2d)).stream(),
            )
        })
        .collect();
    let cut: Vec<Vec<&[u8]>> = streams
        .iter()
        .map(|(seed, bytes)| Random(*seed).pieces(bytes))
        .collect();
    let mut file = String::new();
    for pieces in &cut {
        let pieces: Vec<String> = pieces.iter().map(|piece| hex(piece)).collect();
        writeln!(file, "{}", serde_json::json!(pieces)).expect("written");
    }
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("streams.jsonl");
    std::fs::write(&path, file).expect("written");
    program.arg(&path);
    let printed = String::from_utf8(output(program)).expect("text");
    let theirs: Vec<Read> = printed
        .lines()
        .map(|line| serde_json::from_str(line).expect("a line of the script"))
        .collect();
    assert_eq!(theirs.len(), cut.len());
    let (mut events, mut ids) = (0, 0);
    for (((seed, bytes), pieces), theirs) in streams.iter().zip(&cut).zip(&theirs) {
        let mut ours = ours(pieces);
        // What the other does not say is not compared.
        for (ours, theirs) in ours.events.iter_mut().zip(&theirs.events) {
            ours.2 = ours.2.take().filter(|_| theirs.2.is_some());
            ids += usize::from(ours.2.is_some());
        }
        ours.retry = ours.retry.filter(|_| says_retry);
        assert_eq!(
            &ours,
            theirs,
            "{other} reads another thing with HEADWATER_SEED={seed}: {:?} in {} pieces",
            String::from_utf8_lossy(bytes),
            pieces.len()
        );
        events += ours.events.len();
    }
    // The comparison is worth nothing if the streams hold nothing.
    assert!(
        events > 1000 && ids > 300,
        "{events} events, {ids} identifiers"
    );
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("written");
        text
    })
}

fn script(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("end2end/differential")
        .join(name)
}

#[test]
fn events_are_those_of_eventsource_parser() {
    let program = || node(&script("sse.mjs"), "eventsource-parser");
    compare("eventsource-parser", program, true);
}

#[test]
fn events_are_those_of_httpx_sse() {
    let program = || {
        let mut python = python()?;
        python.arg(script("sse.py"));
        Some(python)
    };
    compare("httpx-sse", program, false);
}
