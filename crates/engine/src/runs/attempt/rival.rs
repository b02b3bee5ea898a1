//! A second call beside a slow one, which has not said anything yet.

use super::Item;
use crate::{
    provider::ProviderEvent,
    runs::{
        bounds::{call_weight, weight},
        call::Call,
    },
};
use futures::{StreamExt, stream::BoxStream};
use headwater_protocol::{Error, ErrorCode};
use std::future;

/// The most events that a rival may tell before its first text; more is no beginning of an answer.
const MAX_HELD: usize = 256;

/// The most bytes in them.
const MAX_HELD_BYTES: usize = 1_000_000;

/// A second call that has not said anything yet.
pub(super) struct Rival {
    pub(super) call: Call,
    pub(super) stream: BoxStream<'static, Item>,
    /// What it told before its first text.
    pub(super) held: Vec<ProviderEvent>,
    /// How many bytes more it may tell.
    room: usize,
}

impl Rival {
    pub(super) fn new(call: Call, stream: BoxStream<'static, Item>) -> Self {
        Self {
            call,
            stream,
            held: Vec::new(),
            room: MAX_HELD_BYTES,
        }
    }

    /// Keeps what it says before its first text.
    ///
    /// # Errors
    /// `malformed` where there is no room for it: that is no beginning of an answer.
    pub(super) fn told(&mut self, event: ProviderEvent) -> Result<(), Error> {
        let length = match &event {
            ProviderEvent::BlockStarted { tool, .. } => tool.as_ref().map_or(0, call_weight),
            ProviderEvent::BlockFinished { value, .. } => weight(value),
            _ => 0,
        };
        match self.room.checked_sub(length) {
            Some(room) if self.held.len() < MAX_HELD => self.room = room,
            _ => return Err(too_much_told()),
        }
        match &event {
            ProviderEvent::Usage(usage) => self.call.counted = Some(*usage),
            ProviderEvent::Connected => self.call.reached = true,
            _ => {}
        }
        self.held.push(event);
        Ok(())
    }
}

/// What a rival says next; never, if there is none.
pub(super) async fn next_of(rival: &mut Option<Rival>) -> Option<Item> {
    match rival {
        Some(rival) => rival.stream.next().await,
        None => future::pending().await,
    }
}

/// What a person would call the first sign of an answer; an end without text is one too.
pub(super) fn is_content(event: &ProviderEvent) -> bool {
    match event {
        ProviderEvent::Delta { text, .. } => !text.is_empty(),
        ProviderEvent::Picture(_) | ProviderEvent::Finished { .. } => true,
        _ => false,
    }
}

fn too_much_told() -> Error {
    Error::new(
        ErrorCode::Malformed,
        "The provider sent much that is no answer.",
    )
    .at("writing")
}
