//! What tabs tell each other about a conversation.

use headwater_protocol::ConversationId;

/// What happened to a conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum News {
    /// An answer has begun.
    Started,
    /// An answer has ended.
    Finished,
    /// Its title, its place in the list or its current branch changed.
    Changed,
    /// It is gone.
    Deleted,
}

impl News {
    const WORDS: [(Self, &str); 4] = [
        (Self::Started, "started"),
        (Self::Finished, "finished"),
        (Self::Changed, "changed"),
        (Self::Deleted, "deleted"),
    ];

    /// The message on the channel: a word and the identifier.
    pub(super) fn encode(self, id: ConversationId) -> String {
        let word = Self::WORDS
            .iter()
            .find(|(news, _)| *news == self)
            .map_or("", |(_, word)| word);
        format!("{word} {id}")
    }

    /// Reads what [`News::encode`] wrote; `None` for what only a newer page can read.
    pub(super) fn decode(message: &str) -> Option<(Self, ConversationId)> {
        let (word, id) = message.split_once(' ')?;
        let (news, _) = Self::WORDS.iter().find(|(_, known)| *known == word)?;
        Some((*news, id.parse().ok()?))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may fail by panic")]
mod tests {
    use super::*;

    #[test]
    fn what_is_encoded_is_decoded_and_nothing_else() {
        let id: ConversationId = "0190a0c4-0000-7000-8000-000000000001".parse().unwrap();
        for (news, _) in News::WORDS {
            assert_eq!(News::decode(&news.encode(id)), Some((news, id)));
        }
        for message in ["", "started", "started ?", &format!("danced {id}")] {
            assert_eq!(News::decode(message), None, "{message}");
        }
    }
}
