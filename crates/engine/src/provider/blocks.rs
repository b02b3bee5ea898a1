//! The blocks of an answer whose pieces come in order and whose tool calls come whole.

use super::{
    ProviderEvent,
    exchange::Ready,
    media::{self, Media},
};
use headwater_protocol::{BlockKind, FinishReason, ToolCall, Usage};
use serde_json::Value;
use std::collections::HashSet;

/// How many pieces pass before changed counts are yielded again.
const USAGE_PAUSE: u32 = 64;

/// The blocks and the counts of one answer.
#[derive(Debug, Default)]
pub(super) struct Blocks {
    /// The block that takes text, and the value it will end with.
    open: Option<(u32, BlockKind, Value)>,
    /// The number of the next block.
    next: u32,
    calls: u32,
    /// The identifiers of the calls.
    called: HashSet<String>,
    has_text: bool,
    usage: Option<Usage>,
    usage_told: Option<Usage>,
    usage_pause: u32,
}

impl Blocks {
    /// Adds text to the open block of this kind, or opens one.
    pub(super) fn say(&mut self, kind: BlockKind, text: &str, out: &mut Ready) {
        if text.is_empty() {
            return;
        }
        self.has_text |= kind == BlockKind::Text;
        let index = match self.open {
            Some((index, open, _)) if open == kind => index,
            _ => {
                self.close(out);
                let index = self.start(kind, None, out);
                self.open = Some((index, kind, Value::Null));
                index
            }
        };
        out.push_back(ProviderEvent::Delta {
            index,
            text: text.into(),
        });
    }

    /// Ends the open block with a value if it is of this kind. Returns whether it was.
    pub(super) fn close_with(&mut self, kind: BlockKind, value: &Value, out: &mut Ready) -> bool {
        let is_open = self.is_open(kind);
        if is_open {
            self.set_value(kind, value.clone());
            self.close(out);
        }
        is_open
    }

    /// Sets the value that the open block ends with, if it is of this kind.
    pub(super) fn set_value(&mut self, kind: BlockKind, value: Value) {
        if let Some((_, open, last)) = &mut self.open
            && *open == kind
        {
            *last = value;
        }
    }

    /// Whether a block of this kind is open.
    pub(super) fn is_open(&self, kind: BlockKind) -> bool {
        matches!(self.open, Some((_, open, _)) if open == kind)
    }

    /// Whether there was any text.
    pub(super) fn has_text(&self) -> bool {
        self.has_text
    }

    /// Ends the open block.
    pub(super) fn close(&mut self, out: &mut Ready) {
        if let Some((index, _, value)) = self.open.take() {
            out.push_back(ProviderEvent::BlockFinished { index, value });
        }
    }

    /// Makes the open block of text one of reasoning, and ends it: the text was thinking.
    #[cfg(feature = "local")]
    pub(super) fn was_thought(&mut self, out: &mut Ready) {
        if let Some((index, BlockKind::Text, _)) = self.open {
            let kind = BlockKind::Reasoning;
            out.push_back(ProviderEvent::BlockRelabelled { index, kind });
            self.close(out);
        }
    }

    /// Adds an image, or a sentence in place of what cannot be shown.
    pub(super) fn media(&mut self, media: Media, out: &mut Ready) {
        self.close(out);
        match media {
            Media::Image(image) => out.push_back(ProviderEvent::Image(image)),
            Media::Remark(remark) => {
                let remark = media::paragraph(&remark, !self.has_text);
                self.say(BlockKind::Text, &remark, out);
                self.close(out);
            }
        }
    }

    /// Adds a block that is only a value. The open block stays open.
    pub(super) fn value(&mut self, kind: BlockKind, value: Value, out: &mut Ready) {
        let index = self.start(kind, None, out);
        out.push_back(ProviderEvent::BlockFinished { index, value });
    }

    /// Adds a whole tool call. A call without an identifier gets one of ours, because the next turn
    /// must name it; see [`is_ours`].
    pub(super) fn call(&mut self, id: &str, name: &str, arguments: Value, out: &mut Ready) {
        self.close(out);
        self.calls += 1;
        let id = match id {
            "" => made_up_id(self.calls),
            id => {
                self.called.insert(id.into());
                id.into()
            }
        };
        let name = name.into();
        let index = self.start(BlockKind::ToolInput, Some(ToolCall { id, name }), out);
        out.push_back(ProviderEvent::Delta {
            index,
            text: arguments.to_string(),
        });
        out.push_back(ProviderEvent::BlockFinished {
            index,
            value: arguments,
        });
    }

    /// Whether this call came already. Without an identifier every call is a new one.
    pub(super) fn has_call(&self, id: &str) -> bool {
        self.called.contains(id)
    }

    /// Takes counts since the start of the answer. The last ones are true.
    pub(super) fn count(&mut self, usage: Option<Usage>) {
        self.usage = usage.or(self.usage);
    }

    /// Yields changed counts, `now` or only now and then, because some servers repeat them with
    /// every token.
    pub(super) fn tell_usage(&mut self, now: bool, out: &mut Ready) {
        self.usage_pause = self.usage_pause.saturating_sub(1);
        if let Some(usage) = self.usage
            && (now || self.usage_pause == 0)
            && self.usage_told != self.usage
        {
            self.usage_told = self.usage;
            self.usage_pause = USAGE_PAUSE;
            out.push_back(ProviderEvent::Usage(usage));
        }
    }

    /// Ends the answer with the provider's reason. Some say no more than "stop" after calls.
    pub(super) fn finish(&mut self, reason: FinishReason, word: String, out: &mut Ready) {
        self.tell_usage(true, out);
        self.close(out);
        let reason = match reason {
            FinishReason::Stop if self.calls > 0 => FinishReason::ToolCalls,
            reason => reason,
        };
        out.push_back(ProviderEvent::Finished { reason, word });
    }

    /// Begins a block beside the open one, and returns its number.
    pub(super) fn start(
        &mut self,
        kind: BlockKind,
        tool: Option<ToolCall>,
        out: &mut Ready,
    ) -> u32 {
        let index = self.next;
        self.next += 1;
        out.push_back(ProviderEvent::BlockStarted { index, kind, tool });
        index
    }
}

/// Makes an identifier for a call that has none: nine letters and digits, which is the only form
/// that Mistral accepts
/// (<https://github.com/mistralai/mistral-common/blob/main/src/mistral_common/protocol/instruct/validator.py>)
/// and within the limits of all others.
pub fn made_up_id(number: u32) -> String {
    format!("c{number:08}")
}

/// Whether the identifier of a tool call looks like one that we made up, which the provider does
/// not know. Older logs have identifiers such as `call_1`.
pub(super) fn is_ours(id: &str) -> bool {
    let digits = |number: &str| number.bytes().all(|byte| byte.is_ascii_digit());
    let old = id.strip_prefix("call_").filter(|number| number.len() < 6);
    let new = id.strip_prefix('c').filter(|number| number.len() == 8);
    old.or(new).is_some_and(digits)
}
