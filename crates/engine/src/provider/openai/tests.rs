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

fn make(address: String) -> HttpProvider<OpenAi> {
    let config = config(format!("{address}/v1/"));
    OpenAi::provider(config, false, http_client().unwrap()).unwrap()
}

fn provider(server: &Server) -> HttpProvider<OpenAi> {
    make(server.url(""))
}

/// What is sent for a request.
pub(in crate::provider) fn body(request: &ChatRequest, prefill: bool) -> serde_json::Value {
    let variant = RequestVariant::for_url(&"http://acme.example/v1".parse().unwrap());
    serde_json::to_value(request::body(request, variant, prefill)).unwrap()
}
