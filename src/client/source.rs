//! The owner of a browser's `EventSource`.
//!
//! The browser would reconnect by itself, but with its own pauses, without a watchdog, and not at
//! all after an answer that is no stream. So the first error ends a source; when and where the next
//! one begins is decided in [`super::follow`].

use super::follow::Input;
use gloo_events::EventListener;
use wasm_bindgen::JsCast;
use web_sys::{Event, EventSource, MessageEvent};

/// An open stream. Dropping it closes the stream.
pub(super) struct Source {
    stream: EventSource,
    _listeners: [EventListener; 3],
}

impl Source {
    /// Opens `url` and says [`Input::Opened`], [`Input::Frame`] and [`Input::Broken`]. `None` where
    /// the browser refuses the address outright.
    pub(super) fn open(url: &str, hear: impl Fn(Input) + Clone + 'static) -> Option<Self> {
        let stream = EventSource::new(url).ok()?;
        let on = |kind: &'static str, read: fn(&Event) -> Option<Input>| {
            let hear = hear.clone();
            EventListener::new(&stream, kind, move |event| {
                read(event).into_iter().for_each(&hear);
            })
        };
        let listeners = [
            on("open", |_| Some(Input::Opened)),
            on("message", frame),
            on("error", broken),
        ];
        Some(Self {
            stream,
            _listeners: listeners,
        })
    }
}

impl Drop for Source {
    fn drop(&mut self) {
        self.stream.close();
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
