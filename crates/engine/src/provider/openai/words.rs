//! Translates the words and numbers of the dialects.

use headwater_protocol::{FinishReason, Usage};
use serde_json::Value;

/// Maps a finish reason. `None` for a reason that is a failure.
pub(super) fn finish(word: &str) -> Option<FinishReason> {
    Some(match word.to_lowercase().as_str() {
        "stop" | "end_turn" | "stop_sequence" | "eos" | "eos_token" | "end" | "done"
        | "complete" | "completed" => FinishReason::Stop,
        "length"
        | "max_tokens"
        | "max_output_tokens"
        | "max_completion_tokens"
        | "model_length" => FinishReason::Length,
        "tool_calls" | "tool_call" | "tool_use" | "function_call" => FinishReason::ToolCalls,
        "content_filter" | "safety" | "sensitive" | "prohibited_content" | "blocklist" => {
            FinishReason::ContentFilter
        }
        "refusal" => FinishReason::Refusal,
        "error" | "abort" | "network_error" | "insufficient_system_resource" => return None,
        _ => FinishReason::Other,
    })
}

/// The fields in which servers put reasoning.
pub(super) const THOUGHTS: [&str; 6] = [
    "reasoning_content",
    "reasoning",
    "thinking",
    "reasoning_text",
    "thought",
    "thoughts",
];

/// The reasoning in a chunk of an answer, in whichever field it is. Servers that use two fields
/// send the same text in both.
pub(super) fn thoughts(delta: &Value) -> String {
    let names = THOUGHTS
        .iter()
        .chain(&["reasoning_details", "thinking_blocks"]);
    let mut found = names.filter_map(|name| delta.get(name)).map(thought);
    found.find(|text| !text.is_empty()).unwrap_or_default()
}

/// The text of reasoning: a string, in one of the fields of an object, or in parts.
pub(super) fn thought(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(parts) => parts.iter().map(thought).collect(),
        Value::Object(_) => {
            const NAMES: [&str; 6] = [
                "text",
                "summary",
                "thinking",
                "content",
                "reasoning",
                "thought",
            ];
            let mut found = NAMES.iter().filter_map(|name| value.get(name)).map(thought);
            found.find(|text| !text.is_empty()).unwrap_or_default()
        }
        _ => String::new(),
    }
}

/// The most chunks of other choices that are kept.
const MOST_OTHERS: usize = 1 << 16;

/// Selects one choice. Only one is requested, but some servers send more.
#[derive(Debug, Default)]
pub(super) struct Choice {
    wanted: Option<u64>,
    /// The chunks of other choices since the last chunk of the used one.
    others: Vec<Value>,
    /// Whether the used choice continued after a chunk of another one.
    has_several: bool,
}

impl Choice {
    /// The used choice: the first one that arrived, or one without a number.
    pub(super) fn pick(&mut self, choices: &mut [Value]) -> Option<Value> {
        let first = choices
            .iter()
            .map(|choice| index(choice).unwrap_or(0))
            .min()?;
        let wanted = *self.wanted.get_or_insert(first);
        let is_wanted = |choice: &&mut Value| index(choice).is_none_or(|index| index == wanted);
        if let Some(choice) = choices.iter_mut().find(is_wanted) {
            self.has_several |= !self.others.is_empty() || choice.get("index").is_none();
            self.others.clear();
            return Some(choice.take());
        }
        if !self.has_several && self.others.len() < MOST_OTHERS {
            self.others.push(choices.first_mut()?.take());
        }
        None
    }

    /// Whether the only choice of a chunk is the used one, by its number. If so, it counts as picked.
    pub(super) fn is_next(&mut self, index: u64) -> bool {
        let is_wanted = *self.wanted.get_or_insert(index) == index;
        if is_wanted {
            self.has_several |= !self.others.is_empty();
            self.others.clear();
        }
        is_wanted
    }

    /// The chunks with other numbers, if they belong to the answer: the first choice neither ended
    /// nor continued. Some servers number the chunks instead of the choices.
    pub(super) fn rest(&mut self) -> Vec<Value> {
        std::mem::take(&mut self.others)
    }

    /// Whether [`Choice::rest`] has a finish reason.
    pub(super) fn has_end(&self) -> bool {
        let ends = |choice: &Value| choice.get("finish_reason").is_some_and(Value::is_string);
        self.others.iter().any(ends)
    }
}

/// The number of a choice or a call. Some servers write it as a string.
pub(super) fn index(value: &Value) -> Option<u64> {
    let index = value.get("index")?;
    index.as_u64().or_else(|| index.as_str()?.parse().ok())
}

/// Reads a usage object. `None` if it counts nothing.
pub(super) fn usage(value: &Value) -> Option<Usage> {
    let count = |path: &str| {
        value.pointer(path).and_then(|count| {
            count
                .as_u64()
                .or_else(|| count.as_f64().map(|count| count as u64))
        })
    };
    let usage = Usage {
        input: count("/prompt_tokens").unwrap_or(0),
        output: count("/completion_tokens").unwrap_or(0),
        cache_read: count("/prompt_tokens_details/cached_tokens")
            .or(count("/prompt_cache_hit_tokens"))
            .unwrap_or(0),
        cache_write: count("/prompt_tokens_details/cache_write_tokens").unwrap_or(0),
        reasoning: count("/completion_tokens_details/reasoning_tokens").unwrap_or(0),
        estimated: false,
    };
    (usage.input > 0 || usage.output > 0).then_some(usage)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn reasons_to_end_are_a_closed_set() {
        assert_eq!(finish("stop"), Some(FinishReason::Stop));
        assert_eq!(finish("STOP"), Some(FinishReason::Stop));
        assert_eq!(finish("MAX_TOKENS"), Some(FinishReason::Length));
        assert_eq!(finish("function_call"), Some(FinishReason::ToolCalls));
        assert_eq!(finish("safety"), Some(FinishReason::ContentFilter));
        assert_eq!(finish("moon"), Some(FinishReason::Other));
        assert_eq!(finish("error"), None);
    }

    #[test]
    fn counts_are_found_where_servers_put_them() {
        let counts = usage(&json!({
            "prompt_tokens": 10, "completion_tokens": 5.0, "total_tokens": 15,
            "prompt_tokens_details": {"cached_tokens": 4},
            "completion_tokens_details": {"reasoning_tokens": 3},
        }));
        assert_eq!(
            counts,
            Some(Usage {
                input: 10,
                output: 5,
                cache_read: 4,
                reasoning: 3,
                ..Usage::default()
            })
        );
        assert_eq!(
            usage(&json!({"prompt_tokens": 9, "prompt_cache_hit_tokens": 8})).map(|u| u.cache_read),
            Some(8)
        );
        assert_eq!(
            usage(&json!({"prompt_tokens": 0, "prompt_tokens_details": null})),
            None
        );
    }
}
