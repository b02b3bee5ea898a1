//! What a model looks like to the engine.
//!
//! A provider turns a [`ChatRequest`] into a stream of [`ProviderEvent`]s. It knows its vendor's
//! format and nothing about time: deadlines, stops and retries belong to the engine. Dropping the
//! stream is the only way to cancel. It must close the socket, or idle the thread, within 100 ms.

pub use blocks::made_up_id;
use futures::{future::BoxFuture, stream::BoxStream};
pub use headwater_protocol::chat::Effort;
use headwater_protocol::{BlockKind, Error, FinishReason, ModelInfo, Stage, ToolCall, Usage};
pub use http_provider::{HttpProvider, HttpProviderConfig};
use serde_json::Value;

pub mod anthropic;
mod api_client;
mod base64;
mod blocks;
mod catalog;
mod endpoint;
mod exchange;
mod fault;
pub mod gemini;
pub mod http;
mod http_provider;
mod json;
mod key_status;
#[cfg(feature = "local")]
pub mod local;
mod media;
pub mod ollama;
pub mod openai;
mod pieces;
pub mod responses;
pub mod scripted;
pub mod secret;
pub mod sse;
#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may fail by panic")]
pub(super) mod testing;
mod think;

/// Stands between the text before a round of tools and the text after it, which are two paragraphs
/// of the answer.
pub const PARAGRAPH: &str = "\n\n";

/// A source of answers.
pub trait Provider: Send + Sync + 'static {
    /// The models that can be chosen now. [`ModelInfo::id`] is the bare name of the model; the
    /// registry puts the provider's name in front of it.
    fn models(&self) -> BoxFuture<'_, Result<Vec<ModelInfo>, Error>>;

    /// Starts an answer. The stream begins its work when it is first polled. It ends after
    /// [`ProviderEvent::Finished`], which it yields once if the provider said that the answer is
    /// whole, or after an error. An end without either is a truncation; the engine notices it.
    fn stream(&self, request: ChatRequest) -> BoxStream<'static, Result<ProviderEvent, Error>>;

    /// Whether this model can continue a half-written answer ([`ChatRequest::prefill`]). If it
    /// cannot, the engine asks for the rest in words.
    fn can_prefill(&self, model: &str) -> bool {
        let _ = model;
        false
    }

    /// Whether the provider's models can call tools ([`ChatRequest::tools`]).
    fn can_call_tools(&self) -> bool {
        true
    }
}

/// A request to a model.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ChatRequest {
    /// The model, as the provider calls it.
    pub model: String,
    /// Identifies the conversation, so that a provider may reuse what it computed for it.
    pub conversation: String,
    /// The system prompt.
    pub system: Option<String>,
    /// The turns, oldest first. The last one is to be answered.
    pub messages: Vec<ChatMessage>,
    /// The half-written answer to continue, after `messages`.
    pub prefill: Option<String>,
    /// The tools that the model may call.
    pub tools: Vec<ToolDefinition>,
    /// How to sample.
    pub sampling: Sampling,
}

/// One turn of a conversation.
#[derive(Clone, Debug, PartialEq)]
pub struct ChatMessage {
    /// Who spoke. The results of tools are in the person's turns.
    pub role: Role,
    /// The parts of the turn, in order.
    pub parts: Vec<Part>,
}

impl ChatMessage {
    /// A turn that is only text.
    pub fn new(role: Role, text: impl Into<String>) -> Self {
        Self {
            role,
            parts: vec![Part::Text(text.into())],
        }
    }

    /// The text of the turn.
    pub fn text(&self) -> String {
        self.texts().collect()
    }

    /// The length of [`ChatMessage::text`] in bytes.
    pub fn text_len(&self) -> usize {
        self.texts().map(str::len).sum()
    }

    /// Whether the turn asks about images. Images before a part that is a [`PARAGRAPH`] do not
    /// count: they belong to earlier messages that were not answered.
    pub fn shows_images(&self) -> bool {
        let mut parts = self.parts.iter().rev();
        let is_break = |part: &Part| matches!(part, Part::Text(text) if text == PARAGRAPH);
        let own = parts.by_ref().take_while(|part| !is_break(part));
        own.into_iter().any(|part| matches!(part, Part::Image(_)))
    }

    fn texts(&self) -> impl Iterator<Item = &str> {
        self.parts.iter().filter_map(|part| match part {
            Part::Text(text) => Some(text.as_str()),
            _ => None,
        })
    }
}

/// A part of a turn.
#[derive(Clone, Debug, PartialEq)]
pub enum Part {
    /// Words.
    Text(String),
    /// An image.
    Image(Image),
    /// What this same model thought in an earlier turn, or gave beside its words to get it back.
    Reasoning {
        /// The thinking, as far as the provider shows it.
        text: String,
        /// The value of [`ProviderEvent::BlockFinished`], such as a signature. The provider wants
        /// it back unchanged. If it belongs to a call of this turn, its field `call` is the call's
        /// identifier.
        value: Value,
    },
    /// A tool call that the model made.
    ToolCall {
        /// The identifier of the call and the name of the tool.
        call: ToolCall,
        /// The arguments, a JSON object.
        arguments: Value,
    },
    /// The result of a tool call.
    ToolResult {
        /// The call that this answers.
        call: ToolCall,
        /// What the tool said, or why it failed.
        text: String,
        /// Whether the tool failed.
        failed: bool,
    },
}

/// An image for the model, or one that it made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// `image/png`, `image/jpeg`, `image/webp` or `image/gif`.
    pub media_type: String,
    /// The bytes of the file.
    pub data: bytes::Bytes,
}

impl Image {
    /// The media type that a file's first bytes show; `None` if it is not an image of a supported
    /// type.
    pub fn media_type_of(data: &[u8]) -> Option<&'static str> {
        match data {
            [0x89, b'P', b'N', b'G', 0x0d, 0x0a, 0x1a, 0x0a, ..] => Some("image/png"),
            [0xff, 0xd8, 0xff, ..] => Some("image/jpeg"),
            [b'G', b'I', b'F', b'8', b'7' | b'9', b'a', ..] => Some("image/gif"),
            [
                b'R',
                b'I',
                b'F',
                b'F',
                _,
                _,
                _,
                _,
                b'W',
                b'E',
                b'B',
                b'P',
                ..,
            ] => Some("image/webp"),
            _ => None,
        }
    }
}

/// What a model is told about a tool.
#[derive(Clone, Debug, PartialEq)]
pub struct ToolDefinition {
    /// The name: at most 64 letters, digits, `_` and `-`. That is OpenAI's rule, the strictest
    /// (<https://platform.openai.com/docs/api-reference/chat/create>).
    pub name: String,
    /// What the tool does and when to use it, for the model.
    pub description: String,
    /// The JSON Schema of the arguments.
    pub parameters: Value,
}

/// Who spoke.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The person.
    User,
    /// The model.
    Assistant,
}

/// How to sample. `None` leaves a setting to the provider.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sampling {
    /// From 0, which always takes the most likely token, to 1 or 2, depending on the provider.
    pub temperature: Option<f32>,
    /// Nucleus sampling: the share of probability to choose from, from 0 to 1.
    pub top_p: Option<f32>,
    /// The most tokens to write.
    pub max_tokens: Option<u32>,
    /// How much to think before the answer, for models that can.
    pub effort: Option<Effort>,
}

/// What a provider yields while it answers.
#[derive(Clone, Debug, PartialEq)]
pub enum ProviderEvent {
    /// The stage of the work. Before the first token it restarts the deadline for that token; a
    /// place in a queue suspends the deadline.
    Stage(Stage),
    /// The head of the provider's answer came. Content may still take a while.
    Connected,
    /// A block began.
    BlockStarted {
        /// The number of the block, unique within this stream.
        index: u32,
        /// What the block holds.
        kind: BlockKind,
        /// The tool call that the block belongs to.
        tool: Option<ToolCall>,
    },
    /// More text of an open block.
    Delta {
        /// The number of the block.
        index: u32,
        /// The new text. Empty text does not count as content.
        text: String,
    },
    /// An open block turned out to be of another kind, such as text that was thinking.
    BlockRelabelled {
        /// The number of the block.
        index: u32,
        /// What the block holds.
        kind: BlockKind,
    },
    /// An image that the model made. It is a whole block of its own, without a number.
    Image(Image),
    /// A block is whole. The engine closes the blocks that are still open at the end.
    BlockFinished {
        /// The number of the block.
        index: u32,
        /// The final value, if it is more than the text: parsed arguments, or signatures that the
        /// next turn must carry.
        value: Value,
    },
    /// Counts of tokens since the start of the answer. The last ones are true.
    Usage(Usage),
    /// The provider said why it ends, so the answer is whole. Only counts may follow, and
    /// [`ProviderEvent::Finished`] comes by itself after a short wait for them.
    Ending,
    /// The provider said that the answer is whole.
    Finished {
        /// The reason, as one of a fixed set.
        reason: FinishReason,
        /// The provider's own word for the reason.
        word: String,
    },
}

#[cfg(test)]
mod tests {
    use super::Image;

    #[test]
    fn an_image_is_what_its_first_bytes_say() {
        for (data, want) in [
            (&b"\x89PNG\r\n\x1a\n...."[..], Some("image/png")),
            (b"\xff\xd8\xff\xe0", Some("image/jpeg")),
            (b"GIF89a", Some("image/gif")),
            (b"RIFF\x10\0\0\0WEBPVP8 ", Some("image/webp")),
            (b"RIFF\x10\0\0\0WAVE", None),
            (b"<svg xmlns='http://www.w3.org/2000/svg'/>", None),
            (b"", None),
        ] {
            assert_eq!(Image::media_type_of(data), want, "{data:?}");
        }
    }
}
