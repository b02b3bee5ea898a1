//! The stream of a run and its watchdog.

use super::driver::{Inbox, Item};
use crate::{
    api::run_events_url,
    browser,
    client::{follow::Input, source::Source},
};
use gloo_timers::callback::Timeout;
use headwater_protocol::{RunId, Seq, UnixMs};

/// The newest connection to a run's stream. Input of older ones is ignored.
pub(super) struct Connection {
    run: RunId,
    inbox: Inbox,
    number: u32,
    source: Option<Source>,
    deadline: Option<Timeout>,
    clock: Clock,
}

impl Connection {
    /// No connection yet. Input of the stream goes to `inbox`.
    pub(super) fn new(run: RunId, inbox: Inbox) -> Self {
        Self {
            run,
            inbox,
            number: 0,
            source: None,
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
        let (number, inbox) = (self.number, self.inbox.clone());
        let send = move |input| inbox.put(Item::Stream(number, input));
        self.source = Source::open(&run_events_url(self.run, after), send);
        if self.source.is_none() {
            let refused = Input::Broken { gave_up: true };
            self.inbox.put(Item::Stream(number, refused));
        }
    }

    /// Closes the stream. Input that is still on its way is ignored.
    pub(super) fn close(&mut self) {
        self.number += 1;
        self.source = None;
    }

    /// Sets the timer to this time, in place of an earlier one.
    pub(super) fn wait(&mut self, until: UnixMs) {
        let inbox = self.inbox.clone();
        let ms = until.saturating_sub(self.clock.now());
        // The longest delay that browsers support.
        let ms = i32::try_from(ms).unwrap_or(i32::MAX).unsigned_abs();
        self.deadline = Some(Timeout::new(ms, move || {
            inbox.put(Item::Input(Input::Tick));
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
