//! The running answer of the page: one task owns its connection, its timers and its fold.

use super::{
    Chat, Link, MessageView, browser,
    browser::{Channel, HIDDEN_STEP_MS, Listener, News, Paints, Timer},
    inbox::Inbox,
};
use crate::{
    api::{self, ApiError, run_events_url},
    client::{
        follow::{Asked, Follow, Input, Output},
        source::{Signal, Source},
    },
};
use headwater_protocol::{
    ConversationId, ErrorCode, Event, RunId, Seq, Status, UnixMs, chat::Applied,
};
use leptos::prelude::*;

/// Who was away for so long is told how much came meanwhile.
const AWAY_MS: u64 = 5_000;

/// So long after a return everything that was missed has come.
const SETTLE_MS: u64 = 400;

/// What the page as a whole listens to, and the answer it follows.
#[derive(Default)]
pub(super) struct Page {
    listeners: Vec<Listener>,
    channel: Option<Channel>,
    follower: Option<Follower>,
    /// Since when nobody sees the page.
    hidden_since: Option<UnixMs>,
}

/// The way to the task that follows a run. Dropping it ends the task and closes the stream.
struct Follower {
    run: RunId,
    view: MessageView,
    inbox: Inbox<Item>,
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.inbox.close();
    }
}

/// What the task that follows a run is woken by.
enum Item {
    /// A connection has something to say. Only the newest connection is heard.
    Signal(u32, Signal),
    /// For the state machine.
    Do(Input),
    /// It is time to show what has come.
    Paint,
    /// The page came to the front or went to the back.
    Seen,
    /// What was missed should have come by now.
    Settled,
}

impl Page {
    pub(super) fn tell(&self, news: News, conversation: ConversationId) {
        if let Some(channel) = &self.channel {
            channel.tell(news, conversation);
        }
    }

    fn put(&self, item: Item) {
        if let Some(follower) = &self.follower {
            follower.inbox.put(item);
        }
    }
}

impl Chat {
    /// Listens to the page and to the other tabs for as long as this chat lives.
    pub(super) fn listen(self) {
        let put = move |item| {
            self.page.try_with_value(|page| page.put(item));
        };
        let listeners = [
            Listener::new("visibilitychange", move |_| self.visibility_changed()),
            Listener::new("pageshow", move |_| put(Item::Do(Input::Woke))),
            Listener::new("online", move |_| put(Item::Do(Input::Online))),
            Listener::new("offline", move |_| put(Item::Do(Input::Offline))),
        ];
        let channel = Channel::new(move |news, id| self.heard(news, id));
        self.page.update_value(|page| {
            page.listeners = listeners.into_iter().flatten().collect();
            page.channel = channel;
        });
    }

    fn visibility_changed(self) {
        let hidden = browser::hidden();
        let now = browser::now();
        let away = self.page.try_update_value(|page| {
            page.put(Item::Seen);
            if hidden {
                page.hidden_since = Some(now);
                return 0;
            }
            page.put(Item::Do(Input::Woke));
            page.hidden_since
                .take()
                .map_or(0, |since| now.saturating_sub(since))
        });
        // Another device may have gone on with the conversation meanwhile.
        if away.is_some_and(|away| away > AWAY_MS) && self.running_view().is_none() {
            self.reload();
        }
    }

    fn heard(self, news: News, conversation: ConversationId) {
        if self.id.try_get_untracked().flatten() != Some(conversation) {
            return;
        }
        match news {
            News::Deleted => self.clear(),
            // Whoever follows the run sees its end by itself.
            News::Finished if self.running_view().is_some() => {}
            News::Started | News::Changed | News::Finished => self.reload(),
        }
    }

    /// Sees to it that exactly the running answer on the screen is followed.
    pub(super) fn follow(self) {
        let running = self
            .running_view()
            .and_then(|view| Some((view, view.running()?)));
        let followed = self.page.try_with_value(|page| {
            page.follower
                .as_ref()
                .map(|follower| (follower.view, follower.run))
        });
        let Some(followed) = followed else {
            return;
        };
        if running.map(|(_, run)| run) == followed.map(|(_, run)| run) {
            return;
        }
        let begun = running.map(|(view, run)| {
            let inbox = Inbox::new();
            browser::spawn(drive(self, view, run, inbox.clone()));
            Follower { run, view, inbox }
        });
        self.link.set(if begun.is_some() {
            Link::Connecting
        } else {
            Link::Idle
        });
        self.page.update_value(|page| page.follower = begun);
        // A loaded conversation may have brought the end before the stream did.
        if let Some((view, run)) = followed
            && self.view(view.id).is_some()
            && view
                .state
                .with_untracked(|state| state.run == Some(run) && !state.is_running())
        {
            self.finished(view);
            self.check(view, run);
        }
    }

    /// The answer on the screen has ended, by the stream or by a loaded conversation.
    fn finished(self, view: MessageView) {
        self.notice.set(None);
        if let Some(id) = self.id.get_untracked() {
            self.tell(News::Finished, id);
        }
        if self.inner.with_value(|inner| inner.unconfirmed) {
            self.reload();
        }
        // After a stop or a failure the person may want to say something else first.
        if view
            .state
            .with_untracked(|state| state.status == Some(Status::Ok))
        {
            self.send_queued();
        }
    }

    /// Compares the text with what the server says it is, and loads it again if they differ.
    fn check(self, view: MessageView, run: RunId) {
        let folded = view.with_body(|body| {
            let answer = body.answers.iter().find(|answer| answer.run == Some(run))?;
            Some((answer.visible_text(), answer.hash.clone()))
        });
        let Some((text, expected)) = folded.filter(|(_, hash)| !hash.is_empty()) else {
            return;
        };
        browser::spawn(async move {
            let differs = browser::hash(text)
                .await
                .is_some_and(|hash| hash != expected);
            if differs && !view.state.is_disposed() {
                self.reload_after_mismatch(view, run);
            }
        });
    }

    /// What is shown is not what the server stored.
    fn reload_after_mismatch(self, view: MessageView, run: RunId) {
        browser::warn("The text of an answer differs from the stored one; it is loaded again.");
        view.body.update_value(|body| body.invalidate(run));
        self.reload();
    }
}

/// Follows a run until its end, or until its [`Follower`] is dropped.
async fn drive(chat: Chat, view: MessageView, run: RunId, inbox: Inbox<Item>) {
    if inbox.is_closed() {
        return;
    }
    let mut driver = Driver::new(chat, view, run, inbox);
    driver.step(Input::Start);
    if !browser::online() {
        driver.step(Input::Offline);
    }
    while let Some(item) = driver.inbox.take().await {
        driver.handle(item);
        if driver.machine.is_done() {
            driver.caught_up();
            driver.paint();
            let Driver { short, .. } = driver;
            // `follow` finds that the run has ended, and drops the follower.
            chat.follow();
            if short {
                chat.reload_after_mismatch(view, run);
            }
            return;
        }
    }
}

struct Driver {
    chat: Chat,
    view: MessageView,
    run: RunId,
    inbox: Inbox<Item>,
    machine: Follow,
    source: Option<Source>,
    /// Number of the newest connection.
    connection: u32,
    timer: Option<Timer>,
    paints: Paints,
    /// Text has come since the last painting.
    text: bool,
    painted: UnixMs,
    clock: Clock,
    last_text: UnixMs,
    reconnects: u32,
    link: Link,
    away: Option<Away>,
    settle: Option<Timer>,
    caught_up: Option<u64>,
    /// The end came, and there is less text than it says.
    short: bool,
}

/// Since when the answer could not be seen coming, and how many words there were then.
struct Away {
    since: UnixMs,
    words: u64,
    /// When it could be seen again.
    until: Option<UnixMs>,
}

impl Driver {
    fn new(chat: Chat, view: MessageView, run: RunId, inbox: Inbox<Item>) -> Self {
        let [high, low] = browser::random_id().as_u64_pair().into();
        let (cursor, any_text) = view.with_body(|body| (body.cursor(), !body.is_empty()));
        let bell = inbox.clone();
        let now = browser::now();
        Self {
            chat,
            view,
            run,
            inbox,
            machine: Follow::new(cursor, high ^ low),
            source: None,
            connection: 0,
            timer: None,
            paints: Paints::new(move || bell.put(Item::Paint)),
            text: false,
            painted: 0,
            clock: Clock::default(),
            last_text: if any_text { now } else { 0 },
            reconnects: 0,
            link: Link::Connecting,
            away: None,
            settle: None,
            caught_up: None,
            short: false,
        }
    }

    fn handle(&mut self, item: Item) {
        match item {
            Item::Signal(connection, _) if connection != self.connection => {}
            Item::Signal(_, Signal::Opened) => self.step(Input::Opened),
            Item::Signal(_, Signal::Frame { id, data }) => self.step(Input::Frame { id, data }),
            Item::Signal(_, Signal::Broken { gave_up }) => self.step(Input::Broken { gave_up }),
            Item::Do(input) => self.step(input),
            Item::Paint => self.paint(),
            Item::Seen => self.seen(),
            Item::Settled => self.caught_up(),
        }
    }

    /// Takes a step of the state machine, and the steps that follow from it.
    fn step(&mut self, input: Input) {
        let mut next = Some(input);
        while let Some(input) = next.take() {
            let mut outputs = Vec::new();
            self.machine.step(self.clock.now(), input, &mut outputs);
            for output in outputs {
                match output {
                    Output::Open { after } => self.open(after),
                    Output::Close => {
                        self.connection += 1;
                        self.source = None;
                    }
                    Output::Wait { until } => self.wait(until),
                    Output::Apply { seq, event } => {
                        let applied = self.apply(seq, &event);
                        let cursor = self.view.with_body(super::Body::cursor);
                        next = Some(Input::Folded { applied, cursor });
                    }
                    Output::Ask => self.ask(),
                    Output::LinkChanged(link) => self.link_changed(link),
                    Output::Notice(notice) => self.chat.notice.set(notice),
                }
            }
        }
    }

    fn open(&mut self, after: Seq) {
        self.connection += 1;
        let connection = self.connection;
        let inbox = self.inbox.clone();
        let on = move |signal| inbox.put(Item::Signal(connection, signal));
        self.source = Source::open(&run_events_url(self.run, after), on);
        if self.source.is_none() {
            self.inbox
                .put(Item::Signal(connection, Signal::Broken { gave_up: true }));
        }
    }

    fn wait(&mut self, until: UnixMs) {
        let inbox = self.inbox.clone();
        let ms = until.saturating_sub(self.clock.now());
        self.timer = Timer::new(ms, move || inbox.put(Item::Do(Input::Tick)));
    }

    fn apply(&mut self, seq: Seq, event: &Event) -> Applied {
        let applied = self
            .view
            .body
            .try_update_value(|body| body.apply(seq, event));
        let applied = applied.unwrap_or(Applied::Known);
        if applied != Applied::New {
            return applied;
        }
        match event {
            Event::Delta { .. } | Event::Snapshot { .. } => {
                self.text = true;
                self.last_text = browser::now();
            }
            // Cards of tools begin, and their words change.
            Event::BlockStarted { tool: Some(_), .. } | Event::SpanFinished { .. } => {
                self.text = true;
            }
            Event::RunFinished {
                length: expected, ..
            } => {
                self.text = true;
                let length = self.view.with_body(|body| {
                    body.answers
                        .last()
                        .map_or(0, headwater_protocol::chat::Answer::visible_length)
                });
                self.short = length != *expected;
            }
            _ => {}
        }
        // Timers of hidden tabs are slowed down to one a minute; frames are not.
        if browser::hidden() && browser::now().saturating_sub(self.painted) >= HIDDEN_STEP_MS {
            self.paint();
        } else {
            self.paints.want();
        }
        applied
    }

    fn paint(&mut self) {
        self.paints.done();
        self.painted = browser::now();
        let text = std::mem::take(&mut self.text);
        let (last_text, reconnects, caught_up) = (self.last_text, self.reconnects, self.caught_up);
        self.view.paint(text, |state| {
            state.last_text = last_text;
            state.reconnects = reconnects;
            state.caught_up_words = caught_up.or(state.caught_up_words);
        });
    }

    /// Asks by a plain request what has become of the run.
    fn ask(&mut self) {
        let (chat, run, inbox) = (self.chat, self.run, self.inbox.clone());
        let view = self.view;
        let Some(id) = chat.id.get_untracked() else {
            return self.inbox.put(Item::Do(Input::Asked(Asked::Over)));
        };
        let edition = chat.edition();
        browser::spawn(async move {
            let asked = match api::load_conversation(id, None, None).await {
                _ if chat.edition_or_gone() != Some(edition) => return,
                Ok(conversation) => {
                    chat.present(conversation);
                    match chat.view(view.id) {
                        Some(view) if view.running() == Some(run) => {
                            Asked::Running(view.with_body(super::Body::cursor))
                        }
                        _ => Asked::Over,
                    }
                }
                Err(ApiError(error)) if error.code == ErrorCode::NotFound => {
                    view.body.update_value(|body| body.abandon(run, error));
                    view.paint(true, |_| {});
                    Asked::Over
                }
                Err(_) => Asked::Unreachable,
            };
            inbox.put(Item::Do(Input::Asked(asked)));
        });
    }

    fn link_changed(&mut self, link: Link) {
        let was = std::mem::replace(&mut self.link, link);
        self.chat.link.set(link);
        if link == Link::Open && matches!(was, Link::Reconnecting { .. }) {
            self.reconnects += 1;
            self.paints.want();
        }
        self.away_or_back();
    }

    fn seen(&mut self) {
        // A frame that was asked for never comes in a hidden tab, and a timer's step is too slow
        // for a visible one.
        if self.paints.done() {
            self.paint();
        }
        self.away_or_back();
    }

    fn away_or_back(&mut self) {
        let now = self.clock.now();
        let broken = matches!(self.link, Link::Reconnecting { .. } | Link::Offline);
        if broken || browser::hidden() {
            let words = self.view.with_body(super::Body::words);
            self.settle = None;
            self.away
                .get_or_insert(Away {
                    since: now,
                    words,
                    until: None,
                })
                .until = None;
        } else if let Some(away) = &mut self.away
            && away.until.is_none()
        {
            away.until = Some(now);
            let inbox = self.inbox.clone();
            self.settle = Timer::new(SETTLE_MS, move || inbox.put(Item::Settled));
        }
    }

    /// Who is back is told, once, how much came meanwhile.
    fn caught_up(&mut self) {
        let Some(Away {
            since,
            words,
            until: Some(until),
        }) = self.away.take_if(|away| away.until.is_some())
        else {
            return;
        };
        let missed = self
            .view
            .with_body(super::Body::words)
            .saturating_sub(words);
        if until.saturating_sub(since) > AWAY_MS && missed > 0 {
            self.caught_up = Some(missed);
            self.paints.want();
        }
    }
}

/// The time of the machine's clock, but never going back. The clock counts sleep, which the
/// browser's other one does not everywhere.
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
