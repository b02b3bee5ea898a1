use super::*;
use crate::provider::{
    Effort, Provider, ProviderEvent,
    http::http_client,
    testing::{laws, server::*, sockets, *},
};
use futures::StreamExt;
use headwater_protocol::{ErrorCode, FinishReason, Usage};

mod dialects;
mod download;
mod wire;

const HELLO: &str =
    "{\"model\":\"m\",\"message\":{\"role\":\"assistant\",\"content\":\"Hello\"},\"done\":false}\n";
const STOP: &str = "{\"model\":\"m\",\"message\":{\"role\":\"assistant\",\"content\":\"\"},\"done\":true,\"done_reason\":\"stop\"}\n";

fn config(base_url: String) -> OllamaConfig {
    OllamaConfig {
        name: "Acme".into(),
        base_url,
        ..OllamaConfig::default()
    }
}

fn make(base_url: String, http: reqwest::Client) -> Box<dyn Provider> {
    Box::new(Ollama::provider(config(base_url), http).unwrap())
}

fn provider(server: &Server) -> HttpProvider<Ollama> {
    Ollama::provider(config(server.url("")), http_client().unwrap()).unwrap()
}

/// What is sent for a request.
pub(in crate::provider) fn body(request: &ChatRequest, prefill: bool) -> serde_json::Value {
    serde_json::to_value(request::body(request, Think::for_request(request), prefill)).unwrap()
}
