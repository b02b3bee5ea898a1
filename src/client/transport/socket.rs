//! The WebSocket that all streams of this tab share. It is open as long as one of them is.

use super::{Hear, Open, Transport, frame_of};
use crate::{
    base, browser,
    client::{
        follow::{Input, STALE_MS},
        relay::Wanted,
    },
};
use futures_channel::mpsc::{UnboundedReceiver, UnboundedSender, unbounded};
use futures_core::Stream;
use futures_sink::Sink;
use gloo_net::websocket::{Message, State, futures::WebSocket};
use headwater_protocol::{UnixMs, socket as wire};
use leptos::prelude::window;
use std::{
    cell::{Cell, RefCell},
    collections::{HashMap, VecDeque},
    future::poll_fn,
    pin::Pin,
    rc::{Rc, Weak},
    task::Poll,
};

/// Streams over the shared WebSocket.
pub(super) struct Sockets;

thread_local! {
    /// The newest connection. Older ones live as long as their streams.
    static NEWEST: RefCell<Weak<Socket>> = RefCell::default();
}

/// A connection.
struct Socket {
    outbox: UnboundedSender<String>,
    streams: RefCell<HashMap<u64, Hear>>,
    last: Cell<u64>,
    /// When the server was last heard, or the connection begun.
    heard: Cell<UnixMs>,
}

/// A stream of a connection.
struct Subscription {
    socket: Rc<Socket>,
    name: u64,
}

impl Transport for Sockets {
    fn open(&self, wanted: &Wanted, hear: Hear) -> Option<Open> {
        let newest = NEWEST.with_borrow(Weak::upgrade);
        let fresh = newest.filter(|socket| {
            // The server says something every few seconds: a silent connection may be dead.
            !socket.outbox.is_closed() && browser::now() < socket.heard.get() + STALE_MS
        });
        let socket = match fresh {
            Some(socket) => socket,
            None => connect()?,
        };
        let name = socket.last.get() + 1;
        socket.last.set(name);
        socket.streams.borrow_mut().insert(name, hear);
        let format = wanted.format.word();
        socket.say(format!(
            r#"{{"id":{name},"command":"subscribe","run":"{}","after":{},"format":"{format}"}}"#,
            wanted.run, wanted.after
        ));
        Some(Box::new(Subscription { socket, name }))
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        let open = self.socket.streams.borrow_mut().remove(&self.name);
        if open.is_some() {
            let (id, name) = (self.socket.last.get() + 1, self.name);
            self.socket.last.set(id);
            self.socket.say(format!(
                r#"{{"id":{id},"command":"unsubscribe","subscription":{name}}}"#
            ));
        }
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        // The task sees it, and closes the connection.
        self.outbox.close_channel();
    }
}

fn connect() -> Option<Rc<Socket>> {
    let location = window().location();
    let host = location.host().ok()?;
    let scheme = match location.protocol().ok()?.as_str() {
        "https:" => "wss://",
        _ => "ws://",
    };
    let connection = WebSocket::open(&[scheme, &host, &base::address(wire::PATH)].concat()).ok()?;
    let (outbox, messages) = unbounded();
    let socket = Rc::new(Socket {
        outbox,
        streams: RefCell::default(),
        last: Cell::new(0),
        heard: Cell::new(browser::now()),
    });
    NEWEST.set(Rc::downgrade(&socket));
    browser::spawn(serve(connection, messages, Rc::downgrade(&socket)));
    Some(socket)
}

/// What the task of a connection does next.
enum Next {
    Say(String),
    Send,
    Heard(Message),
    Broken,
    /// No stream is left.
    Over,
}

/// Carries messages until the connection breaks or nobody needs it.
async fn serve(
    mut connection: WebSocket,
    mut outbox: UnboundedReceiver<String>,
    socket: Weak<Socket>,
) {
    let mut opened = false;
    // Taken while the connection is being made as well, so that one that nobody needs any more is given up.
    let mut unsent = VecDeque::new();
    loop {
        let next = poll_fn(|cx| {
            match Pin::new(&mut connection).poll_next(cx) {
                Poll::Ready(Some(Ok(message))) => return Poll::Ready(Next::Heard(message)),
                Poll::Ready(Some(Err(_)) | None) => return Poll::Ready(Next::Broken),
                Poll::Pending => {}
            }
            match Pin::new(&mut outbox).poll_next(cx) {
                Poll::Ready(Some(text)) => return Poll::Ready(Next::Say(text)),
                Poll::Ready(None) => return Poll::Ready(Next::Over),
                Poll::Pending if unsent.is_empty() => return Poll::Pending,
                Poll::Pending => {}
            }
            // Its errors come as messages.
            Pin::new(&mut connection).poll_ready(cx).map(|_| Next::Send)
        })
        .await;
        match next {
            Next::Say(text) => unsent.push_back(text),
            Next::Send => {
                opened |= matches!(connection.state(), State::Open);
                for text in unsent.drain(..) {
                    let _ = Pin::new(&mut connection).start_send(Message::Text(text));
                }
            }
            Next::Heard(message) => {
                if let (Some(socket), Message::Text(text)) = (socket.upgrade(), message) {
                    socket.hear(&text);
                }
            }
            Next::Over => return,
            Next::Broken => {
                if let Some(socket) = socket.upgrade() {
                    socket.break_all(!opened);
                }
                return;
            }
        }
    }
}

impl Socket {
    fn say(&self, text: String) {
        let _ = self.outbox.unbounded_send(text);
    }

    fn break_all(&self, gave_up: bool) {
        self.outbox.close_channel();
        let all = self.streams.take();
        all.values()
            .for_each(|hear| hear(Input::Broken { gave_up }));
    }

    fn hear(&self, text: &str) {
        self.heard.set(browser::now());
        let Ok(message) = serde_json::from_str::<wire::Message<'_>>(text) else {
            return;
        };
        let Some(name) = message.subscription.or(message.reply) else {
            return;
        };
        let hear = match message.ended || message.error.is_some() {
            true => self.streams.borrow_mut().remove(&name),
            false => self.streams.borrow().get(&name).cloned(),
        };
        let Some(hear) = hear else { return };
        // A stream is open when the server says so: the connection may be older, and the run gone.
        let input = frame_of(&message).unwrap_or(match (&message.error, message.ended) {
            (None, false) => Input::Opened,
            (error, _) => Input::Broken {
                gave_up: error.is_some(),
            },
        });
        hear(input);
    }
}
