//! What a model looks like to the engine.
//!
//! A provider turns a [`ChatRequest`] into a stream of [`ProviderEvent`]s. It knows its vendor's
//! format and nothing of time: deadlines, stops and retries are the engine's. Dropping the stream
//! is the one way to cancel, and must close the socket or idle the thread within 100 ms.

pub use blocks::made_up_id;
use futures::{future::BoxFuture, stream::BoxStream};
pub use headwater_protocol::chat::Effort;
use headwater_protocol::{BlockKind, Error, FinishReason, ModelInfo, Stage, ToolCall, Usage};
pub use http_provider::HttpProvider;
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

/// Between the text before a round of tools and the text behind it, which are two paragraphs for
/// whoever reads the answer.
pub const PARAGRAPH: &str = "\n\n";

/// A source of answers.
pub trait Provider: Send + Sync + 'static {
    /// The models that can be chosen now. [`ModelInfo::id`] is the bare model name here; the
    /// registry puts the provider's name before it.
    fn models(&self) -> BoxFuture<'_, Result<Vec<ModelInfo>, Error>>;

    /// Starts an answer. The stream begins its work when it is first polled, yields
    /// [`ProviderEvent::Finished`] exactly once if the provider said that it was the end, and ends
    /// after that or after an error. An end without either is a truncation, which the engine sees.
    fn stream(&self, request: ChatRequest) -> BoxStream<'static, Result<ProviderEvent, Error>>;

    /// Whether this model can go on from a half-written answer ([`ChatRequest::prefill`]). Where it
    /// cannot, the engine asks in words instead.
    fn can_prefill(&self, model: &str) -> bool {
        let _ = model;
        false
    }

    /// Whether its models can call tools ([`ChatRequest::tools`]).
    fn can_call_tools(&self) -> bool {
        true
    }
}

/// What is asked of a model.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ChatRequest {
    /// The provider's own name of the model.
    pub model: String,
    /// Names one conversation, so that a provider may reuse what it computed for it.
    pub conversation: String,
    /// The system prompt.
    pub system: Option<String>,
    /// The turns, oldest first; the last is the one to answer.
    pub messages: Vec<ChatMessage>,
    /// The assistant's half-written answer to go on from, after `messages`.
    pub prefill: Option<String>,
    /// What the model may call.
    pub tools: Vec<ToolDefinition>,
    /// How to sample.
    pub sampling: Sampling,
}

/// One turn.
#[derive(Clone, Debug, PartialEq)]
pub struct ChatMessage {
    /// Who spoke. What a tool gave back is the person's turn.
    pub role: Role,
    /// What it is made of, in order.
    pub parts: Vec<Part>,
}

impl ChatMessage {
    /// A turn of text alone.
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

    /// Length of [`ChatMessage::text`] in bytes.
    pub fn text_len(&self) -> usize {
        self.texts().map(str::len).sum()
    }

    /// Whether it asks about pictures. Those before a [paragraph](PARAGRAPH)
    /// of its own belong to earlier messages that nobody answered.
    pub fn shows_pictures(&self) -> bool {
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
    /// A picture.
    Image(Image),
    /// What this very model thought in an earlier turn, or gave beside its words to be given back.
    Reasoning {
        /// The thinking as far as the provider shows it.
        text: String,
        /// What the provider gave with [`ProviderEvent::BlockFinished`]: signatures and the like,
        /// which it wants back unchanged. Where it belongs to a call of this turn, its field `call`
        /// is the call's identifier.
        value: Value,
    },
    /// A call of a tool that the model made.
    ToolCall {
        /// Which tool.
        call: ToolCall,
        /// The arguments, a JSON object.
        arguments: Value,
    },
    /// What a tool gave back.
    ToolResult {
        /// The call that is answered.
        call: ToolCall,
        /// What it gave.
        text: String,
        /// Whether it failed.
        failed: bool,
    },
}

/// A picture for the model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// `image/png`, `image/jpeg`, `image/webp` or `image/gif`.
    pub media_type: String,
    /// The file.
    pub data: bytes::Bytes,
}

impl Image {
    /// What a picture's first bytes say it is; `None` for what is no picture that is kept.
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

/// What a model is told of a tool.
#[derive(Clone, Debug, PartialEq)]
pub struct ToolDefinition {
    /// Its name: letters, digits, `_` and `-`, at most 64 (the strictest provider's rule, OpenAI's).
    pub name: String,
    /// For the model: what it does and when to use it.
    pub description: String,
    /// JSON Schema of its arguments.
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

/// How to sample; `None` leaves the choice to the provider.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sampling {
    /// 0 is the likeliest token each time.
    pub temperature: Option<f32>,
    /// Share of probability to choose from.
    pub top_p: Option<f32>,
    /// The most tokens to write.
    pub max_tokens: Option<u32>,
    /// How much to think before answering, for models that can.
    pub effort: Option<Effort>,
}

/// What a provider tells while it answers.
#[derive(Clone, Debug, PartialEq)]
pub enum ProviderEvent {
    /// Where the work stands. Before the first token it starts that deadline again; a place in a
    /// queue suspends it.
    Stage(Stage),
    /// The provider answered (headers are there); content may still take its time.
    Connected,
    /// A block began. `index` is the provider's, unique within this stream.
    BlockStarted {
        /// Number of the block within this stream.
        index: u32,
        /// What it holds.
        kind: BlockKind,
        /// Which tool call it belongs to.
        tool: Option<ToolCall>,
    },
    /// More text of a block that began.
    Delta {
        /// The block.
        index: u32,
        /// The text; an empty one is no content.
        text: String,
    },
    /// What an open block holds turned out to be of another kind: text that was thinking.
    BlockRelabelled {
        /// The block.
        index: u32,
        /// What it holds.
        kind: BlockKind,
    },
    /// A picture that the model made: a whole block by itself, without a number.
    Picture(Image),
    /// A block is whole. Blocks still open at the end are closed by the engine.
    BlockFinished {
        /// The block.
        index: u32,
        /// Its final value where that is more than its text: parsed arguments, signatures that a
        /// next turn must carry.
        value: Value,
    },
    /// Cumulative counts; the last one is true.
    Usage(Usage),
    /// The provider said why it ends, so the answer is whole. At most counts may follow, and
    /// [`ProviderEvent::Finished`] comes by itself after a short wait for them.
    Ending,
    /// The provider said that the answer is whole.
    Finished {
        /// The closed word.
        reason: FinishReason,
        /// The provider's own word.
        word: String,
    },
}

#[cfg(test)]
mod tests {
    use super::Image;

    #[test]
    fn a_picture_is_what_its_first_bytes_say() {
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
