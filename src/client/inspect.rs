//! The run that the inspector shows, as signals.

#[cfg(feature = "hydrate")]
mod live;
mod record;
mod replay;

pub use record::{Bar, Record, Row, Wanted, span_word};

use super::follow::Link;
use headwater_protocol::{Error, RunId, Seq};
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
    /// The state of the stream.
    pub link: RwSignal<Link>,
    /// Why the run cannot be shown.
    pub problem: RwSignal<Option<Error>>,
    record: StoredValue<Record>,
    replay: StoredValue<Replay>,
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
            link: RwSignal::new(Link::Idle),
            problem: RwSignal::new(None),
            record: StoredValue::new(Record::default()),
            replay: StoredValue::new(Replay::default()),
        };
        Effect::new(move |_| {
            inspected.wanted.with(|wanted| {
                let wanted = wanted.clone();
                inspected.record.update_value(|record| record.want(wanted));
            });
            inspected.changed();
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

    /// The text that a reader had seen at the moment, and whether it begins anew, which it does when time goes
    /// back. The work is done in parts: `false` at the end means that more is to come at the next call.
    pub fn replayed<T: Default>(self, show: impl FnOnce(&str, bool) -> T) -> (T, bool) {
        let until = self.moment.get_untracked();
        let replayed = self.record.try_with_value(|record| {
            let until = until.unwrap_or(record.len()).min(record.len());
            self.replay.try_update_value(|replay| {
                let anew = replay.step(record, until);
                let shown = show(replay.text(), anew);
                (shown, replay.seq() == until)
            })
        });
        replayed.flatten().unwrap_or((T::default(), true))
    }

    /// The time of the moment, in milliseconds since the run was accepted.
    pub fn time(self) -> u64 {
        let moment = self.moment.get();
        self.with(|record| match moment.and_then(|seq| record.row(seq)) {
            Some(row) => row.at,
            None => record.duration(),
        })
    }

    fn changed(self) {
        self.version.try_update(|version| *version += 1);
    }
}
