//! Identifiers, and numbers within a run.

use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};
use uuid::Uuid;

/// The number of an entry in its run's log, from 1. As a cursor, 0 means “from the start”.
pub type Seq = u64;

/// The number of a span within its run, from 1.
pub type SpanNo = u32;

/// The number of a block within its run, from 1.
pub type BlockNo = u32;

/// Milliseconds since 1970-01-01 UTC.
pub type UnixMs = u64;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub Uuid);

        #[cfg(feature = "new-ids")]
        impl $name {
            /// A new identifier: a [UUID version
            /// 7](https://www.rfc-editor.org/rfc/rfc9562#name-uuid-version-7), so that identifiers
            /// sort by the time at which they were made.
            #[expect(clippy::new_without_default, reason = "two defaults would differ")]
            pub fn new() -> Self {
                Self(Uuid::now_v7())
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl FromStr for $name {
            type Err = uuid::Error;
            fn from_str(text: &str) -> Result<Self, Self::Err> {
                text.parse().map(Self)
            }
        }
    };
}

id! {
    /// A run: the work that answers one message. Never reused.
    RunId
}
id! {
    /// A conversation: a tree of messages with one current branch.
    ConversationId
}
id! {
    /// A message of a conversation, a person's or the assistant's.
    MessageId
}

/// A stored image: the SHA-256 of its bytes in hexadecimal.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ImageId(pub String);

impl ImageId {
    /// The path of the image on the server. It is safe in an HTML attribute, because everything but
    /// hexadecimal digits is left out.
    pub fn address(&self) -> String {
        let mut address = "/api/images/".to_owned();
        address.extend(self.0.chars().filter(char::is_ascii_hexdigit));
        address
    }
}
