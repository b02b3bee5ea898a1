//! The cache of sessions, within a limit of memory.

use super::decoder::Session;
use parking_lot::Mutex;
use std::collections::VecDeque;

/// The sessions of conversations that no thread is working on, least recently used first.
pub(super) struct Sessions {
    limit: usize,
    kept: Mutex<VecDeque<(String, Session)>>,
}

impl Sessions {
    /// A cache of at most `limit` bytes.
    pub(super) fn new(limit: usize) -> Self {
        Self {
            limit,
            kept: Mutex::default(),
        }
    }

    /// Takes the session of a conversation out of the cache, so that no other run can use it. A new
    /// one if there is none, or if another run has it.
    pub(super) fn take(&self, conversation: &str) -> Session {
        let mut kept = self.kept.lock();
        kept.iter()
            .position(|(name, _)| name == conversation)
            .and_then(|i| kept.remove(i))
            .map(|(_, session)| session)
            .unwrap_or_default()
    }

    /// Puts a session back. The least recently used ones are evicted until all fit. A session that
    /// is too large by itself is not kept.
    pub(super) fn put(&self, conversation: &str, session: Session) {
        if conversation.is_empty() || session.ids().is_empty() || session.bytes() > self.limit {
            return;
        }
        let mut kept = self.kept.lock();
        kept.retain(|(name, _)| name != conversation);
        kept.push_back((conversation.to_owned(), session));
        let mut total: usize = kept.iter().map(|(_, session)| session.bytes()).sum();
        while total > self.limit
            && let Some((_, oldest)) = kept.pop_front()
        {
            total -= oldest.bytes();
        }
    }

    /// The memory of all cached sessions in bytes.
    #[cfg(test)]
    pub(super) fn bytes(&self) -> usize {
        let kept = self.kept.lock();
        kept.iter().map(|(_, session)| session.bytes()).sum()
    }
}
