use super::*;
use crate::provider::testing::split;
use proptest::prelude::*;

fn event(data: &str) -> Event {
    Event {
        data: data.into(),
        ..Event::default()
    }
}

fn named(name: &str, data: &str) -> Event {
    Event {
        event: name.into(),
        ..event(data)
    }
}

fn with_id(id: &str, data: &str) -> Event {
    Event {
        id: id.into(),
        ..event(data)
    }
}

fn decode<'a>(chunks: impl IntoIterator<Item = &'a [u8]>) -> (Vec<Event>, Decoder) {
    let mut decoder = Decoder::new();
    let mut events = Vec::new();
    for chunk in chunks {
        decoder.push(chunk);
        while let Some(event) = decoder.next_event().unwrap() {
            events.push(event);
        }
    }
    (events, decoder)
}

/// Streams with the events that the standard makes of them.
fn table() -> Vec<(&'static [u8], Vec<Event>)> {
    vec![
        (b"", vec![]),
        (b"data: a\n\n", vec![event("a")]),
        (b"data:a\n\n", vec![event("a")]),
        (b"data:  a \n\n", vec![event(" a ")]),
        (b"data\n\n", vec![event("")]),
        (b"data:\n\n", vec![event("")]),
        (b"data\ndata\n\n", vec![event("\n")]),
        (b"data: a\ndata: b\ndata:\n\n", vec![event("a\nb\n")]),
        (b"data: a: b\n\n", vec![event("a: b")]),
        (b"data: a\r\r", vec![event("a")]),
        (b"data: a\r\n\r\n", vec![event("a")]),
        (b"data: a\r\n\ndata: b\n\r\n", vec![event("a"), event("b")]),
        (b"data: a\n\rdata: b\r\r", vec![event("a"), event("b")]),
        (b"\n\r\n\r\r\ndata: a\n\n\n\n", vec![event("a")]),
        (b"\xEF\xBB\xBFdata: a\n\n", vec![event("a")]),
        (b"\xEF\xBB\xBF\xEF\xBB\xBFdata: a\n\n", vec![]),
        (b"data: a\n\n\xEF\xBB\xBFdata: b\n\n", vec![event("a")]),
        (b": hello\n\n:\ndata: a\n: more\n\n", vec![event("a")]),
        (
            b"event: x\ndata: a\n\ndata: b\n\n",
            vec![named("x", "a"), event("b")],
        ),
        (b"event: x\n\ndata: b\n\n", vec![event("b")]),
        (b"event: x\nevent: y\ndata: b\n\n", vec![named("y", "b")]),
        (
            b"id: 1\ndata: a\n\ndata: b\n\nid\ndata: c\n\n",
            vec![with_id("1", "a"), with_id("1", "b"), event("c")],
        ),
        (b"id: 1\n\ndata: b\n\n", vec![with_id("1", "b")]),
        (
            b"id: 1\ndata: a\n\nid: 2\x003\ndata: b\n\n",
            vec![with_id("1", "a"), with_id("1", "b")],
        ),
        (
            b"Data: a\n data: b\nunknown: c\ndata: d\n\n",
            vec![event("d")],
        ),
        (b"data: a\n\ndata: pending", vec![event("a")]),
        (b"data: a\n\ndata: pending\n", vec![event("a")]),
        (
            "data: Grüße 👩‍👩‍👧 日本\r\ndata: é\r\n\r\n".as_bytes(),
            vec![event("Grüße 👩‍👩‍👧 日本\né")],
        ),
        (
            b"data: \xE2\x82\ndata: \xFF!\n\n",
            vec![event("\u{FFFD}\n\u{FFFD}!")],
        ),
        (b"data: \0\n\n", vec![event("\0")]),
    ]
}

#[test]
fn every_stream_gives_its_events_however_it_is_cut() {
    for (bytes, expected) in table() {
        let name = String::from_utf8_lossy(bytes);
        assert_eq!(decode([bytes]).0, expected, "{name:?}");
        assert_eq!(decode(bytes.chunks(1)).0, expected, "{name:?}");
        for a in 0..=bytes.len() {
            for b in a..=bytes.len() {
                let chunks = [&bytes[..a], &bytes[a..b], b"", &bytes[b..]];
                assert_eq!(decode(chunks).0, expected, "{name:?} cut at {a} and {b}");
            }
        }
    }
}

#[test]
fn an_event_comes_with_its_last_byte_and_not_later() {
    for end in ["\n\n", "\r\r", "\r\n\r"] {
        let text = format!("data: a{end}");
        let (before, last) = text.as_bytes().split_at(text.len() - 1);
        let mut decoder = Decoder::new();
        decoder.push(before);
        assert_eq!(decoder.next_event().unwrap(), None);
        decoder.push(last);
        assert_eq!(decoder.next_event().unwrap(), Some(event("a")));
    }
}

#[test]
fn retry_is_kept_when_it_is_a_number() {
    let (_, decoder) = decode([&b"retry: 1500\nretry: 2s\nretry: -1\nretry\n"[..]]);
    assert_eq!(decoder.retry(), Some(Duration::from_millis(1500)));
    let (_, decoder) = decode([&b"retry: 99999999999999999999999\n"[..]]);
    assert_eq!(decoder.retry(), None);
}

#[test]
fn what_is_left_at_the_end_is_told() {
    let left = |bytes: &'static [u8]| {
        let (_, decoder) = decode(bytes.chunks(1));
        decoder.finish().map(|left| (left.event.data, left.in_line))
    };
    assert_eq!(left(b""), None);
    assert_eq!(left(b"data: a\n\n"), None);
    assert_eq!(left(b"data: a\r\n\r\n"), None);
    assert_eq!(left(b"data: a\n"), Some(("a".into(), false)));
    assert_eq!(left(b"data: a\r"), Some(("a".into(), false)));
    assert_eq!(left(b"data: a\r\n"), Some(("a".into(), false)));
    assert_eq!(left(b"data: a\nda"), Some(("a".into(), true)));
    assert_eq!(left(b"data: a\ndata: b"), Some(("a\nb".into(), true)));
    assert_eq!(left(b"data: a\n\n:"), Some((String::new(), true)));
}

#[test]
fn an_event_above_the_limit_is_malformed() {
    let line = |n| format!("data: {}\n", "x".repeat(n)).into_bytes();
    for chunk in [1, 7, 4096] {
        for stream in [line(200), [line(60), line(60)].concat()] {
            let mut decoder = Decoder::with_limit(100);
            let mut result = Ok(None);
            for bytes in stream.chunks(chunk) {
                decoder.push(bytes);
                result = decoder.next_event();
                if result.is_err() {
                    break;
                }
            }
            let error = result.unwrap_err();
            assert_eq!(error.code, ErrorCode::Malformed);
            assert!(error.retryable);
        }
    }
    let mut decoder = Decoder::with_limit(100);
    decoder.push(&[line(60), b"\n".to_vec(), line(60), b"\n".to_vec()].concat());
    assert!(decoder.next_event().unwrap().is_some());
    assert!(decoder.next_event().unwrap().is_some());
}

#[test]
fn the_cost_is_linear() {
    let time = |bytes: usize| {
        let mut stream = b"data: ".to_vec();
        stream.resize(bytes, b'x');
        stream.extend_from_slice(b"\n\n");
        let start = std::time::Instant::now();
        assert_eq!(decode(stream.chunks(16)).0.len(), 1);
        start.elapsed()
    };
    // A square would take hundreds of seconds for 4 MB in pieces of 16 bytes.
    assert!(time(4_000_000) < Duration::from_secs(5));
}

proptest! {
    #[test]
    fn any_bytes_in_any_split_give_the_same_events(
        // Mostly what matters to the decoder, sometimes anything.
        parts in proptest::collection::vec(
            prop_oneof![
                3 => prop_oneof![
                    Just("\n"), Just("\r"), Just("\r\n"), Just("data: "), Just("data"), Just("id: 7"),
                    Just("event: e"), Just(": c"), Just("\u{FEFF}"), Just("é漢👍🏽"), Just(" "), Just(":"),
                ].prop_map(|text| text.as_bytes().to_vec()),
                1 => proptest::collection::vec(any::<u8>(), 0..6),
            ],
            0..40,
        ),
        cuts in proptest::collection::vec(any::<proptest::sample::Index>(), 0..12),
    ) {
        let bytes = parts.concat();
        let cuts = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
        let (whole, left) = decode([bytes.as_slice()]);
        let (parts, parts_left) = decode(split(&bytes, cuts));
        prop_assert_eq!(whole, parts);
        prop_assert_eq!(left.finish(), parts_left.finish());
    }
}
