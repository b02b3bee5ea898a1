use super::*;
use crate::provider::{
    Provider, ProviderEvent,
    http::http_client,
    testing::{laws, server::*, sockets, *},
};
use headwater_protocol::{ErrorCode, FinishReason, ToolCall, Usage};
use serde_json::Value;

mod dialects;
mod wild;
mod wire;

const HELLO: &str = "data: {\"choices\":[{\"delta\":{\"content\":\"Hello\"}}]}\n\n";
const STOP: &str = "data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n";
const DONE: &str = "data: [DONE]\n\n";

fn config(server: &Server) -> OpenAiConfig {
    OpenAiConfig {
        name: "Acme".into(),
        base_url: server.url("/v1/"),
        api_key: Some(Secret::new(KEY)),
        ..OpenAiConfig::default()
    }
}

fn provider(server: &Server) -> HttpProvider<OpenAi> {
    OpenAi::provider(config(server), http_client().unwrap()).unwrap()
}

/// What is sent for a request.
pub(in crate::provider) fn body(request: &ChatRequest, prefill: bool) -> serde_json::Value {
    let variant = RequestVariant::for_url(&"http://acme.example/v1".parse().unwrap());
    serde_json::to_value(request::body(request, variant, prefill)).unwrap()
}
