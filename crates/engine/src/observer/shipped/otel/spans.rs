//! The log of a run as spans of OpenTelemetry.

use crate::{
    observer::{
        Run, RunFinished, Span,
        gen_ai::{self, attribute as name, operation},
        tree::Tree,
    },
    packed::Item,
};
use headwater_protocol::{
    BlockKind, Error, Event, Finish, RunId, SpanKind, SpanNo, Stage, Status, Timing, ToolCall,
    Usage,
    chat::{Answer, Block, beginning},
    word,
};
use opentelemetry::{
    Array, InstrumentationScope, KeyValue, StringValue, Value,
    trace::{
        Event as Moment, Link, SpanContext, SpanId, SpanKind as Side, Status as Verdict,
        TraceFlags, TraceId, TraceState,
    },
};
use opentelemetry_sdk::trace::{SpanData, SpanEvents, SpanLinks};
use serde_json::{Value as Json, json};
use std::{
    collections::{HashMap, HashSet},
    iter,
    time::{Duration, SystemTime},
};

/// The most bytes of a text, of arguments or of a result that are sent.
const MAX_CONTENT: usize = 64 * 1024;

/// How many entries are read at once.
const BATCH: usize = 1024;

/// All spans of a run that has ended. The first is the run itself.
pub(super) fn spans(run: &Run, end: &RunFinished<'_>, has_content: bool) -> Vec<SpanData> {
    let trace = Trace {
        run,
        log: Log::of(end),
        ended: end.timing.finished,
        content: has_content.then(|| end.answer()),
    };
    let mut inner: Vec<&Span> = trace.log.tree.spans.values().collect();
    inner.sort_by_key(|span| span.number);
    let inner = inner.into_iter().map(|span| trace.span(span));
    iter::once(trace.root(end)).chain(inner).collect()
}

/// How a span ended.
struct End {
    ms: u64,
    status: Status,
    output: Json,
    finish: Option<Finish>,
    usage: Option<Usage>,
    timing: Option<Timing>,
    error: Option<Error>,
}

/// What happened in a span.
enum Note {
    Retry {
        attempt: u32,
        pause: Duration,
        code: String,
    },
    Custom {
        name: String,
        data: Json,
    },
}

/// What the log says of spans.
#[derive(Default)]
struct Log {
    tree: Tree,
    ends: HashMap<SpanNo, End>,
    /// The calls that tools answer.
    calls: HashMap<SpanNo, ToolCall>,
    /// Those of the run itself are under `None`.
    notes: HashMap<Option<SpanNo>, Vec<(u64, Note)>>,
    /// The spans whose place another one took.
    replaced: HashSet<SpanNo>,
}

impl Log {
    fn of(end: &RunFinished<'_>) -> Self {
        let (mut log, mut cursor) = (Self::default(), 0);
        loop {
            // Text says nothing of spans, and makes most of a log.
            let last = end.source.look_after(cursor, BATCH, |_, ms, item| {
                if let Item::Json(_) = item {
                    log.apply(item.into_event(), ms);
                }
            });
            if last == cursor {
                return log;
            }
            cursor = last;
        }
    }

    fn apply(&mut self, event: Event, ms: u64) {
        self.tree.apply(&event, ms);
        match event {
            Event::SpanStarted {
                replaces: Some(old),
                ..
            } => {
                self.replaced.insert(old);
            }
            Event::BlockStarted {
                span,
                kind: BlockKind::ToolOutput,
                tool: Some(call),
                ..
            } => {
                self.calls.insert(span, call);
            }
            Event::SpanFinished {
                span,
                status,
                output,
                finish,
                usage,
                timing,
                error,
            } => {
                let end = End {
                    ms,
                    status,
                    output,
                    finish,
                    usage,
                    timing,
                    error,
                };
                self.ends.insert(span, end);
            }
            Event::Progress {
                span,
                stage:
                    Stage::Retrying {
                        in_ms,
                        attempt,
                        error,
                    },
                ..
            } => {
                let retry = Note::Retry {
                    attempt,
                    pause: Duration::from_millis(in_ms),
                    code: word(error.code),
                };
                // The attempt has ended; what goes on is the span around it.
                let around = self.tree.spans.get(&span).and_then(Span::parent);
                self.note(around, ms, retry);
            }
            Event::Custom { span, name, data } => {
                self.note(Some(span), ms, Note::Custom { name, data });
            }
            _ => {}
        }
    }

    fn note(&mut self, span: Option<SpanNo>, ms: u64, note: Note) {
        self.notes.entry(span).or_default().push((ms, note));
    }
}

/// A run on its way into spans.
struct Trace<'a> {
    run: &'a Run,
    log: Log,
    /// When the run ended, in milliseconds since it was accepted.
    ended: u64,
    /// What was written, if it is to be sent.
    content: Option<Answer>,
}

impl Trace<'_> {
    /// The run itself.
    fn root(&self, end: &RunFinished<'_>) -> SpanData {
        let run = self.run;
        let mut about = vec![
            KeyValue::new(name::OPERATION, operation::INVOKE_AGENT),
            KeyValue::new(name::AGENT, run.model.clone()),
            KeyValue::new(name::CONVERSATION, run.conversation.to_string()),
            KeyValue::new(name::RUN, run.run.to_string()),
        ];
        about.extend(tokens(end.usage));
        about.extend(outcome(end.status, end.error));
        let title = format!("{} {}", operation::INVOKE_AGENT, run.model);
        let continued = run.continues.map(|before| link(before, None, "continues"));
        SpanData {
            attributes: about,
            links: links(continued),
            status: self.verdict(end.status, end.error),
            ..self.bare(None, title, 0, self.ended)
        }
    }

    /// A span of the log.
    fn span(&self, span: &Span) -> SpanData {
        let end = self.log.ends.get(&span.number);
        let error = end.and_then(|end| end.error.as_ref());
        let status = match end {
            _ if self.log.replaced.contains(&span.number) => Status::Superseded,
            Some(end) => end.status,
            None => Status::Interrupted,
        };
        let (work, mut about) = work(span);
        about.push(KeyValue::new(
            name::CONVERSATION,
            self.run.conversation.to_string(),
        ));
        let call = self.log.calls.get(&span.number);
        about.extend(call.map(|call| KeyValue::new(name::TOOL_CALL, call.id.clone())));
        if !span.tags.is_empty() {
            about.push(KeyValue::new(name::TAGS, words(&span.tags)));
        }
        about.extend(end.into_iter().flat_map(|end| result(span, end)));
        about.extend(self.content(span, end));
        about.extend(outcome(status, error));
        let replaced = span
            .replaces
            .map(|old| link(self.run.run, Some(old), "replaces"));
        let ended = end.map_or(self.ended, |end| end.ms);
        SpanData {
            span_kind: match span.kind {
                SpanKind::ChatModel => Side::Client,
                _ => Side::Internal,
            },
            attributes: about,
            links: links(replaced),
            status: self.verdict(end.map_or(status, |end| end.status), error),
            ..self.bare(Some(span), work, span.started, ended)
        }
    }

    /// A span with its place and its times. `None` is the run.
    fn bare(&self, span: Option<&Span>, title: String, started: u64, ended: u64) -> SpanData {
        let number = span.map(|span| span.number);
        let mut events = SpanEvents::default();
        let notes = self.log.notes.get(&number).into_iter().flatten();
        events.events = notes.map(|(ms, note)| self.moment(*ms, note)).collect();
        SpanData {
            span_context: context(self.run.run, number),
            parent_span_id: match span {
                Some(span) => span_id(self.run.run, span.parent()),
                None => SpanId::INVALID,
            },
            parent_span_is_remote: false,
            span_kind: Side::Internal,
            name: title.into(),
            start_time: self.time(started),
            end_time: self.time(ended),
            attributes: Vec::new(),
            dropped_attributes_count: 0,
            events,
            links: SpanLinks::default(),
            status: Verdict::Unset,
            instrumentation_scope: InstrumentationScope::builder("headwater-engine")
                .with_version(env!("CARGO_PKG_VERSION"))
                .build(),
        }
    }

    fn time(&self, ms: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_millis(self.run.at.saturating_add(ms))
    }

    fn moment(&self, ms: u64, note: &Note) -> Moment {
        let (title, about) = match note {
            Note::Retry {
                attempt,
                pause,
                code,
            } => {
                let about = vec![
                    KeyValue::new(name::ATTEMPT, i64::from(*attempt)),
                    KeyValue::new(name::PAUSE, pause.as_secs_f64()),
                    KeyValue::new(name::ERROR, code.clone()),
                ];
                ("retry".to_owned(), about)
            }
            Note::Custom { name, data } => {
                let told = self.content.is_some().then(|| json_of(name::DATA, data));
                (name.clone(), told.into_iter().collect())
            }
        };
        Moment::new(title, self.time(ms), about, 0)
    }

    /// What was read and written in a span, if it is to be sent.
    fn content(&self, span: &Span, end: Option<&End>) -> Vec<KeyValue> {
        let Some(answer) = &self.content else {
            return Vec::new();
        };
        let mut blocks = answer.blocks.iter().filter(|one| one.span == span.number);
        match span.kind {
            SpanKind::ChatModel => {
                let parts: Vec<Json> = blocks.filter_map(part).collect();
                let finish = end.and_then(|end| end.finish.as_ref());
                let reason = finish.map(|finish| word(finish.reason));
                let message =
                    json!([{ "role": "assistant", "parts": parts, "finish_reason": reason }]);
                vec![KeyValue::new(name::OUTPUT_MESSAGES, message.to_string())]
            }
            SpanKind::Tool => {
                let arguments = json_of(name::TOOL_ARGUMENTS, &span.input);
                let output = blocks.find(|block| block.kind == BlockKind::ToolOutput);
                let result = output.map(|block| {
                    KeyValue::new(
                        name::TOOL_RESULT,
                        beginning(&block.text, MAX_CONTENT).to_owned(),
                    )
                });
                iter::once(arguments).chain(result).collect()
            }
            _ => {
                let output = end.map_or(&Json::Null, |end| &end.output);
                let both = [(name::INPUT, &span.input), (name::OUTPUT, output)];
                let told = both.into_iter().filter(|(_, value)| !value.is_null());
                told.map(|(key, value)| json_of(key, value)).collect()
            }
        }
    }

    /// Whether it failed. Sentences may quote what providers and tools wrote, so they are content.
    fn verdict(&self, status: Status, error: Option<&Error>) -> Verdict {
        match (status, error) {
            (Status::Error | Status::Interrupted, error) => {
                Verdict::error(match (error, &self.content) {
                    (Some(error), Some(_)) => error.message.clone(),
                    (Some(error), None) => word(error.code),
                    (None, _) => word(status),
                })
            }
            _ => Verdict::Unset,
        }
    }
}

/// The name of the work of a span, and what it is by the conventions.
fn work(span: &Span) -> (String, Vec<KeyValue>) {
    let title = &span.name;
    let called = |kind: &'static str, key: &'static str| {
        let about = [(name::OPERATION, kind), (key, title.as_str())];
        let about = about.map(|(key, value)| KeyValue::new(key, value.to_owned()));
        (format!("{kind} {title}"), about.to_vec())
    };
    match span.kind {
        SpanKind::ChatModel => {
            let (provider, model) = gen_ai::provider_and_model(title);
            let about = [
                (name::OPERATION, gen_ai::CHAT),
                (name::PROVIDER, provider),
                (name::MODEL, model),
            ];
            let about = about.map(|(key, value)| KeyValue::new(key, value.to_owned()));
            (format!("{} {model}", gen_ai::CHAT), about.to_vec())
        }
        SpanKind::Tool => called(gen_ai::EXECUTE_TOOL, name::TOOL),
        SpanKind::Agent => called(operation::INVOKE_AGENT, name::AGENT),
        SpanKind::Chain => called(operation::INVOKE_WORKFLOW, name::WORKFLOW),
        SpanKind::Retriever => {
            let about = KeyValue::new(name::OPERATION, operation::RETRIEVAL);
            (format!("{} {title}", operation::RETRIEVAL), vec![about])
        }
        SpanKind::Prompt | SpanKind::Parser | SpanKind::Unknown => {
            (format!("{} {title}", word(span.kind)), Vec::new())
        }
    }
}

/// What came of the work of a span.
fn result(span: &Span, end: &End) -> Vec<KeyValue> {
    let mut about: Vec<KeyValue> = end.usage.into_iter().flat_map(tokens).collect();
    if let Some(finish) = &end.finish {
        let reasons = words(std::slice::from_ref(&finish.word));
        about.push(KeyValue::new(name::FINISH_REASONS, reasons));
    }
    // The timing is that of the run, so it says this of its first call only.
    let first = end.timing.and_then(|timing| timing.first_chunk);
    let first = first.and_then(|first| first.checked_sub(span.started));
    if let Some(ms) = first.filter(|_| span.kind == SpanKind::ChatModel) {
        about.push(KeyValue::new(name::FIRST_CHUNK, ms as f64 / 1000.0));
    }
    about
}

fn outcome(status: Status, error: Option<&Error>) -> Vec<KeyValue> {
    let mut about = vec![KeyValue::new(name::STATUS, word(status))];
    match (status, error) {
        (_, Some(error)) => {
            about.push(KeyValue::new(name::ERROR, word(error.code)));
            let status = error.status.map(i64::from);
            about.extend(status.map(|status| KeyValue::new(name::HTTP_STATUS, status)));
        }
        (Status::Error | Status::Interrupted, None) => {
            about.push(KeyValue::new(name::ERROR, word(status)));
        }
        _ => {}
    }
    about
}

fn tokens(usage: Usage) -> Vec<KeyValue> {
    let counts = [
        (name::INPUT_TOKENS, usage.input),
        (name::OUTPUT_TOKENS, usage.output),
        (name::CACHE_READ, usage.cache_read),
        (name::CACHE_WRITE, usage.cache_write),
        (name::REASONING, usage.reasoning),
    ];
    let counted = counts.into_iter().filter(|(_, count)| *count > 0);
    let counted = counted.map(|(key, count)| {
        let count = i64::try_from(count).unwrap_or(i64::MAX);
        KeyValue::new(key, count)
    });
    let estimated = usage
        .estimated
        .then(|| KeyValue::new(name::ESTIMATED, true));
    counted.chain(estimated).collect()
}

/// A block of a model as a part of a message, in the form of the conventions.
fn part(block: &Block) -> Option<Json> {
    let text = beginning(&block.text, MAX_CONTENT);
    match block.kind {
        BlockKind::Text | BlockKind::Refusal => Some(json!({ "type": "text", "content": text })),
        BlockKind::Reasoning => Some(json!({ "type": "reasoning", "content": text })),
        BlockKind::ToolInput => {
            let call = block.tool.as_ref()?;
            Some(json!({
                "type": "tool_call", "id": call.id, "name": call.name, "arguments": text,
            }))
        }
        BlockKind::ToolOutput | BlockKind::Data | BlockKind::Unknown => None,
    }
}

fn json_of(key: &'static str, value: &Json) -> KeyValue {
    let text = value.to_string();
    KeyValue::new(key, beginning(&text, MAX_CONTENT).to_owned())
}

fn words(all: &[String]) -> Value {
    let all = all.iter().cloned().map(StringValue::from).collect();
    Value::Array(Array::String(all))
}

fn links(links: impl IntoIterator<Item = Link>) -> SpanLinks {
    let mut all = SpanLinks::default();
    all.links.extend(links);
    all
}

fn link(run: RunId, span: Option<SpanNo>, relation: &'static str) -> Link {
    let about = vec![KeyValue::new(name::RELATION, relation)];
    Link::new(context(run, span), about, 0)
}

fn context(run: RunId, span: Option<SpanNo>) -> SpanContext {
    SpanContext::new(
        TraceId::from_bytes(run.0.into_bytes()),
        span_id(run, span),
        TraceFlags::SAMPLED,
        false,
        TraceState::NONE,
    )
}

/// The second half of the run's number, which is random, plus the span's. It cannot be zero, because the half of
/// a UUID begins with the bits 10.
fn span_id(run: RunId, span: Option<SpanNo>) -> SpanId {
    let (_, half) = run.0.as_u64_pair();
    let number = half.wrapping_add(u64::from(span.unwrap_or_default()));
    SpanId::from_bytes(number.to_be_bytes())
}
