//! A simulated server whose connections break in every way. The reader still folds the whole log.

use super::*;
use headwater_protocol::{
    BlockKind, ConversationId, MessageId, RunId, SpanKind, Status, Timing, Usage, chat::Answer,
};
use proptest::prelude::*;
use std::collections::VecDeque;
use uuid::Uuid;

/// What one connection does to its reader.
#[derive(Clone, Debug)]
enum Fault {
    /// Refused before anything came; `true`: with an answer that is no stream.
    Refuse(bool),
    /// Breaks after so many frames.
    Cut(usize),
    /// Says nothing any more after so many frames.
    Silence(usize),
    /// Leaves out the frame with this index.
    Skip(usize),
    /// Sends the frame with this index twice.
    Twice(usize),
    /// Begins so many entries before the cursor.
    Rewind(u64),
    /// The frame with this index is cut in two.
    Garble(usize),
    /// Says goodbye after so many frames.
    Leave(usize, bool),
    /// Sends a snapshot in place of the history, then cuts after so many frames.
    Snapshot(usize),
}

fn fault() -> impl Strategy<Value = Fault> {
    let at = 0..12usize;
    prop_oneof![
        any::<bool>().prop_map(Fault::Refuse),
        at.clone().prop_map(Fault::Cut),
        at.clone().prop_map(Fault::Silence),
        at.clone().prop_map(Fault::Skip),
        at.clone().prop_map(Fault::Twice),
        (1..9u64).prop_map(Fault::Rewind),
        at.clone().prop_map(Fault::Garble),
        (at.clone(), any::<bool>()).prop_map(|(at, brief)| Fault::Leave(at, brief)),
        at.prop_map(Fault::Snapshot),
    ]
}

/// A whole log: two attempts of which the second may take the first one's place, then an end that
/// may keep less than was written.
fn log() -> impl Strategy<Value = Vec<Event>> {
    let words = prop::collection::vec("[a-zäß🦀 ]{1,4}", 0..14);
    (words.clone(), words, any::<bool>(), 0..3u64).prop_map(|(first, second, replaces, cut)| {
        let mut log = vec![Event::RunStarted {
            protocol: 1,
            run: RunId(Uuid::from_u128(1)),
            conversation: ConversationId(Uuid::from_u128(2)),
            message: MessageId(Uuid::from_u128(3)),
            parent: MessageId(Uuid::from_u128(4)),
            model: "scripted/a".into(),
            at: START,
            continues: None,
        }];
        for (number, words) in [(1, first), (2, second)] {
            log.push(Event::SpanStarted {
                span: number,
                parent: None,
                kind: SpanKind::ChatModel,
                name: "a".into(),
                tags: vec![],
                metadata: serde_json::Value::Null,
                input: serde_json::Value::Null,
                replaces: (replaces && number == 2).then_some(1),
            });
            let kind = BlockKind::Text;
            log.push(Event::BlockStarted {
                span: number,
                block: number,
                kind,
                tool: None,
            });
            log.extend(words.into_iter().map(|text| Event::Delta {
                span: number,
                block: number,
                text,
                from: None,
            }));
        }
        let text = fold_of(&log).visible_text();
        let mut length = text.len().saturating_sub(cut as usize);
        while !text.is_char_boundary(length) {
            length -= 1;
        }
        log.push(Event::RunFinished {
            status: Status::Ok,
            usage: Usage::default(),
            timing: Timing::default(),
            error: None,
            length: length as u64,
            hash: String::new(),
        });
        log
    })
}

fn fold_of(log: &[Event]) -> Answer {
    Answer::fold((1..).zip(log))
}

/// The frames of one connection; deltas are merged in runs of `merge`.
fn frames(log: &[Event], after: Seq, merge: usize) -> Vec<(String, String)> {
    let mut merged: Vec<(Seq, Event, usize)> = Vec::new();
    for (seq, event) in (1..).zip(log).skip(after as usize) {
        if let (
            Some((
                last,
                Event::Delta {
                    block: open,
                    text,
                    from,
                    ..
                },
                count,
            )),
            Event::Delta {
                block, text: more, ..
            },
        ) = (merged.last_mut(), event)
            && open == block
            && *count < merge
        {
            from.get_or_insert(*last);
            text.push_str(more);
            *last = seq;
            *count += 1;
        } else {
            merged.push((seq, event.clone(), 1));
        }
    }
    let encode = |event: &Event| serde_json::to_string(event).unwrap();
    merged
        .iter()
        .map(|(seq, event, _)| (seq.to_string(), encode(event)))
        .collect()
}

/// Follows `log` to its end through `faults` and gives back what was folded.
fn run(log: &[Event], faults: Vec<Fault>, merge: usize) -> Result<Answer, TestCaseError> {
    let mut faults = VecDeque::from(faults);
    let mut fold = Answer::default();
    let mut follow = Follow::new(0, 99);
    let mut now = START;
    let mut timer = None;
    let mut wire: VecDeque<Input> = VecDeque::new();
    let mut next = Some(Input::Start);
    let mut out = Vec::new();
    for _ in 0..5_000 {
        let Some(input) = next.take().or_else(|| wire.pop_front()) else {
            if follow.is_done() {
                return Ok(fold);
            }
            // Nothing on the wire: only time can help, so there must be a timer.
            now = timer
                .take()
                .ok_or_else(|| TestCaseError::fail("would wait for ever"))?;
            next = Some(Input::Tick);
            continue;
        };
        now += 1;
        follow.step(now, input, &mut out);
        for output in std::mem::take(&mut out) {
            match output {
                Output::Open { after } => {
                    prop_assert_eq!(after, fold.seq);
                    wire = connection(log, after, merge, faults.pop_front());
                }
                Output::Close => wire.clear(),
                Output::Wait { until } => timer = Some(until),
                Output::Ask => next = Some(Input::Asked(Asked::Running(fold.seq))),
                Output::Apply { seq, event } => {
                    let applied = fold.apply(seq, &event);
                    // At no moment is there anything but the beginning of the truth.
                    prop_assert_eq!(&fold, &fold_of(&log[..fold.seq as usize]));
                    next = Some(Input::Folded {
                        applied,
                        cursor: fold.seq,
                    });
                }
                Output::LinkChanged(_) | Output::Notice(_) => {}
            }
        }
    }
    Err(TestCaseError::fail("does not end"))
}

/// All that a connection says, in the order it is said.
fn connection(log: &[Event], after: Seq, merge: usize, fault: Option<Fault>) -> VecDeque<Input> {
    if let Some(Fault::Refuse(gave_up)) = fault {
        return [Input::Broken { gave_up }].into();
    }
    let mut after = after;
    if let Some(Fault::Rewind(back)) = fault {
        after = after.saturating_sub(back);
    }
    let mut frames = frames(log, after, merge);
    let mut broken = false;
    match fault {
        Some(Fault::Cut(at)) => {
            frames.truncate(at);
            broken = true;
        }
        Some(Fault::Silence(at)) => frames.truncate(at),
        Some(Fault::Skip(at)) if at < frames.len() => drop(frames.remove(at)),
        Some(Fault::Twice(at)) if at < frames.len() => frames.insert(at, frames[at].clone()),
        Some(Fault::Garble(at)) if at < frames.len() => {
            let data = &mut frames[at].1;
            data.pop();
        }
        Some(Fault::Leave(at, brief)) => {
            frames.truncate(at);
            let reason = if brief { "lifetime" } else { "shutdown" };
            let Input::Frame { id, data } = going_away(reason, 100) else {
                unreachable!()
            };
            frames.push((id, data));
        }
        Some(Fault::Snapshot(at)) => {
            let answer = fold_of(&log[..log.len() - 1]);
            frames = self::frames(log, answer.seq, merge);
            frames.truncate(at);
            let seq = answer.seq;
            let answer = serde_json::to_value(answer).unwrap();
            let data = serde_json::to_string(&Event::Snapshot { seq, answer }).unwrap();
            frames.insert(0, (seq.to_string(), data));
            broken = true;
        }
        _ => {}
    }
    let mut wire = VecDeque::from([Input::Opened, ping()]);
    wire.extend(
        frames
            .into_iter()
            .map(|(id, data)| Input::Frame { id, data }),
    );
    if broken {
        wire.push_back(BROKEN);
    }
    wire
}

proptest! {
    #[test]
    fn whatever_breaks_the_answer_is_the_fold_of_the_log(
        log in log(),
        faults in prop::collection::vec(fault(), 0..30),
        merge in 1..6usize,
    ) {
        let answer = run(&log, faults, merge)?;
        prop_assert_eq!(answer, fold_of(&log));
    }
}

#[test]
fn a_cut_after_every_single_frame_changes_nothing() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let log = proptest::strategy::Strategy::new_tree(&log(), &mut runner).unwrap();
    let log = proptest::strategy::ValueTree::current(&log);
    for cut in 0..=log.len() {
        let answer = run(&log, vec![Fault::Cut(cut), Fault::Cut(cut)], 1).unwrap();
        assert_eq!(answer, fold_of(&log));
    }
}
