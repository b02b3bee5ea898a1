use super::*;
use crate::provider::{
    Provider,
    http::http_client,
    testing::{server::*, sockets, *},
};

mod requests;
mod streams;
mod wire;

const HELLO: &str = "event: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":0,\"content_block\":{\"type\":\"text\",\"text\":\"\"}}\n\nevent: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"Hello\"}}\n\n";
const FINISH: &str = "event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\"},\"usage\":{\"output_tokens\":2}}\n\n";
const STOP: &str = "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n";

fn make(base_url: String) -> HttpProvider<Anthropic> {
    Anthropic::provider(config(base_url), http_client().unwrap()).unwrap()
}

/// What is sent for a request.
pub(in crate::provider) fn body(request: &ChatRequest, _: bool) -> serde_json::Value {
    request::body(request, variant::RequestVariant::likely(request))
}
