//! Listeners that Leptos does not have. Each ends when it is dropped.

use gloo_events::{EventListener, EventListenerOptions, EventListenerPhase};
use leptos::prelude::{document, window};
use send_wrapper::SendWrapper;
use wasm_bindgen::{JsCast, JsValue};
use web_sys::{BroadcastChannel, Event, EventTarget, KeyboardEvent, MessageEvent};

/// A listener that the page's state can own: what the server compiles of that state crosses threads.
pub(crate) struct Listener {
    _listener: SendWrapper<EventListener>,
}

impl Listener {
    /// Calls with each event of a kind.
    pub(crate) fn new(
        target: &EventTarget,
        kind: &'static str,
        call: impl FnMut(&Event) + 'static,
    ) -> Self {
        EventListener::new(target, kind, call).into()
    }
}

impl From<EventListener> for Listener {
    fn from(listener: EventListener) -> Self {
        Self {
            _listener: SendWrapper::new(listener),
        }
    }
}

/// A channel to the other tabs, and to the other channels of this page. A channel does not hear
/// itself.
pub(crate) struct Channel {
    channel: SendWrapper<BroadcastChannel>,
    _listener: Listener,
}

impl Channel {
    /// Joins the channel of this name and calls with each message. `None` where the browser has no channels.
    pub(crate) fn open(name: &str, hear: impl Fn(&str) + 'static) -> Option<Self> {
        let channel = BroadcastChannel::new(name).ok()?;
        let listener = Listener::new(&channel, "message", move |event| {
            let message = event.dyn_ref::<MessageEvent>();
            if let Some(text) = message.and_then(|message| message.data().as_string()) {
                hear(&text);
            }
        });
        Some(Self {
            channel: SendWrapper::new(channel),
            _listener: listener,
        })
    }

    /// Sends a message.
    pub(crate) fn post(&self, text: &str) {
        let _ = self.channel.post_message(&JsValue::from_str(text));
    }
}

impl Drop for Channel {
    fn drop(&mut self) {
        self.channel.close();
    }
}

/// Calls when the page comes to the front.
pub(crate) fn on_visible(call: impl Fn() + 'static) -> Listener {
    Listener::new(&document(), "visibilitychange", move |_| {
        if !super::is_hidden() {
            call();
        }
    })
}

/// Calls when what stands behind `#` in the address changes, by whoever but [`set_hash`](super::set_hash).
pub(crate) fn on_hash(call: impl Fn() + 'static) -> Listener {
    Listener::new(&window(), "hashchange", move |_| call())
}

/// Hides the keys that an input method takes, while somebody composes a word, from everything that
/// listens on this page. The text field still gets them, but they neither send a message nor close a
/// dialog.
pub(crate) fn ignore_composing_keys() -> Listener {
    // On the way down, so that it comes before every other listener there is or will be.
    let options = EventListenerOptions {
        phase: EventListenerPhase::Capture,
        passive: false,
    };
    let listener = EventListener::new_with_options(&window(), "keydown", options, |event| {
        let Some(key) = event.dyn_ref::<KeyboardEvent>() else {
            return;
        };
        // Browsers name a key that an input method took 229, and Safari names the one so that ended
        // the composition, after it has ended
        // (https://developer.mozilla.org/docs/Web/API/Element/keydown_event).
        if key.is_composing() || key.key_code() == 229 {
            event.stop_immediate_propagation();
            if key.key() == "Escape" {
                event.prevent_default();
            }
        }
    });
    listener.into()
}
