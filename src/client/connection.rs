//! The stream of a run and its watchdog.

use super::{follow::Input, relay::Wanted, transport};
use crate::browser;
use gloo_timers::callback::Timeout;
use headwater_protocol::{RunId, Seq, UnixMs, socket::Format};
use std::rc::Rc;

/// What hears of a connection: its number, and what came. The timer has no number.
pub(super) type Hear = Rc<dyn Fn(Option<u32>, Input)>;

/// The newest connection to a run's stream. Input of older ones is ignored.
pub(super) struct Connection {
    run: RunId,
    format: Format,
    hear: Hear,
    number: u32,
    stream: Option<transport::Open>,
    deadline: Option<Timeout>,
    clock: Clock,
}

impl Connection {
    /// No connection yet. `hear` gets the input of the stream; it is called from within the browser's
    /// callbacks, so it should only take a note.
    pub(super) fn new(run: RunId, format: Format, hear: Hear) -> Self {
        Self {
            run,
            format,
            hear,
            number: 0,
            stream: None,
            deadline: None,
            clock: Clock::default(),
        }
    }

    /// The time for [`follow`](crate::client::follow), in milliseconds. It never goes back.
    pub(super) fn now(&mut self) -> UnixMs {
        self.clock.now()
    }

    /// Whether the connection with this number is the newest one.
    pub(super) fn is_newest(&self, number: u32) -> bool {
        number == self.number
    }

    /// Opens the stream after an entry.
    pub(super) fn open(&mut self, after: Seq) {
        self.number += 1;
        let (number, hear) = (self.number, self.hear.clone());
        let wanted = Wanted {
            run: self.run,
            after,
            format: self.format,
        };
        let hear: transport::Hear = Rc::new(move |input| hear(Some(number), input));
        self.stream = transport::open(wanted, hear);
        if self.stream.is_none() {
            (self.hear)(Some(number), Input::Broken { gave_up: true });
        }
    }

    /// Closes the stream. Input that is still on its way is ignored.
    pub(super) fn close(&mut self) {
        self.number += 1;
        self.stream = None;
    }

    /// Sets the timer to this time, in place of an earlier one.
    pub(super) fn wait(&mut self, until: UnixMs) {
        let hear = self.hear.clone();
        let ms = until.saturating_sub(self.clock.now());
        // The longest delay that browsers support.
        let ms = i32::try_from(ms).unwrap_or(i32::MAX).unsigned_abs();
        self.deadline = Some(Timeout::new(ms, move || {
            hear(None, Input::Tick);
        }));
    }
}

/// The system clock, except that it never goes back. It advances during sleep, which
/// [`performance.now()`](https://developer.mozilla.org/docs/Web/API/Performance/now) does not in
/// every browser.
#[derive(Default)]
struct Clock {
    last: UnixMs,
    ahead: u64,
}

impl Clock {
    fn now(&mut self) -> UnixMs {
        let now = browser::now() + self.ahead;
        if now < self.last {
            self.ahead += self.last - now;
        }
        self.last = self.last.max(now);
        self.last
    }
}
