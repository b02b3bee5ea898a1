//! The owner of a browser's `EventSource`.
//!
//! The browser would reconnect by itself, but with its own pauses, without a watchdog, and not at
//! all after an answer that is no stream. So the first error ends a source; when and where the next
//! one begins is decided in [`super::follow`].

use wasm_bindgen::{JsCast, closure::Closure};
use web_sys::{Event, EventSource, MessageEvent};

/// What a source has to say.
pub enum Signal {
    /// The connection is open.
    Opened,
    /// A frame came.
    Frame {
        /// The last `id:` line seen on this connection.
        id: String,
        /// Its data.
        data: String,
    },
    /// Nothing more comes from this source.
    Broken {
        /// The browser would not try again by itself: the answer was not a stream.
        gave_up: bool,
    },
}

/// An open stream. Dropping it closes the stream.
pub struct Source {
    stream: EventSource,
    _callbacks: [Closure<dyn FnMut(Event)>; 3],
}

impl Source {
    /// Opens `url`. `None` where the browser refuses the address outright.
    pub fn open(url: &str, on: impl Fn(Signal) + Clone + 'static) -> Option<Self> {
        let stream = EventSource::new(url).ok()?;
        let opened = callback(on.clone(), |_| Some(Signal::Opened));
        let message = callback(on.clone(), |event| {
            let event = event.dyn_into::<MessageEvent>().ok()?;
            Some(Signal::Frame {
                id: event.last_event_id(),
                data: event.data().as_string()?,
            })
        });
        let error = callback(on, |event| {
            let stream = event.target()?.dyn_into::<EventSource>().ok()?;
            let gave_up = stream.ready_state() == EventSource::CLOSED;
            stream.close();
            Some(Signal::Broken { gave_up })
        });
        stream.set_onopen(Some(opened.as_ref().unchecked_ref()));
        stream.set_onmessage(Some(message.as_ref().unchecked_ref()));
        stream.set_onerror(Some(error.as_ref().unchecked_ref()));
        Some(Self {
            stream,
            _callbacks: [opened, message, error],
        })
    }
}

impl Drop for Source {
    fn drop(&mut self) {
        self.stream.close();
        self.stream.set_onopen(None);
        self.stream.set_onmessage(None);
        self.stream.set_onerror(None);
    }
}

fn callback(
    on: impl Fn(Signal) + 'static,
    read: impl Fn(Event) -> Option<Signal> + 'static,
) -> Closure<dyn FnMut(Event)> {
    Closure::new(move |event| {
        if let Some(signal) = read(event) {
            on(signal);
        }
    })
}
