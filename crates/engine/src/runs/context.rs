//! What a step of a chain can do: begin a span, ask a model, call a tool, say something.
//!
//! A run whose model is a chain has one task like any other. All that its steps do at the same time they do in this
//! task, so an end of the run from outside drops them all, and what they had open ends in the log.

mod pieces;

pub use pieces::{Piece, Pieces};

use super::{
    Candidate, Job, attempts,
    bounds::weight,
    outcome::Outcome,
    recorder::{Recorder, SpanEnd, SpanStart},
    tool_calls::{self, RequestedCall},
};
use crate::provider::{ChatRequest, PARAGRAPH};
use futures::future::{BoxFuture, pending};
use headwater_protocol::{
    BlockKind, Error, ErrorCode, Event, Finish, FinishReason, ImageId, MessageId, SpanKind, SpanNo,
    Status, Usage,
    chat::{Message, Role},
};
use serde::Serialize;
use serde_json::{Value, json};
use std::sync::Arc;
use uuid::Uuid;

/// The largest input or output of a span that is in the log as it is, in bytes. Of a larger one the log has the
/// size: it is in the steps that made it.
pub const MAX_FACT: usize = 64 * 1024;

/// How deep chains may call chains. One that calls itself would never end.
const MAX_DEPTH: u32 = 16;

/// A chain as a run works on it: from the question to its output as JSON.
pub type ChainFn =
    Arc<dyn Fn(Context, Question) -> BoxFuture<'static, Result<Value, Error>> + Send + Sync>;

/// Finds the models that may answer for a name, see [`crate::registry::Registry::candidates`].
pub type FindModels = Arc<dyn Fn(&str) -> Result<Vec<Candidate>, Error> + Send + Sync>;

/// What a chain is asked.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Question {
    /// The message that is answered.
    pub text: String,
    /// Its images.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub images: Vec<ImageId>,
    /// The messages before it, oldest first.
    #[serde(skip)]
    pub history: Vec<Message>,
}

/// What a model is asked by a step of a chain.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Prompt {
    /// The system prompt; `None` stands for that of the conversation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub system: Option<String>,
    /// The question.
    pub text: String,
    /// Its images, which have to be those of the conversation.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub images: Vec<ImageId>,
    /// The messages before it, oldest first.
    #[serde(skip)]
    pub history: Vec<Message>,
    /// Whether the model may call the engine's tools.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub tools: bool,
}

impl From<String> for Prompt {
    fn from(text: String) -> Self {
        Self {
            text,
            ..Self::default()
        }
    }
}

impl From<&str> for Prompt {
    fn from(text: &str) -> Self {
        text.to_owned().into()
    }
}

impl From<Question> for Prompt {
    fn from(question: Question) -> Self {
        Self {
            text: question.text,
            images: question.images,
            history: question.history,
            ..Self::default()
        }
    }
}

impl From<Prompt> for Question {
    fn from(prompt: Prompt) -> Self {
        Self {
            text: prompt.text,
            images: prompt.images,
            history: prompt.history,
        }
    }
}

/// What a model has answered.
#[derive(Clone, Debug, Serialize)]
pub struct Reply {
    /// The text of the attempts that stand.
    pub text: String,
    /// Why it ended.
    pub finish: Finish,
}

/// What all steps of a chain share.
struct Shared {
    /// Without candidates, turns and tools.
    base: Job,
    recorder: Recorder,
}

/// A place in a running chain: the span that a step works in. Cloning it is cheap.
#[derive(Clone)]
pub struct Context {
    run: Arc<Shared>,
    span: SpanNo,
    kind: SpanKind,
    /// Labels of the spans that begin here.
    tags: Vec<String>,
    depth: u32,
}

impl Context {
    /// The same place; the spans that begin here get a label. [`HIDDEN`](headwater_protocol::chat::HIDDEN) keeps what
    /// they write out of the answer.
    pub fn tagged(&self, tag: impl Into<String>) -> Self {
        let mut tagged = self.clone();
        tagged.tags.push(tag.into());
        tagged
    }

    /// Does some work in a span of its own. The log gets `input`, the output or the error, and in between whatever
    /// the work does. Dropping the future ends the span as cancelled, with all within.
    ///
    /// # Errors
    /// That of the work; `too_large` where the run holds more than a run may.
    pub async fn span<T, F>(
        &self,
        kind: SpanKind,
        name: &str,
        input: Value,
        work: impl FnOnce(Self) -> F,
    ) -> Result<T, Error>
    where
        T: Serialize,
        F: Future<Output = Result<T, Error>>,
    {
        let start = SpanStart {
            input,
            ..SpanStart::new(kind, name)
        };
        let place = |span| Self {
            span,
            kind,
            tags: Vec::new(),
            ..self.clone()
        };
        spanned(self.recorder(), start, |span| work(place(span))).await
    }

    /// Asks a model (`provider/model`, or `chain/name`), with the retries and fallbacks of any answer. Its text comes
    /// as it is written, to whoever follows the run.
    ///
    /// # Errors
    /// Where all attempts failed, the last one's; `not_found` if there is no such provider.
    pub async fn model(&self, model: &str, prompt: impl Into<Prompt>) -> Result<Reply, Error> {
        let prompt = prompt.into();
        let candidates = (self.run.base.models)(model)?;
        if let Some(chain) = candidates.first().and_then(|first| first.chain.clone()) {
            return self.chain(model, &chain, prompt.into()).await;
        }
        let job = self.job(candidates, prompt);
        let mut recorder = self.recorder();
        let finish = match attempts(&job, &mut recorder).await {
            Outcome::Whole(finish) => finish,
            Outcome::Failed(error) => return Err(error),
            // The run ends, and this is dropped with it.
            Outcome::Vetoed(_) | Outcome::Stopped | Outcome::Cut => return pending().await,
        };
        recorder.flush().await;
        recorder.committed().await;
        let text = job.live.with_answer(|answer| {
            let own = answer.blocks.iter();
            let own = own.filter(|block| recorder.is_own(block.span) && answer.is_text(block));
            own.map(|block| block.text.as_str()).collect::<String>()
        });
        // Behind text of another step it begins a paragraph.
        let text = text
            .strip_prefix(PARAGRAPH)
            .map_or_else(|| text.clone(), str::to_owned);
        Ok(Reply { text, finish })
    }

    /// Asks another chain.
    async fn chain(&self, name: &str, chain: &ChainFn, question: Question) -> Result<Reply, Error> {
        if self.depth >= MAX_DEPTH {
            let sentence = format!("Chains may call each other {MAX_DEPTH} times.");
            return Err(Error::new(ErrorCode::TooLarge, sentence).at("running a chain"));
        }
        let deeper = Self {
            depth: self.depth + 1,
            ..self.clone()
        };
        let input = fact(&question);
        let work = |cx| chain(cx, question);
        let output = deeper.span(SpanKind::Chain, name, input, work).await?;
        Ok(Reply {
            text: match output {
                Value::String(text) => text,
                other => other.to_string(),
            },
            finish: whole(),
        })
    }

    /// Calls one of the engine's tools. Its output comes as it is written.
    ///
    /// # Errors
    /// `tool_failed`, with what a model would read of the failure.
    pub async fn tool(&self, name: &str, arguments: Value) -> Result<String, Error> {
        let job = Job {
            tools: self.run.base.tools.clone(),
            ..bare(&self.run.base)
        };
        let mut recorder = self.recorder();
        let call = RequestedCall::new(name, arguments);
        match tool_calls::run(&job, self.span, vec![call], &mut recorder).await {
            Ok(()) => {}
            Err(Outcome::Failed(error)) => return Err(error),
            Err(_) => return pending().await,
        }
        recorder.flush().await;
        recorder.committed().await;
        let span = recorder.last_span();
        let (text, status) = job.live.with_answer(|answer| {
            let mut blocks = answer.blocks.iter();
            let output = blocks.rfind(|block| Some(block.span) == span);
            let known = answer.spans.iter().rfind(|known| Some(known.span) == span);
            let text = output.map_or_else(String::new, |block| block.text.clone());
            (text, known.and_then(|known| known.status))
        });
        match status {
            Some(Status::Ok) => Ok(text),
            _ => Err(Error::new(ErrorCode::ToolFailed, text).at("running a tool")),
        }
    }

    /// Notes an event of one's own, for observers and whoever follows the run.
    ///
    /// # Errors
    /// `too_large` where the run holds more than a run may.
    pub async fn custom(&self, name: &str, data: impl Serialize) -> Result<(), Error> {
        let mut recorder = self.recorder();
        recorder.note(Event::Custom {
            span: self.span,
            name: name.to_owned(),
            data: fact(&data),
        });
        flushed(&mut recorder).await
    }

    /// Writes text: output of a tool in a step of that kind, and otherwise more of the answer, unless the step is
    /// hidden. It comes at once to whoever follows the run.
    ///
    /// # Errors
    /// `too_large` where the run holds more than a run may.
    pub async fn write(&self, text: impl Into<String>) -> Result<(), Error> {
        let mut recorder = self.recorder();
        let mut text = text.into();
        let kind = match self.kind {
            SpanKind::Tool => BlockKind::ToolOutput,
            _ => BlockKind::Text,
        };
        if !recorder.is_open(self.span, 0) {
            recorder.open(self.span, 0, kind, None);
            let spoke =
                self.run.base.live.with_answer(|answer| {
                    !answer.is_hidden(self.span) && answer.has_text_of(|_| true)
                });
            if kind == BlockKind::Text && spoke {
                text.insert_str(0, PARAGRAPH);
            }
        }
        recorder.output(self.span, 0, text);
        flushed(&mut recorder).await
    }

    /// A recorder of what happens in this place.
    fn recorder(&self) -> Recorder {
        self.run.recorder.part(Some(self.span), self.tags.clone())
    }

    /// A job that asks these models.
    fn job(&self, candidates: Vec<Candidate>, prompt: Prompt) -> Job {
        let base = &self.run.base;
        let input = fact(&prompt);
        let mut request = base.request.clone();
        if prompt.system.is_some() {
            request.system = prompt.system;
        }
        let mut before = prompt.history;
        before.push(asked(prompt.text, prompt.images));
        Job {
            candidates,
            request,
            before,
            input,
            tools: match prompt.tools {
                true => base.tools.clone(),
                false => Default::default(),
            },
            ..bare(base)
        }
    }
}

/// A job without anything to do: no candidates, turns or tools.
fn bare(job: &Job) -> Job {
    Job {
        live: job.live.clone(),
        candidates: Vec::new(),
        request: ChatRequest::default(),
        before: Vec::new(),
        images: job.images.clone(),
        input: Value::Null,
        earlier: Vec::new(),
        tools: Default::default(),
        recovery: job.recovery,
        rewrite: job.rewrite.clone(),
        health: job.health.clone(),
        cut: job.cut.clone(),
        models: job.models.clone(),
    }
}

/// A message of the person.
fn asked(text: String, images: Vec<ImageId>) -> Message {
    Message {
        id: MessageId(Uuid::nil()),
        parent: None,
        role: Role::User,
        created: 0,
        text,
        images,
        answers: Vec::new(),
        branches: Vec::new(),
    }
}

/// Works on a run whose model is a chain.
pub(super) async fn run(job: &Job, chain: ChainFn, recorder: &Recorder) -> Outcome {
    let Some((last, before)) = job.before.split_last() else {
        let sentence = "There is no message to answer.";
        return Outcome::Failed(Error::new(ErrorCode::Internal, sentence));
    };
    let question = Question {
        text: last.text.clone(),
        images: last.images.clone(),
        history: before.to_vec(),
    };
    let shared = Arc::new(Shared {
        base: Job {
            request: job.request.clone(),
            tools: job.tools.clone(),
            ..bare(job)
        },
        recorder: recorder.part(None, Vec::new()),
    });
    let start = SpanStart {
        input: fact(&question),
        ..SpanStart::new(SpanKind::Chain, &job.candidates[0].full)
    };
    let work = spanned(recorder.part(None, Vec::new()), start, |span| {
        let place = Context {
            run: shared,
            span,
            kind: SpanKind::Chain,
            tags: Vec::new(),
            depth: 0,
        };
        chain(place, question)
    });
    tokio::select! {
        biased;
        ended = job.ended() => ended,
        done = work => match done {
            Ok(_) => Outcome::Whole(whole()),
            Err(error) => Outcome::Failed(error),
        },
    }
}

/// Does some work in a span that begins in the part of `recorder`.
async fn spanned<T, F>(
    mut recorder: Recorder,
    start: SpanStart,
    work: impl FnOnce(SpanNo) -> F,
) -> Result<T, Error>
where
    T: Serialize,
    F: Future<Output = Result<T, Error>>,
{
    let span = recorder.begin_span(start);
    let done = match flushed(&mut recorder).await {
        Ok(()) => work(span).await,
        Err(excess) => Err(excess),
    };
    let mut end = match &done {
        Ok(_) => SpanEnd::new(Status::Ok, Usage::default()),
        Err(error) => SpanEnd::new(Status::Error, Usage::default()).because(Some(error.clone())),
    };
    if let Ok(output) = &done {
        end.output = fact(output);
    }
    recorder.finish_idle_span(span, end);
    recorder.flush().await;
    done
}

async fn flushed(recorder: &mut Recorder) -> Result<(), Error> {
    recorder.flush().await;
    recorder.excess().map_or(Ok(()), Err)
}

/// What the log says of an input or output: itself, or the size of what is larger than [`MAX_FACT`].
pub(crate) fn fact(value: &(impl Serialize + ?Sized)) -> Value {
    let value = serde_json::to_value(value).unwrap_or_default();
    match weight(&value) {
        bytes if bytes > MAX_FACT => json!({ "omitted_bytes": bytes }),
        _ => value,
    }
}

fn whole() -> Finish {
    Finish {
        reason: FinishReason::Stop,
        word: "stop".into(),
    }
}
