//! Long polls: one request after the other, each answered as soon as there is something.

use super::{Hear, Open, Transport, frame_of};
use crate::{
    api, browser,
    client::{follow::Input, relay::Wanted},
};
use gloo_net::http::Request;
use headwater_protocol::socket::Message;
use web_sys::AbortController;

/// For how many seconds the server keeps a request without an entry. Well below the watchdog's patience.
const WAIT_S: u32 = 8;

/// The same for the first request, which shows that the server is there.
const FIRST_WAIT_S: u32 = 1;

/// After how many milliseconds a stream of polls ends, so that a better way is tried.
const LIFETIME_MS: u64 = 60_000;

/// What the server says at the end of a stream's life, which a person need not know.
const GOING_AWAY: &str = r#"{"type":"going_away","reason":"lifetime","retry_ms":0}"#;

/// Long polls.
pub(super) struct Polls;

/// A stream of polls. Dropping it cancels the request that is under way.
struct Polling(AbortController);

impl Transport for Polls {
    fn open(&self, wanted: &Wanted, hear: Hear) -> Option<Open> {
        let abort = AbortController::new().ok()?;
        browser::spawn(poll(*wanted, abort.clone(), hear));
        Some(Box::new(Polling(abort)))
    }
}

impl Drop for Polling {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn poll(mut wanted: Wanted, abort: AbortController, hear: Hear) {
    let end = browser::now() + LIFETIME_MS;
    let signal = abort.signal();
    let mut wait = FIRST_WAIT_S;
    while browser::now() < end {
        let address = api::run_poll_url(wanted.run, wanted.after, wanted.format, wait);
        let request = Request::get(&address).abort_signal(Some(&signal));
        let (refused, text) = match request.send().await {
            Ok(response) if response.ok() => (false, response.text().await.ok()),
            Ok(_) => (true, None),
            Err(_) => (false, None),
        };
        if signal.aborted() {
            return;
        }
        let frames = text.as_deref();
        let frames = frames.and_then(|text| serde_json::from_str::<Vec<Message<'_>>>(text).ok());
        let Some(frames) = frames else {
            return hear(Input::Broken { gave_up: refused });
        };
        wait = WAIT_S;
        for frame in frames {
            wanted.after = frame.id.unwrap_or(wanted.after);
            frame_of(&frame).into_iter().for_each(|input| hear(input));
        }
    }
    hear(Input::Frame {
        id: String::new(),
        data: GOING_AWAY.to_owned(),
    });
}
