//! The task that follows a run. It owns the connection, the timers and the fold; callbacks of the
//! browser come at any time, also from within each other, so they only put items into its inbox.

use super::{
    absence::Absence,
    connection::Connection,
    drawing::Drawing,
    follower::{follow, reload_after_mismatch},
};
use crate::{
    api::{self, ApiError},
    browser,
    client::{
        follow::{Asked, Follow, Input, Link, Output},
        store::{Body, Chat, MessageView},
    },
};
use futures_channel::mpsc::{UnboundedReceiver, UnboundedSender, unbounded};
use headwater_protocol::{
    ErrorCode, Event, RunId, Seq,
    chat::{Answer, Applied},
};
use leptos::prelude::*;

/// What wakes the task.
pub(super) enum Item {
    /// A connection has something to say.
    Heard(u32, Input),
    /// Something else happened that the state machine must know.
    Input(Input),
    /// It is time to show what has come.
    Draw,
    /// Text may have paused.
    Paused,
    /// The page came to the front or went to the back.
    VisibilityChanged,
    /// What was missed should have come by now.
    Settled,
}

/// The sending side of the task's inbox.
#[derive(Clone)]
pub(super) struct Inbox(UnboundedSender<Item>);

impl Inbox {
    pub(super) fn new() -> (Self, UnboundedReceiver<Item>) {
        let (sender, items) = unbounded();
        (Self(sender), items)
    }

    /// Leaves an item for the task. Once the inbox is closed, nobody wants it.
    pub(super) fn put(&self, item: Item) {
        let _ = self.0.unbounded_send(item);
    }

    /// Ends the task; what is left is not read.
    pub(super) fn close(&self) {
        self.0.close_channel();
    }

    fn is_closed(&self) -> bool {
        self.0.is_closed()
    }
}

/// Follows a run until its end, or until the inbox is closed.
pub(super) async fn drive(
    chat: Chat,
    view: MessageView,
    run: RunId,
    inbox: Inbox,
    mut items: UnboundedReceiver<Item>,
) {
    if inbox.is_closed() {
        return;
    }
    let mut driver = Driver::new(chat, view, run, inbox);
    driver.step(Input::Start);
    if !browser::is_online() {
        driver.step(Input::Offline);
    }
    while let Ok(item) = items.recv().await {
        if driver.inbox.is_closed() {
            return;
        }
        driver.handle(item);
        if driver.machine.is_done() {
            driver.settled();
            driver.drawing.draw();
            let Driver { short, .. } = driver;
            // `follow` finds that the run has ended, and drops the follower.
            follow(chat);
            if short {
                reload_after_mismatch(chat, view, run);
            }
            return;
        }
    }
}

struct Driver {
    chat: Chat,
    view: MessageView,
    run: RunId,
    inbox: Inbox,
    machine: Follow,
    connection: Connection,
    drawing: Drawing,
    absence: Absence,
    link: Link,
    /// The end came, and there is less text than it says.
    short: bool,
}

impl Driver {
    fn new(chat: Chat, view: MessageView, run: RunId, inbox: Inbox) -> Self {
        let (high, low) = browser::random_id().as_u64_pair();
        Self {
            chat,
            view,
            run,
            machine: Follow::new(view.with_body(Body::cursor), high ^ low),
            connection: Connection::new(run, inbox.clone()),
            drawing: Drawing::new(view, inbox.clone()),
            inbox,
            absence: Absence::default(),
            link: Link::Connecting,
            short: false,
        }
    }

    fn handle(&mut self, item: Item) {
        match item {
            Item::Heard(number, _) if !self.connection.is_newest(number) => {}
            Item::Heard(_, input) | Item::Input(input) => self.step(input),
            Item::Draw => self.drawing.draw(),
            Item::Paused => self.drawing.paused(),
            Item::VisibilityChanged => {
                self.drawing.visibility_changed();
                self.away_or_back();
            }
            Item::Settled => self.settled(),
        }
    }

    /// Takes a step of the state machine, and the steps that follow from it.
    fn step(&mut self, input: Input) {
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
                        let applied = self.apply(seq, &event);
                        let cursor = self.view.with_body(Body::cursor);
                        next = Some(Input::Folded { applied, cursor });
                    }
                    Output::Ask => self.ask(),
                    Output::LinkChanged(link) => self.link_changed(link),
                    Output::Notice(notice) => self.chat.notice.set(notice),
                }
            }
        }
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
            Event::Delta { .. } | Event::Snapshot { .. } => self.drawing.text_came(),
            // Cards of tools begin, and their words change.
            Event::BlockStarted { tool: Some(_), .. } | Event::SpanFinished { .. } => {
                self.drawing.text_changed();
            }
            Event::RunFinished { length, .. } => {
                self.drawing.text_changed();
                let folded = |body: &Body| body.answers.last().map_or(0, Answer::visible_length);
                self.short = self.view.with_body(folded) != *length;
            }
            _ => {}
        }
        self.drawing.want();
        applied
    }

    /// Asks by a plain request what has become of the run.
    fn ask(&mut self) {
        let (chat, run, view, inbox) = (self.chat, self.run, self.view, self.inbox.clone());
        let Some(id) = chat.id.get_untracked() else {
            return self.inbox.put(Item::Input(Input::Asked(Asked::Over)));
        };
        let edition = chat.edition();
        browser::spawn(async move {
            let asked = match api::load_conversation(id, None, None).await {
                _ if chat.edition_or_gone() != Some(edition) => return,
                Ok(conversation) => {
                    chat.present(conversation);
                    match chat.view(view.id) {
                        Some(view) if view.running() == Some(run) => {
                            Asked::Running(view.with_body(Body::cursor))
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
            inbox.put(Item::Input(Input::Asked(asked)));
        });
    }

    fn link_changed(&mut self, link: Link) {
        let was = std::mem::replace(&mut self.link, link);
        self.chat.link.set(link);
        if link == Link::Open && matches!(was, Link::Reconnecting { .. }) {
            self.drawing.reconnects += 1;
            self.drawing.request();
        }
        self.away_or_back();
    }

    fn away_or_back(&mut self) {
        let now = self.connection.now();
        let broken = matches!(self.link, Link::Reconnecting { .. } | Link::Offline);
        if broken || browser::is_hidden() {
            self.absence.begin(now, self.view.with_body(Body::words));
        } else {
            self.absence.end(now, &self.inbox);
        }
    }

    /// Says, once, how much came while the reader was away.
    fn settled(&mut self) {
        if let Some(missed) = self.absence.missed(self.view.with_body(Body::words)) {
            self.drawing.caught_up = Some(missed);
            self.drawing.request();
        }
    }
}
