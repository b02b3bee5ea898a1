//! Decides when new content is shown: at most once per animation frame.

use super::driver::{Inbox, Item};
use crate::{browser, client::store::MessageView};
use gloo_timers::callback::Timeout;
use headwater_protocol::UnixMs;
use leptos::{leptos_dom::helpers::AnimationFrameRequestHandle, prelude::*};

/// The interval in which a hidden tab, which has no animation frames, takes over new content, in
/// milliseconds.
const HIDDEN_STEP_MS: u32 = 200;

/// Milliseconds without text after which the part of a long block that the renderer left out is
/// drawn.
const PAUSE_MS: u32 = 100;

/// The drawing of one answer.
pub(super) struct Drawing {
    view: MessageView,
    inbox: Inbox,
    wanted: Option<Wanted>,
    /// Whether text has arrived since the last drawing.
    text: bool,
    drawn: UnixMs,
    last_text: UnixMs,
    pause: Option<Timeout>,
    /// How often the stream had to be resumed.
    pub(super) reconnects: u32,
    /// The number of words that arrived while the reader was away.
    pub(super) caught_up: Option<u64>,
}

/// What triggers [`Item::Draw`].
enum Wanted {
    Frame(AnimationFrameRequestHandle),
    /// A timer, in a hidden tab, which has no animation frames.
    Step {
        _timer: Timeout,
    },
}

impl Drawing {
    /// Nothing new has arrived yet.
    pub(super) fn new(view: MessageView, inbox: Inbox) -> Self {
        let any_text = view.with_body(|body| !body.is_empty());
        Self {
            view,
            inbox,
            wanted: None,
            text: false,
            drawn: 0,
            last_text: if any_text { browser::now() } else { 0 },
            pause: None,
            reconnects: 0,
            caught_up: None,
        }
    }

    /// Notes that text was appended.
    pub(super) fn text_came(&mut self) {
        self.text = true;
        self.last_text = browser::now();
    }

    /// Notes another change of the content: a tool card or the end.
    pub(super) fn text_changed(&mut self) {
        self.text = true;
    }

    /// Draws soon.
    pub(super) fn want(&mut self) {
        // Browsers may throttle the timers of hidden tabs to one per minute, but not the stream.
        let since = browser::now().saturating_sub(self.drawn);
        if browser::is_hidden() && since >= HIDDEN_STEP_MS.into() {
            return self.draw();
        }
        self.request();
    }

    /// Requests [`Item::Draw`], unless one is pending.
    pub(super) fn request(&mut self) {
        if self.wanted.is_some() {
            return;
        }
        let inbox = self.inbox.clone();
        let ring = move || inbox.put(Item::Draw);
        self.wanted = Some(match browser::is_hidden() {
            false => match request_animation_frame_with_handle(ring.clone()) {
                Ok(frame) => Wanted::Frame(frame),
                Err(_) => Wanted::step(ring),
            },
            true => Wanted::step(ring),
        });
    }

    /// Handles a change of the page's visibility. A requested animation frame never comes in a
    /// hidden tab, and the timer is too slow for a visible one.
    pub(super) fn visibility_changed(&mut self) {
        if self.wanted.is_some() {
            self.draw();
        }
    }

    /// Shows the new content.
    pub(super) fn draw(&mut self) {
        self.cancel();
        self.drawn = browser::now();
        let text = std::mem::take(&mut self.text);
        let (last_text, reconnects, caught_up) = (self.last_text, self.reconnects, self.caught_up);
        self.view.paint(text, |state| {
            state.last_text = state.last_text.max(last_text);
            state.reconnects = reconnects;
            state.caught_up_words = caught_up.or(state.caught_up_words);
        });
        if text && self.pause.is_none() {
            self.wait_for_pause(PAUSE_MS);
        }
    }

    /// Handles [`Item::Paused`]: draws what the renderer left out, unless text has arrived
    /// meanwhile.
    pub(super) fn paused(&mut self) {
        self.pause = None;
        let silence = browser::now().saturating_sub(self.last_text);
        match u64::from(PAUSE_MS).checked_sub(silence) {
            None | Some(0) => self.view.draw_rest(),
            Some(left) => self.wait_for_pause(left as u32),
        }
    }

    fn wait_for_pause(&mut self, ms: u32) {
        let inbox = self.inbox.clone();
        self.pause = Some(Timeout::new(ms, move || inbox.put(Item::Paused)));
    }

    fn cancel(&mut self) {
        if let Some(Wanted::Frame(frame)) = self.wanted.take() {
            frame.cancel();
        }
    }
}

impl Drop for Drawing {
    fn drop(&mut self) {
        self.cancel();
    }
}

impl Wanted {
    fn step(ring: impl FnOnce() + 'static) -> Self {
        Self::Step {
            _timer: Timeout::new(HIDDEN_STEP_MS, ring),
        }
    }
}
