//! Finds the details of a failure, wherever in the answer they are.

use serde_json::Value;
use std::time::Duration;

/// How deep nested errors are searched. Gateways wrap the errors of providers.
const DEPTH: usize = 4;

/// The fields in which servers put their message.
const MESSAGES: [&str; 8] = [
    "message",
    "detail",
    "msg",
    "error_msg",
    "error_message",
    "errorMessage",
    "status_msg",
    "error_description",
];

/// The details of a failure.
#[derive(Debug, Default)]
pub(super) struct ErrorDetails {
    pub(super) message: String,
    /// The code and the type, in lower case.
    pub(super) words: String,
    /// The HTTP status, if the code is one.
    pub(super) status: Option<u16>,
    /// How long to wait before another attempt, in milliseconds.
    pub(super) retry_after_ms: Option<u64>,
    /// The tokens of the request, and the size of the context.
    pub(super) tokens: Option<(u64, u64)>,
}

impl ErrorDetails {
    pub(super) fn mentions(&self, word: &str) -> bool {
        self.words.contains(word) || self.message.to_lowercase().contains(word)
    }

    /// The details in plain text. A page of HTML is not quoted.
    pub(super) fn of_text(text: &str) -> Self {
        let text = text.trim();
        let message = match text.starts_with('<') {
            true => String::new(),
            false => text.to_owned(),
        };
        Self {
            retry_after_ms: delay_in(&message),
            message,
            ..Self::default()
        }
    }

    /// The details in JSON, in all forms that servers use.
    pub(super) fn of(value: &Value) -> Self {
        let mut said = Self::default();
        said.read(value, DEPTH);
        said.retry_after_ms = said.retry_after_ms.or_else(|| delay_in(&said.message));
        said
    }

    fn read(&mut self, value: &Value, depth: usize) {
        let value = value.get(0).unwrap_or(value);
        if let Value::String(text) = value {
            self.message = text.clone();
            return;
        }
        // The innermost error is the most precise. Outer ones fill in what it leaves out.
        let inner = ["error", "errors", "base_resp", "response", "detail"]
            .into_iter()
            .filter_map(|name| value.get(name))
            .find(|inner| is_said(inner) && (inner.is_object() || inner.is_array()));
        if let Some(inner) = inner.filter(|_| depth > 0) {
            match inner
                .as_array()
                .filter(|list| list.iter().any(|item| item.get("msg").is_some()))
            {
                Some(list) => self.message = sentences(list),
                None => self.read(inner, depth - 1),
            }
        }
        if self.message.is_empty() {
            let message = ["error"].iter().chain(&MESSAGES);
            self.message = message
                .filter_map(|name| value.get(name))
                .find(|message| is_said(message) && (message.is_string() || inner.is_none()))
                .map(|message| match message.as_str() {
                    Some(text) => text.to_owned(),
                    None => message.to_string(),
                })
                .unwrap_or_default();
        }
        for name in ["code", "type", "status", "error_type", "reason"] {
            self.note(value.get(name));
        }
        for name in ["code", "status", "status_code", "statusCode", "error_code"] {
            self.status = self.status.or_else(|| number(value.get(name)));
        }
        let count = |name: &str| value.get(name).and_then(Value::as_u64);
        self.tokens = self
            .tokens
            .or_else(|| count("n_prompt_tokens").zip(count("n_ctx")));
        self.retry_after_ms = self.retry_after_ms.or_else(|| {
            let seconds = value.get("retry_after").and_then(Value::as_f64);
            let ms = value.get("retry_after_ms").and_then(Value::as_u64);
            ms.or_else(|| milliseconds(seconds?))
        });
        self.details(value);
        self.raw(value, depth);
    }

    /// Reads Google's [error details](https://google.aip.dev/193#error-details): how long to wait,
    /// and which limit was reached.
    fn details(&mut self, value: &Value) {
        let details = value.get("details").and_then(Value::as_array);
        for detail in details.into_iter().flatten() {
            let delay = detail.get("retryDelay").and_then(Value::as_str);
            let seconds = delay.and_then(|delay| delay.strip_suffix('s')?.parse().ok());
            self.retry_after_ms = self.retry_after_ms.or_else(|| milliseconds(seconds?));
            let limits = detail.get("violations").and_then(Value::as_array);
            for limit in limits.into_iter().flatten() {
                self.note(limit.get("quotaId"));
            }
            self.note(detail.get("reason"));
        }
    }

    /// Reads the error of the provider behind a gateway, in
    /// [OpenRouter's form](https://openrouter.ai/docs/api-reference/errors).
    fn raw(&mut self, value: &Value, depth: usize) {
        let raw = value.pointer("/metadata/raw").and_then(Value::as_str);
        let Some(raw) = raw.filter(|raw| depth > 0 && !raw.trim().is_empty()) else {
            return;
        };
        let inner = match serde_json::from_str::<Value>(raw) {
            Ok(value) => {
                let mut inner = Self::default();
                inner.read(&value, depth - 1);
                inner
            }
            Err(_) => Self::of_text(raw),
        };
        if !inner.message.is_empty() {
            self.message = format!("{}: {}", self.message, inner.message);
        }
        self.words.push(' ');
        self.words.push_str(&inner.words);
    }

    fn note(&mut self, word: Option<&Value>) {
        if let Some(word) = word.and_then(Value::as_str) {
            self.words.push(' ');
            self.words.push_str(&word.to_lowercase());
        }
    }
}

/// Whether an object is explicitly an error, or contains one.
pub(super) fn is_error(value: &Value) -> bool {
    let word = |name: &str| value.get(name).and_then(Value::as_str);
    let code = value
        .pointer("/base_resp/status_code")
        .and_then(Value::as_i64);
    ["error", "errors"]
        .iter()
        .any(|name| value.get(name).is_some_and(is_said))
        || ["object", "type"]
            .iter()
            .any(|name| word(name) == Some("error"))
        || code.is_some_and(|code| code != 0)
}

/// Whether an object is nothing but a message.
pub(super) fn is_message(value: &Value) -> bool {
    MESSAGES
        .iter()
        .filter_map(|name| value.get(name))
        .any(|message| message.is_array() || message.as_str().is_some_and(|text| !text.is_empty()))
}

/// Whether a value is not blank. Some servers send an empty error with every chunk.
fn is_said(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => false,
        Value::Bool(true) => true,
        Value::Number(number) => number.as_i64() != Some(0),
        Value::String(text) => !text.trim().is_empty(),
        Value::Array(list) => list.iter().any(is_said),
        Value::Object(map) => map.values().any(is_said),
    }
}

/// The messages of a list of validation errors.
fn sentences(list: &[Value]) -> String {
    let sentences = list.iter().filter_map(|item| item.get("msg")?.as_str());
    sentences.collect::<Vec<_>>().join("; ")
}

fn milliseconds(seconds: f64) -> Option<u64> {
    let delay = Duration::try_from_secs_f64(seconds).ok()?;
    u64::try_from(delay.as_millis()).ok()
}

/// The delay in a sentence such as “Please try again in 1.5s.”, in milliseconds.
fn delay_in(message: &str) -> Option<u64> {
    let message = message.to_lowercase();
    let at = ["try again in ", "retry in ", "retry after "]
        .iter()
        .find_map(|words| Some(message.find(words)? + words.len()))?;
    let rest = &message[at..];
    let end = rest.find(|letter: char| !letter.is_ascii_digit() && letter != '.')?;
    let number: f64 = rest[..end].parse().ok()?;
    let unit = rest[end..].trim_start();
    if unit.starts_with("ms") || unit.starts_with("milli") {
        milliseconds(number / 1000.0)
    } else if unit.starts_with('s') {
        milliseconds(number)
    } else {
        None
    }
}

fn number(value: Option<&Value>) -> Option<u16> {
    let value = value?;
    value
        .as_u64()
        .or_else(|| value.as_str()?.parse().ok())
        .and_then(|number| u16::try_from(number).ok())
        .filter(|number| (400..=599).contains(number))
}
