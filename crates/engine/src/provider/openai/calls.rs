//! Joins the pieces of tool calls.
//!
//! The format says that pieces with the same index are one call. Servers leave the index out,
//! give every call the index 0, repeat the name or cut it, or send the arguments as an object.

use super::{extras, words};
use crate::provider::{
    ProviderEvent,
    blocks::{Blocks, made_up_id},
    exchange::Ready,
    json as read,
};
use headwater_protocol::{BlockKind, ToolCall};
use serde::de::IgnoredAny;
use serde_json::{Map, Value, json};

/// All tool calls of one answer.
#[derive(Debug, Default)]
pub(super) struct Calls(Vec<Call>);

#[derive(Debug, Default)]
struct Call {
    index: Option<u64>,
    id: String,
    name: String,
    arguments: String,
    /// The start of the last piece of the arguments.
    last: usize,
    /// The number of the block, once the arguments have begun.
    block: Option<u32>,
    /// How many bytes of the arguments were yielded.
    told: usize,
    /// The fields to send back that were not yielded yet.
    extra: Map<String, Value>,
}

impl Calls {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Takes a piece of a call.
    pub(super) fn piece(&mut self, piece: &Value, blocks: &mut Blocks, out: &mut Ready) {
        let index = words::index(piece);
        let id = read::text(piece, "id");
        let function = piece.get("function").unwrap_or(&Value::Null);
        let extra = extras::of_call(piece);
        self.add(index, id, function, extra, blocks, out);
    }

    /// Takes a piece of the deprecated `function_call`, which supports one call only.
    pub(super) fn legacy(&mut self, function: &Value, blocks: &mut Blocks, out: &mut Ready) {
        self.add(Some(0), "", function, Map::new(), blocks, out);
    }

    fn add(
        &mut self,
        index: Option<u64>,
        id: &str,
        function: &Value,
        extra: Map<String, Value>,
        blocks: &mut Blocks,
        out: &mut Ready,
    ) {
        let name = read::text(function, "name");
        let arguments = match function.get("arguments") {
            Some(Value::String(text)) => text.clone(),
            Some(value @ (Value::Object(_) | Value::Array(_))) => value.to_string(),
            _ => String::new(),
        };
        let place = match self.find(index, id, name, &arguments) {
            Some(place) => place,
            None => {
                self.0.push(Call {
                    index,
                    ..Call::default()
                });
                self.0.len() - 1
            }
        };
        let call = &mut self.0[place];
        if call.arguments.trim() == arguments.trim() && call.is_whole() {
            // Some servers repeat the whole call at the end.
            return;
        }
        if call.id.is_empty() {
            call.id = id.into();
        }
        if call.block.is_none() && call.arguments.trim().is_empty() {
            call.name_more(name);
        }
        if !arguments.trim().is_empty() {
            call.last = call.arguments.len();
        }
        call.arguments.push_str(&arguments);
        call.extra.extend(extra);
        // More of the name may follow until the arguments begin.
        if !call.name.is_empty() && !call.arguments.trim().is_empty() {
            call.tell(place, blocks, out);
        }
    }

    /// The call that a piece belongs to; `None` if it begins one.
    fn find(&self, index: Option<u64>, id: &str, name: &str, arguments: &str) -> Option<usize> {
        let last = |wanted: &dyn Fn(&Call) -> bool| self.0.iter().rposition(wanted);
        if !id.is_empty() {
            // Another identifier is another call, even under the same index.
            let under_index = || last(&|call| index.is_some() && call.index == index);
            // But some servers invent one for every piece. Such a piece has no name.
            return last(&|call| call.id == id).or_else(|| {
                under_index().filter(|&place| {
                    let call = &self.0[place];
                    let goes_on = call.name == name && call.goes_on_with(arguments);
                    name.is_empty()
                        || goes_on
                        || call.id.is_empty() && !self.is_next(place, name, arguments)
                })
            });
        }
        let place = match index {
            Some(_) => last(&|call| call.index == index)?,
            None if name.is_empty() => self.0.len().checked_sub(1)?,
            None => return None,
        };
        (!self.is_next(place, name, arguments)).then_some(place)
    }

    /// Whether a piece without an identifier of its own begins another call than this one: it has
    /// a name, and this call's arguments look whole while the piece's begin anew.
    fn is_next(&self, place: usize, name: &str, arguments: &str) -> bool {
        let call = &self.0[place];
        !name.is_empty()
            && call.arguments.trim_end().ends_with('}')
            && (arguments.trim_start().starts_with('{') || call.name != name)
    }

    /// Closes all calls with their parsed arguments. Arguments that cannot be parsed remain text.
    pub(super) fn finish(&mut self, blocks: &mut Blocks, out: &mut Ready) {
        for (place, call) in self.0.iter_mut().enumerate() {
            let index = call.tell(place, blocks, out);
            let value = match call.arguments.trim() {
                "" => json!({}),
                _ => read::arguments(&call.arguments, call.last),
            };
            out.push_back(ProviderEvent::BlockFinished { index, value });
        }
    }
}

impl Call {
    /// Takes a piece of the name: a delta, or the whole name, perhaps repeated.
    fn name_more(&mut self, piece: &str) {
        if piece.starts_with(self.name.as_str()) {
            self.name = piece.into();
        } else if !self.name.starts_with(piece) {
            self.name.push_str(piece);
        }
    }

    fn is_whole(&self) -> bool {
        let text = self.arguments.trim();
        text.ends_with('}') && serde_json::from_str::<IgnoredAny>(text).is_ok()
    }

    /// Whether `arguments` look like a continuation of those so far.
    fn goes_on_with(&self, arguments: &str) -> bool {
        let more = arguments.trim_start();
        !self.arguments.trim().is_empty() && !more.is_empty() && !more.starts_with('{')
    }

    /// Yields new arguments, and opens the block first. Returns the number of the block.
    fn tell(&mut self, place: usize, blocks: &mut Blocks, out: &mut Ready) -> u32 {
        let index = *self.block.get_or_insert_with(|| {
            if self.id.is_empty() {
                // The next turn must name the call, so a call without an identifier gets one of
                // ours.
                self.id = made_up_id(u32::try_from(place + 1).unwrap_or(u32::MAX));
            }
            let tool = ToolCall {
                id: self.id.clone(),
                name: self.name.clone(),
            };
            blocks.start(BlockKind::ToolInput, Some(tool), out)
        });
        if !self.extra.is_empty() {
            let mut value = std::mem::take(&mut self.extra);
            value.insert("call".into(), self.id.clone().into());
            blocks.value(BlockKind::Reasoning, Value::Object(value), out);
        }
        if self.told < self.arguments.len() {
            out.push_back(ProviderEvent::Delta {
                index,
                text: self.arguments[self.told..].into(),
            });
            self.told = self.arguments.len();
        }
        index
    }
}
