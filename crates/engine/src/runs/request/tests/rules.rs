//! What vendors refuse, as far as it is public. Each rule is the strictest one known of a server
//! that speaks the dialect.

use crate::provider::{ChatRequest, Part, Role};
use serde_json::Value;
use std::collections::HashSet;

type Checked = Result<(), String>;

fn must(holds: bool, rule: &str) -> Checked {
    match holds {
        true => Ok(()),
        false => Err(rule.into()),
    }
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn is_blank(text: &str) -> bool {
    text.trim().is_empty()
}

/// What every chat template wants, the built-in model's too.
pub(super) fn turns(request: &ChatRequest) -> Checked {
    let mut wanted = Role::User;
    for turn in &request.messages {
        must(turn.role == wanted, "speakers take turns")?;
        let says = |part: &Part| match part {
            Part::Text(text) => !is_blank(text),
            Part::Reasoning { .. } => false,
            _ => true,
        };
        must(turn.parts.iter().any(says), "no turn is empty")?;
        wanted = match wanted {
            Role::User => Role::Assistant,
            Role::Assistant => Role::User,
        };
    }
    must(wanted == Role::Assistant, "the person speaks last")
}

/// Whether a request is one that this vendor takes.
pub(super) fn of(vendor: &str, body: &Value) -> Checked {
    match vendor {
        "openai" => openai(body),
        "responses" => responses(body),
        "anthropic" => anthropic(body),
        "gemini" => gemini(body),
        "ollama" => ollama(body),
        other => Err(format!("no rules for {other}")),
    }
}

/// `^[a-zA-Z0-9_-]{1,64}$`: <https://platform.openai.com/docs/api-reference/chat/create>.
fn check_name(name: &str) -> Checked {
    let fits = |c: char| c.is_ascii_alphanumeric() || "_-".contains(c);
    let length = 1..=64;
    must(
        length.contains(&name.len()) && name.chars().all(fits),
        "names of tools",
    )
}

/// Identifiers: there, once, and those that the server did not give of Mistral's form,
/// <https://docs.mistral.ai/capabilities/function_calling>.
fn check_id<'a>(id: &'a str, seen: &mut HashSet<&'a str>) -> Checked {
    must(!id.is_empty() && seen.insert(id), "identifiers are unique")?;
    let nine = id.len() == 9 && id.bytes().all(|byte| byte.is_ascii_alphanumeric());
    must(
        nine || super::IDS.contains(&id),
        "identifiers are the server's own or of nine characters",
    )
}

/// DeepSeek, Moonshot, Mistral and the templates of llama.cpp, all at once.
fn openai(body: &Value) -> Checked {
    let (mut seen, mut open) = (HashSet::new(), Vec::new());
    let messages = list(&body["messages"]);
    must(messages[0]["role"] == "system", "system first")?;
    let mut before = "assistant";
    let thinks = messages
        .iter()
        .any(|message| message.get("reasoning_content").is_some());
    for message in &messages[1..] {
        let role = text(&message["role"]);
        let calls = list(&message["tool_calls"]);
        match role {
            "user" => {
                must(
                    before == "assistant" && open.is_empty(),
                    "a person follows the model",
                )?;
                let parts = list(&message["content"]);
                let blank = |part: &Value| part["type"] == "text" && is_blank(text(&part["text"]));
                let empty = parts.is_empty() && is_blank(text(&message["content"]));
                must(
                    !empty && !parts.iter().any(blank),
                    "a person says something",
                )?;
            }
            "assistant" => {
                must(
                    before != "assistant" && open.is_empty(),
                    "the model follows others",
                )?;
                must(
                    !calls.is_empty() || !is_blank(text(&message["content"])),
                    "the model says something",
                )?;
                for call in calls {
                    let id = text(&call["id"]);
                    check_id(id, &mut seen)?;
                    open.push(id);
                    check_name(text(&call["function"]["name"]))?;
                    let arguments =
                        serde_json::from_str::<Value>(text(&call["function"]["arguments"]));
                    must(
                        arguments.is_ok_and(|it| it.is_object()),
                        "arguments are objects",
                    )?;
                }
                let thought = message.get("reasoning_content").map(text);
                must(
                    !thinks || calls.is_empty() || !is_blank(thought.unwrap_or_default()),
                    "turns with calls have their thoughts",
                )?;
            }
            "tool" => {
                must(
                    !open.is_empty() && open.remove(0) == text(&message["tool_call_id"]),
                    "results in the order of calls",
                )?;
                must(
                    !is_blank(text(&message["content"])),
                    "results say something",
                )?;
            }
            _ => return Err(format!("role {role}")),
        }
        before = role;
    }
    let ends = match body.get("continue_final_message") {
        Some(_) => before == "assistant",
        None => before != "assistant",
    };
    must(ends && open.is_empty(), "the end")
}

/// <https://platform.openai.com/docs/api-reference/responses/create>; thoughts need what came of
/// them, <https://github.com/openai/openai-node/issues/1567>.
fn responses(body: &Value) -> Checked {
    let (mut seen, mut open) = (HashSet::new(), Vec::new());
    let input = list(&body["input"]);
    for (at, item) in input.iter().enumerate() {
        match text(&item["type"]) {
            "message" => {
                must(
                    item["role"] == "assistant" || open.is_empty(),
                    "results come before words",
                )?;
                let parts = list(&item["content"]);
                let blank =
                    |part: &Value| part["type"] == "input_text" && is_blank(text(&part["text"]));
                let empty = parts.is_empty() && is_blank(text(&item["content"]));
                must(!empty && !parts.iter().any(blank), "messages say something")?;
            }
            "reasoning" => {
                must(
                    !text(&item["encrypted_content"]).is_empty(),
                    "thoughts are encrypted",
                )?;
                let next = &input.get(at + 1).unwrap_or(&Value::Null);
                let follows = next["type"] == "reasoning"
                    || next["type"] == "function_call"
                    || next["role"] == "assistant";
                must(follows, "something came of each thought")?;
            }
            "function_call" => {
                let id = text(&item["call_id"]);
                check_id(id, &mut seen)?;
                check_name(text(&item["name"]))?;
                open.push(id);
                let arguments = serde_json::from_str::<Value>(text(&item["arguments"]));
                must(
                    arguments.is_ok_and(|it| it.is_object()),
                    "arguments are objects",
                )?;
            }
            "function_call_output" => {
                let place = open.iter().position(|id| *id == text(&item["call_id"]));
                let Some(place) = place else {
                    return Err("a result answers a call".into());
                };
                open.remove(place);
            }
            kind => return Err(format!("item {kind}")),
        }
    }
    must(open.is_empty(), "calls have results")
}

/// <https://docs.anthropic.com/en/api/messages>,
/// <https://docs.anthropic.com/en/docs/build-with-claude/extended-thinking>.
fn anthropic(body: &Value) -> Checked {
    let mut seen = HashSet::new();
    let messages = list(&body["messages"]);
    let mut wanted = "user";
    for (at, message) in messages.iter().enumerate() {
        must(message["role"] == wanted, "speakers take turns")?;
        let blocks = list(&message["content"]);
        must(!blocks.is_empty(), "no turn is empty")?;
        let of = |kind: &'static str| blocks.iter().filter(move |block| block["type"] == kind);
        must(
            !of("text").any(|block| is_blank(text(&block["text"]))),
            "no text is blank",
        )?;
        let calls: Vec<&str> = of("tool_use").map(|block| text(&block["id"])).collect();
        for call in of("tool_use") {
            let id = text(&call["id"]);
            let fits = |c: char| c.is_ascii_alphanumeric() || "_-".contains(c);
            must(
                !id.is_empty() && id.chars().all(fits) && seen.insert(id),
                "identifiers",
            )?;
            check_name(text(&call["name"]))?;
            must(call["input"].is_object(), "arguments are objects")?;
        }
        if wanted == "assistant" {
            let last = text(&blocks[blocks.len() - 1]["type"]);
            must(
                !last.ends_with("thinking"),
                "a turn does not end with a thought",
            )?;
            let next = messages
                .get(at + 1)
                .map(|next| list(&next["content"]))
                .unwrap_or_default();
            let results = next
                .iter()
                .take_while(|block| block["type"] == "tool_result");
            let results: Vec<&str> = results.map(|block| text(&block["tool_use_id"])).collect();
            must(results == calls, "results follow their calls")?;
        } else if at == 0 {
            must(of("tool_result").next().is_none(), "results follow calls")?;
        }
        for thought in of("thinking") {
            must(
                !text(&thought["signature"]).is_empty(),
                "thoughts are signed",
            )?;
        }
        wanted = if wanted == "user" {
            "assistant"
        } else {
            "user"
        };
    }
    let [.., last] = messages else {
        return Err("nothing".into());
    };
    if last["role"] == "assistant" {
        let blocks = list(&last["content"]);
        let end = text(&blocks[blocks.len() - 1]["text"]);
        must(end.trim_end() == end, "no white space at the end")?;
    } else if body["thinking"]["type"] == "enabled" && last["content"][0]["type"] == "tool_result" {
        let first = &messages[messages.len() - 2]["content"][0]["type"];
        must(
            text(first).ends_with("thinking"),
            "who thinks has thought before its calls",
        )?;
    }
    Ok(())
}

/// <https://ai.google.dev/gemini-api/docs/function-calling>,
/// <https://ai.google.dev/gemini-api/docs/thought-signatures>.
fn gemini(body: &Value) -> Checked {
    let contents = list(&body["contents"]);
    let mut wanted = "user";
    let mut calls = 0;
    for content in contents {
        must(content["role"] == wanted, "speakers take turns")?;
        let parts = list(&content["parts"]);
        must(!parts.is_empty(), "no turn is empty")?;
        let of = |kind: &str| parts.iter().filter(|part| part.get(kind).is_some()).count();
        must(
            of("functionResponse") == calls,
            "as many results as calls, in the next turn",
        )?;
        must(
            calls == 0 || parts.len() == calls,
            "results are alone in their turn",
        )?;
        calls = of("functionCall");
        for part in parts {
            if let Some(call) = part.get("functionCall") {
                check_name(text(&call["name"]))?;
                must(call["args"].is_object(), "arguments are objects")?;
            }
            must(
                part["thought"] != true || part.get("thoughtSignature").is_some(),
                "thoughts are signed",
            )?;
        }
        wanted = if wanted == "user" { "model" } else { "user" };
    }
    must(calls == 0, "calls have results")
}

/// Templates of models that Ollama serves.
fn ollama(body: &Value) -> Checked {
    let mut open = 0;
    let messages = list(&body["messages"]);
    must(messages[0]["role"] == "system", "system first")?;
    let mut before = "assistant";
    for message in &messages[1..] {
        let role = text(&message["role"]);
        let calls = list(&message["tool_calls"]);
        let blank = is_blank(text(&message["content"]));
        match role {
            "user" => {
                must(
                    before == "assistant" && open == 0,
                    "a person follows the model",
                )?;
                must(
                    !blank || !list(&message["images"]).is_empty(),
                    "a person says something",
                )?;
            }
            "assistant" => {
                must(
                    before != "assistant" && open == 0,
                    "the model follows others",
                )?;
                must(!calls.is_empty() || !blank, "the model says something")?;
                open = calls.len();
                for call in calls {
                    check_name(text(&call["function"]["name"]))?;
                    must(
                        call["function"]["arguments"].is_object(),
                        "arguments are objects",
                    )?;
                }
            }
            "tool" => {
                must(open > 0 && !blank, "results answer calls")?;
                open -= 1;
            }
            _ => return Err(format!("role {role}")),
        }
        before = role;
    }
    must(open == 0, "calls have results")
}
