//! Which way a stream takes: a decision without a clock, a socket or a browser.
//!
//! An event stream is first, because every proxy that knows HTTP knows it. Some collect it until its end, or
//! refuse it; then it is a WebSocket, and where that is not let through, long polls. A way that failed is tried
//! again after a while, when a stream is opened anyway.

use super::follow::Input;
use headwater_protocol::UnixMs;

/// A way in which the events of a run can come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// Server-sent events.
    Stream,
    /// A WebSocket, which all streams share.
    Socket,
    /// One request after the other.
    Poll,
}

impl Way {
    const ALL: [Self; 3] = [Self::Stream, Self::Socket, Self::Poll];

    /// The setting that chooses it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Stream => "sse",
            Self::Socket => "websocket",
            Self::Poll => "poll",
        }
    }

    /// The way that a setting chooses. `None` for any other word: the best one is taken.
    pub fn of(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|way| way.word() == word)
    }
}

/// Where a browser keeps the way that somebody chose for it.
pub const TRANSPORT: &str = "transport";

/// How many event streams a browser has open over HTTP/1.1 before further ones share a WebSocket: browsers
/// allow six connections to a host, and commands need some of them.
pub const MOST_STREAMS: usize = 2;

/// How many event streams leave no connection for more: further ones are polled where there is no WebSocket, so
/// that pages and commands still reach the server.
const FULL_STREAMS: usize = 4;

/// After how many failures without a success a way is left alone. One may be chance.
const STRIKES: u32 = 2;

/// For how many milliseconds a way that failed is left alone; it doubles each time.
const FIRST_PAUSE_MS: u64 = 60_000;

/// The longest such pause, in milliseconds.
const LAST_PAUSE_MS: u64 = 600_000;

/// What is known of the ways from this browser to the server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Choice {
    records: [Record; 3],
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Record {
    strikes: u32,
    pause: u64,
    blocked_until: UnixMs,
}

impl Choice {
    /// The way for the next stream. `streams` is how many event streams are open; `shared` is whether they share
    /// a connection, as over HTTP/2.
    pub fn pick(&self, now: UnixMs, streams: usize, shared: bool) -> Way {
        let order = match streams {
            _ if shared => Way::ALL,
            FULL_STREAMS.. => [Way::Socket, Way::Poll, Way::Stream],
            MOST_STREAMS.. => [Way::Socket, Way::Stream, Way::Poll],
            _ => Way::ALL,
        };
        let open = |way: &Way| {
            let until = self.records[*way as usize].blocked_until;
            // A clock that was set back must not leave it alone for years.
            until <= now || until > now.saturating_add(LAST_PAUSE_MS)
        };
        let first = order.into_iter().find(open);
        first.unwrap_or_else(|| {
            let until = |way: &Way| self.records[*way as usize].blocked_until;
            order.into_iter().min_by_key(until).unwrap_or(Way::Poll)
        })
    }

    /// What is known, as text that the browser can keep.
    pub fn encode(&self) -> String {
        let mut text = String::new();
        for record in &self.records {
            for number in [record.strikes.into(), record.pause, record.blocked_until] {
                text.push_str(&number.to_string());
                text.push(' ');
            }
        }
        text
    }

    /// Reads the output of [`Choice::encode`]. What cannot be read is as good as nothing.
    pub fn decode(text: &str) -> Self {
        let mut numbers = text.split(' ').map(|number| number.parse().unwrap_or(0));
        let mut next = || numbers.next().unwrap_or(0);
        let records = [(); 3].map(|()| Record {
            strikes: u32::try_from(next()).unwrap_or(0).min(STRIKES),
            pause: next(),
            blocked_until: next(),
        });
        Self { records }
    }

    /// A frame came this way.
    pub fn worked(&mut self, way: Way) {
        self.records[way as usize] = Record::default();
    }

    /// The way was refused although the server is there.
    pub fn refused(&mut self, way: Way, now: UnixMs) {
        let record = &mut self.records[way as usize];
        record.strikes += 1;
        if record.strikes >= STRIKES {
            record.strikes = 0;
            record.pause = record.pause.saturating_mul(2);
            record.pause = record.pause.clamp(FIRST_PAUSE_MS, LAST_PAUSE_MS);
            record.blocked_until = now + record.pause;
        }
    }

    /// The way was opened, and the frame that the server always sends first did not come: something collects it.
    pub fn silent(&mut self, way: Way, now: UnixMs) {
        self.records[way as usize].strikes = STRIKES;
        self.refused(way, now);
    }
}

/// After how many milliseconds without its first frame a stream is looked into. The server sends that frame at
/// once.
pub const FIRST_FRAME_MS: u32 = 5_000;

/// What is known of a stream up to its first frame.
#[derive(Clone, Copy, Debug, Default)]
pub struct Trial {
    opened: bool,
    over: bool,
}

/// What the first seconds of a stream say of its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing yet, or nothing more.
    None,
    /// It works: see [`Choice::worked`].
    Worked,
    /// Something holds its frames back: see [`Choice::silent`].
    Silent,
    /// It failed; whether the way did, or the server or the network, a plain request tells: see
    /// [`Trial::answered`].
    Doubtful,
}

impl Trial {
    /// Something came.
    pub fn heard(&mut self, input: &Input) -> Verdict {
        match input {
            _ if self.over => Verdict::None,
            Input::Frame { .. } => self.end(Verdict::Worked),
            Input::Broken { .. } => self.end(Verdict::Doubtful),
            _ => {
                self.opened = true;
                Verdict::None
            }
        }
    }

    /// [`FIRST_FRAME_MS`] have passed.
    pub fn rang(&mut self) -> Verdict {
        match (self.over, self.opened) {
            (true, _) => Verdict::None,
            (false, true) => self.end(Verdict::Silent),
            // Some proxies keep even the head of an answer, and some networks are slow.
            (false, false) => Verdict::Doubtful,
        }
    }

    /// A plain request for the same entries was answered, while this stream still waits.
    pub fn answered(&mut self) -> Verdict {
        match self.over {
            true => Verdict::None,
            false => self.end(Verdict::Silent),
        }
    }

    fn end(&mut self, verdict: Verdict) -> Verdict {
        self.over = true;
        verdict
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame() -> Input {
        Input::Frame {
            id: String::new(),
            data: String::new(),
        }
    }

    #[test]
    fn a_stream_whose_first_frame_comes_works() {
        for inputs in [vec![frame()], vec![Input::Opened, frame()]] {
            let mut trial = Trial::default();
            let verdicts: Vec<_> = inputs.iter().map(|input| trial.heard(input)).collect();
            assert_eq!(verdicts.last(), Some(&Verdict::Worked));
            // One verdict is enough.
            for input in [frame(), Input::Broken { gave_up: false }] {
                assert_eq!(trial.heard(&input), Verdict::None);
            }
            assert_eq!(trial.rang(), Verdict::None);
            assert_eq!(trial.answered(), Verdict::None);
        }
    }

    #[test]
    fn a_stream_that_is_open_without_a_frame_is_held_back() {
        let mut trial = Trial::default();
        assert_eq!(trial.heard(&Input::Opened), Verdict::None);
        assert_eq!(trial.rang(), Verdict::Silent);
        assert_eq!(trial.heard(&frame()), Verdict::None);
    }

    #[test]
    fn a_stream_without_a_head_is_held_back_if_the_server_answers_otherwise() {
        let mut trial = Trial::default();
        assert_eq!(trial.rang(), Verdict::Doubtful);
        assert_eq!(trial.answered(), Verdict::Silent);
        // It came while the server was asked: the network is slow.
        let mut trial = Trial::default();
        assert_eq!(trial.rang(), Verdict::Doubtful);
        assert_eq!(trial.heard(&frame()), Verdict::Worked);
        assert_eq!(trial.answered(), Verdict::None);
    }

    #[test]
    fn a_stream_that_breaks_before_its_first_frame_is_doubtful_once() {
        let mut trial = Trial::default();
        let broken = Input::Broken { gave_up: true };
        assert_eq!(trial.heard(&broken), Verdict::Doubtful);
        assert_eq!(trial.heard(&broken), Verdict::None);
        assert_eq!(trial.rang(), Verdict::None);
    }

    #[test]
    fn words_are_those_of_the_setting() {
        for way in Way::ALL {
            assert_eq!(Way::of(way.word()), Some(way));
        }
        for word in ["", "auto", "SSE"] {
            assert_eq!(Way::of(word), None);
        }
    }

    #[test]
    fn many_streams_share_a_socket_unless_they_share_a_connection_anyway() {
        let choice = Choice::default();
        assert_eq!(choice.pick(0, 0, false), Way::Stream);
        assert_eq!(choice.pick(0, MOST_STREAMS - 1, false), Way::Stream);
        assert_eq!(choice.pick(0, MOST_STREAMS, false), Way::Socket);
        assert_eq!(choice.pick(0, 100, true), Way::Stream);
    }

    #[test]
    fn what_is_collected_is_left_at_once_and_tried_again_later() {
        let mut choice = Choice::default();
        choice.silent(Way::Stream, 1_000);
        assert_eq!(choice.pick(1_000, 0, false), Way::Socket);
        assert_eq!(choice.pick(60_999, 0, false), Way::Socket);
        assert_eq!(choice.pick(61_000, 0, false), Way::Stream);
        // Each time it is left alone for longer, up to ten minutes.
        let mut now = 61_000;
        for pause in [120_000, 240_000, 480_000, 600_000, 600_000] {
            choice.silent(Way::Stream, now);
            assert_eq!(choice.pick(now + pause - 1, 0, false), Way::Socket);
            now += pause;
            assert_eq!(choice.pick(now, 0, false), Way::Stream);
        }
        choice.worked(Way::Stream);
        choice.silent(Way::Stream, now);
        assert_eq!(choice.pick(now + FIRST_PAUSE_MS, 0, false), Way::Stream);
    }

    #[test]
    fn what_is_known_outlives_a_reload() {
        let mut choice = Choice::default();
        assert_eq!(Choice::decode(&choice.encode()), choice);
        choice.silent(Way::Stream, 1_700_000_000_000);
        choice.refused(Way::Socket, 5);
        assert_eq!(Choice::decode(&choice.encode()), choice);
        for text in [
            "",
            "x",
            "1 2",
            "-1 0 99999999999999999999999",
            "4294967296 1 1 1",
        ] {
            let choice = Choice::decode(text);
            assert_eq!(choice.pick(10, 0, false), Way::Stream, "{text}");
        }
        let mut wild = Choice::decode(&["18446744073709551615"; 9].join(" "));
        assert_eq!(
            wild.pick(10, 0, false),
            Way::Stream,
            "the clock was set back"
        );
        wild.refused(Way::Stream, 10);
        assert_eq!(wild.pick(10 + LAST_PAUSE_MS, 0, false), Way::Stream);
    }

    #[test]
    fn a_single_refusal_is_chance_and_the_last_resort_is_a_poll() {
        let mut choice = Choice::default();
        choice.silent(Way::Stream, 0);
        choice.refused(Way::Socket, 0);
        assert_eq!(choice.pick(0, 0, false), Way::Socket);
        choice.worked(Way::Socket);
        choice.refused(Way::Socket, 0);
        choice.refused(Way::Socket, 0);
        assert_eq!(choice.pick(0, 0, false), Way::Poll);
        assert_eq!(choice.pick(0, 9, false), Way::Poll);
    }

    #[test]
    fn event_streams_leave_connections_for_commands() {
        let mut choice = Choice::default();
        choice.silent(Way::Socket, 0);
        assert_eq!(choice.pick(0, FULL_STREAMS - 1, false), Way::Stream);
        assert_eq!(choice.pick(0, FULL_STREAMS, false), Way::Poll);
        assert_eq!(choice.pick(0, FULL_STREAMS, true), Way::Stream);
    }

    #[test]
    fn when_nothing_works_the_way_that_was_left_first_is_next() {
        let mut choice = Choice::default();
        for (at, way) in [(0, Way::Stream), (10, Way::Socket), (20, Way::Poll)] {
            choice.silent(way, at);
        }
        assert_eq!(choice.pick(20, 0, false), Way::Stream);
    }
}
