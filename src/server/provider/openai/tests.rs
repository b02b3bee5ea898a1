use super::*;
use crate::{
    protocol::{BlockKind, FinishReason, ToolCall, Usage},
    server::provider::{ChatMessage, Role},
};
use serde_json::Value;
use std::collections::BTreeMap;

mod dialects;
mod server;
mod wire;

type Item = Result<ProviderEvent, Error>;

const KEY: &str = "Zq7-live-0123456789abcdef";

/// What a reader is left with.
#[derive(Debug, Default, PartialEq)]
struct Folded {
    text: String,
    reasoning: String,
    refusal: String,
    tools: Vec<(ToolCall, String, Value)>,
    usage: Option<Usage>,
    finish: Option<(FinishReason, String)>,
    error: Option<ErrorCode>,
}

/// Folds the events and checks the rules that every stream must keep.
fn fold(items: &[Item]) -> Folded {
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
            Ok(ProviderEvent::BlockFinished { index, value }) => {
                let block = blocks.get_mut(index).unwrap();
                assert_eq!(block.3.replace(value.clone()), None);
            }
            Ok(ProviderEvent::Usage(usage)) => folded.usage = Some(*usage),
            Ok(ProviderEvent::Finished { reason, word }) => {
                assert!(blocks.values().all(|block| block.3.is_some()));
                folded.finish = Some((*reason, word.clone()));
            }
            Ok(ProviderEvent::Connected | ProviderEvent::Stage(_)) => {}
        }
    }
    for (kind, tool, text, value) in blocks.into_values() {
        match kind {
            BlockKind::Text => folded.text.push_str(&text),
            BlockKind::Reasoning => folded.reasoning.push_str(&text),
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

fn ask(model: &str) -> ChatRequest {
    ChatRequest {
        model: model.into(),
        messages: vec![ChatMessage::new(Role::User, "Hello")],
        ..ChatRequest::default()
    }
}
