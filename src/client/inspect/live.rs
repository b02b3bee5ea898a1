//! The task that follows an inspected run. It takes a part of what has come at a time, so that the page stays
//! responsive while thousands of entries arrive.

use super::{Inspected, Record};
use crate::{
    api::{self, ApiError},
    browser,
    client::{
        connection::{Connection, Hear},
        follow::{Asked, Follow, Input, Link, Output},
    },
};
use futures_channel::mpsc::{UnboundedReceiver, UnboundedSender, unbounded};
use headwater_protocol::{ErrorCode, Event, Seq, chat::Applied, socket::Format};
use leptos::prelude::*;
use serde::Deserialize;
use serde_json::value::RawValue;
use std::rc::Rc;

/// For how long entries are taken before the page may draw, in milliseconds: half of a frame at 60 Hz.
const SLICE_MS: u64 = 8;

/// The pause between two parts, in milliseconds.
const PAUSE_MS: u32 = 8;

/// What the task is told: the number of a connection, and what came.
type Item = (Option<u32>, Input);

/// An entry on the wire.
#[derive(Deserialize)]
struct Entry<'a> {
    at: u64,
    #[serde(borrow)]
    event: &'a RawValue,
}

/// Follows the run until its end, or until the owner is gone.
pub(super) fn follow(inspected: Inspected) {
    let (inbox, items) = unbounded();
    let woken = inbox.clone();
    let listener = browser::on_visible(move || {
        let _ = woken.unbounded_send((None, Input::Woke));
    });
    let closed = inbox.clone();
    let listener = StoredValue::new_local(Some(listener));
    on_cleanup(move || {
        listener.try_update_value(Option::take);
        closed.close_channel();
    });
    browser::spawn(drive(inspected, inbox, items));
}

async fn drive(
    inspected: Inspected,
    inbox: UnboundedSender<Item>,
    mut items: UnboundedReceiver<Item>,
) {
    let mut driver = Driver::new(inspected, inbox.clone());
    driver.step(Input::Start);
    while let Ok(item) = items.recv().await {
        let begun = browser::now();
        driver.take(item);
        let mut caught_up = false;
        while !caught_up && browser::now().saturating_sub(begun) < SLICE_MS {
            match items.try_recv() {
                Ok(item) => driver.take(item),
                Err(_) => caught_up = true,
            }
        }
        if inbox.is_closed() {
            return;
        }
        inspected.changed();
        driver.look_live(caught_up);
        if driver.machine.is_done() {
            return;
        }
        browser::sleep(PAUSE_MS).await;
    }
}

struct Driver {
    inspected: Inspected,
    inbox: UnboundedSender<Item>,
    machine: Follow,
    connection: Connection,
}

impl Driver {
    fn new(inspected: Inspected, inbox: UnboundedSender<Item>) -> Self {
        let (high, low) = browser::random_id().as_u64_pair();
        let hearing = inbox.clone();
        let hear: Hear = Rc::new(move |number, input| {
            let _ = hearing.unbounded_send((number, input));
        });
        Self {
            inspected,
            inbox,
            machine: Follow::new(inspected.untracked(|record| record.len()), high ^ low),
            connection: Connection::new(inspected.run, Format::Entries, hear),
        }
    }

    fn take(&mut self, (number, input): Item) {
        if number.is_none_or(|number| self.connection.is_newest(number)) {
            self.step(input);
        }
    }

    /// Runs the state machine with an input, and then with the inputs that result from it.
    fn step(&mut self, input: Input) {
        // The machine reads events; the entry around one is opened here.
        let (input, at, json) = match input {
            Input::Frame { id, data } => match serde_json::from_str::<Entry>(&data) {
                Ok(Entry { at, event }) => {
                    let json = event.get().to_owned();
                    let data = json.clone();
                    (Input::Frame { id, data }, at, json)
                }
                Err(_) => (Input::Frame { id, data }, 0, String::new()),
            },
            input => (input, 0, String::new()),
        };
        let mut next = Some(input);
        while let Some(input) = next.take() {
            let mut outputs = Vec::new();
            self.machine
                .step(self.connection.now(), input, &mut outputs);
            for output in outputs {
                match output {
                    Output::Open { after } => self.connection.open(after),
                    Output::Close => self.connection.close(),
                    Output::Wait { until } => self.connection.wait(until),
                    Output::Apply { seq, event } => {
                        next = Some(self.apply(seq, at, &json, &event));
                    }
                    Output::Ask => self.ask(),
                    Output::LinkChanged(link) => drop(self.inspected.link.try_set(link)),
                    Output::Notice(_) => {}
                }
            }
        }
    }

    /// Notes whether what comes from here on is new.
    fn look_live(&self, caught_up: bool) {
        let goes_on = self
            .inspected
            .untracked(|record| !record.is_empty() && record.status().is_none());
        let is_live = goes_on && (caught_up || self.inspected.is_live.get_untracked());
        if is_live != self.inspected.is_live.get_untracked() {
            self.inspected.is_live.set(is_live);
        }
    }

    fn apply(&self, seq: Seq, at: u64, json: &str, event: &Event) -> Input {
        self.inspected.heard.set_value(browser::now());
        let push = |record: &mut Record| Some((record.push(seq, at, json, event), record.len()));
        let (applied, cursor) = self
            .inspected
            .untracked(push)
            .unwrap_or((Applied::Known, 0));
        Input::Folded { applied, cursor }
    }

    /// Asks the server whether there is such a run, by a separate request.
    fn ask(&self) {
        let (inspected, inbox) = (self.inspected, self.inbox.clone());
        browser::spawn(async move {
            let asked = match api::find_run(inspected.run).await {
                Ok(_) => Asked::Running(0),
                Err(ApiError(error)) if error.code == ErrorCode::NotFound => {
                    inspected.problem.try_set(Some(error));
                    inspected.link.try_set(Link::Idle);
                    Asked::Over
                }
                Err(_) => Asked::Unreachable,
            };
            let _ = inbox.unbounded_send((None, Input::Asked(asked)));
        });
    }
}
