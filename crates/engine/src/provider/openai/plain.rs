//! The chunk that nearly every token comes in, read without a tree of values.
//!
//! A usual answer is a thousand chunks with one choice, a piece of text, and nothing else that says
//! anything. To build a tree of each and to look in it for all that other dialects say costs five times
//! as much as this. A chunk with anything more than this form has is no plain one, and is left to
//! [`Content`](super::content::Content) with all its rules.

use serde::{Deserialize, de::IgnoredAny};
use std::borrow::Cow;

/// The text of a plain chunk, and the number of its choice.
pub(super) fn read(data: &str) -> Option<(Cow<'_, str>, u64)> {
    let Chunk {
        choices: (choice,), ..
    } = serde_json::from_str(data).ok()?;
    let text = choice.delta.content;
    (!text.is_empty()).then_some((text, choice.index))
}

/// `()` is `null`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "named so that every other field is unknown")]
struct Chunk<'a> {
    #[serde(borrow)]
    choices: (Choice<'a>,),
    #[serde(default)]
    usage: (),
    #[serde(default)]
    error: (),
    id: Option<IgnoredAny>,
    object: Option<IgnoredAny>,
    created: Option<IgnoredAny>,
    model: Option<IgnoredAny>,
    provider: Option<IgnoredAny>,
    system_fingerprint: Option<IgnoredAny>,
    service_tier: Option<IgnoredAny>,
    obfuscation: Option<IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "named so that every other field is unknown")]
struct Choice<'a> {
    #[serde(borrow)]
    delta: Delta<'a>,
    index: u64,
    #[serde(default)]
    finish_reason: (),
    #[serde(default)]
    native_finish_reason: (),
    #[serde(default)]
    stop_reason: (),
    logprobs: Option<IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "named so that every other field is unknown")]
struct Delta<'a> {
    #[serde(borrow)]
    content: Cow<'a, str>,
    role: Option<IgnoredAny>,
    #[serde(default)]
    refusal: (),
    #[serde(default)]
    reasoning: (),
    #[serde(default)]
    reasoning_content: (),
    #[serde(default)]
    tool_calls: (),
    #[serde(default)]
    function_call: (),
}
