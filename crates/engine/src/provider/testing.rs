//! What the tests of all vendors share: a server of raw bytes, the fold of a stream, and the rules
//! that every stream must keep.

use super::{
    ChatMessage, ChatRequest, Effort, HttpProviderConfig, Image, Part, Provider, ProviderEvent,
    Role, Sampling, ToolDefinition, endpoint::Endpoint, secret::Secret,
};
use futures::StreamExt;
use headwater_protocol::{BlockKind, Error, ErrorCode, FinishReason, ToolCall, Usage};
use serde_json::Value;
use std::collections::BTreeMap;

pub(super) mod damage;
pub(super) mod laws;
pub(crate) mod log;
pub(super) mod server;
pub(super) mod sockets;

/// What a stream gives.
pub(super) type Item = Result<ProviderEvent, Error>;

/// A key that is easily found again.
pub(super) const KEY: &str = "Zq7-live-0123456789abcdef";

/// What a reader is left with.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Folded {
    pub(super) text: String,
    pub(super) reasoning: String,
    pub(super) refusal: String,
    pub(super) tools: Vec<(ToolCall, String, Value)>,
    pub(super) usage: Option<Usage>,
    pub(super) finish: Option<(FinishReason, String)>,
    pub(super) error: Option<ErrorCode>,
    /// The media types of the images.
    pub(super) images: Vec<String>,
    /// Whether text turned out to have been thinking.
    pub(super) relabelled: bool,
    /// The values of blocks of reasoning, where there are any: signatures and the like.
    pub(super) signatures: Vec<Value>,
}

/// Folds the events and checks the rules that every stream must keep.
pub(super) fn fold(items: &[Item]) -> Folded {
    let mut folded = Folded::default();
    let mut blocks: BTreeMap<u32, (BlockKind, Option<ToolCall>, String, Option<Value>)> =
        BTreeMap::new();
    for item in items {
        assert!(
            folded.finish.is_none() && folded.error.is_none(),
            "an event after the end: {item:?}"
        );
        match item {
            Err(error) => folded.error = Some(error.code),
            Ok(ProviderEvent::BlockStarted { index, kind, tool }) => {
                let block = (*kind, tool.clone(), String::new(), None);
                assert_eq!(blocks.insert(*index, block), None, "block {index} twice");
            }
            Ok(ProviderEvent::Delta { index, text }) => {
                assert!(!text.is_empty());
                let block = blocks.get_mut(index).unwrap();
                assert_eq!(block.3, None, "text after the block's end");
                block.2.push_str(text);
            }
            Ok(ProviderEvent::BlockRelabelled { index, kind }) => {
                let block = blocks.get_mut(index).unwrap();
                assert_eq!(block.3, None, "another kind after the block's end");
                block.0 = *kind;
                folded.relabelled = true;
            }
            Ok(ProviderEvent::Image(image)) => folded.images.push(image.media_type.clone()),
            Ok(ProviderEvent::BlockFinished { index, value }) => {
                let block = blocks.get_mut(index).unwrap();
                assert_eq!(block.3.replace(value.clone()), None);
            }
            Ok(ProviderEvent::Usage(usage)) => folded.usage = Some(*usage),
            Ok(ProviderEvent::Finished { reason, word }) => {
                assert!(blocks.values().all(|block| block.3.is_some()));
                folded.finish = Some((*reason, word.clone()));
            }
            Ok(ProviderEvent::Connected | ProviderEvent::Stage(_) | ProviderEvent::Ending) => {}
        }
    }
    for (kind, tool, text, value) in blocks.into_values() {
        match kind {
            BlockKind::Text => folded.text.push_str(&text),
            BlockKind::Reasoning => {
                folded.reasoning.push_str(&text);
                folded
                    .signatures
                    .extend(value.filter(|value| !value.is_null()));
            }
            BlockKind::Refusal => folded.refusal.push_str(&text),
            BlockKind::ToolInput => {
                folded
                    .tools
                    .push((tool.unwrap(), text, value.unwrap_or_default()));
            }
            other => panic!("a block of kind {other:?}"),
        }
    }
    folded
}

/// A PNG image with these bytes.
fn image(data: &'static [u8]) -> Part {
    Part::Image(Image {
        media_type: "image/png".into(),
        data: bytes::Bytes::from_static(data),
    })
}

/// A question about an image.
pub(super) fn image_question(data: &'static [u8]) -> ChatMessage {
    ChatMessage {
        role: Role::User,
        parts: vec![Part::Text("What is it?".into()), image(data)],
    }
}

/// A short question at a level of effort.
pub(super) fn asked(model: &str, effort: Option<Effort>) -> ChatRequest {
    let mut request = ask(model);
    request.sampling.effort = effort;
    request
}

/// A short question with all that a request can have: an image, a system prompt, sampling, a tool with
/// these parameters, and half an answer.
pub(super) fn ask_everything(model: &str, parameters: Value) -> ChatRequest {
    let mut request = ask(model);
    request.system = Some("Be kind.".into());
    request.prefill = Some("Half".into());
    request.sampling = Sampling {
        temperature: Some(0.5),
        top_p: Some(0.25),
        max_tokens: Some(5),
        effort: Some(Effort::High),
    };
    request.messages[0].parts.push(image(b"foob"));
    request.tools = vec![ToolDefinition {
        name: "weather".into(),
        description: "Tells the weather.".into(),
        parameters,
    }];
    request
}

/// A short question.
pub(super) fn ask(model: &str) -> ChatRequest {
    ChatRequest {
        model: model.into(),
        messages: vec![ChatMessage::new(Role::User, "Hello")],
        ..ChatRequest::default()
    }
}

/// The configuration of a provider at this base URL, with [`KEY`].
pub(super) fn config(base_url: impl Into<String>) -> HttpProviderConfig {
    HttpProviderConfig {
        name: "Acme".into(),
        base_url: Some(base_url.into()),
        api_key: Some(Secret::new(KEY)),
        models: None,
    }
}

/// The endpoint of a provider that is not asked.
pub(super) fn endpoint() -> Endpoint {
    Endpoint::new(&config("http://acme.example/v1"), "", "Most end in /v1.").unwrap()
}

/// Counts of tokens.
pub(super) fn usage(input: u64, output: u64) -> Option<Usage> {
    Some(Usage {
        input,
        output,
        ..Usage::default()
    })
}

/// Parts of `bytes`, cut at these places in any order.
pub(super) fn split(bytes: &[u8], mut cuts: Vec<usize>) -> Vec<&[u8]> {
    cuts.sort_unstable();
    cuts.push(bytes.len());
    let mut start = 0;
    let parts = cuts
        .into_iter()
        .map(|end| &bytes[std::mem::replace(&mut start, end)..end]);
    parts.collect()
}

/// The end that a provider told.
pub(super) fn end(reason: FinishReason, word: &str) -> Option<(FinishReason, String)> {
    Some((reason, word.into()))
}

/// A call of a tool with these arguments, parsed where they can be.
pub(super) fn tool(id: &str, name: &str, text: &str) -> (ToolCall, String, Value) {
    let call = ToolCall {
        id: id.into(),
        name: name.into(),
    };
    let value = match text {
        "" => serde_json::json!({}),
        text => serde_json::from_str(text).unwrap_or_default(),
    };
    (call, text.into(), value)
}

/// Everything that a provider answers to a short question.
pub(super) async fn all(provider: &dyn Provider) -> Vec<Item> {
    answer(provider, ask("m")).await
}

/// Everything that a provider answers to this.
pub(super) async fn answer(provider: &dyn Provider, request: ChatRequest) -> Vec<Item> {
    let patience = std::time::Duration::from_secs(10);
    tokio::time::timeout(patience, provider.stream(request).collect())
        .await
        .unwrap()
}

/// The error that a stream ends with.
pub(super) async fn failure(provider: &dyn Provider) -> Error {
    match all(provider).await.pop() {
        Some(Err(error)) => error,
        other => panic!("no error but {other:?}"),
    }
}

/// What each vendor over HTTP would be sent for a request. `prefill`: whether the server goes on
/// from a half-written answer, where that is a matter of the server.
pub(crate) fn bodies(request: &ChatRequest, prefill: bool) -> Vec<(&'static str, Value)> {
    vec![
        ("openai", super::openai::tests::body(request, prefill)),
        ("responses", super::responses::tests::body(request, prefill)),
        ("anthropic", super::anthropic::tests::body(request, prefill)),
        ("gemini", super::gemini::tests::body(request, prefill)),
        ("ollama", super::ollama::tests::body(request, prefill)),
    ]
}
