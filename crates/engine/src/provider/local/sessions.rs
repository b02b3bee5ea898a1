//! What was computed for earlier turns, kept for the next ones within a limit of memory.

use super::decoder::Session;
use parking_lot::Mutex;
use std::collections::VecDeque;

/// Sessions of conversations that no thread works on now, the one used longest ago first.
pub(super) struct Sessions {
    limit: usize,
    kept: Mutex<VecDeque<(String, Session)>>,
}

impl Sessions {
    /// Keeps up to `limit` bytes.
    pub(super) fn new(limit: usize) -> Self {
        Self {
            limit,
            kept: Mutex::default(),
        }
    }

    /// Takes a conversation's session out, so that no other run can touch it; a fresh one if there
    /// is none or another run has it.
    pub(super) fn take(&self, conversation: &str) -> Session {
        let mut kept = self.kept.lock();
        kept.iter()
            .position(|(name, _)| name == conversation)
            .and_then(|i| kept.remove(i))
            .map(|(_, session)| session)
            .unwrap_or_default()
    }

    /// Gives a session back. The ones used longest ago leave until all fit; one that is too large
    /// by itself is not kept.
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

    /// Memory of all kept sessions in bytes.
    #[cfg(test)]
    pub(super) fn bytes(&self) -> usize {
        let kept = self.kept.lock();
        kept.iter().map(|(_, session)| session.bytes()).sum()
    }
}
