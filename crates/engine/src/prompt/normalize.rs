//! Makes of turns a conversation that every vendor takes.
//!
//! Vendors differ in what they refuse; each rule below is the strictest that is known. So what is
//! told of a conversation is the same for all of them, and a conversation that one vendor took does
//! not become impossible with the next.

use super::CANCELLED;
use crate::provider::PARAGRAPH;
use crate::{
    provider::{ChatMessage, Part, Role, ToolDefinition, made_up_id},
    tool,
};
use headwater_protocol::ToolCall;
use serde_json::Value;
use std::collections::HashSet;

/// Stands for an answer that never came, between the results of tools and what the person said next.
/// Mistral refuses a person's turn right behind results:
/// <https://github.com/mistralai/mistral-vibe/issues/578>.
pub(super) const NO_ANSWER: &str = "(There was no answer.)";

/// Stands for a message without a word, such as one whose image is gone.
const NO_WORDS: &str = "(The message is empty.)";

/// Stands for the person's words before a conversation that begins with the model's.
const NO_BEGINNING: &str = "(The beginning of the conversation is left out.)";

/// The longest name of a tool, OpenAI's limit.
const MAX_NAME: usize = 64;

/// Makes turns valid. Afterwards
///
/// - the person and the model take turns, and the person begins, as chat templates insist;
/// - no turn is empty: an answer without a word and without a call is left out, because Moonshot,
///   DeepSeek and others refuse it (<https://github.com/vellum-ai/vellum-assistant/issues/40690>),
///   and the person's messages around it become one turn;
/// - each call has one result, in the next turn, and each result its call;
/// - results are followed by the model, with [`NO_ANSWER`] where it did not come to that;
/// - identifiers of calls are unique, and those that the model did not give itself are nine letters
///   and digits, which is Mistral's form and fits everybody's;
/// - names of tools are those of `tools`, or at least of the form that OpenAI takes.
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

/// Leaves tools out, for a model that may not call any: providers refuse a conversation with calls
/// of tools that the request does not name.
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

/// Whether nothing is said in a turn. Thoughts alone are nothing: they lead to what is said.
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

/// Makes one turn of two by the same speaker. The paragraph between them also tells the images of
/// the first from those of the second; see [`ChatMessage::shows_images`].
fn join(last: &mut ChatMessage, mut next: ChatMessage) {
    let both_speak = last.text_len() > 0 && next.text_len() > 0;
    if both_speak || last.role == Role::User && !has_results(last) {
        last.parts.push(Part::Text(PARAGRAPH.into()));
    }
    last.parts.append(&mut next.parts);
}

/// Puts behind each turn with calls one with their results, and drops all other results.
fn paired(turns: Vec<ChatMessage>) -> Vec<ChatMessage> {
    let mut paired = Vec::with_capacity(turns.len());
    let mut turns = turns.into_iter().peekable();
    while let Some(mut turn) = turns.next() {
        if turn.role == Role::User {
            let results: Vec<Part> = turn.parts.extract_if(.., |part| is_result(part)).collect();
            // Of results that answer nothing, and of a turn of them, nothing is left.
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

/// The turn that answers these calls, in their order.
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

/// Gives calls and results names that every vendor takes. Servers are known to put something before
/// a tool's name, and models make names up.
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

/// Makes the identifiers of calls unique in a conversation, as Anthropic wants them, and gives one
/// to each call that has none.
fn number_calls(turns: &mut [ChatMessage]) {
    let mut seen = HashSet::new();
    let mut next = 1;
    // Of the last turn with calls: what they were called, and what they are called now.
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
