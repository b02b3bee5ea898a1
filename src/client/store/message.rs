//! A message on the screen, and the state of an answer.

use super::Body;
use crate::browser;
use headwater_protocol::{
    Error, ImageId, MessageId, RunId, Stage, Status, Timing, UnixMs, Usage,
    chat::{Message, Role},
};
use leptos::prelude::*;

/// A message on the screen. Cheap to clone; equal by identity for keyed lists.
#[derive(Clone, Copy)]
pub struct MessageView {
    /// The identifier.
    pub id: MessageId,
    /// The message before this one; `None` for the first.
    pub parent: Option<MessageId>,
    /// Who wrote it.
    pub role: Role,
    /// When the message was sent or begun.
    pub created: UnixMs,
    /// The text of a person's message.
    pub text: RwSignal<String>,
    /// The images that the person attached or the model made.
    pub images: RwSignal<Vec<ImageId>>,
    /// All messages with the same parent, this one included.
    pub branches: RwSignal<Vec<MessageId>>,
    /// The state of the answer, changed at most once per animation frame.
    pub state: RwSignal<AnswerState>,
    /// Incremented when the text of the answer has changed, at most once per animation frame. The
    /// view then reads the new text with [`MessageView::with_body`].
    pub version: RwSignal<u64>,
    pub(super) body: StoredValue<Body>,
}

impl PartialEq for MessageView {
    fn eq(&self, other: &Self) -> bool {
        self.id == other.id
    }
}

impl Eq for MessageView {}

impl MessageView {
    /// A view of a message. Its signals belong to the current owner.
    pub(crate) fn new(message: Message) -> Self {
        let body = Body::new(message.answers);
        let images = match message.role {
            Role::User => message.images,
            Role::Assistant => body.images.clone(),
        };
        let mut state = AnswerState::default();
        body.tell(&mut state);
        Self {
            id: message.id,
            parent: message.parent,
            role: message.role,
            created: message.created,
            text: RwSignal::new(message.text),
            images: RwSignal::new(images),
            branches: RwSignal::new(message.branches),
            state: RwSignal::new(state),
            version: RwSignal::new(0),
            body: StoredValue::new(body),
        }
    }

    /// Reads the text of an answer. Not tracked: subscribe to [`MessageView::version`] for changes.
    pub fn with_body<R>(self, f: impl FnOnce(&Body) -> R) -> R {
        self.body.with_value(f)
    }

    /// Reads the text of an answer and lets the renderer settle what it draws. Not tracked.
    pub fn with_body_mut<R>(self, f: impl FnOnce(&mut Body) -> R) -> R {
        let mut result = None;
        self.body.update_value(|body| result = Some(f(body)));
        result.expect("a message's text lives as long as its view")
    }

    /// Takes over newer state from the server.
    pub(super) fn update(&mut self, message: Message) {
        self.parent = message.parent;
        self.created = message.created;
        if self.text.with_untracked(|text| *text != message.text) {
            self.text.set(message.text);
        }
        if self.role == Role::User {
            self.set_images(&message.images);
        }
        if self
            .branches
            .with_untracked(|branches| *branches != message.branches)
        {
            self.branches.set(message.branches);
        }
        if self
            .body
            .try_update_value(|body| body.adopt(message.answers))
            == Some(true)
        {
            self.paint(true, |state| {
                // The stream will not deliver this text again.
                if state.is_running() && state.words > 0 {
                    state.last_text = browser::now();
                }
            });
        }
    }

    /// Updates the signals from the fold. `text` says whether text has arrived.
    pub(super) fn paint(self, text: bool, adjust: impl FnOnce(&mut AnswerState)) {
        let mut state = self.state.get_untracked();
        let anew = self.body.try_update_value(|body| {
            let anew = body.paint();
            body.tell(&mut state);
            anew
        });
        if self.role == Role::Assistant {
            let images = self.body.with_value(|body| body.images.clone());
            self.set_images(&images);
        }
        adjust(&mut state);
        if self.state.with_untracked(|old| *old != state) {
            self.state.set(state);
        }
        if text || anew == Some(true) {
            self.version.update(|version| *version += 1);
        }
    }

    /// Shows the part of a long block that the renderer left out, if there is one.
    #[cfg(feature = "hydrate")]
    pub(super) fn draw_rest(self) {
        let rest = |body: &mut Body| body.text.refresh();
        if self.body.try_update_value(rest) == Some(true) {
            self.version.update(|version| *version += 1);
        }
    }

    fn set_images(self, new: &[ImageId]) {
        if self.images.with_untracked(|images| images != new) {
            self.images.set(new.to_vec());
        }
    }

    /// The run that is writing this message.
    pub(super) fn running(self) -> Option<RunId> {
        self.state
            .with_untracked(|state| state.run.filter(|_| state.status.is_none()))
    }
}

/// The state of an answer, for the status line, the failure and the receipt.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AnswerState {
    /// The last run of this message.
    pub run: Option<RunId>,
    /// The model that answers, as `provider/model`.
    pub model: String,
    /// Whether this model is a fallback, because the chosen one could not answer.
    pub stand_in: bool,
    /// How the run ended; `None` while it goes on.
    pub status: Option<Status>,
    /// Whether there is text that a model can be asked to go on with, see
    /// [`can_continue`](headwater_protocol::chat::Answer::can_continue).
    pub can_continue: bool,
    /// What the run waits for, before and between tokens.
    pub stage: Option<Stage>,
    /// When the stage began.
    pub stage_since: UnixMs,
    /// When the last text arrived; 0 before the first.
    pub last_text: UnixMs,
    /// Whether the newest block is reasoning.
    pub thinking: bool,
    /// Whether a stop was requested and is not confirmed yet.
    pub stopping: bool,
    /// How long the provider took to close after a stop, in milliseconds.
    pub stopped_in_ms: Option<u64>,
    /// Whether a power cut of the server took back what was shown.
    pub rewound: bool,
    /// The number of words that arrived while the reader was away. It is shown once.
    pub caught_up_words: Option<u64>,
    /// The number of words of visible text.
    pub words: u64,
    /// How many old messages were left out because the model's context is too small.
    pub trimmed: u32,
    /// The tokens of the run so far.
    pub usage: Usage,
    /// The times of the run, once it has ended.
    pub timing: Option<Timing>,
    /// Why the run failed. The text so far is kept.
    pub error: Option<Error>,
    /// When the server accepted the run.
    pub accepted: UnixMs,
    /// How often this page has resumed the stream.
    pub reconnects: u32,
}

impl AnswerState {
    /// Whether there is a run and it has not ended.
    pub fn is_running(&self) -> bool {
        self.run.is_some() && self.status.is_none()
    }
}
