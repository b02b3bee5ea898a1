//! The owners of the signals of messages.
//!
//! A signal belongs to the reactive owner that is current when it is made, and in a callback of the
//! browser there is none. So each message has its own owner, a child of the chat's.

use headwater_protocol::MessageId;
use leptos::prelude::Owner;

/// The owners of the messages on the screen.
pub(super) struct MessageOwners {
    /// The parent of all of them, and a child of the chat's owner. Only the chat holds it, so it is
    /// disposed of with the chat.
    root: Owner,
    owners: Vec<(MessageId, Owner)>,
}

impl MessageOwners {
    pub(super) fn new() -> Self {
        let root = Owner::current().map_or_else(Owner::new, |owner| owner.child());
        Self {
            root,
            owners: Vec::new(),
        }
    }

    /// Makes an owner for the signals of a message.
    pub(super) fn add(&mut self, id: MessageId) -> Owner {
        let owner = self.root.child();
        self.owners.push((id, owner.clone()));
        owner
    }

    /// Removes the owners of the messages that do not `stay`. The caller drops them when no view
    /// reads their signals any more.
    pub(super) fn remove(&mut self, stay: impl Fn(MessageId) -> bool) -> Vec<Owner> {
        self.owners
            .extract_if(.., |(id, _)| !stay(*id))
            .map(|(_, owner)| owner)
            .collect()
    }
}
