//! Measures how much of an answer arrived while the reader was away.

use super::{
    driver::{Inbox, Item},
    follower::AWAY_MS,
};
use gloo_timers::callback::Timeout;
use headwater_protocol::UnixMs;

/// Milliseconds after the reader's return by which the missed text has arrived.
const SETTLE_MS: u32 = 400;

/// Whether the reader is away: the page is in the background, or its connection is broken.
#[derive(Default)]
pub(super) struct Absence {
    current: Option<Away>,
    settle: Option<Timeout>,
}

struct Away {
    since: UnixMs,
    /// The number of words on the screen when the absence began.
    words: u64,
    /// When the reader came back.
    until: Option<UnixMs>,
}

impl Absence {
    /// Begins an absence with this many words on the screen.
    pub(super) fn begin(&mut self, now: UnixMs, words: u64) {
        self.settle = None;
        let away = self.current.get_or_insert(Away {
            since: now,
            words,
            until: None,
        });
        away.until = None;
    }

    /// Ends the absence. [`Item::Settled`] follows if there was one.
    pub(super) fn end(&mut self, now: UnixMs, inbox: &Inbox) {
        if let Some(away) = self.current.as_mut().filter(|away| away.until.is_none()) {
            away.until = Some(now);
            let inbox = inbox.clone();
            self.settle = Some(Timeout::new(SETTLE_MS, move || inbox.put(Item::Settled)));
        }
    }

    /// The number of words that arrived during an absence that is over and was long. Returned once.
    /// `words` are on the screen now.
    pub(super) fn missed(&mut self, words: u64) -> Option<u64> {
        let away = self.current.take_if(|away| away.until.is_some())?;
        let missed = words.saturating_sub(away.words);
        let long = away.until?.saturating_sub(away.since) > AWAY_MS;
        (long && missed > 0).then_some(missed)
    }
}
