//! A block that is being written.

use crate::provider::{ProviderEvent, exchange::Ready, json as read, pieces::Pieces};
use headwater_protocol::{BlockKind, ToolCall};
use serde_json::{Value, json};

/// A block that is being written.
#[derive(Debug)]
pub(super) struct OpenBlock {
    index: u32,
    pub(super) kind: BlockKind,
    pub(super) tool: Option<ToolCall>,
    /// The pieces of the text.
    pieces: Pieces,
    /// The arguments of a tool call.
    arguments: String,
    /// The start of the last piece of the arguments.
    last: usize,
    /// The signature with which Anthropic recognizes its own thinking.
    pub(super) signature: String,
    /// Thinking that is not shown, in the form in which it must be sent back.
    pub(super) hidden: Value,
}

impl OpenBlock {
    pub(super) fn new(index: u32, kind: BlockKind, tool: Option<ToolCall>) -> Self {
        Self {
            index,
            kind,
            tool,
            pieces: Pieces::default(),
            arguments: String::new(),
            last: 0,
            signature: String::new(),
            hidden: Value::Null,
        }
    }

    /// Takes a piece of the text.
    pub(super) fn say(&mut self, text: &str, out: &mut Ready) {
        let new = self.pieces.take(text);
        self.tell(new, out);
    }

    /// Takes a piece of a tool call's arguments.
    pub(super) fn argue(&mut self, text: &str, out: &mut Ready) {
        if !text.trim().is_empty() {
            self.last = self.arguments.len();
        }
        self.arguments.push_str(text);
        self.tell(text.into(), out);
    }

    fn tell(&self, text: String, out: &mut Ready) {
        if !text.is_empty() {
            let index = self.index;
            out.push_back(ProviderEvent::Delta { index, text });
        }
    }

    /// Ends the block. Arguments that cannot be parsed stay as text.
    pub(super) fn close(mut self, out: &mut Ready) {
        let held = self.pieces.end();
        self.tell(held, out);
        let value = match self.kind {
            BlockKind::ToolInput => match self.arguments.trim() {
                "" => json!({}),
                _ => read::arguments(&self.arguments, self.last),
            },
            _ if !self.signature.is_empty() => {
                json!({"type": "thinking", "signature": self.signature})
            }
            // Servers of other vendors sign nothing, but need their thinking back all the same.
            BlockKind::Reasoning if self.hidden.is_null() => json!({"type": "thinking"}),
            _ => self.hidden,
        };
        out.push_back(ProviderEvent::BlockFinished {
            index: self.index,
            value,
        });
    }
}
