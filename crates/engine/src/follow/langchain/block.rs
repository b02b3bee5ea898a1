//! A piece of what a span writes: text, thoughts, arguments of a call, an image.

use headwater_protocol::{BlockKind, BlockNo, ImageId, ToolCall};
use serde_json::{Value, json};

/// A block of a span.
pub(super) struct Block {
    pub(super) number: BlockNo,
    pub(super) kind: BlockKind,
    pub(super) text: String,
    pub(super) tool: Option<ToolCall>,
    /// The number of the call among those of the span.
    pub(super) index: usize,
    pub(super) value: Value,
}

impl Block {
    /// Whether it is text, and there is some.
    pub(super) fn has_text(&self) -> bool {
        is_text(self.kind) && !self.text.is_empty()
    }

    /// The call whose arguments these are, and the block itself.
    pub(super) fn call(&self) -> Option<(&ToolCall, &Self)> {
        let call = self
            .tool
            .as_ref()
            .filter(|_| self.kind == BlockKind::ToolInput)?;
        Some((call, self))
    }

    /// The arguments of a call, if they can be read.
    pub(super) fn arguments(&self) -> Option<Value> {
        let args = match &self.value {
            value @ Value::Object(_) => Some(value.clone()),
            _ if self.text.is_empty() => Some(json!({})),
            _ => serde_json::from_str(&self.text).ok(),
        };
        args.filter(Value::is_object)
    }

    /// The image that it is, as a part of a message.
    pub(super) fn image(&self) -> Option<Value> {
        if self.kind != BlockKind::Data {
            return None;
        }
        let id = self.value.get("image")?;
        let address = ImageId(id.as_str()?.to_owned()).address();
        Some(json!({ "type": "image", "url": address, "mime_type": self.value["media_type"] }))
    }
}

/// Where LangChain has texts that are not the content.
pub(super) fn beside(kind: BlockKind) -> Option<&'static str> {
    match kind {
        BlockKind::Reasoning => Some("reasoning_content"),
        BlockKind::Refusal => Some("refusal"),
        _ => None,
    }
}

/// Whether a person reads a block of this kind as the answer of a model.
pub(super) fn is_text(kind: BlockKind) -> bool {
    kind == BlockKind::Text
}
