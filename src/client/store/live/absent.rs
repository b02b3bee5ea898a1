//! The server's side of [`live`](super): nothing is followed.

use crate::client::store::{Chat, news::News};
use headwater_protocol::ConversationId;

#[derive(Default)]
pub(in crate::client::store) struct Live;

impl Live {
    pub(in crate::client::store) fn tell(&self, _: News, _: ConversationId) {}
}

pub(in crate::client::store) fn listen(_: Chat) {}
pub(in crate::client::store) fn follow(_: Chat) {}
