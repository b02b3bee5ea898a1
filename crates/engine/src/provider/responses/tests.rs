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

fn make(base: String, http: reqwest::Client) -> Box<dyn Provider> {
    let config = ResponsesConfig {
        name: "Acme".into(),
        base_url: format!("{base}/v1"),
        api_key: Some(Secret::new(KEY)),
        models: None,
    };
    Box::new(Responses::provider(config, http).unwrap())
}

/// What is sent for a request.
pub(in crate::provider) fn body(request: &ChatRequest, _: bool) -> serde_json::Value {
    request::body(request, request::RequestVariant::default())
}
