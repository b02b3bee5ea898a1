//! Chains: steps in Rust that are composed, typed from end to end.
//!
//! A chain is asked like a model, as `chain/NAME` ([`Builder::chain`](crate::Builder::chain)). Each of its steps is a
//! span of the run's log: its input, what it writes, its output or error. So a chain is followed, stopped, survives a
//! reload and is shown like any answer, and a model in its depth streams to whoever follows the run, without a word
//! about it in the step.
//!
//! A step is an `async fn(Context, In) -> Result<Out, Error>`; [`Context`] is all that it can do beside its own work.
//!
//! ```
//! # use headwater_engine::{Config, Engine, StartRun, config::Script};
//! use headwater_engine::chain::{Context, Question, model, parser, prompt, retriever};
//! # use headwater_protocol::Error;
//!
//! async fn search(cx: Context, question: Question) -> Result<Vec<String>, Error> {
//!     cx.custom("searched", &question.text).await?;
//!     Ok(vec!["Rust 1.0 came in May 2015.".to_owned()])
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let folder = tempfile::tempdir()?;
//! # let mut config = Config::new(folder.path());
//! # config.script = Some(Script::Builtin);
//! let chain = retriever("notes", search)
//!     .then(prompt("ask", |found: Vec<String>| format!("Tell me of this: {}", found.join("\n"))))
//!     .then(model("scripted/hello"))
//!     .then(parser("count", |text: String| Ok(text.split_whitespace().count())));
//! let engine = Engine::builder(config).chain("notes", chain).open()?;
//! let text = "When did Rust 1.0 come?".to_owned();
//! let model = Some("chain/notes".to_owned());
//! engine.start(StartRun { text, model, ..StartRun::default() }).await?;
//! # Ok(())
//! # }
//! ```
//!
//! | to | use | its span |
//! |---|---|---|
//! | do one thing after another | [`Chain::then`] | none |
//! | do two things, or many of a kind, at the same time | [`parallel`], [`all`] | `chain`, `parallel` |
//! | do the same with each of many | [`Chain::each`] | `chain`, `map` |
//! | do one of two things | [`branch`] | `chain`, `branch` |
//! | do it again until it is good | [`Chain::until`] | `chain`, `loop` |
//! | do another thing where one fails | [`Chain::or`] | none |
//! | read what a model writes while it writes | [`Chain::streamed`] | `chain`, `streamed`; in it the model and a `parser` |
//! | find documents, make a prompt, read an output | [`retriever`], [`prompt`], [`parser`] | of that kind |
//! | ask a model, call a tool of the engine | [`model`], [`tool`] | of that kind, one for each attempt |
//! | anything else | [`step`], [`tool_step`] | `chain`, `tool` |
//! | say the result | [`answer`] | none: it is the answer's text |
//!
//! What models write is the answer, unless their step is [hidden](Chain::hidden). A failure of a step is that of the
//! chain; what works beside it is cancelled.

use crate::runs::context::{ChainFn, fact};
pub use crate::runs::context::{Context, MAX_FACT, Piece, Pieces, Prompt, Question, Reply};
use futures::{
    FutureExt, StreamExt, TryStreamExt,
    future::{try_join, try_join_all},
    stream,
};
use headwater_protocol::{Error, ErrorCode, SpanKind, chat::HIDDEN};
use serde::Serialize;
use serde_json::{Value, json};
use std::sync::Arc;

/// How many items [`Chain::each`] works on at the same time.
const EACH_AT_ONCE: usize = 8;

/// Something that turns an input into an output, in a running chain.
pub trait Step<In>: Send + Sync + 'static {
    /// The output.
    type Out: Send + 'static;

    /// Does it. Dropping the future cancels it.
    fn run(&self, cx: &Context, input: In)
    -> impl Future<Output = Result<Self::Out, Error>> + Send;
}

/// A step to be composed with others.
#[derive(Clone, Debug)]
pub struct Chain<S>(S);

impl<In: Send + 'static, S: Step<In>> Step<In> for Chain<S> {
    type Out = S::Out;

    async fn run(&self, cx: &Context, input: In) -> Result<S::Out, Error> {
        self.0.run(cx, input).await
    }
}

impl<S> Chain<S> {
    /// The next step gets the output of this one.
    pub fn then<B>(self, next: Chain<B>) -> Chain<Then<S, B>> {
        Chain(Then(self.0, next.0))
    }

    /// Another step, with the same input, in the place of this one where it fails.
    pub fn or<B>(self, other: Chain<B>) -> Chain<Or<S, B>> {
        Chain(Or(self.0, other.0))
    }

    /// This step for each of many inputs, eight at the same time. The outputs have the order of the inputs.
    pub fn each(self) -> Chain<Each<S>> {
        Chain(Each(self.0))
    }

    /// This step, and again with its own output until that is `good`, at most `limit` times. The last output counts.
    pub fn until<T>(
        self,
        limit: u32,
        good: impl Fn(&T) -> bool + Send + Sync + 'static,
    ) -> Chain<Until<S, impl Fn(&T) -> bool + Send + Sync + 'static>> {
        Chain(Until {
            step: self.0,
            limit,
            good,
        })
    }

    /// Gives what is composed so far a span of its own.
    pub fn named(self, name: impl Into<String>) -> Chain<Named<S>> {
        Chain(Named(name.into(), self.0))
    }

    /// Gives the spans of this step a label.
    pub fn tagged(self, tag: impl Into<String>) -> Chain<Tagged<S>> {
        Chain(Tagged(tag.into(), self.0))
    }

    /// Keeps what this step writes out of the answer.
    pub fn hidden(self) -> Chain<Tagged<S>> {
        self.tagged(HIDDEN)
    }
}

impl Chain<Model> {
    /// Lets a step of kind parser read the text while the model writes it, as with [`Context::streamed`].
    ///
    /// ```
    /// # use headwater_engine::chain::{Context, Piece, Pieces, model};
    /// # use headwater_protocol::Error;
    /// /// Shows each line as soon as it is whole, with a number.
    /// async fn lines(cx: Context, mut pieces: Pieces) -> Result<u32, Error> {
    ///     let (mut rest, mut count) = (String::new(), 0);
    ///     while let Some(piece) = pieces.next().await {
    ///         match piece {
    ///             Piece::Text(text) => rest += &text,
    ///             Piece::Again => rest.clear(),
    ///         }
    ///         while let Some(end) = rest.find('\n') {
    ///             count += 1;
    ///             let line: String = rest.drain(..=end).collect();
    ///             cx.write(format!("{count}. {line}")).await?;
    ///         }
    ///     }
    ///     Ok(count)
    /// }
    ///
    /// let chain = model("scripted/markdown").streamed("lines", lines);
    /// # let _ = chain;
    /// ```
    pub fn streamed<F>(self, name: impl Into<String>, read: F) -> Chain<Streamed<F>> {
        Chain(Streamed {
            model: self.0,
            name: name.into(),
            read,
        })
    }
}

/// A step without a kind of its own.
pub fn step<F>(name: impl Into<String>, work: F) -> Chain<Function<F>> {
    function(SpanKind::Chain, name, work)
}

/// A step that finds documents.
pub fn retriever<F>(name: impl Into<String>, work: F) -> Chain<Function<F>> {
    function(SpanKind::Retriever, name, work)
}

/// A step that does what a tool does. What it [writes](Context::write) is the tool's output.
pub fn tool_step<F>(name: impl Into<String>, work: F) -> Chain<Function<F>> {
    function(SpanKind::Tool, name, work)
}

fn function<F>(kind: SpanKind, name: impl Into<String>, work: F) -> Chain<Function<F>> {
    let name = name.into();
    Chain(Function { kind, name, work })
}

/// A step that makes a prompt, or anything else without waiting.
pub fn prompt<F>(name: impl Into<String>, make: F) -> Chain<Pure<F>> {
    Chain(Pure(name.into(), make))
}

/// A step that reads an output.
pub fn parser<F>(name: impl Into<String>, read: F) -> Chain<Parse<F>> {
    Chain(Parse(name.into(), read))
}

/// A step that asks a model. Its output is the text.
pub fn model(name: impl Into<String>) -> Chain<Model> {
    Chain(Model(name.into()))
}

/// A step that calls a tool of the engine, with its input as the arguments: a JSON object.
pub fn tool(name: impl Into<String>) -> Chain<Tool> {
    Chain(Tool(name.into()))
}

/// A step that writes its input as the answer, and hands it on.
pub fn answer() -> Chain<Answer> {
    Chain(Answer)
}

/// Two steps at the same time, with the same input. If one fails, the other is cancelled.
pub fn parallel<A, B>(one: Chain<A>, other: Chain<B>) -> Chain<Parallel<A, B>> {
    Chain(Parallel(one.0, other.0))
}

/// Many steps of a kind at the same time, with the same input. The outputs have the order of the steps.
pub fn all<S>(steps: impl IntoIterator<Item = Chain<S>>) -> Chain<All<S>> {
    Chain(All(steps.into_iter().map(|step| step.0).collect()))
}

/// One of two steps: the first where the input passes the test.
pub fn branch<T, A, B>(test: T, yes: Chain<A>, no: Chain<B>) -> Chain<Branch<T, A, B>> {
    Chain(Branch(test, yes.0, no.0))
}

/// See [`step`], [`retriever`] and [`tool_step`].
#[derive(Clone, Debug)]
pub struct Function<F> {
    kind: SpanKind,
    name: String,
    work: F,
}

impl<F, In, Out, Work> Step<In> for Function<F>
where
    F: Fn(Context, In) -> Work + Send + Sync + 'static,
    Work: Future<Output = Result<Out, Error>> + Send,
    In: Serialize + Send + 'static,
    Out: Serialize + Send + Sync + 'static,
{
    type Out = Out;

    async fn run(&self, cx: &Context, input: In) -> Result<Out, Error> {
        let noted = fact(&input);
        let work = |cx| (self.work)(cx, input);
        cx.span(self.kind, &self.name, noted, work).await
    }
}

/// See [`prompt`].
#[derive(Clone, Debug)]
pub struct Pure<F>(String, F);

impl<F, In, Out> Step<In> for Pure<F>
where
    F: Fn(In) -> Out + Send + Sync + 'static,
    In: Serialize + Send + 'static,
    Out: Serialize + Send + Sync + 'static,
{
    type Out = Out;

    async fn run(&self, cx: &Context, input: In) -> Result<Out, Error> {
        let noted = fact(&input);
        let work = |_| async move { Ok((self.1)(input)) };
        cx.span(SpanKind::Prompt, &self.0, noted, work).await
    }
}

/// See [`parser`].
#[derive(Clone, Debug)]
pub struct Parse<F>(String, F);

impl<F, In, Out> Step<In> for Parse<F>
where
    F: Fn(In) -> Result<Out, Error> + Send + Sync + 'static,
    In: Serialize + Send + 'static,
    Out: Serialize + Send + Sync + 'static,
{
    type Out = Out;

    async fn run(&self, cx: &Context, input: In) -> Result<Out, Error> {
        let noted = fact(&input);
        let work = |_| async move { (self.1)(input) };
        cx.span(SpanKind::Parser, &self.0, noted, work).await
    }
}

/// See [`model`].
#[derive(Clone, Debug)]
pub struct Model(String);

impl<In: Into<Prompt> + Send + 'static> Step<In> for Model {
    type Out = String;

    async fn run(&self, cx: &Context, input: In) -> Result<String, Error> {
        // A run has few of these, and each is large.
        let reply = cx.model(&self.0, input).boxed().await?;
        Ok(reply.text)
    }
}

/// See [`Chain::streamed`].
#[derive(Clone, Debug)]
pub struct Streamed<F> {
    model: Model,
    name: String,
    read: F,
}

impl<F, In, Out, Work> Step<In> for Streamed<F>
where
    F: Fn(Context, Pieces) -> Work + Send + Sync + 'static,
    Work: Future<Output = Result<Out, Error>> + Send,
    In: Into<Prompt> + Send + 'static,
    Out: Serialize + Send + Sync + 'static,
{
    type Out = Out;

    async fn run(&self, cx: &Context, input: In) -> Result<Out, Error> {
        let read = |cx, pieces| (self.read)(cx, pieces);
        let streamed = cx.streamed(&self.model.0, input, &self.name, read);
        streamed.boxed().await
    }
}

/// See [`tool`].
#[derive(Clone, Debug)]
pub struct Tool(String);

impl Step<Value> for Tool {
    type Out = String;

    async fn run(&self, cx: &Context, input: Value) -> Result<String, Error> {
        if !input.is_object() {
            let sentence = "The arguments of a tool must be a JSON object.";
            return Err(Error::new(ErrorCode::InvalidRequest, sentence).at("running a tool"));
        }
        cx.tool(&self.0, input).boxed().await
    }
}

/// See [`answer`].
#[derive(Clone, Copy, Debug)]
pub struct Answer;

impl Step<String> for Answer {
    type Out = String;

    async fn run(&self, cx: &Context, input: String) -> Result<String, Error> {
        cx.write(input.clone()).await?;
        Ok(input)
    }
}

/// See [`Chain::then`].
#[derive(Clone, Debug)]
pub struct Then<A, B>(A, B);

impl<In, A, B> Step<In> for Then<A, B>
where
    In: Send + 'static,
    A: Step<In>,
    B: Step<A::Out>,
{
    type Out = B::Out;

    async fn run(&self, cx: &Context, input: In) -> Result<B::Out, Error> {
        let between = self.0.run(cx, input).await?;
        self.1.run(cx, between).await
    }
}

/// See [`Chain::or`].
#[derive(Clone, Debug)]
pub struct Or<A, B>(A, B);

impl<In, A, B> Step<In> for Or<A, B>
where
    In: Clone + Send + 'static,
    A: Step<In>,
    B: Step<In, Out = A::Out>,
{
    type Out = A::Out;

    async fn run(&self, cx: &Context, input: In) -> Result<A::Out, Error> {
        match self.0.run(cx, input.clone()).await {
            Ok(output) => Ok(output),
            Err(_) => self.1.run(cx, input).await,
        }
    }
}

/// See [`Chain::each`].
#[derive(Clone, Debug)]
pub struct Each<S>(S);

impl<In, S> Step<Vec<In>> for Each<S>
where
    In: Send + 'static,
    S: Step<In>,
    S::Out: Serialize + Sync,
{
    type Out = Vec<S::Out>;

    async fn run(&self, cx: &Context, input: Vec<In>) -> Result<Vec<S::Out>, Error> {
        let noted = json!({ "items": input.len() });
        let work = |cx: Context| async move {
            let items = input.into_iter().map(|item| self.0.run(&cx, item));
            let items: Vec<_> = items.collect();
            stream::iter(items)
                .buffered(EACH_AT_ONCE)
                .try_collect::<Vec<_>>()
                .await
        };
        cx.span(SpanKind::Chain, "map", noted, work).await
    }
}

/// See [`Chain::until`].
#[derive(Clone, Debug)]
pub struct Until<S, G> {
    step: S,
    limit: u32,
    good: G,
}

impl<T, S, G> Step<T> for Until<S, G>
where
    T: Serialize + Send + Sync + 'static,
    S: Step<T, Out = T>,
    G: Fn(&T) -> bool + Send + Sync + 'static,
{
    type Out = T;

    async fn run(&self, cx: &Context, input: T) -> Result<T, Error> {
        let noted = fact(&input);
        let work = |cx: Context| async move {
            let mut value = input;
            for _ in 0..self.limit {
                value = self.step.run(&cx, value).await?;
                if (self.good)(&value) {
                    break;
                }
            }
            Ok(value)
        };
        cx.span(SpanKind::Chain, "loop", noted, work).await
    }
}

/// See [`Chain::named`].
#[derive(Clone, Debug)]
pub struct Named<S>(String, S);

impl<In, S> Step<In> for Named<S>
where
    In: Serialize + Send + 'static,
    S: Step<In>,
    S::Out: Serialize + Sync,
{
    type Out = S::Out;

    async fn run(&self, cx: &Context, input: In) -> Result<S::Out, Error> {
        let noted = fact(&input);
        let work = |cx: Context| async move { self.1.run(&cx, input).await };
        cx.span(SpanKind::Chain, &self.0, noted, work).await
    }
}

/// See [`Chain::tagged`].
#[derive(Clone, Debug)]
pub struct Tagged<S>(String, S);

impl<In: Send + 'static, S: Step<In>> Step<In> for Tagged<S> {
    type Out = S::Out;

    async fn run(&self, cx: &Context, input: In) -> Result<S::Out, Error> {
        self.1.run(&cx.tagged(&self.0), input).await
    }
}

/// See [`parallel`].
#[derive(Clone, Debug)]
pub struct Parallel<A, B>(A, B);

impl<In, A, B> Step<In> for Parallel<A, B>
where
    In: Clone + Serialize + Send + Sync + 'static,
    A: Step<In>,
    B: Step<In>,
    A::Out: Serialize + Sync,
    B::Out: Serialize + Sync,
{
    type Out = (A::Out, B::Out);

    async fn run(&self, cx: &Context, input: In) -> Result<Self::Out, Error> {
        let noted = fact(&input);
        let work = |cx: Context| async move {
            try_join(self.0.run(&cx, input.clone()), self.1.run(&cx, input)).await
        };
        cx.span(SpanKind::Chain, "parallel", noted, work).await
    }
}

/// See [`all`].
#[derive(Clone, Debug)]
pub struct All<S>(Vec<S>);

impl<In, S> Step<In> for All<S>
where
    In: Clone + Serialize + Send + Sync + 'static,
    S: Step<In>,
    S::Out: Serialize + Sync,
{
    type Out = Vec<S::Out>;

    async fn run(&self, cx: &Context, input: In) -> Result<Self::Out, Error> {
        let noted = fact(&input);
        let work = |cx: Context| async move {
            try_join_all(self.0.iter().map(|step| step.run(&cx, input.clone()))).await
        };
        cx.span(SpanKind::Chain, "parallel", noted, work).await
    }
}

/// See [`branch`].
#[derive(Clone, Debug)]
pub struct Branch<T, A, B>(T, A, B);

impl<In, T, A, B> Step<In> for Branch<T, A, B>
where
    In: Serialize + Send + 'static,
    T: Fn(&In) -> bool + Send + Sync + 'static,
    A: Step<In>,
    A::Out: Serialize + Sync,
    B: Step<In, Out = A::Out>,
{
    type Out = A::Out;

    async fn run(&self, cx: &Context, input: In) -> Result<A::Out, Error> {
        let passes = (self.0)(&input);
        let noted = json!({ "passes": passes, "input": fact(&input) });
        let work = |cx: Context| async move {
            match passes {
                true => self.1.run(&cx, input).await,
                false => self.2.run(&cx, input).await,
            }
        };
        cx.span(SpanKind::Chain, "branch", noted, work).await
    }
}

/// A chain without its type.
pub(crate) fn erase<S>(chain: Chain<S>) -> ChainFn
where
    S: Step<Question>,
    S::Out: Serialize,
{
    let chain = Arc::new(chain);
    Arc::new(move |cx, question| {
        let chain = chain.clone();
        async move {
            let output = chain.run(&cx, question).await?;
            Ok(fact(&output))
        }
        .boxed()
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may fail by panic")]
mod tests;
