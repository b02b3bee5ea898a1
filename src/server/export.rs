//! The log of a run as a file.

use super::document::status_of;
use axum::{
    Json,
    body::Body,
    extract::{Query, State},
    http::header,
    response::{IntoResponse, Response},
};
use futures::StreamExt;
use headwater_engine::Engine;
use headwater_protocol::{Error, ErrorCode, RunId};
use serde::Deserialize;
use std::{convert::Infallible, sync::Arc};

/// The address of [`run_log`].
pub const LOG: &str = "/api/runs/log";

/// The query of [`run_log`].
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Asked {
    run: String,
}

/// `GET /api/runs/log?run=…`: the entries that a run has now as [JSON lines](https://jsonlines.org), each
/// with its number and its time, as `headwater replay --events` prints them.
pub async fn run_log(State(engine): State<Arc<Engine>>, Query(asked): Query<Asked>) -> Response {
    let lines = async {
        let run: RunId = asked.run.parse().map_err(|_| {
            let sentence = "The parameter “run” must be the identifier of an answer.";
            Error::new(ErrorCode::InvalidRequest, sentence)
        })?;
        Ok((run, engine.lines(run).await?))
    };
    match lines.await {
        Ok((run, lines)) => {
            let headers = [
                (header::CONTENT_TYPE, "application/jsonl".to_owned()),
                (
                    header::CONTENT_DISPOSITION,
                    format!("attachment; filename=\"run-{run}.jsonl\""),
                ),
            ];
            let body = Body::from_stream(lines.map(Ok::<_, Infallible>));
            (headers, body).into_response()
        }
        Err(why) => (status_of(&why), Json(why)).into_response(),
    }
}
