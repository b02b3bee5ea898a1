//! The stream of a run, and the time by which it must have said something.

use super::driver::{Inbox, Item};
use crate::{
    api::run_events_url,
    browser,
    client::{follow::Input, source::Source},
};
use gloo_timers::callback::Timeout;
use headwater_protocol::{RunId, Seq, UnixMs};

/// The newest connection to a run's stream. Only that one is heard.
pub(super) struct Connection {
    run: RunId,
    inbox: Inbox,
    number: u32,
    source: Option<Source>,
    deadline: Option<Timeout>,
    clock: Clock,
}

impl Connection {
    /// No connection yet. What the stream says goes to `inbox`.
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

    /// The time for [`follow`](crate::client::follow), in milliseconds; it never goes back.
    pub(super) fn now(&mut self) -> UnixMs {
        self.clock.now()
    }

    /// Whether an item of this number is from the newest connection.
    pub(super) fn is_newest(&self, number: u32) -> bool {
        number == self.number
    }

    /// Opens the stream behind an entry.
    pub(super) fn open(&mut self, after: Seq) {
        self.number += 1;
        let (number, inbox) = (self.number, self.inbox.clone());
        let hear = move |input| inbox.put(Item::Heard(number, input));
        self.source = Source::open(&run_events_url(self.run, after), hear);
        if self.source.is_none() {
            let refused = Input::Broken { gave_up: true };
            self.inbox.put(Item::Heard(number, refused));
        }
    }

    /// Closes the stream; what is still on its way from it is not heard.
    pub(super) fn close(&mut self) {
        self.number += 1;
        self.source = None;
    }

    /// Rings at this time, and no longer at an earlier one that was asked for.
    pub(super) fn wait(&mut self, until: UnixMs) {
        let inbox = self.inbox.clone();
        let ms = until.saturating_sub(self.clock.now());
        // The most that a browser's timer takes.
        let ms = i32::try_from(ms).unwrap_or(i32::MAX).unsigned_abs();
        self.deadline = Some(Timeout::new(ms, move || {
            inbox.put(Item::Input(Input::Tick));
        }));
    }
}

/// The machine's clock, but never going back. That clock counts sleep, which `performance.now()`
/// does not in every browser (<https://developer.mozilla.org/docs/Web/API/Performance/now>).
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
