//! Turns a conversation into a form that every vendor accepts.
//!
//! Vendors refuse different things. Each rule here is the strictest known one, so all vendors read
//! the same conversation, and one that was started with one vendor can be continued with any other.

use super::CANCELLED;
use crate::provider::PARAGRAPH;
use crate::{
    provider::{ChatMessage, Part, Role, ToolDefinition, made_up_id},
    tool,
};
use headwater_protocol::ToolCall;
use serde_json::Value;
use std::collections::HashSet;

/// The placeholder for a missing answer between the results of tools and the person's next message.
/// Mistral refuses a message of the person directly after results:
/// <https://github.com/mistralai/mistral-vibe/issues/578>.
pub(super) const NO_ANSWER: &str = "(There was no answer.)";

/// The placeholder for an empty message, such as one whose image was deleted.
const NO_WORDS: &str = "(The message is empty.)";

/// The placeholder for the person's message in a conversation that begins with the model's.
const NO_BEGINNING: &str = "(The beginning of the conversation is left out.)";

/// The longest name of a tool:
/// [OpenAI's limit](https://platform.openai.com/docs/api-reference/chat/create).
const MAX_NAME: usize = 64;

/// Makes turns valid. Afterwards:
///
/// - The person and the model take turns, and the person begins, as chat templates require.
/// - No turn is empty. An answer without text and calls is left out, because Moonshot, DeepSeek and others
///   refuse it (<https://github.com/vellum-ai/vellum-assistant/issues/40690>), and the person's messages
///   around it become one turn.
/// - Each call has one result, in the next turn, and each result has its call.
/// - The model's turn follows results; it is `NO_ANSWER` if there is none.
/// - The identifiers of calls are unique. Those that did not come from the model itself have nine letters
///   and digits, which is Mistral's form and accepted everywhere.
/// - The names of tools are those of `tools`, or at least have the form that OpenAI accepts.
pub fn normalize(turns: &mut Vec<ChatMessage>, tools: &[ToolDefinition]) {
    let mut normal: Vec<ChatMessage> = Vec::with_capacity(turns.len());
    for mut turn in paired(std::mem::take(turns)) {
        if is_empty(&turn) {
            match turn.role {
                Role::Assistant => continue,
                Role::User => turn.parts = vec![Part::Text(NO_WORDS.into())],
            }
        }
        match normal.last_mut() {
            None if turn.role == Role::Assistant => {
                normal.push(ChatMessage::new(Role::User, NO_BEGINNING));
            }
            Some(last) if last.role == turn.role => {
                if has_results(last) == has_results(&turn) {
                    join(last, turn);
                    continue;
                }
                normal.push(ChatMessage::new(Role::Assistant, NO_ANSWER));
            }
            _ => {}
        }
        normal.push(turn);
    }
    *turns = normal;
    name_tools(turns, tools);
    number_calls(turns);
}

/// Removes all calls and results, for a request without tools: providers refuse calls of tools that
/// the request does not define.
pub fn without_tools(turns: &mut Vec<ChatMessage>) {
    for turn in turns.iter_mut() {
        let is_of_tools = |part: &Part| {
            matches!(part, Part::ToolCall { .. }) || is_result(part) || is_extra_of_call(part)
        };
        turn.parts.retain(|part| !is_of_tools(part));
    }
    turns.retain(|turn| !turn.parts.is_empty());
    let mut joined: Vec<ChatMessage> = Vec::with_capacity(turns.len());
    for turn in turns.drain(..) {
        match joined.last_mut() {
            Some(last) if last.role == Role::Assistant && turn.role == Role::Assistant => {
                join(last, turn);
            }
            _ => joined.push(turn),
        }
    }
    *turns = joined;
}

/// Whether a turn is empty. Reasoning alone does not count, because it must lead to something.
fn is_empty(turn: &ChatMessage) -> bool {
    turn.parts.iter().all(|part| match part {
        Part::Text(text) => text.trim().is_empty(),
        Part::Reasoning { .. } => true,
        Part::Image(_) | Part::ToolCall { .. } | Part::ToolResult { .. } => false,
    })
}

fn is_result(part: &Part) -> bool {
    matches!(part, Part::ToolResult { .. })
}

fn has_results(turn: &ChatMessage) -> bool {
    turn.parts.iter().any(is_result)
}

fn is_extra_of_call(part: &Part) -> bool {
    matches!(part, Part::Reasoning { value, .. } if value.get("call").is_some())
}

/// Merges two turns of the same role. The paragraph break between them also separates their images;
/// see [`ChatMessage::shows_images`].
fn join(last: &mut ChatMessage, mut next: ChatMessage) {
    let both_speak = last.text_len() > 0 && next.text_len() > 0;
    if both_speak || last.role == Role::User && !has_results(last) {
        last.parts.push(Part::Text(PARAGRAPH.into()));
    }
    last.parts.append(&mut next.parts);
}

/// Puts a turn with the results after each turn with calls, and drops all other results.
fn paired(turns: Vec<ChatMessage>) -> Vec<ChatMessage> {
    let mut paired = Vec::with_capacity(turns.len());
    let mut turns = turns.into_iter().peekable();
    while let Some(mut turn) = turns.next() {
        if turn.role == Role::User {
            let results: Vec<Part> = turn.parts.extract_if(.., |part| is_result(part)).collect();
            // A turn that had only results of unknown calls is dropped.
            if !turn.parts.is_empty() || results.is_empty() {
                paired.push(turn);
            }
            continue;
        }
        let calls = turn.parts.iter().filter_map(|part| match part {
            Part::ToolCall { call, .. } => Some(call.clone()),
            _ => None,
        });
        let calls: Vec<ToolCall> = calls.collect();
        paired.push(turn);
        if calls.is_empty() {
            continue;
        }
        if let Some(next) = turns.next_if(|next| next.role == Role::User) {
            let (results, rest): (Vec<Part>, Vec<Part>) =
                next.parts.into_iter().partition(is_result);
            paired.push(results_of(calls, results));
            if !rest.is_empty() {
                let role = Role::User;
                paired.push(ChatMessage { role, parts: rest });
            }
        } else {
            paired.push(results_of(calls, Vec::new()));
        }
    }
    paired
}

/// The turn with the results of these calls, in their order.
fn results_of(calls: Vec<ToolCall>, mut given: Vec<Part>) -> ChatMessage {
    let parts = calls.into_iter().map(|wanted| {
        let answers =
            |part: &Part| matches!(part, Part::ToolResult { call, .. } if call.id == wanted.id);
        match given.iter().position(answers) {
            Some(at) => given.remove(at),
            None => Part::ToolResult {
                call: wanted,
                text: CANCELLED.into(),
                failed: true,
            },
        }
    });
    ChatMessage {
        role: Role::User,
        parts: parts.collect(),
    }
}

/// Gives calls and results names that every vendor accepts. Some servers put a prefix before the
/// name of a tool, and models invent names.
fn name_tools(turns: &mut [ChatMessage], tools: &[ToolDefinition]) {
    for part in turns.iter_mut().flat_map(|turn| &mut turn.parts) {
        if let Part::ToolCall { call, .. } | Part::ToolResult { call, .. } = part {
            let names = tools.iter().map(|tool| tool.name.as_str());
            match tool::meant(&call.name, names) {
                Some(name) if name == call.name => {}
                Some(name) => call.name = name.into(),
                None => call.name = fitting(&call.name),
            }
        }
    }
}

fn fitting(name: &str) -> String {
    let fits = |c: char| c.is_ascii_alphanumeric() || "_-".contains(c);
    let name = name.trim().chars().take(MAX_NAME);
    let name: String = name.map(|c| if fits(c) { c } else { '_' }).collect();
    match name.as_str() {
        "" => "unknown".into(),
        _ => name,
    }
}

/// Makes the identifiers of calls unique in a conversation, as Anthropic requires, and assigns one
/// to each call without one.
fn number_calls(turns: &mut [ChatMessage]) {
    let mut seen = HashSet::new();
    let mut next = 1;
    // The old and the new identifiers of the last turn with calls.
    let mut renamed: Vec<(String, String)> = Vec::new();
    for turn in turns {
        if turn.role == Role::Assistant {
            renamed.clear();
            for part in &mut turn.parts {
                if let Part::ToolCall { call, .. } = part {
                    let old = call.id.clone();
                    while call.id.is_empty() || !seen.insert(call.id.clone()) {
                        call.id = made_up_id(next);
                        next += 1;
                    }
                    renamed.push((old, call.id.clone()));
                }
            }
        }
        let mut names = renamed.clone();
        for part in &mut turn.parts {
            match part {
                Part::ToolResult { call, .. } => {
                    if let Some(at) = names.iter().position(|(old, _)| *old == call.id) {
                        call.id = names.remove(at).1;
                    }
                }
                Part::Reasoning { value, .. } => {
                    if let Some(Value::String(id)) = value.get_mut("call")
                        && let Some(at) = names.iter().position(|(old, _)| old == id)
                    {
                        *id = names.remove(at).1;
                    }
                }
                _ => {}
            }
        }
    }
}
