//! The list of conversations and the cursors between its pages.

use crate::{ConversationId, UnixMs};
use serde::{Deserialize, Serialize};

/// A conversation as the sidebar lists it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary {
    /// The identifier.
    pub id: ConversationId,
    /// The name: at first the beginning of the first message.
    pub title: String,
    /// Whether the conversation is listed before those that are not pinned.
    pub pinned: bool,
    /// When the last message began.
    pub updated: UnixMs,
    /// Whether an answer is being written.
    pub running: bool,
}

impl Summary {
    /// Its place in the list.
    pub fn place(&self) -> ListPlace {
        ListPlace {
            pinned: self.pinned,
            updated: self.updated,
            id: self.id,
        }
    }
}

/// A place in the list of conversations, the cursor between two pages. Larger places are nearer to
/// the top. The next page begins after the place at which the last one ended, so conversations that
/// are added or deleted meanwhile shift nothing.
///
/// As text it is `pinned.updated.id` with `pinned` as 0 or 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ListPlace {
    /// See [`Summary::pinned`].
    pub pinned: bool,
    /// See [`Summary::updated`].
    pub updated: UnixMs,
    /// See [`Summary::id`].
    pub id: ConversationId,
}

impl ListPlace {
    /// The place before all conversations.
    pub const START: Self = Self {
        pinned: true,
        updated: UnixMs::MAX,
        id: ConversationId(uuid::Uuid::max()),
    };
}

impl std::fmt::Display for ListPlace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}.{}", u8::from(self.pinned), self.updated, self.id)
    }
}

impl std::str::FromStr for ListPlace {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let read = || {
            let (pinned, rest) = text.split_once('.')?;
            let (updated, id) = rest.split_once('.')?;
            Some(Self {
                pinned: match pinned {
                    "0" => false,
                    "1" => true,
                    _ => return None,
                },
                updated: updated.parse().ok()?,
                id: id.parse().ok()?,
            })
        };
        read().ok_or("a place in the list is “pinned.updated.id”, as in 0.1730000000000.019…")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_read_as_it_is_written() {
        let id = "019aa000-0000-7000-8000-000000000001";
        for (text, pinned, updated) in [
            (format!("0.1730000000000.{id}"), false, 1_730_000_000_000),
            (format!("1.0.{id}"), true, 0),
        ] {
            let place: ListPlace = text.parse().expect("readable");
            assert_eq!((place.pinned, place.updated), (pinned, updated));
            assert_eq!(place.to_string(), text);
        }
        for text in [
            "",
            "1",
            "2.0.x",
            "0.x.y",
            &format!("2.1.{id}"),
            &format!("0.-1.{id}"),
        ] {
            assert!(text.parse::<ListPlace>().is_err(), "{text}");
        }
    }
}
