//! The task that follows a run. It owns the connection, the timers and the fold. Callbacks of the
//! browser can come at any time, even nested in each other, so they only put items into the inbox
//! of the task.

use super::{
    absence::Absence,
    drawing::Drawing,
    follower::{follow, reload_after_mismatch},
};
use crate::{
    api::{self, ApiError},
    browser,
    client::{
        connection::{Connection, Hear},
        follow::{Asked, Follow, Input, Link, Output},
        store::{Body, Chat, MessageView},
    },
};
use futures_channel::mpsc::{UnboundedReceiver, UnboundedSender, unbounded};
use headwater_protocol::{
    ErrorCode, Event, RunId, Seq,
    chat::{Answer, Applied},
    socket::Format,
};
use leptos::prelude::*;
use std::rc::Rc;

/// What wakes the task.
pub(super) enum Item {
    /// Input of the connection with this number.
    Stream(u32, Input),
    /// Other input of the state machine.
    Input(Input),
    /// It is time to show new content.
    Draw,
    /// Text may have paused.
    Paused,
    /// The visibility of the page changed.
    VisibilityChanged,
    /// The text that was missed during an absence should have arrived by now.
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

    /// Sends an item to the task. It is dropped if the inbox is closed.
    pub(super) fn put(&self, item: Item) {
        let _ = self.0.unbounded_send(item);
    }

    /// Puts what a connection says.
    fn hear(&self) -> Hear {
        let inbox = self.clone();
        Rc::new(move |number, input| {
            inbox.put(match number {
                Some(number) => Item::Stream(number, input),
                None => Item::Input(input),
            });
        })
    }

    /// Ends the task. Remaining items are dropped.
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
            // `follow` sees that the run has ended and drops the follower.
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
    /// Whether the run has ended with less text than its last entry says.
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
            connection: Connection::new(run, Format::Events, inbox.hear()),
            drawing: Drawing::new(view, inbox.clone()),
            inbox,
            absence: Absence::default(),
            link: Link::Connecting,
            short: false,
        }
    }

    fn handle(&mut self, item: Item) {
        match item {
            Item::Stream(number, _) if !self.connection.is_newest(number) => {}
            Item::Stream(_, input) | Item::Input(input) => self.step(input),
            Item::Draw => self.drawing.draw(),
            Item::Paused => self.drawing.paused(),
            Item::VisibilityChanged => {
                self.drawing.visibility_changed();
                self.away_or_back();
            }
            Item::Settled => self.settled(),
        }
    }

    /// Runs the state machine with an input, and then with the inputs that result from it.
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
            // Tool cards appear, and their state changes.
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

    /// Asks the server for the state of the run, by a separate request.
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

    /// Shows once how much arrived while the reader was away.
    fn settled(&mut self) {
        if let Some(missed) = self.absence.missed(self.view.with_body(Body::words)) {
            self.drawing.caught_up = Some(missed);
            self.drawing.request();
        }
    }
}
