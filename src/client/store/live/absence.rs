//! How much of an answer came while nobody could see it.

use super::{
    driver::{Inbox, Item},
    follower::AWAY_MS,
};
use gloo_timers::callback::Timeout;
use headwater_protocol::UnixMs;

/// What was missed has come this many milliseconds after the reader is back.
const SETTLE_MS: u32 = 400;

/// Whether the reader is away: the page is in the background, or its connection is broken.
#[derive(Default)]
pub(super) struct Absence {
    current: Option<Away>,
    settle: Option<Timeout>,
}

struct Away {
    since: UnixMs,
    /// Words that were shown then.
    words: u64,
    /// When the reader came back.
    until: Option<UnixMs>,
}

impl Absence {
    /// The reader is away, with so many words on the screen.
    pub(super) fn begin(&mut self, now: UnixMs, words: u64) {
        self.settle = None;
        let away = self.current.get_or_insert(Away {
            since: now,
            words,
            until: None,
        });
        away.until = None;
    }

    /// The reader is here. After an absence [`Item::Settled`] follows.
    pub(super) fn end(&mut self, now: UnixMs, inbox: &Inbox) {
        if let Some(away) = self.current.as_mut().filter(|away| away.until.is_none()) {
            away.until = Some(now);
            let inbox = inbox.clone();
            self.settle = Some(Timeout::new(SETTLE_MS, move || inbox.put(Item::Settled)));
        }
    }

    /// How many words came during an absence that is over and was long, said once. `words` are on
    /// the screen now.
    pub(super) fn missed(&mut self, words: u64) -> Option<u64> {
        let away = self.current.take_if(|away| away.until.is_some())?;
        let missed = words.saturating_sub(away.words);
        let long = away.until?.saturating_sub(away.since) > AWAY_MS;
        (long && missed > 0).then_some(missed)
    }
}
