//! Ways to read a run over HTTP beside the `EventSource` of a browser. All of them open the same stream.

mod poll;

use super::{policy, status, timing};
use axum::{
    body::{Body, Bytes},
    extract::State,
    http::{HeaderMap, HeaderValue, header},
    response::Response,
};
use futures::{Stream, StreamExt};
use headwater_engine::{
    Engine,
    follow::{Cursor, EventStream, Filter, Form},
};
use headwater_protocol::{Error, ErrorCode, RunId, Seq};
pub use poll::poll;
use std::{convert::Infallible, pin::Pin, str::FromStr, sync::Arc};

/// The address of event streams. `GET` is a server function, because a browser's `EventSource` calls it.
pub const EVENTS: &str = "/api/runs/events";

/// The address of [`poll`].
pub const POLL: &str = "/api/runs/poll";

/// Frames, as a stream yields them.
pub type Frames = Pin<Box<dyn Stream<Item = Bytes> + Send>>;

/// What a stream shows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// The last entry that the reader has, as text, because it is not a number in every format.
    pub after: Option<String>,
    /// The same by the header `Last-Event-ID`. The later one counts: a browser that reconnects by itself
    /// repeats the old address.
    pub last_event_id: Option<String>,
    /// Whether the state so far comes as one event in place of its history.
    pub snapshot: bool,
    /// The form of the frames.
    pub format: Format,
    /// The frames that are wanted.
    pub filter: Option<Filter>,
}

/// The forms in which a run can be followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// The log itself.
    Log(Form),
    /// LangChain's `astream_events(version="v2")`.
    LangChain,
}

impl Default for Format {
    fn default() -> Self {
        Self::Log(Form::Events)
    }
}

impl Wanted {
    /// Reads the parameters of an address or a form. Others are passed over.
    ///
    /// # Errors
    /// `invalid_request` with a sentence that names the parameter.
    pub fn from_parameters<'a>(
        parameters: impl Iterator<Item = (&'a str, &'a str)> + Clone,
        headers: &HeaderMap,
    ) -> Result<Self, Error> {
        let text = |name: &str| {
            let mut all = parameters.clone();
            let found = all.find(|(one, value)| *one == name && !value.is_empty());
            found.map(|(_, value)| value)
        };
        let last = headers.get("last-event-id");
        Ok(Self {
            after: text("after").map(str::to_owned),
            last_event_id: last.map(|text| text.to_str().unwrap_or("?").to_owned()),
            snapshot: match text("snapshot") {
                None | Some("false") => false,
                Some("true") => true,
                Some(_) => return Err(invalid("The parameter “snapshot” is “true” or “false”.")),
            },
            format: match text("format") {
                None | Some("events") => Format::Log(Form::Events),
                Some("entries") => Format::Log(Form::Entries),
                Some("langchain-v2") => Format::LangChain,
                Some(other) => {
                    return Err(invalid(format!(
                        "There is no format “{other}”: leave it out for events, or ask for “entries” or \
                         “langchain-v2”."
                    )));
                }
            },
            filter: Filter::from_query(parameters)?,
        })
    }

    fn cursor<C: FromStr + Ord + Default>(&self) -> Result<C, Error> {
        let parse = |name, text: &Option<String>| {
            let text = text.as_ref();
            text.map(|text| parse_cursor(name, text)).transpose()
        };
        let after = parse("parameter “after”", &self.after)?;
        let last = parse("header Last-Event-ID", &self.last_event_id)?;
        Ok(after.max(last).unwrap_or_default())
    }
}

fn parse_cursor<C: FromStr>(name: &str, text: &str) -> Result<C, Error> {
    let wrong = |_| invalid(format!("The {name} must be the id of an event."));
    text.parse().map_err(wrong)
}

fn invalid(sentence: impl Into<String>) -> Error {
    Error::new(ErrorCode::InvalidRequest, sentence)
}

/// Opens the stream of a run. With a filter or in another form there is no snapshot.
///
/// # Errors
/// `not_found`; `conflict` if the cursor is beyond the log's head; `invalid_request`.
pub async fn open(
    engine: &Engine,
    run: RunId,
    wanted: Wanted,
) -> Result<EventStream<Frames>, Error> {
    Ok(match (wanted.format, &wanted.filter) {
        (Format::LangChain, _) => {
            let after: Cursor = wanted.cursor()?;
            boxed(engine.langchain_stream(run, after, wanted.filter).await?)
        }
        (Format::Log(Form::Events), None) => {
            let (after, snapshot): (Seq, _) = (wanted.cursor()?, wanted.snapshot);
            boxed(engine.event_stream(run, after, snapshot).await?)
        }
        (Format::Log(form), _) => {
            let after: Seq = wanted.cursor()?;
            let filter = wanted.filter.unwrap_or_default();
            let stream = engine.filtered_event_stream(run, after, filter, form);
            boxed(stream.await?)
        }
    })
}

fn boxed(stream: EventStream<impl Stream<Item = Bytes> + Send + 'static>) -> EventStream<Frames> {
    EventStream {
        timing: stream.timing,
        frames: Box::pin(stream.frames),
    }
}

/// The header that says where the time of a run went, once it is known.
pub fn timing_header(stream: &EventStream<Frames>) -> Option<HeaderValue> {
    let timing = stream.timing.as_ref()?;
    HeaderValue::from_str(&timing::of_run(timing)).ok()
}

/// `POST /api/runs/events`: the event stream of a run, with its parameters in a form, for clients that have
/// no `EventSource` or may not put identifiers into addresses.
pub async fn post(State(engine): State<Arc<Engine>>, headers: HeaderMap, form: Bytes) -> Response {
    match stream_of_form(&engine, &headers, &form).await {
        Ok(stream) => {
            let timing = timing_header(&stream);
            let body = Body::from_stream(stream.frames.map(Ok::<_, Infallible>));
            let mut response = Response::new(body);
            let kind = HeaderValue::from_static("text/event-stream");
            response.headers_mut().insert(header::CONTENT_TYPE, kind);
            for (name, value) in policy::of_stream() {
                response.headers_mut().insert(name, value);
            }
            if let Some(timing) = timing {
                response.headers_mut().insert(timing::SERVER_TIMING, timing);
            }
            response
        }
        Err(why) => status::answer(&why, false),
    }
}

async fn stream_of_form(
    engine: &Engine,
    headers: &HeaderMap,
    form: &[u8],
) -> Result<EventStream<Frames>, Error> {
    let parameters: Vec<_> = form_urlencoded::parse(form).collect();
    let parameters = parameters.iter().map(|(name, value)| (&**name, &**value));
    let run = run_of(parameters.clone())?;
    open(engine, run, Wanted::from_parameters(parameters, headers)?).await
}

/// The parameter `run`.
fn run_of<'a>(mut parameters: impl Iterator<Item = (&'a str, &'a str)>) -> Result<RunId, Error> {
    let run = parameters.find(|(name, _)| *name == "run");
    run.and_then(|(_, run)| run.parse().ok())
        .ok_or_else(|| invalid("The parameter “run” must be the identifier of an answer."))
}
