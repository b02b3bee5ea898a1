//! Owners of the browser's timers, listeners and channels: what they began ends when they drop.

use crate::client::store::{browser::News, inbox::Inbox};
use headwater_protocol::{ConversationId, Error, ErrorCode, ImageId, MAX_IMAGE_BYTES};
use std::rc::Rc;
use wasm_bindgen::{JsCast, JsValue, closure::Closure};
use wasm_bindgen_futures::JsFuture;
use web_sys::{BroadcastChannel, Event, EventTarget, MessageEvent, Window};

/// In a hidden tab nothing is painted; what came is taken over in steps of this many milliseconds.
pub(in crate::client::store) const HIDDEN_STEP_MS: u64 = 200;

fn window() -> Option<Window> {
    web_sys::window()
}

/// Calls once, later.
pub(in crate::client::store) struct Timer {
    id: i32,
    _callback: Closure<dyn FnMut()>,
}

impl Timer {
    pub(in crate::client::store) fn new(ms: u64, call: impl FnMut() + 'static) -> Option<Self> {
        let callback = Closure::<dyn FnMut()>::new(call);
        let id = window()?
            .set_timeout_with_callback_and_timeout_and_arguments_0(
                callback.as_ref().unchecked_ref(),
                i32::try_from(ms).unwrap_or(i32::MAX),
            )
            .ok()?;
        Some(Self {
            id,
            _callback: callback,
        })
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        if let Some(window) = window() {
            window.clear_timeout_with_handle(self.id);
        }
    }
}

pub(super) async fn sleep(ms: u32) {
    let rung = Inbox::new();
    let bell = rung.clone();
    let _timer = Timer::new(ms.into(), move || bell.put(()));
    rung.take().await;
}

/// Listens to one kind of event.
pub(in crate::client::store) struct Listener {
    target: EventTarget,
    kind: &'static str,
    callback: Closure<dyn FnMut(Event)>,
}

impl Listener {
    /// On the window, where document events arrive too.
    pub(in crate::client::store) fn new(
        kind: &'static str,
        call: impl FnMut(Event) + 'static,
    ) -> Option<Self> {
        let window = window()?;
        let target: EventTarget = match kind {
            "visibilitychange" => window.document()?.into(),
            _ => window.into(),
        };
        let callback = Closure::<dyn FnMut(Event)>::new(call);
        target
            .add_event_listener_with_callback(kind, callback.as_ref().unchecked_ref())
            .ok()?;
        Some(Self {
            target,
            kind,
            callback,
        })
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let callback = self.callback.as_ref().unchecked_ref();
        let _ = self
            .target
            .remove_event_listener_with_callback(self.kind, callback);
    }
}

/// What all tabs hear but for the channel that says it; another channel of the same page does.
pub(in crate::client::store) struct Channel {
    channel: BroadcastChannel,
    _callback: Closure<dyn FnMut(MessageEvent)>,
}

impl Channel {
    pub(in crate::client::store) fn new(
        hear: impl Fn(News, ConversationId) + 'static,
    ) -> Option<Self> {
        let channel = BroadcastChannel::new("headwater").ok()?;
        let callback = Closure::<dyn FnMut(MessageEvent)>::new(move |event: MessageEvent| {
            if let Some((news, id)) = event.data().as_string().and_then(|said| News::hear(&said)) {
                hear(news, id);
            }
        });
        channel.set_onmessage(Some(callback.as_ref().unchecked_ref()));
        Some(Self {
            channel,
            _callback: callback,
        })
    }

    pub(in crate::client::store) fn tell(&self, news: News, id: ConversationId) {
        let _ = self.channel.post_message(&JsValue::from_str(&news.say(id)));
    }
}

impl Drop for Channel {
    fn drop(&mut self) {
        self.channel.set_onmessage(None);
        self.channel.close();
    }
}

/// Calls before the next picture is drawn, however often it was asked to; in a hidden tab, where
/// none is drawn, by a timer.
pub(in crate::client::store) struct Paints {
    call: Rc<dyn Fn()>,
    frame: Closure<dyn FnMut()>,
    wanted: Option<Wanted>,
}

enum Wanted {
    Frame(i32),
    Step { _timer: Option<Timer> },
}

impl Paints {
    pub(in crate::client::store) fn new(call: impl Fn() + 'static) -> Self {
        let call: Rc<dyn Fn()> = Rc::new(call);
        let on_frame = Rc::clone(&call);
        Self {
            call,
            frame: Closure::new(move || on_frame()),
            wanted: None,
        }
    }

    /// Asks for a call, if none is on its way.
    pub(in crate::client::store) fn want(&mut self) {
        if self.wanted.is_some() {
            return;
        }
        let frame = window().filter(|_| !hidden()).and_then(|window| {
            window
                .request_animation_frame(self.frame.as_ref().unchecked_ref())
                .ok()
        });
        self.wanted = Some(match frame {
            Some(frame) => Wanted::Frame(frame),
            None => {
                let call = Rc::clone(&self.call);
                Wanted::Step {
                    _timer: Timer::new(HIDDEN_STEP_MS, move || call()),
                }
            }
        });
    }

    /// The call came, or what it was for has been done. Says whether one was on its way.
    pub(in crate::client::store) fn done(&mut self) -> bool {
        let wanted = self.wanted.take();
        if let (Some(Wanted::Frame(frame)), Some(window)) = (&wanted, window()) {
            let _ = window.cancel_animation_frame(*frame);
        }
        wanted.is_some()
    }
}

impl Drop for Paints {
    fn drop(&mut self) {
        self.done();
    }
}

/// Whether the tab is in the background.
pub(in crate::client::store) fn hidden() -> bool {
    window()
        .and_then(|window| window.document())
        .is_some_and(|document| document.hidden())
}

/// Whether the browser believes that there is a network.
pub(in crate::client::store) fn online() -> bool {
    window().is_none_or(|window| window.navigator().on_line())
}

/// Sends a file as the body of a request. What is no picture, or too large, the server says.
pub(super) async fn upload(file: web_sys::File) -> Result<ImageId, Error> {
    let unreachable = || {
        let sentence = "The picture did not reach the server. Attach it again.";
        Error::new(ErrorCode::Connection, sentence)
    };
    // The server stops reading there, which a browser takes for a broken connection.
    if file.size() > MAX_IMAGE_BYTES as f64 {
        let sentence = format!(
            "A picture may have {} MB at most.",
            MAX_IMAGE_BYTES / 1_000_000
        );
        return Err(Error::new(ErrorCode::TooLarge, sentence));
    }
    let asked = web_sys::RequestInit::new();
    asked.set_method("POST");
    asked.set_body(&file);
    let answer = async {
        let response = window()?.fetch_with_str_and_init(headwater_protocol::IMAGES, &asked);
        let response: web_sys::Response = JsFuture::from(response).await.ok()?.dyn_into().ok()?;
        let text = JsFuture::from(response.text().ok()?).await.ok()?;
        Some((response.ok(), text.as_string()?))
    };
    let (ok, text) = answer.await.ok_or_else(unreachable)?;
    match ok {
        true => serde_json::from_str(&text).map_err(|_| unreachable()),
        false => Err(serde_json::from_str(&text).unwrap_or_else(|_| unreachable())),
    }
}

/// For developers.
pub(in crate::client::store) fn warn(text: &str) {
    leptos::logging::warn!("{text}");
}

pub(super) fn random() -> [u8; 16] {
    let mut bytes = [0; 16];
    if let Some(crypto) = window().and_then(|window| window.crypto().ok()) {
        let _ = crypto.get_random_values_with_u8_array(&mut bytes);
    }
    bytes
}

/// SHA-256 in hexadecimal. `None` where the page may not use the browser's cryptography: on
/// another machine's address without TLS.
pub(in crate::client::store) async fn hash(text: String) -> Option<String> {
    let subtle = window()?.crypto().ok()?.subtle();
    if JsValue::from(&subtle).is_undefined() {
        return None;
    }
    let promise = subtle
        .digest_with_str_and_u8_array("SHA-256", text.as_bytes())
        .ok()?;
    let digest = js_sys::Uint8Array::new(&JsFuture::from(promise).await.ok()?).to_vec();
    Some(digest.iter().map(|byte| format!("{byte:02x}")).collect())
}

pub(super) fn store(key: &str, value: Option<String>) {
    let Some(storage) = window().and_then(|window| window.session_storage().ok().flatten()) else {
        return;
    };
    let _ = match value {
        Some(value) => storage.set_item(key, &value),
        None => storage.remove_item(key),
    };
}

pub(super) fn stored(key: &str) -> Option<String> {
    window()?
        .session_storage()
        .ok()
        .flatten()?
        .get_item(key)
        .ok()
        .flatten()
}
