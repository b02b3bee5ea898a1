//! What is not the same, and why. docs/langchain.md shows both side by side.

use serde_json::{Value, json};

/// A difference between our events and those of langchain-core.
pub(super) struct Rule {
    /// As the documentation calls it.
    pub(super) name: &'static str,
    /// Leaves out of our events what the other side does not have.
    pub(super) ours: fn(&mut Vec<Value>),
    /// The same for theirs.
    pub(super) theirs: fn(&mut Vec<Value>),
}

/// All differences.
pub(super) const RULES: &[Rule] = &[
    // A chat has its models and tools side by side. What runs them in LangChain is a runnable, here the script's.
    Rule {
        name: "an agent",
        ours: same,
        theirs: without_agent,
    },
    // v2 has an error event for tools only; its iterator raises, and the reader of a stream hears nothing.
    Rule {
        name: "a failure",
        ours: |events| {
            events.retain(|event| {
                let name = event["event"].as_str().unwrap_or_default();
                !name.ends_with("_error") || name == "on_tool_error"
            });
        },
        theirs: same,
    },
    // Python's class, or our code.
    Rule {
        name: "the class of an error",
        ours: |events| each(events, |event| drop_field(event, "/data/error", "error")),
        theirs: |events| each(events, |event| drop_field(event, "/data/error", "error")),
    },
    // v2 starts a chain before it has its input.
    Rule {
        name: "the input of a chain at its start",
        ours: |events| {
            for event in events.iter_mut().skip(1) {
                if event["event"] == "on_chain_start" {
                    drop_field(event, "/data", "input");
                }
            }
        },
        theirs: same,
    },
    // In v2 a parent may end before its children, and may write between their last event and their end.
    Rule {
        name: "the order of spans",
        ours: |events| by_span(events),
        theirs: |events| by_span(events),
    },
    // Places in a sequence and keys of a map: LangChain's own labels, which it puts among those of the program, sorted.
    Rule {
        name: "tags",
        ours: |events| each(events, sort_tags),
        theirs: |events| {
            each(events, |event| {
                if let Some(tags) = event["tags"].as_array_mut() {
                    tags.retain(|tag| {
                        let tag = tag.as_str().unwrap_or_default();
                        !tag.starts_with("seq:step:") && !tag.starts_with("map:key:")
                    });
                }
                sort_tags(event);
            });
        },
    },
    // Which library it was; how many messages a model was told.
    Rule {
        name: "metadata",
        ours: |events| each(events, |event| drop_field(event, "/metadata", "messages")),
        theirs: |events| {
            each(events, |event| {
                drop_field(event, "/metadata", "ls_integration");
                drop_field(event, "/metadata", "lc_versions");
            });
        },
    },
    // A piece of arguments is no JSON. LangChain reads it all the same, and shows calls that nobody made.
    Rule {
        name: "calls in a chunk",
        ours: same,
        theirs: |events| {
            for event in events {
                if event["event"] == "on_chat_model_stream" {
                    event["data"]["chunk"]["tool_calls"] = json!([]);
                    event["data"]["chunk"]["invalid_tool_calls"] = json!([]);
                }
            }
        },
    },
    // A step's output comes when it is there. LangChain hands on pieces of what is inside of a map.
    Rule {
        name: "chunks of parallel steps",
        ours: without_parallel_chunks,
        theirs: without_parallel_chunks,
    },
    // Typed steps hand on what they made: a text, a struct, a tuple. In LangChain these are a message, a document, a map.
    Rule {
        name: "what steps hand on",
        ours: |events| each(events, hand_on_plain),
        theirs: |events| each(events, hand_on_plain),
    },
];

fn same(_: &mut Vec<Value>) {}

fn each(events: &mut [Value], change: fn(&mut Value)) {
    events.iter_mut().for_each(change);
}

fn drop_field(event: &mut Value, place: &str, field: &str) {
    if let Some(Value::Object(fields)) = event.pointer_mut(place) {
        fields.remove(field);
    }
}

fn sort_tags(event: &mut Value) {
    if let Some(tags) = event["tags"].as_array_mut() {
        tags.sort_by_key(Value::to_string);
    }
}

fn without_parallel_chunks(events: &mut Vec<Value>) {
    events.retain(|event| event["event"] != "on_chain_stream" || event["name"] != "parallel");
}

/// Puts the events of each span together, the span first that began first.
fn by_span(events: &mut [Value]) {
    let mut ids: Vec<Value> = Vec::new();
    for event in events.iter() {
        if !ids.contains(&event["run_id"]) {
            ids.push(event["run_id"].clone());
        }
    }
    events.sort_by_key(|event| ids.iter().position(|id| *id == event["run_id"]));
}

/// What the runnable around them says, and the first model as the first of the run.
fn without_agent(events: &mut Vec<Value>) {
    let Some(agent) = events.iter().find(|event| event["name"] == "agent") else {
        return;
    };
    let agent = agent["run_id"].clone();
    events.retain(|event| event["run_id"] != agent);
    for event in events.iter_mut() {
        if let Some(around) = event["parent_ids"].as_array_mut() {
            around.retain(|id| *id != agent);
        }
    }
    let first = events[0]["run_id"].clone();
    let asked = events[0]["data"]["input"]["messages"][0].take();
    events[0]["data"]["input"] = asked;
    let end =
        |event: &&mut Value| event["run_id"] == first && event["event"] == "on_chat_model_end";
    if let Some(end) = events.iter_mut().find(end) {
        drop_field(end, "/data", "input");
    }
}

fn hand_on_plain(event: &mut Value) {
    let name = event["event"].as_str().unwrap_or_default();
    if name.starts_with("on_chain_") || name.starts_with("on_parser_") {
        for field in ["input", "output", "chunk"] {
            if let Some(value) = event["data"].get_mut(field) {
                *value = plain(value);
            }
        }
    }
}

/// A value without the class that LangChain has for it.
fn plain(value: &Value) -> Value {
    match value {
        Value::Object(fields) if fields.contains_key("content") => fields["content"].clone(),
        Value::Object(fields) if fields.contains_key("messages") => plain(&fields["messages"][0]),
        Value::Object(fields) if fields.contains_key("page_content") => {
            json!([fields["page_content"], fields["metadata"]])
        }
        Value::Object(fields) if fields.contains_key("one") && fields.contains_key("two") => {
            json!([plain(&fields["one"]), plain(&fields["two"])])
        }
        Value::Array(all) => all.iter().map(plain).collect(),
        other => other.clone(),
    }
}
