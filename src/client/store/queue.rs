//! The queue of messages that are sent when the current answer ends.

use super::Chat;
use crate::browser;
use headwater_protocol::{ConversationId, ImageId};
use leptos::prelude::*;
use serde::{Deserialize, Serialize};

/// A message that is sent when the current answer ends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Queued {
    /// The idempotency key of the message.
    pub client_id: String,
    /// What the person wrote.
    pub text: String,
    /// The images of the message.
    #[serde(default)]
    pub images: Vec<ImageId>,
}

impl Chat {
    /// Sends a message, or queues it while an answer is being written.
    pub fn send(self, text: String) {
        let images = self.images.with_untracked(Vec::clone);
        if text.trim().is_empty() && images.is_empty() {
            return;
        }
        self.images.set(Vec::new());
        let message = Queued {
            client_id: browser::random_id().to_string(),
            text,
            images,
        };
        if self.sending.get_untracked() || self.running_view().is_some() {
            self.change_queue(|queue| queue.push(message));
        } else {
            self.start_at_head(message);
        }
    }

    /// Sends the first message of the queue, unless an answer is being written.
    pub fn send_queued(self) {
        if self.sending.get_untracked() || self.running_view().is_some() {
            return;
        }
        let next = self.change_queue(|queue| (!queue.is_empty()).then(|| queue.remove(0)));
        if let Some(message) = next.flatten() {
            self.start_at_head(message);
        }
    }

    /// Removes a message from the queue and returns its text. Its images are attached to the next
    /// message.
    pub fn unqueue(self, client_id: &str) -> Option<String> {
        let taken = self.change_queue(|queue| {
            let at = queue
                .iter()
                .position(|queued| queued.client_id == client_id)?;
            Some(queue.remove(at))
        });
        let Queued { text, images, .. } = taken.flatten()?;
        self.take_back(images);
        Some(text)
    }

    /// Changes the queue and stores it.
    pub(super) fn change_queue<R>(self, change: impl FnOnce(&mut Vec<Queued>) -> R) -> Option<R> {
        let result = self.queue.try_update(change);
        if let Some(id) = self.id.get_untracked() {
            self.queue.with_untracked(|queue| store(id, queue));
        }
        result
    }

    pub(super) fn stored_queue(self) -> Vec<Queued> {
        self.id.get_untracked().map(stored).unwrap_or_default()
    }
}

/// Stores a queue, so that it survives a reload of the tab. If two tabs have copies of one message,
/// the server accepts it once, because they share its `client_id`.
pub(super) fn store(id: ConversationId, queue: &[Queued]) {
    match serde_json::to_string(queue) {
        Ok(json) if !queue.is_empty() => browser::save_in_tab(&key(id), &json),
        _ => browser::forget_in_tab(&key(id)),
    }
}

/// The queue that was stored with [`store`].
pub(super) fn stored(id: ConversationId) -> Vec<Queued> {
    browser::load_in_tab(&key(id))
        .and_then(|json| serde_json::from_str(&json).ok())
        .unwrap_or_default()
}

fn key(id: ConversationId) -> String {
    format!("queue.{id}")
}
