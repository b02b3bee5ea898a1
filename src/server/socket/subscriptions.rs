//! The runs that a connection follows.

use crate::server::streams::Frames;
use axum::body::Bytes;
use futures::{
    Stream, StreamExt,
    future::{AbortHandle, Abortable},
    stream::{self, SelectAll},
};
use headwater_engine::log::frame;
use std::{collections::HashMap, fmt::Write, pin::Pin};

/// The most subscriptions of a connection.
pub(super) const MOST: usize = 512;

/// All subscriptions of a connection.
#[derive(Default)]
pub(super) struct Subscriptions {
    /// The names that are taken. One whose stream is still being opened has no handle.
    names: HashMap<u64, Option<AbortHandle>>,
    streams: SelectAll<Pin<Box<dyn Stream<Item = Event> + Send>>>,
}

/// A stream that has been opened for a subscription.
pub(super) struct Opened {
    /// The name that was reserved for it.
    pub(super) name: u64,
    /// What it yields; `None` if it could not be opened.
    pub(super) frames: Option<Frames>,
}

/// Something that came of a subscription.
pub(super) struct Event {
    name: u64,
    what: What,
}

enum What {
    Frames(Bytes),
    Ended,
}

impl Subscriptions {
    /// Whether nothing is followed.
    pub(super) fn is_empty(&self) -> bool {
        self.streams.is_empty()
    }

    /// Whether there may be one more.
    pub(super) fn has_room(&self) -> bool {
        self.names.len() < MOST
    }

    /// Takes a name. Whether it was free.
    pub(super) fn reserve(&mut self, name: u64) -> bool {
        let free = !self.names.contains_key(&name);
        if free {
            self.names.insert(name, None);
        }
        free
    }

    /// Follows a stream under its name, unless that was given up meanwhile.
    pub(super) fn add(&mut self, Opened { name, frames }: Opened) {
        let Some(frames) = frames else {
            self.names.remove(&name);
            return;
        };
        if let Some(place) = self.names.get_mut(&name) {
            let frames = frames.map(What::Frames);
            let all = frames.chain(stream::iter([What::Ended]));
            let (handle, registration) = AbortHandle::new_pair();
            *place = Some(handle);
            let all = Abortable::new(all, registration);
            self.streams
                .push(Box::pin(all.map(move |what| Event { name, what })));
        }
    }

    /// Ends a subscription; nothing more comes of it. Whether there was one of this name.
    pub(super) fn remove(&mut self, name: u64) -> bool {
        let handle = self.names.remove(&name);
        if let Some(Some(handle)) = &handle {
            handle.abort();
        }
        handle.is_some()
    }

    /// What comes next. `None` if nothing is followed.
    pub(super) async fn next(&mut self) -> Option<Event> {
        let event = self.streams.next().await?;
        if let What::Ended = event.what {
            self.names.remove(&event.name);
        }
        Some(event)
    }
}

impl Event {
    /// The messages that say it.
    pub(super) fn messages(&self) -> impl Iterator<Item = String> {
        let name = self.name;
        let (frames, ended) = match &self.what {
            What::Frames(bytes) => (&bytes[..], None),
            What::Ended => (&[][..], Some(name)),
        };
        let frames = frame::parts(frames).map(move |part| {
            let mut text = String::with_capacity(part.data.len() + 64);
            let _ = match part.id {
                Some(id) => write!(text, "{{\"subscription\":{name},\"id\":{id},\"data\":"),
                None => write!(text, "{{\"subscription\":{name},\"data\":"),
            };
            text.push_str(part.data);
            text.push('}');
            text
        });
        let ended = ended.map(|name| format!("{{\"subscription\":{name},\"ended\":true}}"));
        frames.chain(ended)
    }
}
