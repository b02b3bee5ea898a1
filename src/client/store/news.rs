//! The messages about a conversation between the tabs of a browser.

use headwater_protocol::ConversationId;

/// The channel that they go through.
pub(super) const CHANNEL: &str = "headwater";

/// What happened to a conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum News {
    /// An answer has begun.
    Started,
    /// An answer has ended.
    Finished,
    /// The title, the place in the list or the current branch changed.
    Changed,
    /// The conversation was deleted.
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

    /// Reads the output of [`News::encode`]. `None` for a message of a newer version.
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
