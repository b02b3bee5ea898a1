use super::*;
use crate::provider::{
    Effort, Provider, ProviderEvent,
    http::http_client,
    testing::{laws, server::*, sockets, *},
};
use futures::StreamExt;
use headwater_protocol::{ErrorCode, FinishReason};

mod dialects;
mod download;
mod wire;

const HELLO: &str =
    "{\"model\":\"m\",\"message\":{\"role\":\"assistant\",\"content\":\"Hello\"},\"done\":false}\n";
const STOP: &str = "{\"model\":\"m\",\"message\":{\"role\":\"assistant\",\"content\":\"\"},\"done\":true,\"done_reason\":\"stop\"}\n";

fn make(base_url: String) -> HttpProvider<Ollama> {
    Ollama::provider(config(base_url), false, http_client().unwrap()).unwrap()
}

fn provider(server: &Server) -> HttpProvider<Ollama> {
    make(server.url(""))
}

/// What is sent for a request.
pub(in crate::provider) fn body(request: &ChatRequest, prefill: bool) -> serde_json::Value {
    serde_json::to_value(request::body(request, Think::for_request(request), prefill)).unwrap()
}
