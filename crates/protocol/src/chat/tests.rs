//! The fold: whatever the cut, the duplicate or the snapshot, the same answer.

use super::*;
use crate::{
    BlockKind, BlockNo, ErrorCode, Event, Finish, FinishReason, RunId, Seq, SpanKind, SpanNo,
    Stage, Status, Timing, Usage,
};
use proptest::prelude::*;
use serde_json::{Value, json};

fn delta(block: BlockNo, text: &str) -> Event {
    Event::Delta {
        span: 1,
        block,
        text: text.into(),
        from: None,
    }
}

fn span_started(span: SpanNo, replaces: Option<SpanNo>) -> Event {
    Event::SpanStarted {
        span,
        parent: None,
        kind: SpanKind::ChatModel,
        name: "model".into(),
        tags: Vec::new(),
        metadata: serde_json::Value::Null,
        input: serde_json::Value::Null,
        replaces,
    }
}

fn finished(length: u64) -> Event {
    Event::RunFinished {
        status: Status::Ok,
        usage: Usage {
            input: 3,
            output: 5,
            ..Usage::default()
        },
        timing: Timing::default(),
        error: None,
        length,
        hash: String::new(),
    }
}

fn log(middle: Vec<Event>, cut: u64) -> Vec<Event> {
    let id = uuid::Uuid::from_u128(7);
    let mut events = vec![
        Event::RunStarted {
            protocol: 1,
            run: RunId(id),
            conversation: ConversationId(id),
            message: MessageId(id),
            parent: MessageId(id),
            model: "a/b".into(),
            at: 5,
            continues: None,
        },
        span_started(1, None),
        Event::BlockStarted {
            span: 1,
            block: 1,
            kind: BlockKind::Text,
            tool: None,
        },
        Event::BlockStarted {
            span: 1,
            block: 2,
            kind: BlockKind::Reasoning,
            tool: None,
        },
    ];
    events.extend(middle);
    events.push(finished(cut));
    events
}

fn fold(events: &[Event]) -> Answer {
    Answer::fold((1..).zip(events))
}

fn any_event() -> impl Strategy<Value = Event> {
    prop_oneof![
        6 => (1u32..3, "[a-zé ]{1,6}").prop_map(|(block, text)| delta(block, &text)),
        1 => (0u32..4).prop_map(|ahead| Event::Progress { span: 1, at: 9, stage: Stage::Queued { ahead } }),
        1 => (0u64..99).prop_map(|output| Event::Usage { span: 1, usage: Usage { output, ..Usage::default() } }),
        1 => Just(Event::Unknown),
    ]
}

/// The frames that a reader gets who is behind: runs of deltas of one block as one.
fn merged(events: &[Event], after: Seq) -> Vec<(Seq, Event)> {
    let mut frames: Vec<(Seq, Event)> = Vec::new();
    for (seq, event) in (1..).zip(events).skip(after as usize) {
        if let (
            Event::Delta { block, text, .. },
            Some((
                last,
                Event::Delta {
                    block: known,
                    text: so_far,
                    from,
                    ..
                },
            )),
        ) = (event, frames.last_mut())
            && block == known
        {
            from.get_or_insert(*last);
            so_far.push_str(text);
            *last = seq;
            continue;
        }
        frames.push((seq, event.clone()));
    }
    frames
}

proptest! {
    #[test]
    fn snapshot_and_tail_fold_to_the_log_for_every_cut(
        middle in proptest::collection::vec(any_event(), 0..30),
        cut in 0u64..100,
    ) {
        let events = log(middle, cut);
        let whole = fold(&events);
        for k in 0..=events.len() {
            let head = fold(&events[..k]);
            // The tail itself, twice over, and the tail as a late reader gets it.
            let mut tail = head.clone();
            for _ in 0..2 {
                for (seq, event) in (1..).zip(&events) {
                    tail.apply(seq, event);
                }
            }
            prop_assert_eq!(&tail, &whole);
            let mut late = Answer::default();
            if k > 0 {
                let answer = serde_json::to_value(&head).expect("JSON");
                let snapshot = Event::Snapshot { seq: head.seq, answer };
                prop_assert_eq!(late.apply(0, &snapshot), Applied::New);
                prop_assert_eq!(late.apply(0, &snapshot), Applied::Known);
            }
            for (seq, event) in merged(&events, late.seq) {
                prop_assert_eq!(late.apply(seq, &event), Applied::New);
            }
            prop_assert_eq!(&late, &whole);
        }
    }

    #[test]
    fn an_entry_that_comes_too_early_changes_nothing(skip in 1u64..5, seq in 0u64..3) {
        let events = log(vec![delta(1, "a"), delta(1, "b"), delta(1, "c")], 99);
        let mut answer = fold(&events[..seq as usize]);
        let before = answer.clone();
        let early = (seq + skip) as usize;
        prop_assert_eq!(answer.apply(seq + 1 + skip, &events[early]), Applied::Gap);
        prop_assert_eq!(answer, before);
    }
}

#[test]
fn the_end_cuts_the_visible_text_and_nothing_else() {
    let answer = fold(&log(
        vec![delta(1, "Grün"), delta(2, "thinking"), delta(1, " ist")],
        5,
    ));
    assert_eq!(answer.visible_text(), "Grün");
    assert_eq!(answer.blocks[1].text, "thinking");
    assert!(answer.blocks.iter().all(|block| !block.open));
    // A length inside a character comes from a damaged log only, and must not panic.
    assert_eq!(fold(&log(vec![delta(1, "ü")], 1)).visible_text(), "");
}

#[test]
fn a_replaced_attempt_is_not_shown_but_counted() {
    let mut events = log(vec![delta(1, "first try")], 99);
    events.pop();
    events.push(Event::Usage {
        span: 1,
        usage: Usage {
            output: 2,
            ..Usage::default()
        },
    });
    events.push(span_started(2, Some(1)));
    events.push(Event::BlockStarted {
        span: 2,
        block: 3,
        kind: BlockKind::Text,
        tool: None,
    });
    events.push(Event::Delta {
        span: 2,
        block: 3,
        text: "second".into(),
        from: None,
    });
    events.push(Event::Usage {
        span: 2,
        usage: Usage {
            output: 1,
            ..Usage::default()
        },
    });
    let answer = fold(&events);
    assert_eq!(answer.visible_text(), "second");
    assert_eq!(answer.usage.output, 3);
}

#[test]
fn unknown_kinds_words_and_fields_are_passed_over() {
    for (json, known) in [
        (json!({"type": "telepathy", "level": 9}), false),
        (
            json!({"type": "delta", "span": 1, "block": 1, "text": "x", "mood": "fine"}),
            true,
        ),
        (
            json!({"type": "progress", "span": 1, "at": 0, "stage": {"stage": "dreaming"}}),
            true,
        ),
    ] {
        let event: Event = serde_json::from_value(json).expect("read");
        assert_eq!(event != Event::Unknown, known);
    }
    let code: ErrorCode = serde_json::from_value(json!("new_fault")).expect("read");
    assert_eq!(code, ErrorCode::Internal);
}

#[test]
fn delivery_events_never_move_the_cursor() {
    let mut answer = fold(&log(Vec::new(), 0)[..2]);
    for event in [
        Event::Ping { notice: None },
        Event::GoingAway {
            reason: "lifetime".into(),
            retry_ms: 0,
        },
    ] {
        assert_eq!(answer.apply(3, &event), Applied::Delivery);
        assert_eq!(answer.seq, 2);
    }
}

/// Providers may say any number.
#[test]
fn counts_beyond_all_numbers_add_up_to_the_largest() {
    let most = Usage {
        input: u64::MAX,
        output: u64::MAX,
        cache_read: u64::MAX,
        cache_write: u64::MAX,
        reasoning: u64::MAX,
        estimated: false,
    };
    assert_eq!(most.plus(most), most);
}

/// A cut within a character ends the text there, and nothing behind it is shown.
#[test]
fn a_damaged_length_cuts_before_a_character_and_shows_nothing_behind_it() {
    let block = |block| Event::BlockStarted {
        span: 1,
        block,
        kind: BlockKind::Text,
        tool: None,
    };
    let delta = |block, text: &str| Event::Delta {
        span: 1,
        block,
        text: text.into(),
        from: None,
    };
    let events = [block(3), delta(3, "a✂"), block(4), delta(4, "behind")];
    let answer = fold(&log(events.to_vec(), 2));
    assert_eq!(answer.visible_text(), "a");
}

#[test]
fn a_stopped_answer_says_how_soon_its_provider_was_closed() {
    let ended = |output: Value| Event::SpanFinished {
        span: 1,
        status: Status::Cancelled,
        output,
        finish: None,
        usage: None,
        timing: None,
        error: None,
    };
    let stopped = fold(&log(vec![ended(json!({ "provider_closed_ms": 12 }))], 0));
    assert_eq!(stopped.provider_closed_ms, Some(12));
    let stored = serde_json::to_value(&stopped).expect("JSON");
    assert_eq!(stored["provider_closed_ms"], 12);
    let read: Answer = serde_json::from_value(stored).expect("an answer");
    assert_eq!(read, stopped, "a reload and a snapshot know it as well");
    for output in [
        Value::Null,
        json!({ "other": 1 }),
        json!({ "provider_closed_ms": "soon" }),
        json!([12]),
    ] {
        let answer = fold(&log(vec![ended(output)], 0));
        assert_eq!(answer.provider_closed_ms, None);
        let stored = serde_json::to_value(&answer).expect("JSON");
        assert_eq!(stored.get("provider_closed_ms"), None);
    }
}

#[test]
fn an_answer_that_broke_off_can_be_continued_unless_a_chain_wrote_it() {
    let ended = |model: &str, status, reason| {
        let mut answer = fold(&log(Vec::new(), 0));
        model.clone_into(&mut answer.model);
        answer.status = status;
        for span in &mut answer.spans {
            span.finish = Some(Finish {
                reason,
                word: String::new(),
            });
        }
        (answer.broke_off(), answer.can_continue())
    };
    use FinishReason::{Length, Refusal, Stop};
    for (model, status, reason, expected) in [
        ("a/b", None, Stop, (false, false)),
        ("a/b", Some(Status::Ok), Stop, (false, false)),
        ("a/b", Some(Status::Ok), Refusal, (false, false)),
        ("a/b", Some(Status::Ok), Length, (true, true)),
        ("a/b", Some(Status::Cancelled), Stop, (true, true)),
        ("a/b", Some(Status::Error), Stop, (true, true)),
        ("a/b", Some(Status::Interrupted), Stop, (true, true)),
        ("chain/b", Some(Status::Interrupted), Stop, (true, false)),
        ("chain/b", Some(Status::Ok), Stop, (false, false)),
        ("chains/b", Some(Status::Error), Stop, (true, true)),
        ("chain", Some(Status::Error), Stop, (true, true)),
    ] {
        assert_eq!(
            ended(model, status, reason),
            expected,
            "{model} {status:?} {reason:?}"
        );
    }
}
