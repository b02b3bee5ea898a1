//! The wire contract of Headwater, and everything that both sides of it share.
//!
//! A *run* is one attempt to answer. Its log is a list of [`Entry`]s numbered 1, 2, 3 … without a
//! gap; exactly one [`Event::RunFinished`] ends it. Whoever reads a run (a tab, the command line,
//! another program) reads these events and nothing else.
//!
//! - The contract itself is at the root: identifiers, events, errors, usage, answers of commands.
//! - [`chat`]: what a conversation is, and the one fold of a log into what a person sees.
//! - [`markdown`]: a growing text into blocks of safe HTML.
//!
//! Everything here is pure: no clock, no I/O, no framework. It builds for the browser as it builds
//! for the server.
//!
//! Readers ignore event kinds, enum words and fields that they do not know, so that a newer server
//! may add some. [`PROTOCOL_VERSION`] changes only when an old reader would misread a new stream.

pub mod chat;
pub mod markdown;

mod commands;
mod error;
mod event;
mod ids;
mod models;
mod read;
mod usage;

pub use commands::{Started, Stopped};
pub use error::{Error, ErrorCode};
pub use event::{BlockKind, Entry, Event, Finish, FinishReason, SpanKind, Stage, Status, ToolCall};
pub use ids::{BlockNo, ConversationId, ImageId, MessageId, RunId, Seq, SpanNo, UnixMs};
pub use models::{Catalog, ModelInfo, ProviderState};
pub use usage::{Timing, Usage};

/// Version of this contract, carried by [`Event::RunStarted`].
pub const PROTOCOL_VERSION: u32 = 1;

/// The longest message a person can send, in bytes of UTF-8.
///
/// One megabyte of pasted text is refused with a sentence; anything below is the model's matter.
pub const MAX_TEXT_BYTES: usize = 512 * 1024;

/// The largest image, in bytes: Anthropic's limit, the smallest of the vendors'. Where it is meant
/// for the base64 form, a third larger, the vendor's refusal is what the person reads.
pub const MAX_IMAGE_BYTES: usize = 5_000_000;

/// Where images are sent to: the body is the image, the answer its identifier as JSON.
pub const IMAGES: &str = "/api/images";
