//! A second call beside a slow first one: a [hedged request][tail].
//!
//! [tail]: https://research.google/pubs/the-tail-at-scale/

use super::model_call::ModelCall;
use crate::{
    provider::ProviderEvent,
    runs::bounds::{call_weight, weight},
};
use headwater_protocol::{Error, ErrorCode};
use std::future;
use tokio::time::{Instant, sleep_until};

/// The most events that a rival may send before its first content.
const MAX_HELD: usize = 256;

/// The most bytes in these events.
const MAX_HELD_BYTES: usize = 1_000_000;

/// The second call of an attempt, from the wait for it to its end.
pub(super) enum Hedge {
    /// There is none, and there will be none.
    Off,
    /// It is asked for at this moment, unless the first call has sent content by then.
    Due(Instant),
    /// It is asked for, and has not sent content yet.
    Asked(Box<Rival>),
}

/// A second call that has not sent content yet.
pub(super) struct Rival {
    pub(super) call: ModelCall,
    /// The events so far, for the case that this call wins.
    pub(super) held: Vec<ProviderEvent>,
    /// How many bytes more they may have.
    room: usize,
}

/// What an attempt has to react to.
pub(super) enum HedgeEvent {
    /// It is time to ask for the second call.
    Due,
    /// The second call has sent its first content and so has won.
    Content(ProviderEvent),
    /// The second call has failed.
    Failed(Error),
}

impl Hedge {
    /// Begins the wait, or none without a time.
    pub(super) fn at(due: Option<Instant>) -> Self {
        due.map_or(Self::Off, Self::Due)
    }

    pub(super) fn asked(call: ModelCall) -> Self {
        Self::Asked(Box::new(Rival {
            call,
            held: Vec::new(),
            room: MAX_HELD_BYTES,
        }))
    }

    pub(super) fn is_asked(&self) -> bool {
        matches!(self, Self::Asked(_))
    }

    /// Waits for the next event; for ever where none can come. It may be dropped while it waits.
    pub(super) async fn next(&mut self) -> HedgeEvent {
        match self {
            Self::Off => future::pending().await,
            Self::Due(at) => {
                sleep_until(*at).await;
                HedgeEvent::Due
            }
            Self::Asked(rival) => loop {
                match rival.call.next().await {
                    Ok(event) if is_content(&event) => return HedgeEvent::Content(event),
                    Ok(event) => {
                        if let Err(error) = rival.hold(event) {
                            return HedgeEvent::Failed(error);
                        }
                    }
                    Err(error) => return HedgeEvent::Failed(error),
                }
            },
        }
    }
}

impl Rival {
    /// Keeps an event without content.
    ///
    /// # Errors
    /// `malformed` where the events are too many or too large for the beginning of an answer.
    fn hold(&mut self, event: ProviderEvent) -> Result<(), Error> {
        let length = match &event {
            ProviderEvent::BlockStarted { tool, .. } => tool.as_ref().map_or(0, call_weight),
            ProviderEvent::BlockFinished { value, .. } => weight(value),
            _ => 0,
        };
        match self.room.checked_sub(length) {
            Some(room) if self.held.len() < MAX_HELD => self.room = room,
            _ => return Err(too_much()),
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

/// Whether this is what a person would call the first sign of an answer. The end of an answer
/// without text is one, too.
fn is_content(event: &ProviderEvent) -> bool {
    match event {
        ProviderEvent::Delta { text, .. } => !text.is_empty(),
        ProviderEvent::Image(_) | ProviderEvent::Finished { .. } => true,
        _ => false,
    }
}

fn too_much() -> Error {
    Error::new(
        ErrorCode::Malformed,
        "The provider sent much that is no answer.",
    )
    .at("writing")
}
