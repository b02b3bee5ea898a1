//! One tab of a browser opens the streams of all.
//!
//! Browsers allow six connections to a host, so twelve tabs could not stream at once. The tab that holds the lock
//! [`LEADER`] leads: the others ask it for their streams through a channel ([`Note`]), and it opens them like its
//! own. When it closes, the browser gives the lock to the next tab, which says that it leads now; the others take
//! that for a broken connection and come back after their last entry, as they do from any other. A leader that does
//! not answer is robbed of the lock.
//!
//! Where the browser has no locks or no channels, each tab opens its own streams.

use super::{Hear, Open, direct};
use crate::{
    base,
    browser::{self, Channel, Claim, Held, Listener},
    client::{
        follow::Input,
        relay::{Note, Stream, Wanted},
    },
};
use gloo_timers::callback::Timeout;
use leptos::prelude::{document, window};
use std::{
    cell::RefCell,
    collections::{HashMap, HashSet},
    rc::Rc,
};

/// The channel of the tabs. Another server may be under another path of the same origin, so this and the next have
/// the path behind them: see [`here`].
const CHANNEL: &str = "headwater.streams";

/// The lock of the tab that leads.
const LEADER: &str = "headwater.leader";

/// What the lock of each tab begins with. The rest is its name.
const TAB: &str = "headwater.tab.";

/// How many milliseconds a leader has to take on a stream. A tab that is put to sleep or closed says so; only one
/// that hangs costs this time, and one that is merely busy should not be robbed.
const PATIENCE_MS: u32 = 3_000;

thread_local! {
    static TABS: RefCell<Option<Tabs>> = const { RefCell::new(None) };
}

/// What this tab knows of the others.
struct Tabs {
    /// The name of this tab.
    name: String,
    role: Role,
    channel: Rc<Channel>,
    /// Whether this tab waits for the lock.
    in_line: bool,
    /// The streams of this tab that it did not open itself, or not yet.
    asked: HashMap<u32, Asked>,
    last: u32,
    /// The streams of other tabs.
    served: HashMap<Stream, Open>,
    /// The tabs whose ends are waited for.
    watched: HashSet<String>,
    _listeners: Vec<Listener>,
}

enum Role {
    /// Whether somebody leads is not known yet.
    Starting,
    /// Another tab leads.
    Following,
    /// This tab leads, as long as it holds the lock.
    Leading { _lock: Held },
}

/// A stream that this tab wants.
struct Asked {
    wanted: Wanted,
    hear: Hear,
    /// Rings when the leader does not answer.
    _timer: Option<Timeout>,
    /// The stream itself, if this tab leads now.
    open: Option<Open>,
}

/// A stream that another tab opens, or that waits for its turn.
struct Relayed(u32);

impl Drop for Relayed {
    fn drop(&mut self) {
        let number = self.0;
        let asked = with(|tabs| {
            let asked = tabs.asked.remove(&number)?;
            if asked.open.is_none() {
                tabs.post(&Note::Close(tabs.stream(number)));
            }
            Some(asked)
        });
        // What it has may call back.
        drop(asked);
    }
}

/// Calls with the state. It must not be borrowed while something else is called that may come back here.
fn with<T: Default>(call: impl FnOnce(&mut Tabs) -> T) -> T {
    TABS.with_borrow_mut(|tabs| tabs.as_mut().map(call))
        .unwrap_or_default()
}

/// A name that is shared by the tabs of this server only.
fn here(name: &str) -> String {
    [name, &*base::current()].concat()
}

/// Joins the other tabs, so that who leads is known before the first stream is opened.
pub(in crate::client) fn join() {
    if TABS.with_borrow(Option::is_some) || !browser::has_locks() {
        return;
    }
    let Some(channel) = Channel::open(&here(CHANNEL), |text| {
        if let Some(note) = Note::decode(text) {
            hear(note);
        }
    }) else {
        return;
    };
    let listeners = vec![
        Listener::new(&window(), "pagehide", |_| leave()),
        Listener::new(&document(), "freeze", |_| leave()),
        Listener::new(&window(), "pageshow", |_| stand_in_line()),
        Listener::new(&document(), "resume", |_| stand_in_line()),
    ];
    let name = browser::random_id().simple().to_string();
    // Held as long as the tab lives: others see by it when this one is gone.
    browser::lock(&[TAB, &name].concat(), Claim::Wait, std::mem::forget, || {});
    TABS.set(Some(Tabs {
        name,
        role: Role::Starting,
        channel: Rc::new(channel),
        in_line: false,
        asked: HashMap::new(),
        last: 0,
        served: HashMap::new(),
        watched: HashSet::new(),
        _listeners: listeners,
    }));
    browser::lock(
        &here(LEADER),
        Claim::IfFree,
        |held| match held {
            Some(held) => lead(held),
            None => {
                follow();
                stand_in_line();
            }
        },
        robbed,
    );
}

/// Opens a stream. `None` where the browser refuses it outright.
pub(in crate::client) fn open(wanted: Wanted, hear: Hear) -> Option<Open> {
    enum Way {
        Direct(Hear, bool),
        Relayed(u32, bool),
    }
    let way = TABS.with_borrow_mut(|tabs| match tabs {
        Some(tabs) if !matches!(tabs.role, Role::Leading { .. }) => {
            tabs.last += 1;
            let asked = Asked {
                wanted,
                hear,
                _timer: None,
                open: None,
            };
            tabs.asked.insert(tabs.last, asked);
            Way::Relayed(tabs.last, matches!(tabs.role, Role::Following))
        }
        tabs => Way::Direct(hear, tabs.is_some()),
    });
    match way {
        Way::Direct(hear, leads) => direct::open(&wanted, hear, leads),
        Way::Relayed(number, known) => {
            if known {
                ask(number);
            }
            Some(Box::new(Relayed(number)))
        }
    }
}

/// Asks the leader for a stream, and takes the lead if it does not answer.
fn ask(number: u32) {
    let timer = Timeout::new(PATIENCE_MS, move || {
        if with(|tabs| tabs.asked.contains_key(&number)) {
            browser::lock(
                &here(LEADER),
                Claim::Steal,
                |held| held.into_iter().for_each(lead),
                robbed,
            );
        }
    });
    with(|tabs| {
        let stream = tabs.stream(number);
        if let Some(asked) = tabs.asked.get_mut(&number) {
            let wanted = asked.wanted;
            asked._timer = Some(timer);
            tabs.post(&Note::Open { stream, wanted });
        }
    });
}

/// Leads from now on.
fn lead(held: Held) {
    let own = with(|tabs| {
        tabs.in_line = false;
        let was_starting = matches!(tabs.role, Role::Starting);
        // One that leads already holds the lock twice and frees one of them.
        tabs.role = Role::Leading { _lock: held };
        tabs.post(&Note::Leading);
        let own = tabs.asked.iter_mut();
        own.map(|(number, asked)| {
            asked._timer = None;
            (*number, asked.wanted, asked.hear.clone(), was_starting)
        })
        .collect::<Vec<_>>()
    });
    for (number, wanted, hear, was_starting) in own {
        if !was_starting {
            // It may have had entries since it was asked for; whoever follows knows after which to go on.
            hear(Input::Broken { gave_up: false });
            continue;
        }
        match direct::open(&wanted, hear.clone(), true) {
            Some(open) => with(|tabs| {
                if let Some(asked) = tabs.asked.get_mut(&number) {
                    asked.open = Some(open);
                }
            }),
            None => hear(Input::Broken { gave_up: true }),
        }
    }
}

/// Follows whoever leads: asks it for the streams that have waited for that.
fn follow() {
    let waiting = with(|tabs| {
        tabs.role = Role::Following;
        tabs.asked.keys().copied().collect::<Vec<_>>()
    });
    waiting.into_iter().for_each(ask);
}

/// Waits for the lock, behind the tabs that waited before.
fn stand_in_line() {
    let begins = with(|tabs| {
        let begins = !tabs.in_line && matches!(tabs.role, Role::Following);
        tabs.in_line |= begins;
        begins
    });
    if begins {
        browser::lock(
            &here(LEADER),
            Claim::Wait,
            |held| held.into_iter().for_each(lead),
            robbed,
        );
    }
}

/// Frees the lock, because this page will not run for a while.
fn leave() {
    let held = with(|tabs| match tabs.role {
        Role::Leading { .. } => {
            tabs.post(&Note::Leaving);
            let role = std::mem::replace(&mut tabs.role, Role::Following);
            Some((role, std::mem::take(&mut tabs.served)))
        }
        _ => None,
    });
    drop(held);
}

/// Somebody else has taken the lock, or this browser gives none to this page.
fn robbed() {
    if with(|tabs| matches!(tabs.role, Role::Starting)) {
        return alone();
    }
    let lost = with(|tabs| match tabs.role {
        Role::Leading { .. } => {
            let role = std::mem::replace(&mut tabs.role, Role::Following);
            Some((role, std::mem::take(&mut tabs.served)))
        }
        _ => None,
    });
    if lost.is_some() {
        drop(lost);
        stand_in_line();
    }
}

/// Opens the streams of this tab itself from now on.
fn alone() {
    let tabs = TABS.take();
    let waiting = tabs.iter().flat_map(|tabs| tabs.asked.values());
    waiting.for_each(|asked| (asked.hear)(Input::Broken { gave_up: false }));
}

fn hear(note: Note) {
    match note {
        Note::Leading | Note::Leaving => reopen_all(),
        Note::Open { stream, wanted } => serve(stream, wanted),
        Note::Close(stream) => {
            let closed = with(|tabs| tabs.served.remove(&stream));
            drop(closed);
        }
        Note::Taken(stream) => with(|tabs| {
            if let Some(asked) = tabs.own(&stream) {
                asked._timer = None;
            }
        }),
        Note::Said { stream, input } => {
            let hear = with(|tabs| tabs.own(&stream).map(|asked| asked.hear.clone()));
            if let Some(hear) = hear {
                hear(input);
            }
        }
    }
}

/// Whoever led leads no more: all streams that it opened for this tab are taken for broken.
fn reopen_all() {
    let broken = with(|tabs| {
        let relayed = tabs.asked.values().filter(|asked| asked.open.is_none());
        relayed.map(|asked| asked.hear.clone()).collect::<Vec<_>>()
    });
    broken
        .iter()
        .for_each(|hear| hear(Input::Broken { gave_up: false }));
}

/// Opens a stream for another tab, if this one leads.
fn serve(stream: Stream, wanted: Wanted) {
    let channel = with(|tabs| match tabs.role {
        Role::Leading { .. } => {
            tabs.post(&Note::Taken(stream.clone()));
            Some(tabs.channel.clone())
        }
        _ => None,
    });
    let Some(channel) = channel else { return };
    let hear: Hear = {
        let (stream, channel) = (stream.clone(), channel.clone());
        Rc::new(move |input| {
            let stream = stream.clone();
            channel.post(&Note::Said { stream, input }.encode());
        })
    };
    match direct::open(&wanted, hear.clone(), true) {
        Some(open) => {
            let tab = stream.tab.clone();
            let (before, is_new) = with(|tabs| {
                let before = tabs.served.insert(stream, open);
                (before, tabs.watched.insert(tab.clone()))
            });
            drop(before);
            if is_new {
                watch(tab);
            }
        }
        None => hear(Input::Broken { gave_up: true }),
    }
}

/// Closes the streams of a tab when it is gone.
fn watch(tab: String) {
    let lock = [TAB, &tab].concat();
    let gone = move |_: Option<Held>| {
        let streams = with(|tabs| {
            tabs.watched.remove(&tab);
            let all = std::mem::take(&mut tabs.served).into_iter();
            let (gone, kept) = all.partition::<HashMap<_, _>, _>(|(stream, _)| stream.tab == tab);
            tabs.served = kept;
            gone
        });
        drop(streams);
    };
    browser::lock(&lock, Claim::Wait, gone, || {});
}

impl Tabs {
    fn post(&self, note: &Note) {
        self.channel.post(&note.encode());
    }

    fn stream(&self, number: u32) -> Stream {
        Stream {
            tab: self.name.clone(),
            number,
        }
    }

    /// A stream of this tab.
    fn own(&mut self, stream: &Stream) -> Option<&mut Asked> {
        match stream.tab == self.name {
            true => self.asked.get_mut(&stream.number),
            false => None,
        }
    }
}
