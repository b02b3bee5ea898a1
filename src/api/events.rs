//! What the server does for [`run_events`](super::run_events): the cursor, the filter and the format from the
//! request, the headers of the answer.

use super::{ApiError, SseBody};
use crate::server::{
    self,
    timing::{self, SERVER_TIMING},
};
use axum::{
    extract::RawQuery,
    http::{HeaderMap, HeaderName, HeaderValue, header},
};
use headwater_engine::follow::{Cursor, Filter, Form};
use headwater_protocol::{Error, ErrorCode, RunId, Seq};
use leptos::prelude::use_context;
use leptos_axum::ResponseOptions;
use std::str::FromStr;

/// The forms in which a run can be followed.
enum Format {
    /// The log itself.
    Log(Form),
    /// LangChain's `astream_events(version="v2")`.
    LangChain,
}

impl Format {
    fn from_query<'a>(
        parameters: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Result<Self, Error> {
        let mut all = parameters.into_iter();
        match all.find(|(name, _)| *name == "format") {
            None | Some((_, "events")) => Ok(Self::Log(Form::Events)),
            Some((_, "entries")) => Ok(Self::Log(Form::Entries)),
            Some((_, "langchain-v2")) => Ok(Self::LangChain),
            Some((_, other)) => {
                let sentence = format!(
                    "There is no format “{other}”: leave it out for events, or ask for “entries” or \
                     “langchain-v2”."
                );
                Err(Error::new(ErrorCode::InvalidRequest, sentence))
            }
        }
    }
}

/// The body of `GET /api/runs/events`, with the cursor from the query or the `Last-Event-ID`
/// header, whichever is later: a browser that reconnects by itself repeats the old query. The query may
/// have a [`Filter`], and a format; then there is no snapshot.
///
/// # Errors
/// `not_found`; `conflict` if the cursor is beyond the log's head; `invalid_request`.
pub(super) async fn follow_from_request(
    run: RunId,
    after: Option<&str>,
    snapshot: bool,
) -> Result<SseBody, ApiError> {
    let engine = server::engine()?;
    let headers: HeaderMap = leptos_axum::extract().await.unwrap_or_default();
    let last = headers.get("last-event-id");
    let query = query().await;
    let parameters: Vec<_> = form_urlencoded::parse(query.as_bytes()).collect();
    let parameters = || parameters.iter().map(|(name, value)| (&**name, &**value));
    let filter = Filter::from_query(parameters())?;
    let (timing, body) = match (Format::from_query(parameters())?, filter) {
        (Format::LangChain, filter) => {
            let after: Cursor = latest(after, last)?;
            let stream = engine.langchain_stream(run, after, filter).await?;
            (stream.timing, SseBody::new(stream.frames))
        }
        (Format::Log(Form::Events), None) => {
            let after: Seq = latest(after, last)?;
            let stream = engine.event_stream(run, after, snapshot).await?;
            (stream.timing, SseBody::new(stream.frames))
        }
        (Format::Log(form), filter) => {
            let after: Seq = latest(after, last)?;
            let filter = filter.unwrap_or_default();
            let stream = engine
                .filtered_event_stream(run, after, filter, form)
                .await?;
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

/// The query of the request. Filter and format are read from it and not as arguments, because the chat never
/// sends one.
async fn query() -> String {
    let query = leptos_axum::extract().await;
    let query = query.map_or_else(|_| None, |RawQuery(query)| query);
    query.unwrap_or_default()
}

/// The later one of two cursors; the start where there is none.
fn latest<C: FromStr + Ord + Default>(
    after: Option<&str>,
    last: Option<&HeaderValue>,
) -> Result<C, Error> {
    let after = after.filter(|text| !text.is_empty());
    let after = after.map(|text| parse_cursor("parameter “after”", text));
    let last = last.map(|text| parse_cursor("header Last-Event-ID", text.to_str().unwrap_or("?")));
    let latest = last.transpose()?.max(after.transpose()?);
    Ok(latest.unwrap_or_default())
}

fn parse_cursor<C: FromStr>(name: &str, text: &str) -> Result<C, Error> {
    text.parse().map_err(|_| {
        let sentence = format!("The {name} must be the id of an event.");
        Error::new(ErrorCode::InvalidRequest, sentence)
    })
}
