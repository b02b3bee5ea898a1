//! Which way a stream takes: a decision without a clock, a socket or a browser.
//!
//! An event stream is first, because every proxy that knows HTTP knows it. Some collect it until its end, or
//! refuse it; then it is a WebSocket, and where that is not let through, long polls. A way that failed is tried
//! again after a while, when a stream is opened anyway.

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

/// After how many failures without a success a way is left alone. One may be chance.
const STRIKES: u32 = 2;

/// For how many milliseconds a way that failed is left alone; it doubles each time.
const FIRST_PAUSE_MS: u64 = 60_000;

/// The longest such pause, in milliseconds.
const LAST_PAUSE_MS: u64 = 600_000;

/// What is known of the ways from this browser to the server.
#[derive(Clone, Debug, Default)]
pub struct Choice {
    records: [Record; 3],
}

#[derive(Clone, Copy, Debug, Default)]
struct Record {
    strikes: u32,
    pause: u64,
    blocked_until: UnixMs,
}

impl Choice {
    /// The way for the next stream. `streams` is how many event streams are open; `shared` is whether they share
    /// a connection, as over HTTP/2.
    pub fn pick(&self, now: UnixMs, streams: usize, shared: bool) -> Way {
        let order = match !shared && streams >= MOST_STREAMS {
            true => [Way::Socket, Way::Stream, Way::Poll],
            false => Way::ALL,
        };
        let open = |way: &Way| self.records[*way as usize].blocked_until <= now;
        let first = order.into_iter().find(open);
        first.unwrap_or_else(|| {
            let until = |way: &Way| self.records[*way as usize].blocked_until;
            order.into_iter().min_by_key(until).unwrap_or(Way::Poll)
        })
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
            record.pause = (record.pause * 2).clamp(FIRST_PAUSE_MS, LAST_PAUSE_MS);
            record.blocked_until = now + record.pause;
        }
    }

    /// The way was opened, and the frame that the server always sends first did not come: something collects it.
    pub fn silent(&mut self, way: Way, now: UnixMs) {
        self.records[way as usize].strikes = STRIKES;
        self.refused(way, now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
    fn when_nothing_works_the_way_that_was_left_first_is_next() {
        let mut choice = Choice::default();
        for (at, way) in [(0, Way::Stream), (10, Way::Socket), (20, Way::Poll)] {
            choice.silent(way, at);
        }
        assert_eq!(choice.pick(20, 0, false), Way::Stream);
    }
}
