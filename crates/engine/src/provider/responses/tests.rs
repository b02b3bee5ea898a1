use super::*;
use crate::provider::{
    Provider,
    http::http_client,
    testing::{server::*, sockets, *},
};

mod requests;
mod streams;
mod wire;

const HELLO: &str = "event: response.output_text.delta\ndata: {\"type\":\"response.output_text.delta\",\"output_index\":0,\"content_index\":0,\"delta\":\"Hello\"}\n\n";
const FINISH: &str = "event: response.completed\ndata: {\"type\":\"response.completed\",\"response\":{\"status\":\"completed\",\"output\":[]}}\n\n";

fn make(address: String) -> HttpProvider<Responses> {
    Responses::provider(config(format!("{address}/v1")), http_client().unwrap()).unwrap()
}

/// What is sent for a request.
pub(in crate::provider) fn body(request: &ChatRequest, _: bool) -> serde_json::Value {
    request::body(request, request::RequestVariant::default())
}
