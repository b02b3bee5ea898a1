//! What the server does for [`run_events`](super::run_events): the cursor, the filter and the format from the
//! request, the headers of the answer.

use super::{ApiError, SseBody};
use crate::server::{
    self, policy,
    streams::{self, Wanted},
    timing::SERVER_TIMING,
};
use axum::{extract::RawQuery, http::HeaderMap};
use headwater_protocol::RunId;
use leptos::prelude::use_context;
use leptos_axum::ResponseOptions;

/// The body of `GET /api/runs/events`. Everything but the run is read from the query, because filter and format
/// are many parameters, and the chat never sends one.
///
/// # Errors
/// `not_found`; `conflict` if the cursor is beyond the log's head; `invalid_request`.
pub(super) async fn follow_from_request(run: RunId) -> Result<SseBody, ApiError> {
    let engine = server::engine()?;
    let headers: HeaderMap = leptos_axum::extract().await.unwrap_or_default();
    let query = leptos_axum::extract().await;
    let query = query.map_or_else(|_| None, |RawQuery(query)| query);
    let query = query.unwrap_or_default();
    let parameters: Vec<_> = form_urlencoded::parse(query.as_bytes()).collect();
    let parameters = parameters.iter().map(|(name, value)| (&**name, &**value));
    let wanted = Wanted::from_parameters(parameters, &headers)?;
    let stream = streams::open(&engine, run, wanted).await?;
    if let Some(response) = use_context::<ResponseOptions>() {
        for (name, value) in policy::of_stream() {
            response.insert_header(name, value);
        }
        if let Some(timing) = streams::timing_header(&stream) {
            response.insert_header(SERVER_TIMING, timing);
        }
    }
    Ok(SseBody::new(stream.frames))
}
