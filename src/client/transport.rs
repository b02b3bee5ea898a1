//! The ways in which the events of a run come to this tab. [`open`] takes the one that is right.

mod direct;
mod poll;
mod socket;
mod stream;
mod tabs;

use super::{follow::Input, relay::Wanted};
use headwater_protocol::socket::Message;
use std::{any::Any, rc::Rc};
pub(super) use tabs::{join, open};

/// What hears of a stream: [`Input::Opened`], [`Input::Frame`], and [`Input::Broken`] once. It is called from
/// within the browser's callbacks, so it should only take a note.
pub(super) type Hear = Rc<dyn Fn(Input)>;

/// An open stream. Dropping it closes the stream, and nothing more is said of it.
pub(super) type Open = Box<dyn Any>;

/// A way in which the events of a run can come. All of them bring the same frames: the state machine in
/// [`super::follow`] does not know which one it is.
trait Transport {
    /// Opens a stream. `None` where the browser refuses it outright.
    fn open(&self, wanted: &Wanted, hear: Hear) -> Option<Open>;
}

/// The frame in a message of a WebSocket, or in the answer to a poll.
fn frame_of(message: &Message<'_>) -> Option<Input> {
    Some(Input::Frame {
        id: message.id.map(|id| id.to_string()).unwrap_or_default(),
        data: message.data?.get().to_owned(),
    })
}
