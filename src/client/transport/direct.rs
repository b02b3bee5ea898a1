//! Streams that this tab opens itself, each by the way that is best now.

use super::{Hear, Open, Transport, poll::Polls, socket::Sockets, stream::Streams};
use crate::{
    api, browser,
    client::{
        choice::{Choice, FIRST_FRAME_MS, MOST_STREAMS, TRANSPORT, Trial, Verdict, Way},
        follow::Input,
        relay::Wanted,
    },
};
use gloo_net::http::Request;
use gloo_timers::callback::Timeout;
use headwater_protocol::UnixMs;
use std::{
    cell::Cell,
    rc::{Rc, Weak},
};

/// Where the browser keeps what is known of the ways to the server, for all tabs.
const WAYS: &str = "ways";

thread_local! {
    /// The same in this tab, where the browser keeps nothing.
    static CHOICE: Cell<Choice> = Cell::default();
    /// How many event streams are open.
    static STREAMS: Cell<usize> = const { Cell::new(0) };
}

/// A stream, with what belongs to its way.
struct Direct {
    _stream: Open,
    _timer: Option<Timeout>,
    way: Way,
}

impl Drop for Direct {
    fn drop(&mut self) {
        if self.way == Way::Stream {
            STREAMS.set(STREAMS.get() - 1);
        }
    }
}

/// A stream that is watched up to its first frame.
struct Tried {
    way: Way,
    wanted: Wanted,
    hear: Hear,
    trial: Cell<Trial>,
}

/// Opens a stream. `leads` is whether this tab opens those of all. `None` where the browser refuses it outright.
pub(super) fn open(wanted: &Wanted, hear: Hear, leads: bool) -> Option<Open> {
    let way = way(leads);
    let (stream, timer) = match way {
        // There is no other way behind the last.
        Way::Poll => (Polls.open(wanted, hear)?, None),
        Way::Stream => tried(way, &Streams, wanted, hear)?,
        Way::Socket => tried(way, &Sockets, wanted, hear)?,
    };
    if way == Way::Stream {
        STREAMS.set(STREAMS.get() + 1);
    }
    Some(Box::new(Direct {
        _stream: stream,
        _timer: timer,
        way,
    }))
}

/// The way that a setting chooses, or the best one.
fn way(leads: bool) -> Way {
    let set = browser::load(TRANSPORT).and_then(|word| Way::of(&word));
    let best = || {
        // A tab that does not lead cannot know how many streams the others have.
        let others = if leads { 0 } else { MOST_STREAMS };
        let shared = browser::shares_connection();
        known().pick(browser::now(), others + STREAMS.get(), shared)
    };
    set.unwrap_or_else(best)
}

fn known() -> Choice {
    browser::load(WAYS).map_or_else(|| CHOICE.get(), |text| Choice::decode(&text))
}

fn tried(
    way: Way,
    transport: &dyn Transport,
    wanted: &Wanted,
    hear: Hear,
) -> Option<(Open, Option<Timeout>)> {
    let tried = Rc::new(Tried {
        way,
        wanted: *wanted,
        hear,
        trial: Cell::default(),
    });
    let listening = tried.clone();
    let stream = transport.open(wanted, Rc::new(move |input| listening.heard(input)))?;
    let timer = Timeout::new(FIRST_FRAME_MS, move || {
        let verdict = tried.judge(Trial::rang);
        tried.act(verdict, false);
    });
    Some((stream, Some(timer)))
}

impl Tried {
    fn judge(&self, by: impl FnOnce(&mut Trial) -> Verdict) -> Verdict {
        let mut trial = self.trial.get();
        let verdict = by(&mut trial);
        self.trial.set(trial);
        verdict
    }

    fn heard(self: &Rc<Self>, input: Input) {
        let broken = matches!(input, Input::Broken { .. });
        let verdict = self.judge(|trial| trial.heard(&input));
        self.act(verdict, broken);
        (self.hear)(input);
    }

    fn act(self: &Rc<Self>, verdict: Verdict, broken: bool) {
        match verdict {
            Verdict::None => {}
            Verdict::Worked => self.note(|choice, way, _| choice.worked(way)),
            Verdict::Silent => {
                self.note(Choice::silent);
                (self.hear)(Input::Broken { gave_up: false });
            }
            Verdict::Doubtful => {
                // One that waits may be closed meanwhile, and then nothing is known of it.
                let kept = broken.then(|| self.clone());
                browser::spawn(look_into(self.wanted, Rc::downgrade(self), kept));
            }
        }
    }

    fn note(&self, what: fn(&mut Choice, Way, UnixMs)) {
        let before = known();
        let mut choice = before;
        what(&mut choice, self.way, browser::now());
        if choice != before {
            CHOICE.set(choice);
            browser::save(WAYS, &choice.encode());
        }
    }
}

/// Finds out by a plain request whether the server gives what the stream did not. A run that is gone, or a server
/// that is, is no fault of the way.
async fn look_into(wanted: Wanted, waiting: Weak<Tried>, broken: Option<Rc<Tried>>) {
    let address = api::run_poll_url(wanted.run, wanted.after, wanted.format, 1);
    let answer = Request::get(&address).send().await;
    if !answer.is_ok_and(|response| response.ok()) {
        return;
    }
    if let Some(broken) = broken {
        broken.note(Choice::refused);
    } else if let Some(waiting) = waiting.upgrade() {
        waiting.act(waiting.judge(Trial::answered), false);
    }
}
