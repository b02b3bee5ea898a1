//! The wire contract of Headwater, and everything that both sides of it share.
//!
//! A *run* answers one message, in one attempt or several. Its log is a list of [`Entry`]s numbered
//! 1, 2, 3 … without a gap, and exactly one [`Event::RunFinished`] ends it. Every reader of a run
//! (a tab, the command line, another program) reads these events and nothing else.
//!
//! - The contract itself is at the root: identifiers, events, errors, usage, answers of commands.
//! - [`chat`]: what a conversation is, and the one fold of a log into what a person sees.
//! - [`markdown`]: renders a growing text as blocks of safe HTML.
//! - [`socket`]: the messages of the WebSocket.
//!
//! Everything here is pure: no clock, no I/O, no framework. It builds for the server and for the
//! browser.
//!
//! Readers ignore event kinds, enum words and fields that they do not know, so that a newer server
//! can add some. [`PROTOCOL_VERSION`] changes only when an old reader would misread a new stream.

pub mod chat;
pub mod markdown;
pub mod socket;

mod commands;
mod error;
mod event;
mod ids;
mod models;
mod read;
mod usage;

pub use commands::{RunHead, Started, Stopped};
pub use error::{Error, ErrorCode};
pub use event::{BlockKind, Entry, Event, Finish, FinishReason, SpanKind, Stage, Status, ToolCall};
pub use ids::{BlockNo, ConversationId, ImageId, MessageId, RunId, Seq, SpanNo, UnixMs};
pub use models::{CHAIN, Catalog, ModelInfo, ProviderState, is_chain};
pub use usage::{Timing, Usage};

/// A [`Status`], an [`ErrorCode`] or another kind without fields, as it is on the wire: one word.
pub fn word(kind: impl serde::Serialize) -> String {
    let word = serde_json::to_value(kind).unwrap_or_default();
    word.as_str().unwrap_or_default().to_owned()
}

/// The version of this contract, carried by [`Event::RunStarted`].
pub const PROTOCOL_VERSION: u32 = 1;

/// The longest message a person can send, in bytes of UTF-8.
///
/// A longer one is refused with a sentence. Whether a shorter one fits is up to the model.
pub const MAX_TEXT_BYTES: usize = 512 * 1024;

/// The largest image, in bytes: [Anthropic's
/// limit](https://docs.anthropic.com/en/docs/build-with-claude/vision), the smallest of all
/// providers. A provider that counts the base64 form, which is a third larger, may still refuse an
/// image; the person then reads the refusal.
pub const MAX_IMAGE_BYTES: usize = 5_000_000;

/// The path that images are uploaded to. The body is the image, and the answer its [`ImageId`] as
/// JSON.
pub const IMAGES: &str = "/api/images";
