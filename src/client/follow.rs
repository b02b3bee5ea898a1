//! How a run is followed: cursor, backoff and watchdog, as a state machine without a clock, a
//! socket or a browser.
//!
//! [`Follow::step`] takes what happened and says what is to be done. Whoever drives it owns the
//! connection, one timer and the fold, and tells it what the fold made of each entry. Nothing is
//! ever given up by time: as long as the run is not seen to end, the stream is opened again.

use headwater_protocol::{Event, Seq, UnixMs, chat::Applied};

/// The state of the running answer's stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Link {
    /// Nothing runs, nothing is followed.
    #[default]
    Idle,
    /// The first connection is being made.
    Connecting,
    /// Events arrive.
    Open,
    /// The connection broke. It is tried again without end.
    Reconnecting {
        /// How many times it has been tried since it broke.
        attempt: u32,
    },
    /// The browser says that there is no network.
    Offline,
}

/// A connection that was silent for this many milliseconds is dead, whatever the browser says of it.
/// The server pings every 5 s.
pub const WATCHDOG_MS: u64 = 15_000;

/// After a wake-up, a connection that was silent for this many milliseconds is opened again.
pub const STALE_MS: u64 = 7_000;

/// The first pause between two attempts, in milliseconds; it doubles with each.
const BACKOFF_FIRST_MS: u64 = 250;

/// The longest pause, in milliseconds, before jitter adds up to a quarter of it.
const BACKOFF_LAST_MS: u64 = 6_400;

/// A connection that was open for this many milliseconds resets the backoff, even if no event came.
const SETTLED_MS: u64 = 2_000;

/// After this many refusals in a row, or faults at one place, a plain request asks for the run.
const ASK_AFTER: u32 = 3;

/// What happened.
#[derive(Clone, Debug, PartialEq)]
pub enum Input {
    /// Following begins.
    Start,
    /// The connection is open.
    Opened,
    /// A frame came.
    Frame {
        /// Its `id:` line. The browser repeats the last one on frames that have none.
        id: String,
        /// Its data: an [`Event`] as JSON.
        data: String,
    },
    /// The connection broke or was refused.
    Broken {
        /// The browser would not try again by itself: the answer was not a stream at all.
        gave_up: bool,
    },
    /// The time asked for by [`Output::Wait`] has come.
    Tick,
    /// The page became visible, or came back from the browser's cache.
    Woke,
    /// The browser says that there is a network again.
    Online,
    /// The browser says that there is no network.
    Offline,
    /// What the fold made of the entry handed out last, and where it stands now.
    Folded {
        /// Whether the entry was new.
        applied: Applied,
        /// The fold's last entry.
        cursor: Seq,
    },
    /// The answer to [`Output::Ask`].
    Asked(Asked),
}

/// What a plain request found out about the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// The run goes on, and the fold has this entry now.
    Running(Seq),
    /// The run has ended or is gone, and the page shows what there is.
    Over,
    /// The server did not answer.
    Unreachable,
}

/// What to do, in the order of the outputs.
#[derive(Clone, Debug, PartialEq)]
#[expect(
    clippy::large_enum_variant,
    reason = "the large one is the one there is for every frame, and it is moved at once"
)]
pub enum Output {
    /// Open the stream behind this entry. An older connection has been closed before.
    Open {
        /// The cursor.
        after: Seq,
    },
    /// Close the stream and drop what is still on its way.
    Close,
    /// Say [`Input::Tick`] at this time, and not at an earlier one that was asked for.
    Wait {
        /// When.
        until: UnixMs,
    },
    /// Give this entry to the fold and answer with [`Input::Folded`] before anything else.
    Apply {
        /// Its place in the log.
        seq: Seq,
        /// The entry.
        event: Event,
    },
    /// Find out by a plain request whether the run is still there, then say [`Input::Asked`].
    Ask,
    /// The state of the connection changed, as far as a person is concerned.
    LinkChanged(Link),
    /// The server's trouble began, changed or ended.
    Notice(Option<String>),
}

/// The state of one reader of one run.
#[derive(Clone, Debug)]
pub struct Follow {
    phase: Phase,
    /// The fold's last entry, which is where the next connection begins.
    cursor: Seq,
    /// Attempts since the last success.
    attempt: u32,
    /// Refusals in a row, without a single connection.
    refused: u32,
    /// Unreadable frames and gaps since the cursor last moved.
    faults: u32,
    /// When the last sign of life came, or the connection was begun.
    heard: UnixMs,
    /// When the timer will ring.
    armed: Option<UnixMs>,
    /// Whether any connection was ever open.
    opened: bool,
    /// The server closed the connection in its usual course, which a person need not know.
    quiet: bool,
    /// The browser says there is no network, and nothing has proved it wrong.
    offline: bool,
    /// Whether the entry given to the fold is the last of its log.
    terminal: bool,
    /// Whether it is a snapshot, which may lead back: see [`Answer::rewound`].
    ///
    /// [`Answer::rewound`]: headwater_protocol::chat::Answer::rewound
    snapshot: bool,
    link: Link,
    notice: Option<String>,
    chance: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Idle,
    Connecting { since: UnixMs },
    Open { since: UnixMs },
    Waiting { until: UnixMs },
    Asking { since: UnixMs },
    Done,
}

impl Follow {
    /// A reader that has the first `cursor` entries. `seed` feeds the jitter.
    pub fn new(cursor: Seq, seed: u64) -> Self {
        Self {
            phase: Phase::Idle,
            cursor,
            attempt: 0,
            refused: 0,
            faults: 0,
            heard: 0,
            armed: None,
            opened: false,
            quiet: false,
            offline: false,
            terminal: false,
            snapshot: false,
            link: Link::Idle,
            notice: None,
            // Zero is the one state that the generator never leaves.
            chance: seed | 1,
        }
    }

    /// Whether the run has been read to its end.
    pub fn is_done(&self) -> bool {
        self.phase == Phase::Done
    }

    /// Takes what happened at `now` (which never goes back) and appends what is to be done.
    pub fn step(&mut self, now: UnixMs, input: Input, out: &mut Vec<Output>) {
        if self.is_done() {
            return;
        }
        match input {
            Input::Start => self.open(now, out),
            Input::Opened => self.opened(now),
            Input::Frame { id, data } => self.frame(now, &id, &data, out),
            Input::Broken { gave_up } => self.broken(now, gave_up, out),
            Input::Tick => self.tick(now, out),
            Input::Woke => self.woke(now, out),
            Input::Online => {
                self.offline = false;
                self.woke(now, out);
            }
            Input::Offline => self.offline = true,
            Input::Folded { applied, cursor } => self.folded(now, applied, cursor, out),
            Input::Asked(asked) => self.asked(now, asked, out),
        }
        self.tell_link(out);
        self.arm(now, out);
    }

    fn open(&mut self, now: UnixMs, out: &mut Vec<Output>) {
        self.phase = Phase::Connecting { since: now };
        self.heard = now;
        out.push(Output::Open { after: self.cursor });
    }

    fn opened(&mut self, now: UnixMs) {
        if let Phase::Connecting { .. } = self.phase {
            self.phase = Phase::Open { since: now };
            self.alive(now);
            self.opened = true;
            self.quiet = false;
            self.refused = 0;
        }
    }

    fn frame(&mut self, now: UnixMs, id: &str, data: &str, out: &mut Vec<Output>) {
        // Some browsers deliver the first frame before they say that the connection is open.
        self.opened(now);
        let Phase::Open { since } = self.phase else {
            return;
        };
        self.alive(now);
        if now.saturating_sub(since) >= SETTLED_MS {
            self.attempt = 0;
        }
        let Ok(event) = serde_json::from_str::<Event>(data) else {
            return self.fault(now, out);
        };
        match event {
            Event::Ping { notice } => {
                if notice != self.notice {
                    self.notice.clone_from(&notice);
                    out.push(Output::Notice(notice));
                }
            }
            Event::GoingAway { reason, retry_ms } => {
                let brief = now.saturating_sub(since) < SETTLED_MS;
                self.attempt = if brief { self.attempt + 1 } else { 0 };
                let pause = self.backoff().max(retry_ms) + self.jitter(BACKOFF_FIRST_MS);
                self.quiet = reason == "lifetime";
                out.push(Output::Close);
                self.phase = Phase::Waiting { until: now + pause };
            }
            Event::Snapshot { seq, .. } => self.hand_out(seq, event, out),
            event => match id.parse() {
                Ok(seq) => self.hand_out(seq, event, out),
                // A newer server may deliver kinds that are not in the log.
                Err(_) if event == Event::Unknown => {}
                Err(_) => self.fault(now, out),
            },
        }
    }

    fn hand_out(&mut self, seq: Seq, event: Event, out: &mut Vec<Output>) {
        self.terminal = event.is_terminal();
        self.snapshot = matches!(event, Event::Snapshot { .. });
        out.push(Output::Apply { seq, event });
    }

    fn folded(&mut self, now: UnixMs, applied: Applied, cursor: Seq, out: &mut Vec<Output>) {
        let moved = cursor > self.cursor || (self.snapshot && cursor < self.cursor);
        if moved {
            self.cursor = cursor;
            self.attempt = 0;
            self.faults = 0;
        }
        match applied {
            Applied::New | Applied::Known if self.terminal => {
                out.push(Output::Close);
                self.phase = Phase::Done;
            }
            Applied::New | Applied::Known | Applied::Delivery => {}
            Applied::Gap => self.fault(now, out),
        }
    }

    /// What came cannot be used: read it again, and if that does not help, ask by a plain request.
    fn fault(&mut self, now: UnixMs, out: &mut Vec<Output>) {
        self.faults += 1;
        self.retry(now, out);
    }

    fn broken(&mut self, now: UnixMs, gave_up: bool, out: &mut Vec<Output>) {
        match self.phase {
            Phase::Connecting { .. } if gave_up => self.refused += 1,
            Phase::Connecting { .. } | Phase::Open { .. } => {}
            _ => return,
        }
        self.retry(now, out);
    }

    fn tick(&mut self, now: UnixMs, out: &mut Vec<Output>) {
        self.armed = None;
        if now < self.deadline() {
            return;
        }
        match self.phase {
            Phase::Waiting { .. } | Phase::Asking { .. } => self.open(now, out),
            Phase::Connecting { .. } | Phase::Open { .. } => self.retry(now, out),
            Phase::Idle | Phase::Done => {}
        }
    }

    fn woke(&mut self, now: UnixMs, out: &mut Vec<Output>) {
        let worth_keeping = match self.phase {
            Phase::Open { .. } => now.saturating_sub(self.heard) <= STALE_MS,
            // Several wake-ups come together; the connection begun for the first one is enough.
            Phase::Connecting { since } => now.saturating_sub(since) <= SETTLED_MS,
            Phase::Waiting { .. } | Phase::Asking { .. } => false,
            Phase::Idle | Phase::Done => return,
        };
        if !worth_keeping {
            self.attempt = 0;
            out.push(Output::Close);
            self.open(now, out);
        }
    }

    fn asked(&mut self, now: UnixMs, asked: Asked, out: &mut Vec<Output>) {
        if let Asked::Running(cursor) = asked {
            self.cursor = self.cursor.max(cursor);
        }
        if asked == Asked::Over {
            out.push(Output::Close);
            self.phase = Phase::Done;
        } else if let Phase::Asking { .. } = self.phase {
            self.phase = Phase::Waiting {
                until: now + self.backoff(),
            };
        }
    }

    /// The connection is of no use any more; another one follows, at once if this is the first.
    fn retry(&mut self, now: UnixMs, out: &mut Vec<Output>) {
        out.push(Output::Close);
        self.quiet = false;
        self.attempt = self.attempt.saturating_add(1);
        if self.refused >= ASK_AFTER || self.faults >= ASK_AFTER {
            self.refused = 0;
            self.faults = 0;
            self.phase = Phase::Asking { since: now };
            out.push(Output::Ask);
            return;
        }
        match self.backoff() {
            0 => self.open(now, out),
            pause => self.phase = Phase::Waiting { until: now + pause },
        }
    }

    fn alive(&mut self, now: UnixMs) {
        self.heard = now;
        self.offline = false;
    }

    fn deadline(&self) -> UnixMs {
        match self.phase {
            Phase::Connecting { .. } | Phase::Open { .. } => self.heard + WATCHDOG_MS,
            Phase::Asking { since } => since + WATCHDOG_MS,
            Phase::Waiting { until } => until,
            Phase::Idle | Phase::Done => UnixMs::MAX,
        }
    }

    /// Makes the timer ring no later than it must. It may ring early: every frame moves
    /// the deadline, and one idle tick in 15 s is cheaper than a new timer for each frame.
    fn arm(&mut self, now: UnixMs, out: &mut Vec<Output>) {
        let until = self.deadline().max(now);
        if until != UnixMs::MAX && self.armed.is_none_or(|armed| until < armed) {
            self.armed = Some(until);
            out.push(Output::Wait { until });
        }
    }

    fn tell_link(&mut self, out: &mut Vec<Output>) {
        let link = match self.phase {
            Phase::Idle | Phase::Done => Link::Idle,
            _ if self.offline => Link::Offline,
            Phase::Open { .. } => Link::Open,
            _ if self.quiet => Link::Open,
            _ if !self.opened && self.attempt == 0 => Link::Connecting,
            _ => Link::Reconnecting {
                attempt: self.attempt.max(1),
            },
        };
        if link != self.link {
            self.link = link;
            out.push(Output::LinkChanged(link));
        }
    }

    /// The pause before the next attempt: none before the first, then doubling, with jitter so that
    /// the readers of a server that restarts do not all come back in the same moment.
    fn backoff(&mut self) -> u64 {
        match self.attempt {
            0 | 1 => 0,
            attempt => {
                let doubled = BACKOFF_FIRST_MS << (attempt - 2).min(8);
                let pause = doubled.min(BACKOFF_LAST_MS);
                pause + self.jitter(pause / 4)
            }
        }
    }

    /// A pseudorandom number from 0 to `most` (xorshift).
    fn jitter(&mut self, most: u64) -> u64 {
        self.chance ^= self.chance << 13;
        self.chance ^= self.chance >> 7;
        self.chance ^= self.chance << 17;
        self.chance % (most + 1)
    }
}

#[cfg(test)]
mod tests;
