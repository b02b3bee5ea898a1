//! A run as the events of LangChain's `astream_events(version="v2")`, for programs that read those.
//!
//! [`Converter`] makes them of the entries of the log, one by one and without a look at anything else. So they are
//! the same for every reader, while the run is at work and after it, and a reader can go on from where it was.
//! docs/langchain.md has the mapping, and what we do where v2 says nothing.

mod block;
mod message;
mod span;

use super::filter::{Filter, Filtering, Form};
use crate::{log::Source, packed::Item};
use bytes::{BufMut, Bytes, BytesMut};
use headwater_protocol::{Error, ErrorCode, Event, RunId, Seq, SpanKind, SpanNo, chat};
use serde_json::{Value, json};
use span::Span;
use std::{
    collections::{HashMap, VecDeque},
    io::Write,
    str::FromStr,
};
use uuid::Uuid;

/// How many entries are converted before others may work.
const BATCH: usize = 64;

/// The cursor of a reader of [`Engine::langchain_stream`](crate::Engine::langchain_stream), as it is in the `id:` of
/// each event. `12` is the number of an entry, of which the reader has all events; `12.1` says that it has the
/// first one of that entry, and that there are more.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cursor {
    /// The last entry of which the reader has all.
    pub(super) after: Seq,
    /// How many events it has of the next one.
    sent: usize,
}

impl Cursor {
    /// The last entry of which the reader has something.
    pub(super) fn seq(self) -> Seq {
        self.after.saturating_add(u64::from(self.sent > 0))
    }
}

impl FromStr for Cursor {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let read = || {
            let Some((entry, sent)) = text.split_once('.') else {
                let after = text.parse().ok()?;
                return Some(Self { after, sent: 0 });
            };
            Some(Self {
                after: entry.parse::<Seq>().ok()?.checked_sub(1)?,
                sent: sent.parse().ok()?,
            })
        };
        read().ok_or_else(|| {
            let sentence = format!("“{text}” is no cursor: it must be the id of an event.");
            Error::new(ErrorCode::InvalidRequest, sentence)
        })
    }
}

/// An event, as JSON.
struct Converted {
    /// Whether it is about the run, which v2 has no events for.
    is_end: bool,
    json: Vec<u8>,
}

/// Makes events of the entries of one run. Keeps what the open spans have written, and of the others what those
/// inside of them need.
pub(super) struct Converter {
    run: RunId,
    /// The messages that a model without an input of its own has read: those of the conversation, and what
    /// the run's models and their tools have said since.
    told: Vec<Value>,
    spans: HashMap<SpanNo, Span>,
    /// Whether a model or a step has written text.
    spoke: bool,
    filtering: Option<Filtering>,
    /// How many events of the next entry the reader has.
    sent: usize,
    /// The events of an entry.
    events: Vec<Converted>,
}

impl Converter {
    /// A converter for a reader that has the events up to `cursor`. It reads the log up to there, because later
    /// events depend on earlier ones.
    pub(super) async fn new(
        run: RunId,
        asked: &[chat::Message],
        filter: Option<Filter>,
        source: &Source,
        cursor: Cursor,
    ) -> Self {
        let filtering = match filter {
            Some(filter) => Some(Filtering::new(filter, Form::Events, source, 0).await),
            None => None,
        };
        let mut converter = Self {
            run,
            told: asked.iter().map(message::of_chat).collect(),
            spans: HashMap::new(),
            spoke: false,
            filtering,
            sent: cursor.sent,
            events: Vec::new(),
        };
        let mut seen = 0;
        while seen < cursor.after {
            let left = usize::try_from(cursor.after - seen).unwrap_or(BATCH);
            let last = source.look_after(seen, left.min(BATCH), |_, _, item| {
                converter.convert(item);
            });
            if last == seen {
                break;
            }
            seen = last;
            tokio::task::yield_now().await;
        }
        converter
    }

    /// Adds the events of the next entries, and returns the number of the last entry that was looked at.
    pub(super) fn read(&mut self, source: &Source, after: Seq, out: &mut VecDeque<Bytes>) -> Seq {
        let mut frames = BytesMut::new();
        let last = source.look_after(after, BATCH, |seq, _, item| {
            let passes = self.convert(item);
            let sent = std::mem::take(&mut self.sent);
            if passes {
                self.encode(seq, sent, &mut frames);
            }
        });
        if !frames.is_empty() {
            out.push_back(frames.freeze());
        }
        last
    }

    /// Encodes the events of an entry but for the first `sent`.
    fn encode(&self, seq: Seq, sent: usize, out: &mut BytesMut) {
        for (number, event) in (1..).zip(&self.events).skip(sent) {
            let _ = match number == self.events.len() {
                true => writeln!(out.writer(), "id:{seq}"),
                false => writeln!(out.writer(), "id:{seq}.{number}"),
            };
            if event.is_end {
                out.put_slice(b"event:end\n");
            }
            out.put_slice(b"data:");
            out.put_slice(&event.json);
            out.put_slice(b"\n\n");
        }
    }

    /// Makes the events of an entry. Returns whether the reader wants them.
    fn convert(&mut self, item: Item<'_>) -> bool {
        let filtering = self.filtering.as_mut();
        let passes = filtering.is_none_or(|filtering| filtering.passes(item));
        self.events.clear();
        match item {
            Item::Delta { span, block, text } => {
                let chunk = self.spans.get_mut(&span);
                if let Some(data) = chunk.and_then(|span| span.write(block, text, &mut self.spoke))
                {
                    self.stream(span, data);
                }
            }
            Item::Json(_) => self.take(item.into_event()),
        }
        passes
    }

    fn take(&mut self, event: Event) {
        match event {
            Event::SpanStarted { span, parent, .. } => self.begin(span, parent, event),
            Event::BlockStarted {
                span,
                block,
                kind,
                tool,
            } => {
                let known = self.spans.get_mut(&span);
                if let Some(chunk) = known.and_then(|span| span.open(block, kind, tool)) {
                    self.stream(span, chunk);
                }
            }
            Event::BlockFinished {
                span, block, value, ..
            } => {
                let known = self.spans.get_mut(&span);
                if let Some(chunk) = known.and_then(|span| span.close(block, value)) {
                    self.stream(span, chunk);
                }
            }
            Event::BlockRelabelled { span, block, kind } => {
                if let Some(span) = self.spans.get_mut(&span) {
                    span.relabel(block, kind);
                }
            }
            Event::Custom { span, name, data } => self.custom(span, &name, &data),
            Event::SpanFinished { span, .. } => self.end(span, event),
            Event::RunFinished { status, error, .. } => {
                let end = match error {
                    Some(error) => json!({ "status": status, "error": error }),
                    None => json!({ "status": status }),
                };
                self.events.push(Converted {
                    is_end: true,
                    json: json_of(&end),
                });
            }
            _ => {}
        }
    }

    fn begin(&mut self, number: SpanNo, parent: Option<SpanNo>, event: Event) {
        let outer = parent.and_then(|parent| self.spans.get(&parent));
        // In LangChain an agent runs the tools, and not the model that asks for them.
        let around = match outer {
            Some(model) if model.kind == SpanKind::ChatModel => {
                model.parent.and_then(|parent| self.spans.get(&parent))
            }
            outer => outer,
        };
        let run = self.run;
        let begun = Span::new(event, around, |span| run_id(run, span), &self.told);
        let data = begun.started();
        self.spans.insert(number, begun);
        self.push(number, "start", &data);
    }

    fn end(&mut self, number: SpanNo, event: Event) {
        let span = self.spans.get_mut(&number);
        let Some(end) = span.and_then(|span| span.finish(event)) else {
            return;
        };
        self.told.extend(end.said);
        if let Some(chunk) = end.chunk {
            self.stream(number, chunk);
        }
        self.push(number, end.word, &end.data);
    }

    fn custom(&mut self, span: SpanNo, name: &str, data: &Value) {
        if let Some(span) = self.spans.get(&span) {
            let json = span.event("on_custom_event", name, data);
            self.events.push(Converted {
                is_end: false,
                json,
            });
        }
    }

    fn stream(&mut self, span: SpanNo, chunk: Value) {
        self.push(span, "stream", &json!({ "chunk": chunk }));
    }

    fn push(&mut self, span: SpanNo, what: &str, data: &Value) {
        if let Some(span) = self.spans.get(&span) {
            let event = format!("on_{}_{what}", kind_word(span.kind));
            let json = span.event(&event, &span.name, data);
            self.events.push(Converted {
                is_end: false,
                json,
            });
        }
    }
}

/// What the reader is told beside the events, as a comment: whoever reads events would take anything else for one.
pub(super) fn comment(event: &Event) -> Bytes {
    let text = match event {
        Event::Ping {
            notice: Some(notice),
        } => notice,
        Event::GoingAway { reason, .. } => reason,
        _ => "ping",
    };
    let text = text.lines().next().unwrap_or_default();
    Bytes::from(format!(": {text}\n\n"))
}

/// The identifier of a span: that of the run for the first one, and the next numbers for the others. It is the
/// same whenever it is asked for, and nothing has to be stored for it.
fn run_id(run: RunId, span: SpanNo) -> String {
    let number = run.0.as_u128() ^ u128::from(span.saturating_sub(1));
    Uuid::from_u128(number).to_string()
}

/// LangChain's word for a kind of work.
fn kind_word(kind: SpanKind) -> &'static str {
    match kind {
        SpanKind::ChatModel => "chat_model",
        SpanKind::Tool => "tool",
        SpanKind::Retriever => "retriever",
        SpanKind::Prompt => "prompt",
        SpanKind::Parser => "parser",
        SpanKind::Chain | SpanKind::Agent | SpanKind::Unknown => "chain",
    }
}

/// JSON in memory, which cannot fail: no map has a key that is not a string.
fn json_of(value: &Value) -> Vec<u8> {
    serde_json::to_vec(value).unwrap_or_default()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may fail by panic")]
mod tests;
