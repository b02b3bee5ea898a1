use super::*;
use crate::provider::{
    Effort, Provider, ProviderEvent,
    http::http_client,
    testing::{laws, server::*, sockets, *},
};
use headwater_protocol::{ErrorCode, FinishReason, Usage};

mod dialects;
mod wire;

const HELLO: &str = "data: {\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"Hello\"}],\"role\":\"model\"},\"index\":0}]}\r\n\r\n";
const STOP: &str = "data: {\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"\"}],\"role\":\"model\"},\"finishReason\":\"STOP\",\"index\":0}]}\r\n\r\n";

fn make(base_url: String) -> HttpProvider<Gemini> {
    Gemini::provider(config(base_url), http_client().unwrap()).unwrap()
}

fn provider(server: &Server) -> HttpProvider<Gemini> {
    make(server.url(""))
}

/// What is sent for a request.
pub(in crate::provider) fn body(request: &ChatRequest, prefill: bool) -> serde_json::Value {
    serde_json::to_value(request::body(
        request,
        RequestVariant::for_request(request),
        prefill,
    ))
    .unwrap()
}
