//! Streams that this tab opens itself, each by the way that is best now.

use super::{Hear, Open, Transport, poll::Polls, socket::Sockets, stream::Streams};
use crate::{
    base, browser,
    client::{
        choice::{Choice, TRANSPORT, Way},
        follow::Input,
        relay::Wanted,
    },
};
use gloo_net::http::Request;
use gloo_timers::callback::Timeout;
use std::{
    cell::{Cell, RefCell},
    rc::Rc,
};

/// After how many milliseconds without the first frame a way is taken for one that collects. The server sends
/// that frame at once.
const FIRST_FRAME_MS: u32 = 5_000;

thread_local! {
    /// What is known of the ways to the server.
    static CHOICE: RefCell<Choice> = RefCell::default();
    /// How many event streams are open.
    static STREAMS: Cell<usize> = const { Cell::new(0) };
}

/// A stream, with what belongs to its way.
struct Direct {
    _stream: Open,
    _first_frame: Rc<FirstFrame>,
    way: Way,
}

impl Drop for Direct {
    fn drop(&mut self) {
        if self.way == Way::Stream {
            STREAMS.set(STREAMS.get() - 1);
        }
    }
}

/// The wait for the first frame of a stream.
struct FirstFrame {
    way: Way,
    hear: Hear,
    came: Cell<bool>,
    timer: RefCell<Option<Timeout>>,
}

/// Opens a stream. `None` where the browser refuses it outright.
pub(super) fn open(wanted: &Wanted, hear: Hear) -> Option<Open> {
    let way = way();
    let first_frame = Rc::new(FirstFrame {
        way,
        hear,
        came: Cell::new(false),
        timer: RefCell::default(),
    });
    let listening = first_frame.clone();
    let hear: Hear = Rc::new(move |input| listening.hear(input));
    let stream = match way {
        Way::Stream => Streams.open(wanted, hear),
        Way::Socket => Sockets.open(wanted, hear),
        Way::Poll => Polls.open(wanted, hear),
    }?;
    if way == Way::Stream {
        STREAMS.set(STREAMS.get() + 1);
    }
    Some(Box::new(Direct {
        _stream: stream,
        _first_frame: first_frame,
        way,
    }))
}

/// The way that a setting chooses, or the best one.
fn way() -> Way {
    let set = browser::load(TRANSPORT).and_then(|word| Way::of(&word));
    let best = || {
        let shared = browser::shares_connection();
        CHOICE.with_borrow(|choice| choice.pick(browser::now(), STREAMS.get(), shared))
    };
    set.unwrap_or_else(best)
}

impl FirstFrame {
    fn hear(self: &Rc<Self>, input: Input) {
        match &input {
            Input::Opened => {
                let waiting = Rc::downgrade(self);
                let timer = Timeout::new(FIRST_FRAME_MS, move || {
                    if let Some(waiting) = waiting.upgrade().filter(|one| !one.came.get()) {
                        CHOICE.with_borrow_mut(|choice| choice.silent(waiting.way, browser::now()));
                        (waiting.hear)(Input::Broken { gave_up: false });
                    }
                });
                self.timer.replace(Some(timer));
            }
            Input::Frame { .. } if !self.came.replace(true) => {
                self.timer.take();
                CHOICE.with_borrow_mut(|choice| choice.worked(self.way));
            }
            Input::Broken { .. } if !self.came.get() => {
                self.timer.take();
                browser::spawn(was_it_the_way(self.way));
            }
            _ => {}
        }
        (self.hear)(input);
    }
}

/// Finds out whether the server is there, although a stream to it could not be opened.
async fn was_it_the_way(way: Way) {
    let there = Request::get(&base::address("/health")).send().await;
    if there.is_ok_and(|response| response.ok()) {
        CHOICE.with_borrow_mut(|choice| choice.refused(way, browser::now()));
    }
}
