//! The run that the inspector shows, as signals.

#[cfg(feature = "hydrate")]
mod live;
mod record;
mod replay;

pub use record::{Bar, Record, Row, Wanted, span_word};

use super::follow::Link;
use headwater_protocol::{Error, RunId, Seq, UnixMs};
use leptos::prelude::*;
use replay::Replay;

/// A run that is inspected. Cheap to copy.
#[derive(Clone, Copy)]
pub struct Inspected {
    /// Its identifier.
    pub run: RunId,
    /// Incremented when the record has changed, some sixty times a second at most.
    pub version: RwSignal<u64>,
    /// The entry that is looked at, which is the moment that all parts of the page show. `None` for all that
    /// there is.
    pub moment: RwSignal<Option<Seq>>,
    /// Which entries are listed.
    pub wanted: RwSignal<Wanted>,
    /// Incremented when other entries are listed than before.
    pub listed: RwSignal<u64>,
    /// Whether all that there was has come while the run goes on: what comes now is new.
    pub is_live: RwSignal<bool>,
    /// The time of the clock on the wall, as far as the page needs it; 0 on the server.
    pub now: RwSignal<UnixMs>,
    /// The state of the stream.
    pub link: RwSignal<Link>,
    /// Why the run cannot be shown.
    pub problem: RwSignal<Option<Error>>,
    record: StoredValue<Record>,
    replay: StoredValue<Replay>,
    /// When the last entry came.
    heard: StoredValue<UnixMs>,
}

impl Inspected {
    /// A run of which nothing is known. In the browser it is followed from its first entry, for as long as the
    /// current owner lives.
    pub fn new(run: RunId) -> Self {
        let inspected = Self {
            run,
            version: RwSignal::new(0),
            moment: RwSignal::new(None),
            wanted: RwSignal::new(Wanted::default()),
            listed: RwSignal::new(0),
            is_live: RwSignal::new(false),
            now: RwSignal::new(0),
            link: RwSignal::new(Link::Idle),
            problem: RwSignal::new(None),
            record: StoredValue::new(Record::default()),
            replay: StoredValue::new(Replay::default()),
            heard: StoredValue::new(0),
        };
        Effect::new(move |_| {
            inspected.wanted.with(|wanted| {
                let wanted = wanted.clone();
                inspected.record.update_value(|record| record.want(wanted));
            });
            inspected.listed.update(|listed| *listed += 1);
        });
        #[cfg(feature = "hydrate")]
        Effect::new(move |_| live::follow(inspected));
        inspected
    }

    /// Reads the record. Whoever reads it is told when it has changed.
    pub fn with<T: Default>(self, read: impl FnOnce(&mut Record) -> T) -> T {
        self.version.track();
        self.untracked(read)
    }

    /// Reads the record as it is.
    pub fn untracked<T: Default>(self, read: impl FnOnce(&mut Record) -> T) -> T {
        self.record.try_update_value(read).unwrap_or_default()
    }

    /// Goes towards the text that a reader had seen at the moment, and shows it: as more of the text before or,
    /// with `true`, as another one. A text that is not that of any moment on the way is not shown. The work is done
    /// in parts: `false` means that more is to come at the next call.
    pub fn replayed(self, show: impl FnOnce(&str, bool)) -> bool {
        let until = self.moment.get_untracked();
        let replayed = self.record.try_with_value(|record| {
            let until = until.unwrap_or(record.len()).min(record.len());
            self.replay.try_update_value(|replay| {
                replay.step(record, until);
                let is_done = replay.seq() == until;
                if is_done || !replay.anew {
                    let anew = std::mem::take(&mut replay.anew);
                    show(replay.text(), anew);
                }
                is_done
            })
        });
        replayed.flatten().unwrap_or(true)
    }

    /// How long the run has taken so far, in milliseconds. While nothing comes, and the stream is open, the clock
    /// goes on.
    pub fn length(self) -> u64 {
        let silent = match (self.is_live.get(), self.link.get()) {
            (true, Link::Open) => self.now.get().saturating_sub(self.heard.get_value()),
            _ => 0,
        };
        self.with(|record| record.duration() + silent)
    }

    /// The time of the moment, in milliseconds since the run was accepted.
    pub fn time(self) -> u64 {
        let moment = self.moment.get();
        let at = self.with(|record| Some(record.row(moment?)?.at));
        at.unwrap_or_else(|| self.length())
    }

    #[cfg(feature = "hydrate")]
    fn changed(self) {
        self.version.try_update(|version| *version += 1);
    }
}
