//! Backoff, watchdog and link state, one input after the other with its time.

mod broken_streams;

use super::*;

const START: UnixMs = 1_000_000;

/// A [`Follow`] with a clock of its own.
struct Harness {
    follow: Follow,
    now: UnixMs,
}

impl Harness {
    fn connecting() -> Self {
        let mut harness = Self {
            follow: Follow::new(0, 7),
            now: START,
        };
        harness.at(0, Input::Start);
        harness
    }

    fn open() -> Self {
        let mut harness = Self::connecting();
        harness.at(0, Input::Opened);
        harness.at(0, ping());
        harness
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
    let mut harness = Harness::open();
    assert_eq!(harness.pause_after(BROKEN), 0);
    for least in [250, 500, 1_000, 2_000, 4_000, 6_400, 6_400, 6_400] {
        let pause = harness.pause_after(BROKEN);
        assert!(
            (least..=least * 5 / 4).contains(&pause),
            "{pause} for {least}"
        );
        assert!(pause <= 8_000);
    }
    assert_eq!(harness.link(), Link::Reconnecting { attempt: 9 });
}

#[test]
fn an_entry_resets_the_backoff_and_a_ping_at_the_door_does_not() {
    let mut harness = Harness::open();
    harness.pause_after(BROKEN);
    harness.pause_after(BROKEN);
    harness.at(0, Input::Opened);
    harness.at(0, ping());
    assert!(
        harness.pause_after(BROKEN) >= 500,
        "a server that only pings is not hammered"
    );
    harness.at(0, Input::Opened);
    assert_eq!(harness.link(), Link::Open);
    let out = harness.at(0, delta(1));
    assert!(matches!(out.first(), Some(Output::Apply { seq: 1, .. })));
    harness.at(
        0,
        Input::Folded {
            applied: Applied::New,
            cursor: 1,
        },
    );
    assert_eq!(harness.at(0, BROKEN)[1], Output::Open { after: 1 });
}

#[test]
fn a_connection_that_lasted_resets_the_backoff() {
    let mut harness = Harness::open();
    harness.pause_after(BROKEN);
    harness.pause_after(BROKEN);
    harness.at(0, Input::Opened);
    harness.at(5_000, ping());
    assert_eq!(harness.pause_after(BROKEN), 0);
}

#[test]
fn fifteen_silent_seconds_are_the_end_of_a_connection() {
    for mut harness in [Harness::connecting(), Harness::open()] {
        assert_eq!(
            harness.at(14_999, Input::Tick),
            [Output::Wait {
                until: harness.now + 1
            }]
        );
        let out = harness.at(1, Input::Tick);
        assert_eq!(out[..2], [Output::Close, Output::Open { after: 0 }]);
    }
    let mut harness = Harness::open();
    harness.at(10_000, ping());
    assert!(
        !opens(&harness.at(10_000, Input::Tick)),
        "a ping feeds the watchdog"
    );
}

#[test]
fn a_wake_up_reconnects_unless_the_connection_is_fresh() {
    let mut harness = Harness::open();
    assert!(!opens(&harness.at(7_000, Input::Woke)));
    assert!(opens(&harness.at(1, Input::Woke)));
    assert!(
        !opens(&harness.at(0, Input::Woke)),
        "three wake-ups come together"
    );
    assert!(opens(&harness.at(2_001, Input::Online)));

    let mut harness = Harness::open();
    for _ in 0..6 {
        harness.pause_after(BROKEN);
    }
    harness.at(0, BROKEN);
    assert!(opens(&harness.at(1, Input::Woke)));
    assert_eq!(harness.pause_after(BROKEN), 0, "the backoff begins anew");
}

#[test]
fn the_end_of_a_connections_life_is_nothing_to_tell_a_person() {
    let mut harness = Harness::open();
    let out = harness.at(60_000, going_away("lifetime", 100));
    assert_eq!(out[0], Output::Close);
    assert_eq!(harness.link(), Link::Open);
    let Phase::Waiting { until } = harness.follow.phase else {
        panic!()
    };
    assert!((100..=350).contains(&(until - harness.now)));
    assert!(opens(&harness.at(350, Input::Tick)));
    assert_eq!(harness.link(), Link::Open);
    harness.at(0, BROKEN);
    assert_eq!(harness.link(), Link::Reconnecting { attempt: 1 });

    let mut harness = Harness::open();
    harness.at(60_000, going_away("shutdown", 2_000));
    assert_eq!(harness.link(), Link::Reconnecting { attempt: 1 });
}

#[test]
fn a_server_that_sends_everybody_away_at_once_is_not_hammered() {
    let mut harness = Harness::open();
    let mut pauses = Vec::new();
    for _ in 0..8 {
        pauses.push(harness.pause_after(going_away("lifetime", 0)));
        harness.at(0, Input::Opened);
    }
    assert!(pauses[7] >= 6_400, "{pauses:?}");
}

#[test]
fn offline_is_said_until_something_proves_it_wrong() {
    let mut harness = Harness::open();
    harness.at(0, Input::Offline);
    assert_eq!(harness.link(), Link::Offline);
    harness.at(0, ping());
    assert_eq!(
        harness.link(),
        Link::Open,
        "a server on this machine needs no network"
    );
    harness.at(0, Input::Offline);
    assert!(opens(&harness.at(0, BROKEN)), "tried all the same");
    assert_eq!(harness.link(), Link::Offline);
    harness.at(0, Input::Online);
    assert_eq!(harness.link(), Link::Reconnecting { attempt: 1 });
}

#[test]
fn refusals_and_faults_lead_to_a_question() {
    let mut harness = Harness::connecting();
    let refused = Input::Broken { gave_up: true };
    harness.pause_after(refused.clone());
    harness.pause_after(refused.clone());
    assert!(harness.at(0, refused.clone()).contains(&Output::Ask));
    harness.at(0, Input::Asked(Asked::Unreachable));
    assert!(matches!(harness.follow.phase, Phase::Waiting { .. }));
    harness.at(8_000, Input::Tick);
    harness.pause_after(refused.clone());
    harness.pause_after(refused.clone());
    assert!(harness.at(0, refused).contains(&Output::Ask));
    harness.at(0, Input::Asked(Asked::Over));
    assert!(harness.follow.is_done());
    assert_eq!(harness.link(), Link::Idle);

    let broken_frame = || Input::Frame {
        id: "1".into(),
        data: "{".into(),
    };
    let mut harness = Harness::open();
    harness.pause_after(broken_frame());
    harness.at(0, Input::Opened);
    harness.pause_after(broken_frame());
    harness.at(0, Input::Opened);
    assert!(harness.at(0, broken_frame()).contains(&Output::Ask));
    harness.at(0, Input::Asked(Asked::Running(40)));
    assert!(
        harness
            .at(8_000, Input::Tick)
            .contains(&Output::Open { after: 40 })
    );
}

#[test]
fn a_question_without_an_answer_does_not_end_following() {
    let mut harness = Harness::connecting();
    let refused = Input::Broken { gave_up: true };
    harness.pause_after(refused.clone());
    harness.pause_after(refused.clone());
    harness.at(0, refused);
    assert!(opens(&harness.at(15_000, Input::Tick)));
}

#[test]
fn the_servers_trouble_is_told_once_and_taken_back() {
    let mut harness = Harness::open();
    let trouble = |word: &str| Input::Frame {
        id: String::new(),
        data: format!(r#"{{"type":"ping","notice":"{word}"}}"#),
    };
    assert_eq!(
        harness.at(0, trouble("full")),
        [Output::Notice(Some("full".into()))]
    );
    assert_eq!(harness.at(0, trouble("full")), []);
    assert_eq!(harness.at(0, ping()), [Output::Notice(None)]);
}

#[test]
fn unknown_kinds_are_passed_over_and_counted_where_they_are_numbered() {
    let mut harness = Harness::open();
    let unknown = |id: &str| Input::Frame {
        id: id.into(),
        data: r#"{"type":"new"}"#.into(),
    };
    assert_eq!(harness.at(0, unknown("")), []);
    assert_eq!(
        harness.at(0, unknown("1")),
        [Output::Apply {
            seq: 1,
            event: Event::Unknown
        }]
    );
}

#[test]
fn a_snapshot_may_lead_back_and_the_end_behind_it_is_the_end() {
    let mut harness = Harness::open();
    harness.follow.cursor = 40;
    let answer = serde_json::json!({ "seq": 12, "rewound": true });
    let data = serde_json::to_string(&Event::Snapshot { seq: 12, answer }).unwrap();
    let id = "12".to_owned();
    let out = harness.at(0, Input::Frame { id, data });
    assert!(matches!(out[..], [Output::Apply { seq: 12, .. }]));
    let (applied, cursor) = (Applied::New, 12);
    harness.at(0, Input::Folded { applied, cursor });
    // Where the connection breaks here, the next one begins behind the snapshot.
    let out = harness.at(0, Input::Broken { gave_up: false });
    assert!(out.contains(&Output::Open { after: 12 }));
}
