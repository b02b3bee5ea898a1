//! Identifiers, and the numbers of things within a run.

use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};
use uuid::Uuid;

/// Place of an entry in its run's log. The first is 1; 0 as a cursor means "from the start".
pub type Seq = u64;

/// Number of a span within its run, from 1.
pub type SpanNo = u32;

/// Number of a block within its run, from 1.
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
            /// A new identifier (UUID version 7, so that identifiers sort by the time they were made).
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
    /// One attempt to answer. Never reused.
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

/// An image that was sent: the SHA-256 of its bytes in hexadecimal.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ImageId(pub String);

impl ImageId {
    /// Where the image is. It is safe in an attribute: what is no part of a hash is left out.
    pub fn address(&self) -> String {
        let mut address = "/api/images/".to_owned();
        address.extend(self.0.chars().filter(char::is_ascii_hexdigit));
        address
    }
}
