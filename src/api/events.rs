//! What the server does for [`run_events`](super::run_events): the cursor and the filter from the request,
//! the headers of the answer.

use super::{ApiError, SseBody};
use crate::server::{
    self,
    timing::{self, SERVER_TIMING},
};
use axum::{
    extract::RawQuery,
    http::{HeaderMap, HeaderName, HeaderValue, header},
};
use headwater_engine::follow::{Filter, Form};
use headwater_protocol::{Error, ErrorCode, RunId, Seq};
use leptos::prelude::use_context;
use leptos_axum::ResponseOptions;

/// The body of `GET /api/runs/events`, with the cursor from the query or the `Last-Event-ID`
/// header, whichever is later: a browser that reconnects by itself repeats the old query. The query may
/// have a [`Filter`] and a [`Form`]; then there is no snapshot.
///
/// # Errors
/// `not_found`; `conflict` if the cursor is beyond the log's head; `invalid_request`.
pub(super) async fn follow_from_request(
    run: RunId,
    after: Option<Seq>,
    snapshot: bool,
) -> Result<SseBody, ApiError> {
    let engine = server::engine()?;
    let headers: HeaderMap = leptos_axum::extract().await.unwrap_or_default();
    let last = headers.get("last-event-id").map(parse_cursor).transpose()?;
    let after = last.max(after).unwrap_or(0);
    let (timing, body) = match filter().await? {
        Some((filter, form)) => {
            let stream = engine
                .filtered_event_stream(run, after, filter, form)
                .await?;
            (stream.timing, SseBody::new(stream.frames))
        }
        None => {
            let stream = engine.event_stream(run, after, snapshot).await?;
            (stream.timing, SseBody::new(stream.frames))
        }
    };
    if let Some(response) = use_context::<ResponseOptions>() {
        // Whatever stands between must neither keep, nor change, nor collect these bytes.
        response.insert_header(
            header::CACHE_CONTROL,
            HeaderValue::from_static("no-store, no-transform"),
        );
        response.insert_header(
            HeaderName::from_static("x-accel-buffering"),
            HeaderValue::from_static("no"),
        );
        let timing = timing.map(|timing| HeaderValue::from_str(&timing::of_run(&timing)));
        if let Some(Ok(timing)) = timing {
            response.insert_header(SERVER_TIMING, timing);
        }
    }
    Ok(body)
}

/// The filter and the form that the request asks for; `None` for the stream as it is. They are read here and
/// not as arguments, because the chat never sends them.
async fn filter() -> Result<Option<(Filter, Form)>, Error> {
    let query = leptos_axum::extract().await;
    let query = query.map_or_else(|_| None, |RawQuery(query)| query);
    let query = query.unwrap_or_default();
    let parameters: Vec<_> = form_urlencoded::parse(query.as_bytes()).collect();
    let parameters = parameters.iter().map(|(name, value)| (&**name, &**value));
    let form = Form::from_query(parameters.clone())?;
    let filter = Filter::from_query(parameters)?;
    let plain = filter.is_none() && form == Form::Events;
    Ok((!plain).then(|| (filter.unwrap_or_default(), form)))
}

fn parse_cursor(value: &HeaderValue) -> Result<Seq, Error> {
    let text = value.to_str().unwrap_or("?");
    text.parse().map_err(|_| {
        Error::new(
            ErrorCode::InvalidRequest,
            "The header Last-Event-ID must be a number.",
        )
    })
}
