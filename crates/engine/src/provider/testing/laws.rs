//! The rules that every vendor's decoder must keep, tried on recorded streams.

use super::{Folded, Item, endpoint, fold, split};
use crate::provider::exchange::{Decode, reader::read_all};

/// The files of a vendor, with their names.
macro_rules! fixtures {
    ($vendor:literal: $($name:literal),* $(,)?) => {
        &[$(($name, include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/", $vendor, "/", $name)))),*]
    };
}
pub(in crate::provider) use fixtures;

/// Files with their names.
pub(in crate::provider) type Fixtures = &'static [(&'static str, &'static [u8])];

/// What comes of a body that arrives in these chunks.
pub(in crate::provider) fn read<'a, D: Decode>(
    decoder: D,
    chunks: impl IntoIterator<Item = &'a [u8]>,
) -> Vec<Item> {
    read_all(endpoint(), decoder, chunks)
}

/// What is left of the file with this name.
pub(in crate::provider) fn folded<D: Decode>(decoder: D, fixtures: Fixtures, name: &str) -> Folded {
    let (_, bytes) = fixtures.iter().find(|(known, _)| *known == name).unwrap();
    fold(&read(decoder, [*bytes]))
}

/// Any two chunks and single bytes give the same events.
pub(in crate::provider) fn two_chunks<D: Decode>(new: impl Fn() -> D, fixtures: Fixtures) {
    for (name, bytes) in fixtures {
        let whole = read(new(), [*bytes]);
        assert_eq!(read(new(), bytes.chunks(1)), whole, "{name}");
        for cut in 0..=bytes.len() {
            let chunks = [&bytes[..cut], &bytes[cut..]];
            assert_eq!(read(new(), chunks), whole, "{name} at {cut}");
        }
    }
}

/// Other ends of lines, and comments between the events, change nothing. Files that are no
/// server-sent events are left out.
pub(in crate::provider) fn other_lines<D: Decode>(new: impl Fn() -> D, fixtures: Fixtures) {
    for (name, bytes) in fixtures.iter().filter(|(name, _)| name.ends_with(".sse")) {
        let text = std::str::from_utf8(bytes).unwrap();
        let text = text.trim_start_matches('\u{feff}').replace("\r\n", "\n");
        let whole = read(new(), [text.as_bytes()]);
        for other in [
            text.replace('\n', "\r\n"),
            text.replace('\n', "\r"),
            text.replace("\n\n", "\n\n: still here\n\n"),
            text.replace("\ndata: ", "\n: a comment\ndata: "),
            text.replace("\ndata: ", "\ndata:"),
            format!("\u{feff}: first\n\n{text}"),
        ] {
            assert_eq!(read(new(), [other.as_bytes()]), whole, "{name}");
        }
    }
}

/// A stream that is cut at any byte gives the same text as far as it came, and a finish only if
/// the answer is whole.
pub(in crate::provider) fn any_cut<D: Decode>(new: impl Fn() -> D, fixtures: Fixtures) {
    for (name, bytes) in fixtures {
        let whole = fold(&read(new(), [*bytes]));
        for cut in 0..bytes.len() {
            let part = fold(&read(new(), [&bytes[..cut]]));
            let at = format!("{name} at {cut}");
            if whole.relabelled && !part.relabelled {
                // What it is was not known yet.
                let told = part.reasoning.clone() + &part.text;
                assert!(whole.reasoning.starts_with(&told), "{at}");
                continue;
            }
            assert!(whole.text.starts_with(&part.text), "{at}");
            assert!(whole.reasoning.starts_with(&part.reasoning), "{at}");
            assert!(whole.refusal.starts_with(&part.refusal), "{at}");
            if part.finish.is_some() {
                assert_eq!(part.text, whole.text, "{at}");
                assert_eq!(part.reasoning, whole.reasoning, "{at}");
                assert_eq!(part.signatures, whole.signatures, "{at}");
                assert_eq!(part.tools, whole.tools, "{at}");
                assert_eq!(part.finish, whole.finish, "{at}");
            }
            if part.error.is_some() {
                assert_eq!(part.error, whole.error, "{at}");
            }
        }
    }
}

/// Splits a file at these places and compares.
pub(in crate::provider) fn any_split<D: Decode>(
    new: impl Fn() -> D,
    bytes: &[u8],
    cuts: Vec<usize>,
) {
    assert_eq!(read(new(), split(bytes, cuts)), read(new(), [bytes]));
}

/// Twenty thousand pieces are read in linear time. `text` says `Hello`, and `finish` ends the answer.
pub(in crate::provider) fn linear_time<D: Decode>(decoder: D, text: &str, finish: &str) {
    let body = text.repeat(20_000) + finish;
    let start = std::time::Instant::now();
    let folded = fold(&read(decoder, body.as_bytes().chunks(1400)));
    assert_eq!(folded.text.len(), 100_000);
    assert!(folded.finish.is_some());
    assert!(start.elapsed().as_secs() < 5);
}

/// All of the rules, as tests of the module where this stands.
macro_rules! all_laws {
    ($new:expr, $fixtures:expr) => {
        #[test]
        fn the_rules_are_kept() {
            use $crate::provider::testing::laws;
            laws::two_chunks($new, $fixtures);
            laws::other_lines($new, $fixtures);
            laws::any_cut($new, $fixtures);
        }

        #[test]
        fn damage_at_any_byte_never_passes_for_a_whole_answer() {
            use $crate::provider::testing::damage;
            damage::any_garbled($new, $fixtures);
            damage::any_repeated($new, $fixtures);
            damage::any_lost($new, $fixtures);
            damage::any_stalled($new, $fixtures);
        }

        proptest::proptest! {
            #[test]
            fn any_split_gives_the_same_events(
                which in 0..$fixtures.len(),
                cuts in proptest::collection::vec(proptest::prelude::any::<proptest::sample::Index>(), 0..20),
            ) {
                let bytes = $fixtures[which].1;
                let cuts = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
                $crate::provider::testing::laws::any_split($new, bytes, cuts);
            }

            #[test]
            fn any_garbled_byte_gives_an_answer_or_one_error(
                which in 0..$fixtures.len(),
                at in proptest::prelude::any::<proptest::sample::Index>(),
                byte in proptest::prelude::any::<u8>(),
            ) {
                let mut bytes = $fixtures[which].1.to_vec();
                let at = at.index(bytes.len());
                bytes[at] = byte;
                // The rules are checked by the fold; nothing may panic.
                $crate::provider::testing::fold(
                    &$crate::provider::testing::laws::read($new(), [bytes.as_slice()]),
                );
            }
        }
    };
}
pub(in crate::provider) use all_laws;
