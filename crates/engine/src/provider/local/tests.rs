//! Tests of the built-in model: with tiny files made here, and with the real one where it is.

mod broken;
mod network;
mod provider;
mod real;
mod tiny;
mod words;

use super::{LocalConfig, LocalProvider, loader::Loader, model::LocalModel};
use crate::provider::{ChatMessage, ChatRequest, Provider, ProviderEvent, Role};
use futures::StreamExt;
use headwater_protocol::{Error, Stage, Usage};
use std::{
    path::PathBuf,
    sync::{Arc, Once},
    time::{Duration, Instant},
};

/// Names the conversation whose answer panics, in tests.
pub(super) const PANIC: &str = "please panic";

/// What `main` does first: candle's own threads spin, and tests run side by side.
#[expect(
    unsafe_code,
    reason = "the standard library has no safe way to set a variable of its own process"
)]
fn one_thread() {
    static ONCE: Once = Once::new();
    // SAFETY: all readers in these tests go through `std::env`, which locks.
    ONCE.call_once(|| unsafe { std::env::set_var("CANDLE_NUM_THREADS", "1") });
}

/// A provider over a model that is loaded already.
fn provider(model: &Arc<LocalModel>, change: impl FnOnce(&mut LocalConfig)) -> LocalProvider {
    one_thread();
    let mut config = LocalConfig::new(PathBuf::from("model.gguf"));
    config.seed = Some(1);
    config.max_context = model.network.context();
    change(&mut config);
    LocalProvider::with_loader(config, Loader::with(model.clone()))
}

fn request(conversation: &str, turns: &[&str]) -> ChatRequest {
    let roles = [Role::User, Role::Assistant].into_iter().cycle();
    ChatRequest {
        conversation: conversation.into(),
        messages: roles
            .zip(turns)
            .map(|(role, text)| ChatMessage::new(role, *text))
            .collect(),
        ..ChatRequest::default()
    }
}

fn limited(mut request: ChatRequest, tokens: u32) -> ChatRequest {
    request.sampling.max_tokens = Some(tokens);
    request.sampling.temperature = Some(0.0);
    request
}

/// Everything that a stream gave, taken apart.
#[derive(Debug, Default)]
struct Heard {
    events: Vec<ProviderEvent>,
    text: String,
    stages: Vec<Stage>,
    usage: Usage,
    finish: Option<String>,
    error: Option<Error>,
}

async fn hear(provider: &LocalProvider, request: ChatRequest) -> Heard {
    let mut heard = Heard::default();
    let mut stream = provider.stream(request);
    while let Some(event) = stream.next().await {
        match &event {
            Ok(ProviderEvent::Delta { text, .. }) => heard.text.push_str(text),
            Ok(ProviderEvent::Stage(stage)) => heard.stages.push(stage.clone()),
            Ok(ProviderEvent::Usage(usage)) => heard.usage = *usage,
            Ok(ProviderEvent::Finished { word, .. }) => heard.finish = Some(word.clone()),
            Ok(_) => {}
            Err(error) => heard.error = Some(error.clone()),
        }
        heard.events.extend(event);
    }
    heard
}

/// How long it takes until no model thread computes, in milliseconds; at most 5 seconds.
async fn idle_after(provider: &LocalProvider) -> u128 {
    let start = Instant::now();
    while provider.busy() > 0 && start.elapsed() < Duration::from_secs(5) {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(provider.busy(), 0, "a model thread goes on working");
    start.elapsed().as_millis()
}
