//! Server-sent events, by the browser's `EventSource`.
//!
//! The browser would reconnect by itself, but with its own pauses, without a watchdog, and not at
//! all after an answer that is no stream. So the first error ends a stream; when and how the next
//! one begins is decided elsewhere.

use super::{Hear, Open, Transport};
use crate::{
    api,
    client::{follow::Input, relay::Wanted},
};
use gloo_events::EventListener;
use wasm_bindgen::JsCast;
use web_sys::{Event, EventSource, MessageEvent};

/// Event streams.
pub(super) struct Streams;

/// An open stream and what listens to it.
struct Stream {
    source: EventSource,
    _listeners: [EventListener; 3],
}

impl Transport for Streams {
    fn open(&self, wanted: &Wanted, hear: Hear) -> Option<Open> {
        let address = api::run_events_url(wanted.run, wanted.after, wanted.format);
        let source = EventSource::new(&address).ok()?;
        let on = |kind: &'static str, read: fn(&Event) -> Option<Input>| {
            let hear = hear.clone();
            EventListener::new(&source, kind, move |event| {
                read(event).into_iter().for_each(|input| hear(input));
            })
        };
        let listeners = [
            on("open", |_| Some(Input::Opened)),
            on("message", frame),
            on("error", broken),
        ];
        Some(Box::new(Stream {
            source,
            _listeners: listeners,
        }))
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.source.close();
    }
}

fn frame(event: &Event) -> Option<Input> {
    let event = event.dyn_ref::<MessageEvent>()?;
    Some(Input::Frame {
        id: event.last_event_id(),
        data: event.data().as_string()?,
    })
}

fn broken(event: &Event) -> Option<Input> {
    let stream = event.target()?.dyn_into::<EventSource>().ok()?;
    let gave_up = stream.ready_state() == EventSource::CLOSED;
    stream.close();
    Some(Input::Broken { gave_up })
}
