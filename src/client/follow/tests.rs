//! A simulated server whose connections break in every way there is, and tables for the times.

use super::*;
use headwater_protocol::{
    BlockKind, ConversationId, MessageId, RunId, SpanKind, Status, Timing, Usage, chat::Answer,
};
use proptest::prelude::*;
use std::collections::VecDeque;
use uuid::Uuid;

const START: UnixMs = 1_000_000;

// ---- Tables -------------------------------------------------------------------------------------

/// Follows by hand: each input with its time, and all that came of it.
struct Hand {
    follow: Follow,
    now: UnixMs,
}

impl Hand {
    fn connecting() -> Self {
        let mut hand = Self {
            follow: Follow::new(0, 7),
            now: START,
        };
        hand.at(0, Input::Start);
        hand
    }

    fn open() -> Self {
        let mut hand = Self::connecting();
        hand.at(0, Input::Opened);
        hand.at(0, ping());
        hand
    }

    /// `after` milliseconds later, `input` happens.
    fn at(&mut self, after: u64, input: Input) -> Vec<Output> {
        self.now += after;
        let mut out = Vec::new();
        self.follow.step(self.now, input, &mut out);
        out
    }

    fn link(&self) -> Link {
        self.follow.link
    }

    /// How long until the next attempt, after the current one is refused. 0 is at once.
    fn pause_after(&mut self, input: Input) -> u64 {
        let out = self.at(0, input);
        assert!(out.contains(&Output::Close));
        if opens(&out) {
            return 0;
        }
        match self.follow.phase {
            Phase::Waiting { until } => {
                let pause = until - self.now;
                assert!(opens(&self.at(pause, Input::Tick)));
                pause
            }
            phase => panic!("neither waiting nor connecting: {phase:?}"),
        }
    }
}

fn ping() -> Input {
    Input::Frame {
        id: String::new(),
        data: r#"{"type":"ping"}"#.into(),
    }
}

fn going_away(reason: &str, retry_ms: u64) -> Input {
    let data = format!(r#"{{"type":"going_away","reason":"{reason}","retry_ms":{retry_ms}}}"#);
    Input::Frame {
        id: String::new(),
        data,
    }
}

fn delta(seq: Seq) -> Input {
    let data = r#"{"type":"delta","span":1,"block":1,"text":"a"}"#.into();
    Input::Frame {
        id: seq.to_string(),
        data,
    }
}

fn opens(out: &[Output]) -> bool {
    out.iter()
        .any(|output| matches!(output, Output::Open { .. }))
}

const BROKEN: Input = Input::Broken { gave_up: false };

#[test]
fn the_first_retry_is_at_once_and_the_pauses_double_up_to_eight_seconds() {
    let mut hand = Hand::open();
    assert_eq!(hand.pause_after(BROKEN), 0);
    for least in [250, 500, 1_000, 2_000, 4_000, 6_400, 6_400, 6_400] {
        let pause = hand.pause_after(BROKEN);
        assert!(
            (least..=least * 5 / 4).contains(&pause),
            "{pause} for {least}"
        );
        assert!(pause <= 8_000);
    }
    assert_eq!(hand.link(), Link::Reconnecting { attempt: 9 });
}

#[test]
fn an_entry_resets_the_backoff_and_a_ping_at_the_door_does_not() {
    let mut hand = Hand::open();
    hand.pause_after(BROKEN);
    hand.pause_after(BROKEN);
    hand.at(0, Input::Opened);
    hand.at(0, ping());
    assert!(
        hand.pause_after(BROKEN) >= 500,
        "a server that only pings is not hammered"
    );
    hand.at(0, Input::Opened);
    assert_eq!(hand.link(), Link::Open);
    let out = hand.at(0, delta(1));
    assert!(matches!(out.first(), Some(Output::Apply { seq: 1, .. })));
    hand.at(
        0,
        Input::Folded {
            applied: Applied::New,
            cursor: 1,
        },
    );
    assert_eq!(hand.at(0, BROKEN)[1], Output::Open { after: 1 });
}

#[test]
fn a_connection_that_lasted_resets_the_backoff() {
    let mut hand = Hand::open();
    hand.pause_after(BROKEN);
    hand.pause_after(BROKEN);
    hand.at(0, Input::Opened);
    hand.at(5_000, ping());
    assert_eq!(hand.pause_after(BROKEN), 0);
}

#[test]
fn fifteen_silent_seconds_are_the_end_of_a_connection() {
    for mut hand in [Hand::connecting(), Hand::open()] {
        assert_eq!(
            hand.at(14_999, Input::Tick),
            [Output::Wait {
                until: hand.now + 1
            }]
        );
        let out = hand.at(1, Input::Tick);
        assert_eq!(out[..2], [Output::Close, Output::Open { after: 0 }]);
    }
    let mut hand = Hand::open();
    hand.at(10_000, ping());
    assert!(
        !opens(&hand.at(10_000, Input::Tick)),
        "a ping feeds the watchdog"
    );
}

#[test]
fn a_wake_up_reconnects_unless_the_connection_is_fresh() {
    let mut hand = Hand::open();
    assert!(!opens(&hand.at(7_000, Input::Woke)));
    assert!(opens(&hand.at(1, Input::Woke)));
    assert!(
        !opens(&hand.at(0, Input::Woke)),
        "three wake-ups come together"
    );
    assert!(opens(&hand.at(2_001, Input::Online)));

    let mut hand = Hand::open();
    for _ in 0..6 {
        hand.pause_after(BROKEN);
    }
    hand.at(0, BROKEN);
    assert!(opens(&hand.at(1, Input::Woke)));
    assert_eq!(hand.pause_after(BROKEN), 0, "the backoff begins anew");
}

#[test]
fn the_end_of_a_connections_life_is_nothing_to_tell_a_person() {
    let mut hand = Hand::open();
    let out = hand.at(60_000, going_away("lifetime", 100));
    assert_eq!(out[0], Output::Close);
    assert_eq!(hand.link(), Link::Open);
    let Phase::Waiting { until } = hand.follow.phase else {
        panic!()
    };
    assert!((100..=350).contains(&(until - hand.now)));
    assert!(opens(&hand.at(350, Input::Tick)));
    assert_eq!(hand.link(), Link::Open);
    hand.at(0, BROKEN);
    assert_eq!(hand.link(), Link::Reconnecting { attempt: 1 });

    let mut hand = Hand::open();
    hand.at(60_000, going_away("shutdown", 2_000));
    assert_eq!(hand.link(), Link::Reconnecting { attempt: 1 });
}

#[test]
fn a_server_that_sends_everybody_away_at_once_is_not_hammered() {
    let mut hand = Hand::open();
    let mut pauses = Vec::new();
    for _ in 0..8 {
        pauses.push(hand.pause_after(going_away("lifetime", 0)));
        hand.at(0, Input::Opened);
    }
    assert!(pauses[7] >= 6_400, "{pauses:?}");
}

#[test]
fn offline_is_said_until_something_proves_it_wrong() {
    let mut hand = Hand::open();
    hand.at(0, Input::Offline);
    assert_eq!(hand.link(), Link::Offline);
    hand.at(0, ping());
    assert_eq!(
        hand.link(),
        Link::Open,
        "a server on this machine needs no network"
    );
    hand.at(0, Input::Offline);
    assert!(opens(&hand.at(0, BROKEN)), "tried all the same");
    assert_eq!(hand.link(), Link::Offline);
    hand.at(0, Input::Online);
    assert_eq!(hand.link(), Link::Reconnecting { attempt: 1 });
}

#[test]
fn refusals_and_faults_lead_to_a_question() {
    let mut hand = Hand::connecting();
    let refused = Input::Broken { gave_up: true };
    hand.pause_after(refused.clone());
    hand.pause_after(refused.clone());
    assert!(hand.at(0, refused.clone()).contains(&Output::Ask));
    hand.at(0, Input::Asked(Asked::Unreachable));
    assert!(matches!(hand.follow.phase, Phase::Waiting { .. }));
    hand.at(8_000, Input::Tick);
    hand.pause_after(refused.clone());
    hand.pause_after(refused.clone());
    assert!(hand.at(0, refused).contains(&Output::Ask));
    hand.at(0, Input::Asked(Asked::Over));
    assert!(hand.follow.is_done());
    assert_eq!(hand.link(), Link::Idle);

    let broken_frame = || Input::Frame {
        id: "1".into(),
        data: "{".into(),
    };
    let mut hand = Hand::open();
    hand.pause_after(broken_frame());
    hand.at(0, Input::Opened);
    hand.pause_after(broken_frame());
    hand.at(0, Input::Opened);
    assert!(hand.at(0, broken_frame()).contains(&Output::Ask));
    hand.at(0, Input::Asked(Asked::Running(40)));
    assert!(
        hand.at(8_000, Input::Tick)
            .contains(&Output::Open { after: 40 })
    );
}

#[test]
fn a_question_without_an_answer_does_not_end_following() {
    let mut hand = Hand::connecting();
    let refused = Input::Broken { gave_up: true };
    hand.pause_after(refused.clone());
    hand.pause_after(refused.clone());
    hand.at(0, refused);
    assert!(opens(&hand.at(15_000, Input::Tick)));
}

#[test]
fn the_servers_trouble_is_told_once_and_taken_back() {
    let mut hand = Hand::open();
    let trouble = |word: &str| Input::Frame {
        id: String::new(),
        data: format!(r#"{{"type":"ping","notice":"{word}"}}"#),
    };
    assert_eq!(
        hand.at(0, trouble("full")),
        [Output::Notice(Some("full".into()))]
    );
    assert_eq!(hand.at(0, trouble("full")), []);
    assert_eq!(hand.at(0, ping()), [Output::Notice(None)]);
}

#[test]
fn unknown_kinds_are_passed_over_and_counted_where_they_are_numbered() {
    let mut hand = Hand::open();
    let unknown = |id: &str| Input::Frame {
        id: id.into(),
        data: r#"{"type":"new"}"#.into(),
    };
    assert_eq!(hand.at(0, unknown("")), []);
    assert_eq!(
        hand.at(0, unknown("1")),
        [Output::Apply {
            seq: 1,
            event: Event::Unknown
        }]
    );
}

// ---- Every way a stream can break ---------------------------------------------------------------

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
