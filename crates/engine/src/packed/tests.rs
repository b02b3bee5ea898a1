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
    fn a_log_put_together_of_chunks_or_of_logs_is_the_log_that_was_pushed(
        events in proptest::collection::vec((0u64..300, event()), 0..200),
        cuts in proptest::collection::vec(1usize..70, 1..20),
    ) {
        let mut whole = Packed::default();
        let (mut chunked, mut extended, mut joined) =
            (Packed::default(), Packed::default(), Packed::default());
        let (mut at, mut seq) = (0, 0);
        let mut rest = &events[..];
        for cut in cuts.into_iter().cycle() {
            let (part, behind) = rest.split_at(cut.min(rest.len()));
            let mut packed = Packed::default();
            let mut entries = Vec::new();
            for (pause, event) in part {
                (at, seq) = (at + pause, seq + 1);
                packed.push(at, event);
                whole.push(at, event);
                entries.push(Entry { seq, at, event: event.clone() });
            }
            joined.join(&packed);
            let chunk = Chunk::new(chunked.state(), &entries);
            chunked.append(&chunk);
            prop_assert_eq!(chunked.state(), chunk.state());
            prop_assert!(extended.extend(chunk.as_bytes()).is_none());
            rest = behind;
            if rest.is_empty() {
                break;
            }
        }
        let entries: Vec<Entry> = whole.after(0).collect();
        let next = Event::Delta { span: 1, block: 1, text: "next".into(), from: None };
        for mut log in [chunked, extended, joined] {
            prop_assert_eq!(log.as_bytes(), whole.as_bytes());
            prop_assert_eq!(log.len(), whole.len());
            for after in 0..=entries.len() {
                prop_assert_eq!(log.after(after as u64).collect::<Vec<_>>(), &entries[after..]);
            }
            // What comes next goes on from the same state.
            let mut longer = whole.clone();
            longer.push(at + 1, &next);
            log.push(at + 1, &next);
            prop_assert_eq!(log.as_bytes(), longer.as_bytes());
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
