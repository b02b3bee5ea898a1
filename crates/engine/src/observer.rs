//! Observers: code of one's own that sees what runs do.
//!
//! An observer is one more cursor on the log of a run. It reads what is stored already, on a thread of
//! its own, so it never delays a token, and it has no queue of entries: what it has not seen yet is in the
//! log. An observer of all runs that stands still keeps the logs of at most 1,024 runs in memory; the next ones
//! are not shown to it. Implement the methods of [`Observer`] that matter, and hand it to
//! [`Builder::observer`](crate::engine::Builder::observer) for all runs, or to
//! [`Engine::observe`](crate::Engine::observe) for one, which may have ended long ago; [`replay`] needs no engine.
//!
//! ```
//! use headwater_engine::{
//!     Config, Engine, StartRun,
//!     config::Script,
//!     observer::{At, Observed, Observer, Options, SpanFinished, Token},
//! };
//!
//! struct Tokens;
//!
//! impl Observer for Tokens {
//!     async fn token(&self, at: &At<'_>, token: &Token<'_>) -> Observed {
//!         println!("{:>5} ms  {}  {:?}", at.ms, at.span.name, token.text);
//!         Ok(())
//!     }
//!
//!     async fn model_finished(&self, at: &At<'_>, end: &SpanFinished<'_>) -> Observed {
//!         println!("{} was {:?} after {:?}", at.span.name, end.status, end.took);
//!         Ok(())
//!     }
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let folder = tempfile::tempdir()?;
//! let mut config = Config::new(folder.path());
//! config.script = Some(Script::Builtin);
//! let engine = Engine::builder(config).observer(Tokens).open()?;
//! let question = StartRun { text: "Hello".into(), ..StartRun::default() };
//! let started = engine.start(question).await?;
//!
//! // The same for one run, as often as one likes.
//! let observation = engine.observe(started.run, Tokens, Options::default()).await?;
//! let summary = observation.finished().await;
//! assert_eq!((summary.missed.lost, summary.failed), (0, 0));
//! # Ok(())
//! # }
//! ```
//!
//! # What happens when an observer fails, or is slow
//!
//! [`Options`] say it for each observer. An error or a panic is logged and counted, or fails the run
//! ([`OnError::FailRun`]). An observer that is further behind than [`Options::queue`] entries gets the
//! tokens that it has not seen in larger pieces ([`Overflow::Coalesce`], which loses nothing), leaves the
//! run ([`Overflow::Detach`]), or makes the run wait ([`Overflow::Block`]). It is told what it missed.
//!
//! # Observers that come with the engine
//!
//! | observer | what it does |
//! |---|---|
//! | [`Tokens`], [`Trace`], [`JsonLines`] | write text, a tree with times, or every entry |
//! | [`FinalAnswer`], [`Listeners`] | call closures |
//! | [`UsageByModel`], [`RunCollector`] | keep counts, or whole runs |
//! | [`Metrics`] | histograms for Prometheus |
//! | [`Webhook`] | sends the ends of runs to a web server |
//! | `OpenTelemetry` | sends runs as traces to a collector; with the feature `otel` |
//!
//! # From LangChain's callbacks
//!
//! | `BaseCallbackHandler` | here | held by |
//! |---|---|---|
//! | `on_llm_start` | [`Observer::model_started`]: all models chat | `observer::tests::an_observer_is_told_every_meaning_in_the_order_of_the_log` |
//! | `on_chat_model_start` | [`Observer::model_started`] | `observer::tests::an_observer_is_told_every_meaning_in_the_order_of_the_log` |
//! | `on_llm_new_token` | [`Observer::token`], with the kind of its block | `observer::tests::an_observer_is_told_every_meaning_in_the_order_of_the_log` |
//! | `on_stream_event` | [`Observer::entry`], which is every entry of the log | `observer::tests::a_mask_leaves_out_what_it_names_and_nothing_else` |
//! | `on_llm_end` | [`Observer::model_finished`], with the usage | `observer::tests::an_observer_is_told_every_meaning_in_the_order_of_the_log` |
//! | `on_llm_error` | [`Observer::model_finished`] with the error, and the text before it; then [`Observer::failed`] | `observer::tests::an_observer_is_told_every_meaning_in_the_order_of_the_log` |
//! | `on_chain_start` | [`Observer::chain_started`], of the whole run [`Observer::run_started`] | `observer::tests::an_observer_is_told_every_meaning_in_the_order_of_the_log` |
//! | `on_chain_end` | [`Observer::chain_finished`], of the whole run [`Observer::run_finished`] | `observer::tests::an_observer_is_told_every_meaning_in_the_order_of_the_log` |
//! | `on_chain_error` | the same with the error; then [`Observer::failed`] | `observer::tests::an_observer_is_told_every_meaning_in_the_order_of_the_log` |
//! | `on_agent_action` | [`Observer::tool_called`]: a model has asked for a tool | `observer::tests::an_observer_is_told_every_meaning_in_the_order_of_the_log` |
//! | `on_agent_finish` | [`Observer::run_finished`] | `observer::tests::an_observer_is_told_every_meaning_in_the_order_of_the_log` |
//! | `on_tool_start` | [`Observer::tool_started`] | `observer::tests::an_observer_is_told_every_meaning_in_the_order_of_the_log` |
//! | `on_tool_end` | [`Observer::tool_finished`]; [`Observer::tool_output`] piece by piece before it | `observer::tests::an_observer_is_told_every_meaning_in_the_order_of_the_log` |
//! | `on_tool_error` | [`Observer::tool_finished`] with the error; then [`Observer::failed`] | `observer::tests::an_observer_is_told_every_meaning_in_the_order_of_the_log` |
//! | `on_retriever_start` | [`Observer::retriever_started`] | `observer::tests::an_observer_is_told_every_meaning_in_the_order_of_the_log` |
//! | `on_retriever_end` | [`Observer::retriever_finished`] | `observer::tests::an_observer_is_told_every_meaning_in_the_order_of_the_log` |
//! | `on_retriever_error` | the same with the error; then [`Observer::failed`] | `observer::tests::an_observer_is_told_every_meaning_in_the_order_of_the_log` |
//! | `on_text` | [`Observer::custom`] | `observer::tests::an_observer_is_told_every_meaning_in_the_order_of_the_log` |
//! | `on_retry` | [`Observer::retrying`] | `observer::tests::an_observer_is_told_every_meaning_in_the_order_of_the_log` |
//! | `on_custom_event` | [`Observer::custom`], from any step ([`Context::custom`](crate::chain::Context::custom)) and any tool ([`Output::custom`](crate::tool::Output::custom)) | `chain::tests::golden::a_run_with_everything_is_these_entries` |
//! | `ignore_llm`, `ignore_chat_model`, `ignore_chain`, `ignore_agent`, `ignore_retriever`, `ignore_retry`, `ignore_custom_event` | [`Observer::interest`], where tools are apart from agents | `observer::tests::a_mask_leaves_out_what_it_names_and_nothing_else` |
//! | LangSmith's and OpenTelemetry's tracers | `OpenTelemetry`, with the feature `otel` | `observer::tests::otel::every_span_of_a_chain_arrives_with_its_parent_its_times_and_its_names` |
//! | `raise_error` | [`OnError::FailRun`] | `observer::tests::an_observer_that_fails_runs_ends_them_with_its_error` |
//! | `run_inline`, awaited on the token's path | never; see [`Overflow`] | `observer::tests::a_slow_observer_gets_larger_pieces_and_all_of_the_text` |
//! | handlers of a constructor, inheritable handlers | [`Options::only`] with a look at [`Span::kind`] or at [`Span::is_within`] | `observer::tests::an_observer_of_some_spans_sees_nothing_of_others` |
//!
//! # From LangChain's `astream_events`
//!
//! Its events are entries of the log, see [`Engine::follow`](crate::Engine::follow). One test holds all of them:
//! `chain::tests::golden::a_run_with_everything_is_these_entries`.
//!
//! | theirs | here |
//! |---|---|
//! | `on_chat_model_start`, `on_llm_start` | [`SpanStarted`] of kind `chat_model` |
//! | `on_chat_model_stream`, `on_llm_stream` | [`Delta`] in its blocks |
//! | `on_chat_model_end`, `on_llm_end` | [`SpanFinished`]; also where it failed or was stopped, of which theirs says nothing |
//! | `on_chain_start`, `on_prompt_start`, `on_parser_start` | [`SpanStarted`] of that kind, with the input |
//! | `on_chain_stream` | [`Delta`], once, in the span that wrote it; theirs repeats it for each step that passes it on |
//! | `on_prompt_stream`, `on_parser_stream` | none: these steps have their output at once, in [`SpanFinished`] |
//! | `on_chain_end`, `on_prompt_end`, `on_parser_end` | [`SpanFinished`], with the output or the error |
//! | `on_tool_start` | [`SpanStarted`] of kind `tool`, with the arguments |
//! | `on_tool_end`, `on_tool_error` | [`SpanFinished`], behind the output as [`Delta`] |
//! | `on_retriever_start`, `on_retriever_end` | [`SpanStarted`] and [`SpanFinished`] of kind `retriever` |
//! | `on_custom_event` | [`Custom`] |
//! | none | [`Progress`] says that another attempt follows, or what the run waits for |
//!
//! [`Custom`]: headwater_protocol::Event::Custom
//! [`Delta`]: headwater_protocol::Event::Delta
//! [`Progress`]: headwater_protocol::Event::Progress
//! [`SpanFinished`]: headwater_protocol::Event::SpanFinished
//! [`SpanStarted`]: headwater_protocol::Event::SpanStarted

mod facts;
mod gen_ai;
mod interest;
mod observing;
mod options;
mod shipped;
mod tree;

pub use facts::{At, Failed, Missed, Retrying, Run, RunFinished, Span, SpanFinished, Token};
pub use interest::Interest;
pub use observing::{Observation, Summary, replay};
pub(crate) use observing::{Observers, watch_alone};
pub use options::{OnError, Options, Overflow};
#[cfg(feature = "otel")]
pub use shipped::{Collector, OpenTelemetry};
pub use shipped::{
    FinalAnswer, JsonLines, Listeners, Metrics, RunCollector, Tokens, Trace, UsageByModel, Webhook,
};

use futures::future::{BoxFuture, FutureExt, Ready, ready};
use headwater_protocol::{Entry, ToolCall};
use serde_json::Value;

/// What a method of an observer returns. The error may be any; see [`OnError`] for what becomes of it.
pub type Observed = Result<(), Box<dyn std::error::Error + Send + Sync>>;

fn nothing() -> Ready<Observed> {
    ready(Ok(()))
}

/// Sees what runs do. All methods do nothing by themselves; write those that matter as `async fn`.
///
/// For one run, the methods are called one after the other in the order of its log; different runs are
/// seen side by side. They are called on a thread of the observer's own, so they may block it.
pub trait Observer: Send + Sync + 'static {
    /// A name for log lines.
    fn name(&self) -> &str {
        let whole = std::any::type_name::<Self>();
        whole.rsplit("::").next().unwrap_or(whole)
    }

    /// What this observer wants to see. Asked once for each run.
    fn interest(&self) -> Interest {
        Interest::ALL
    }

    /// A run began.
    fn run_started(&self, run: &Run) -> impl Future<Output = Observed> + Send {
        let _ = run;
        nothing()
    }

    /// A run ended. Only its error, and what was missed, may come after it.
    fn run_finished(
        &self,
        run: &Run,
        end: &RunFinished<'_>,
    ) -> impl Future<Output = Observed> + Send {
        let _ = (run, end);
        nothing()
    }

    /// A chain, an agent, a prompt or a parser began.
    fn chain_started(&self, at: &At<'_>) -> impl Future<Output = Observed> + Send {
        let _ = at;
        nothing()
    }

    /// A chain, an agent, a prompt or a parser ended.
    fn chain_finished(
        &self,
        at: &At<'_>,
        end: &SpanFinished<'_>,
    ) -> impl Future<Output = Observed> + Send {
        let _ = (at, end);
        nothing()
    }

    /// A model is about to be asked.
    fn model_started(&self, at: &At<'_>) -> impl Future<Output = Observed> + Send {
        let _ = at;
        nothing()
    }

    /// A model wrote something.
    fn token(&self, at: &At<'_>, token: &Token<'_>) -> impl Future<Output = Observed> + Send {
        let _ = (at, token);
        nothing()
    }

    /// A model has ended its answer.
    fn model_finished(
        &self,
        at: &At<'_>,
        end: &SpanFinished<'_>,
    ) -> impl Future<Output = Observed> + Send {
        let _ = (at, end);
        nothing()
    }

    /// A model has asked for a tool. `arguments` are those that can be read, or null, as they are where the
    /// model was broken off.
    fn tool_called(
        &self,
        at: &At<'_>,
        call: &ToolCall,
        arguments: &Value,
    ) -> impl Future<Output = Observed> + Send {
        let _ = (at, call, arguments);
        nothing()
    }

    /// A tool begins to work.
    fn tool_started(&self, at: &At<'_>) -> impl Future<Output = Observed> + Send {
        let _ = at;
        nothing()
    }

    /// A tool wrote something.
    fn tool_output(
        &self,
        at: &At<'_>,
        output: &Token<'_>,
    ) -> impl Future<Output = Observed> + Send {
        let _ = (at, output);
        nothing()
    }

    /// A tool has ended.
    fn tool_finished(
        &self,
        at: &At<'_>,
        end: &SpanFinished<'_>,
    ) -> impl Future<Output = Observed> + Send {
        let _ = (at, end);
        nothing()
    }

    /// A search for documents begins.
    fn retriever_started(&self, at: &At<'_>) -> impl Future<Output = Observed> + Send {
        let _ = at;
        nothing()
    }

    /// A search for documents has ended.
    fn retriever_finished(
        &self,
        at: &At<'_>,
        end: &SpanFinished<'_>,
    ) -> impl Future<Output = Observed> + Send {
        let _ = (at, end);
        nothing()
    }

    /// An attempt failed, and another one follows.
    fn retrying(&self, at: &At<'_>, retry: &Retrying<'_>) -> impl Future<Output = Observed> + Send {
        let _ = (at, retry);
        nothing()
    }

    /// A message of a tool, a chain or an observer of one's own.
    fn custom(
        &self,
        at: &At<'_>,
        name: &str,
        data: &Value,
    ) -> impl Future<Output = Observed> + Send {
        let _ = (at, name, data);
        nothing()
    }

    /// A span or a run ended with an error. Comes behind the method for its end.
    fn failed(&self, failed: &Failed<'_>) -> impl Future<Output = Observed> + Send {
        let _ = failed;
        nothing()
    }

    /// Every entry of the log, as it is; of an observer that is behind, deltas that follow each other are
    /// one. [`Options::only`] does not matter. Only with [`Interest::ENTRIES`].
    fn entry(&self, entry: &Entry) -> impl Future<Output = Observed> + Send {
        let _ = entry;
        nothing()
    }

    /// The observer was too slow. Comes when it has caught up, or when it leaves the run.
    fn overflowed(&self, run: &Run, missed: Missed) -> impl Future<Output = Observed> + Send {
        let _ = (run, missed);
        nothing()
    }
}

/// Something that an observer is told.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Told<'a> {
    RunStarted(&'a Run),
    RunFinished(&'a Run, RunFinished<'a>),
    SpanStarted(At<'a>),
    SpanFinished(At<'a>, SpanFinished<'a>),
    Token(At<'a>, Token<'a>),
    ToolCalled(At<'a>, &'a ToolCall, &'a Value),
    ToolOutput(At<'a>, Token<'a>),
    Retrying(At<'a>, Retrying<'a>),
    Custom(At<'a>, &'a str, &'a Value),
    Failed(Failed<'a>),
    Entry(&'a Entry),
    Overflowed(&'a Run, Missed),
}

/// An [`Observer`] of any type.
pub(crate) trait AnyObserver: Send + Sync {
    fn name(&self) -> &str;
    fn interest(&self) -> Interest;
    fn tell<'a>(&'a self, told: Told<'a>) -> BoxFuture<'a, Observed>;
}

impl<O: Observer> AnyObserver for O {
    fn name(&self) -> &str {
        Observer::name(self)
    }

    fn interest(&self) -> Interest {
        Observer::interest(self)
    }

    fn tell<'a>(&'a self, told: Told<'a>) -> BoxFuture<'a, Observed> {
        async move {
            match told {
                Told::RunStarted(run) => self.run_started(run).await,
                Told::RunFinished(run, end) => self.run_finished(run, &end).await,
                Told::SpanStarted(at) => match Interest::of(at.span.kind) {
                    Interest::MODELS => self.model_started(&at).await,
                    Interest::TOOLS => self.tool_started(&at).await,
                    Interest::RETRIEVERS => self.retriever_started(&at).await,
                    _ => self.chain_started(&at).await,
                },
                Told::SpanFinished(at, end) => match Interest::of(at.span.kind) {
                    Interest::MODELS => self.model_finished(&at, &end).await,
                    Interest::TOOLS => self.tool_finished(&at, &end).await,
                    Interest::RETRIEVERS => self.retriever_finished(&at, &end).await,
                    _ => self.chain_finished(&at, &end).await,
                },
                Told::Token(at, token) => self.token(&at, &token).await,
                Told::ToolCalled(at, call, arguments) => {
                    self.tool_called(&at, call, arguments).await
                }
                Told::ToolOutput(at, output) => self.tool_output(&at, &output).await,
                Told::Retrying(at, retry) => self.retrying(&at, &retry).await,
                Told::Custom(at, name, data) => self.custom(&at, name, data).await,
                Told::Failed(failed) => self.failed(&failed).await,
                Told::Entry(entry) => self.entry(entry).await,
                Told::Overflowed(run, missed) => self.overflowed(run, missed).await,
            }
        }
        .boxed()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may fail by panic")]
mod tests;
