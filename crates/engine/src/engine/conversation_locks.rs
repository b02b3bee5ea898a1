//! A lock for each conversation.

use headwater_protocol::ConversationId;
use parking_lot::Mutex;
use std::{
    collections::HashMap,
    sync::{Arc, Weak},
};
use tokio::sync::OwnedMutexGuard;

/// Locks that exist as long as somebody holds them or waits for them.
///
/// Whoever looks whether a conversation is free and then changes it holds its lock in between.
/// Commands on different conversations do not wait for each other, so they can share a commit.
#[derive(Debug, Default)]
pub(super) struct ConversationLocks(Mutex<HashMap<ConversationId, Weak<tokio::sync::Mutex<()>>>>);

impl ConversationLocks {
    /// Waits for the lock of a conversation. Those who wait get it in the order in which they asked.
    pub(super) async fn lock(&self, id: ConversationId) -> OwnedMutexGuard<()> {
        self.of(id).lock_owned().await
    }

    fn of(&self, id: ConversationId) -> Arc<tokio::sync::Mutex<()>> {
        let mut locks = self.0.lock();
        if let Some(lock) = locks.get(&id).and_then(Weak::upgrade) {
            return lock;
        }
        locks.retain(|_, lock| lock.strong_count() > 0);
        let lock = Arc::default();
        locks.insert(id, Arc::downgrade(&lock));
        lock
    }
}
