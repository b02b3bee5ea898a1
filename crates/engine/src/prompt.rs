//! Turns the messages of a conversation into the turns that a model reads.
//!
//! An answer that called tools becomes several turns: those of the model, each ending with its
//! calls, and between them the results. Providers refuse a call without a result, so a call that
//! never got one (because of a stop or a crash) gets a sentence that says so.
//!
//! Opaque values (signatures, required reasoning, identifiers of calls) are sent back only to the
//! model and provider that they came from. `normalize` makes the turns acceptable to the strictest
//! server.

mod normalize;

pub use normalize::{normalize, without_tools};

use super::provider::{ChatMessage, PARAGRAPH, Part, Role as Speaker};
use crate::db::images::Images;
use headwater_protocol::{
    BlockKind, SpanNo, Status, ToolCall,
    chat::{Answer, Block, Call, Message, Role},
};
use serde_json::{Value, json};

/// The result of a call that never got one.
pub const CANCELLED: &str = "The call was cancelled before it was done.";

/// The result of a call whose output is blank, which some providers refuse.
const NO_OUTPUT: &str = "(no output)";

/// The turns of a branch for `model` (`provider/model`), oldest first, with their images.
pub fn turns(messages: &[Message], images: &Images, model: &str) -> Vec<ChatMessage> {
    let mut turns = Vec::new();
    for message in messages {
        match message.role {
            Role::User => {
                let shown = message.images.iter().filter_map(|id| images.get(id));
                let mut parts: Vec<Part> = shown.cloned().map(Part::Image).collect();
                if !message.text.trim().is_empty() || parts.is_empty() {
                    parts.push(Part::Text(message.text.clone()));
                }
                let role = Speaker::User;
                turns.push(ChatMessage { role, parts });
            }
            Role::Assistant => {
                let mut said = TurnBuilder::new(model);
                for answer in &message.answers {
                    said.add(answer, |span| !answer.is_hidden(span));
                }
                turns.append(&mut said.turns());
            }
        }
    }
    turns
}

/// Builds the turns of one message of the assistant from the runs that wrote it.
pub struct TurnBuilder<'a> {
    model: &'a str,
    turns: Vec<ChatMessage>,
    /// The parts of the model's current turn.
    parts: Vec<Part>,
    /// The results of the calls in it.
    results: Vec<Part>,
    /// The span of the last part.
    span: Option<SpanNo>,
}

impl<'a> TurnBuilder<'a> {
    /// A builder without turns. `model` gets back its own opaque values, and none of others.
    pub fn new(model: &'a str) -> Self {
        Self {
            model,
            turns: Vec::new(),
            parts: Vec::new(),
            results: Vec::new(),
            span: None,
        }
    }

    /// Adds the output of the spans of a run that are to be `told`, except for superseded attempts.
    pub fn add(&mut self, answer: &Answer, told: impl Fn(SpanNo) -> bool) {
        self.span = None;
        let mut calls = answer.calls().into_iter();
        for block in &answer.blocks {
            let call = match block.kind {
                BlockKind::ToolInput => calls.next(),
                _ => None,
            };
            if !told(block.span) || answer.is_superseded(block.span) {
                continue;
            }
            let part = match block.kind {
                BlockKind::Text | BlockKind::Refusal if !block.text.is_empty() => {
                    self.turn_to(block.span);
                    Part::Text(self.without_break(&block.text).to_owned())
                }
                BlockKind::Reasoning if !block.value.is_null() && self.wrote(answer, block) => {
                    Part::Reasoning {
                        text: block.text.clone(),
                        value: block.value.clone(),
                    }
                }
                BlockKind::ToolInput => match call.as_ref().and_then(called) {
                    Some((mut call, mut result)) => {
                        if !self.wrote(answer, block) {
                            unname(&mut call);
                            unname(&mut result);
                        }
                        self.turn_to(block.span);
                        self.results.push(result);
                        call
                    }
                    None => continue,
                },
                _ => continue,
            };
            self.turn_to(block.span);
            self.parts.push(part);
        }
    }

    /// Whether nothing was said.
    pub fn is_empty(&self) -> bool {
        self.turns.is_empty() && self.parts.is_empty() && self.results.is_empty()
    }

    /// The turns in order. The last one is the model's, unless it ends with results.
    pub fn turns(mut self) -> Vec<ChatMessage> {
        self.end_turn();
        self.turns
    }

    /// Whether [`Self::model`] wrote a block.
    fn wrote(&self, answer: &Answer, block: &Block) -> bool {
        let mut spans = answer.spans.iter();
        spans.any(|span| span.span == block.span && span.name == self.model)
    }

    /// Ends the current turn if it has results and another span continues.
    fn turn_to(&mut self, span: SpanNo) {
        if self.span != Some(span) && !self.results.is_empty() {
            self.end_turn();
        }
        self.span = Some(span);
    }

    /// The text without the blank line that separates it from the text before the tools ran.
    fn without_break<'t>(&self, text: &'t str) -> &'t str {
        let spoke = self.parts.iter().any(|part| matches!(part, Part::Text(_)));
        let begins = !spoke && !self.turns.is_empty();
        text.strip_prefix(PARAGRAPH)
            .filter(|_| begins)
            .unwrap_or(text)
    }

    fn end_turn(&mut self) {
        for (role, parts) in [
            (Speaker::Assistant, &mut self.parts),
            (Speaker::User, &mut self.results),
        ] {
            if !parts.is_empty() {
                let parts = std::mem::take(parts);
                self.turns.push(ChatMessage { role, parts });
            }
        }
    }
}

/// Removes the identifier of another model's call, because this provider may refuse its form.
/// [`normalize`] assigns one that all providers accept.
fn unname(part: &mut Part) {
    if let Part::ToolCall { call, .. } | Part::ToolResult { call, .. } = part {
        call.id.clear();
    }
}

/// A call and its result. `None` if the call broke off before it was complete.
fn called(call: &Call<'_>) -> Option<(Part, Part)> {
    let tool = call.input.tool.clone()?;
    let arguments = arguments(call.input);
    if call.output.is_none() && arguments.is_none() {
        return None;
    }
    let result = result(call, tool.clone());
    let part = Part::ToolCall {
        call: tool,
        arguments: arguments.unwrap_or_else(|| json!({})),
    };
    Some((part, result))
}

/// The arguments of a call, if they are a JSON object.
pub fn arguments(block: &Block) -> Option<Value> {
    match &block.value {
        value @ Value::Object(_) => Some(value.clone()),
        _ => serde_json::from_str(&block.text)
            .ok()
            .filter(Value::is_object),
    }
}

fn result(call: &Call<'_>, tool: ToolCall) -> Part {
    let mut text = call
        .output
        .map_or_else(String::new, |output| output.text.clone());
    match call.status {
        Some(Status::Ok | Status::Error) if text.is_empty() => text.push_str(NO_OUTPUT),
        Some(Status::Ok | Status::Error) => {}
        _ => {
            if !text.is_empty() && !text.ends_with('\n') {
                text.push('\n');
            }
            text.push_str(CANCELLED);
        }
    }
    Part::ToolResult {
        call: tool,
        text,
        failed: call.status != Some(Status::Ok),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may fail by panic")]
mod tests;
