//! What observers are told, and what they may do to a run.

use super::{observing::Observers, *};
use crate::{Config, Engine, StartRun, config::Script, log::Source, packed::Packed};
use headwater_protocol::{
    BlockKind, ConversationId, Error, ErrorCode, Event, Finish, MessageId, RunId, SpanKind, Stage,
    Status, Timing, Usage,
};
use parking_lot::Mutex;
use serde_json::json;
use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

mod documented;
#[cfg(feature = "otel")]
mod otel;
mod shipped;

/// The longest that anything here may take.
const PATIENCE: Duration = Duration::from_secs(30);

async fn soon<T>(work: impl Future<Output = T>) -> T {
    let done = tokio::time::timeout(PATIENCE, work).await;
    done.expect("it does not take that long")
}

/// Writes down all that it is told.
#[derive(Clone, Default)]
struct Recording {
    lines: Arc<Mutex<Vec<String>>>,
    interest: Option<Interest>,
}

impl Recording {
    fn of(interest: Interest) -> Self {
        Self {
            interest: Some(interest),
            ..Self::default()
        }
    }

    fn line(&self, line: String) -> Observed {
        self.lines.lock().push(line);
        Ok(())
    }

    fn lines(&self) -> Vec<String> {
        self.lines.lock().clone()
    }
}

fn ended(at: &At<'_>, end: &SpanFinished<'_>) -> String {
    let why = end.error.map_or("", |why| &why.message);
    format!("{} {:?} {why}", at.span.name, end.status)
}

impl Observer for Recording {
    fn interest(&self) -> Interest {
        self.interest.unwrap_or(Interest::ALL)
    }

    async fn run_started(&self, run: &Run) -> Observed {
        self.line(format!("run started {}", run.model))
    }

    async fn run_finished(&self, _: &Run, end: &RunFinished<'_>) -> Observed {
        let text = end.answer().visible_text();
        self.line(format!("run finished {:?} {text}", end.status))
    }

    async fn chain_started(&self, at: &At<'_>) -> Observed {
        self.line(format!("chain started {} {:?}", at.span.name, at.span.tags))
    }

    async fn chain_finished(&self, at: &At<'_>, end: &SpanFinished<'_>) -> Observed {
        self.line(format!("chain finished {}", ended(at, end)))
    }

    async fn model_started(&self, at: &At<'_>) -> Observed {
        let Span {
            name,
            tags,
            metadata,
            replaces,
            ..
        } = at.span;
        self.line(format!(
            "model started {name} {tags:?} {metadata} {replaces:?}"
        ))
    }

    async fn token(&self, _: &At<'_>, token: &Token<'_>) -> Observed {
        self.line(format!("token {:?} {}", token.kind, token.text))
    }

    async fn model_finished(&self, at: &At<'_>, end: &SpanFinished<'_>) -> Observed {
        self.line(format!("model finished {}", ended(at, end)))
    }

    async fn tool_called(&self, _: &At<'_>, call: &ToolCall, arguments: &Value) -> Observed {
        self.line(format!("tool called {} {arguments}", call.name))
    }

    async fn tool_started(&self, at: &At<'_>) -> Observed {
        self.line(format!("tool started {}", at.span.name))
    }

    async fn tool_output(&self, _: &At<'_>, output: &Token<'_>) -> Observed {
        self.line(format!("tool output {}", output.text))
    }

    async fn tool_finished(&self, at: &At<'_>, end: &SpanFinished<'_>) -> Observed {
        self.line(format!("tool finished {}", ended(at, end)))
    }

    async fn retriever_started(&self, at: &At<'_>) -> Observed {
        self.line(format!("retriever started {}", at.span.name))
    }

    async fn retriever_finished(&self, at: &At<'_>, end: &SpanFinished<'_>) -> Observed {
        self.line(format!("retriever finished {}", ended(at, end)))
    }

    async fn retrying(&self, at: &At<'_>, retry: &Retrying<'_>) -> Observed {
        let (name, attempt, pause) = (&at.span.name, retry.attempt, retry.pause);
        self.line(format!("retrying {name} {attempt} {pause:?}"))
    }

    async fn custom(&self, at: &At<'_>, name: &str, data: &Value) -> Observed {
        self.line(format!("custom {} {name} {data}", at.span.name))
    }

    async fn failed(&self, failed: &Failed<'_>) -> Observed {
        let place = failed.span.map_or("run", |span| &span.name);
        self.line(format!("failed {place} {}", failed.error.message))
    }

    async fn entry(&self, entry: &Entry) -> Observed {
        self.line(format!("entry {}", entry.seq))
    }

    async fn overflowed(&self, _: &Run, missed: Missed) -> Observed {
        self.line(format!("overflowed {missed:?}"))
    }
}

fn error(message: &str) -> Error {
    Error::new(ErrorCode::Overloaded, message)
}

fn run_started() -> Event {
    Event::RunStarted {
        protocol: 1,
        run: RunId(uuid::Uuid::from_u128(1)),
        conversation: ConversationId(uuid::Uuid::from_u128(2)),
        message: MessageId(uuid::Uuid::from_u128(3)),
        parent: MessageId(uuid::Uuid::from_u128(4)),
        model: "chain/research".into(),
        at: 0,
        continues: None,
    }
}

fn span(number: u32, parent: u32, kind: SpanKind, name: &str) -> Event {
    Event::SpanStarted {
        span: number,
        parent: (parent > 0).then_some(parent),
        kind,
        name: name.into(),
        tags: vec![format!("tag-{number}")],
        metadata: json!({ format!("fact-{number}"): number, "last": number }),
        input: Value::Null,
        replaces: (number == 7).then_some(6),
    }
}

fn finished(span: u32, why: Option<&str>) -> Event {
    Event::SpanFinished {
        span,
        status: why.map_or(Status::Ok, |_| Status::Error),
        output: Value::Null,
        finish: None::<Finish>,
        usage: Some(Usage {
            input: 10,
            output: 5,
            ..Usage::default()
        }),
        timing: None,
        error: why.map(error),
    }
}

fn block(span: u32, block: u32, kind: BlockKind) -> Event {
    let call = ToolCall {
        id: "call_1".into(),
        name: "search".into(),
    };
    let is_call = matches!(kind, BlockKind::ToolInput | BlockKind::ToolOutput);
    Event::BlockStarted {
        span,
        block,
        kind,
        tool: is_call.then_some(call),
    }
}

fn delta(span: u32, block: u32, text: &str) -> Event {
    Event::Delta {
        span,
        block,
        text: text.into(),
        from: None,
    }
}

fn block_finished(span: u32, block: u32, value: Value) -> Event {
    Event::BlockFinished {
        span,
        block,
        length: 0,
        value,
    }
}

fn run_finished(status: Status) -> Event {
    Event::RunFinished {
        status,
        usage: Usage::default(),
        timing: Timing::default(),
        error: (status == Status::Error).then(|| error("The run failed.")),
        length: u64::MAX,
        hash: String::new(),
    }
}

/// A run with everything that an observer can be told.
fn everything() -> Vec<Event> {
    vec![
        run_started(),
        span(1, 0, SpanKind::Chain, "research"),
        Event::Custom {
            span: 1,
            name: "note".into(),
            data: json!({ "n": 1 }),
        },
        span(2, 1, SpanKind::Retriever, "books"),
        finished(2, None),
        span(3, 1, SpanKind::Retriever, "papers"),
        finished(3, Some("The library is closed.")),
        span(4, 1, SpanKind::Prompt, "question"),
        finished(4, None),
        span(5, 1, SpanKind::Parser, "list"),
        finished(5, Some("That is no list.")),
        span(6, 1, SpanKind::ChatModel, "openai/x"),
        block(6, 1, BlockKind::Text),
        delta(6, 1, "Half "),
        block_finished(6, 1, Value::Null),
        finished(6, Some("The provider is busy.")),
        Event::Progress {
            span: 6,
            at: 0,
            stage: Stage::Retrying {
                in_ms: 3000,
                attempt: 2,
                error: error("The provider is busy."),
            },
        },
        span(7, 1, SpanKind::ChatModel, "openai/x"),
        block(7, 2, BlockKind::Reasoning),
        delta(7, 2, "Hm. "),
        block_finished(7, 2, Value::Null),
        block(7, 3, BlockKind::Text),
        delta(7, 3, "Let me "),
        delta(7, 3, "look. "),
        block_finished(7, 3, Value::Null),
        block(7, 4, BlockKind::ToolInput),
        delta(7, 4, "{\"q\":"),
        delta(7, 4, "1}"),
        block_finished(7, 4, json!({ "q": 1 })),
        finished(7, None),
        span(8, 7, SpanKind::Tool, "search"),
        block(8, 5, BlockKind::ToolOutput),
        delta(8, 5, "found"),
        block_finished(8, 5, Value::Null),
        finished(8, None),
        span(9, 7, SpanKind::Tool, "search"),
        finished(9, Some("The tool broke.")),
        span(10, 1, SpanKind::ChatModel, "openai/x"),
        block(10, 6, BlockKind::Text),
        delta(10, 6, "Done."),
        block_finished(10, 6, Value::Null),
        finished(10, None),
        finished(1, Some("The chain broke.")),
        run_finished(Status::Error),
    ]
}

fn log(events: &[Event]) -> Source {
    let mut packed = Packed::default();
    for (at, event) in events.iter().enumerate() {
        packed.push(at as u64 * 10, event);
    }
    Source::Stored(Arc::new(packed))
}

/// Lets an observer see a log.
async fn see(observer: impl Observer, options: Options, events: &[Event]) -> Summary {
    let observers = Observers::default();
    let observation = watch_alone(observer, options, log(events), &observers).unwrap();
    let summary = soon(observation.finished()).await;
    soon(observers.idle()).await;
    summary
}

async fn lines_of(interest: Interest, options: Options) -> Vec<String> {
    let recording = Recording::of(interest);
    let summary = see(recording.clone(), options, &everything()).await;
    assert_eq!(summary, Summary::default());
    recording.lines()
}

#[tokio::test]
async fn an_observer_is_told_every_meaning_in_the_order_of_the_log() {
    let lines = lines_of(Interest::ALL, Options::default()).await;
    let golden = [
        "run started chain/research",
        "chain started research [\"tag-1\"]",
        "custom research note {\"n\":1}",
        "retriever started books",
        "retriever finished books Ok ",
        "retriever started papers",
        "retriever finished papers Error The library is closed.",
        "failed papers The library is closed.",
        "chain started question [\"tag-1\", \"tag-4\"]",
        "chain finished question Ok ",
        "chain started list [\"tag-1\", \"tag-5\"]",
        "chain finished list Error That is no list.",
        "failed list That is no list.",
        "model started openai/x [\"tag-1\", \"tag-6\"] {\"fact-1\":1,\"fact-6\":6,\"last\":6} None",
        "token Text Half ",
        "model finished openai/x Error The provider is busy.",
        "failed openai/x The provider is busy.",
        "retrying openai/x 2 3s",
        "model started openai/x [\"tag-1\", \"tag-7\"] {\"fact-1\":1,\"fact-7\":7,\"last\":7} Some(6)",
        "token Reasoning Hm. ",
        "token Text Let me ",
        "token Text look. ",
        "token ToolInput {\"q\":",
        "token ToolInput 1}",
        "tool called search {\"q\":1}",
        "model finished openai/x Ok ",
        "tool started search",
        "tool output found",
        "tool finished search Ok ",
        "tool started search",
        "tool finished search Error The tool broke.",
        "failed search The tool broke.",
        "model started openai/x [\"tag-1\", \"tag-10\"] {\"fact-1\":1,\"fact-10\":10,\"last\":10} None",
        "token Text Done.",
        "model finished openai/x Ok ",
        "chain finished research Error The chain broke.",
        "failed research The chain broke.",
        "run finished Error Let me look. Done.",
        "failed run The run failed.",
    ];
    assert_eq!(lines, golden);
}

#[tokio::test]
async fn a_mask_leaves_out_what_it_names_and_nothing_else() {
    let all = lines_of(Interest::ALL, Options::default()).await;
    let masks = [
        (Interest::RUNS, &["run "][..]),
        (Interest::CHAINS, &["chain "]),
        (Interest::MODELS, &["model "]),
        (Interest::TOKENS, &["token "]),
        (
            Interest::TOOLS,
            &["tool called", "tool started", "tool finished"],
        ),
        (Interest::TOOL_OUTPUT, &["tool output"]),
        (Interest::RETRIEVERS, &["retriever "]),
        (Interest::RETRIES, &["retrying "]),
        (Interest::CUSTOM, &["custom "]),
        (Interest::ERRORS, &["failed "]),
    ];
    let is_of = |line: &String, starts: &[&str]| starts.iter().any(|start| line.starts_with(start));
    for (mask, starts) in masks {
        let (of, others): (Vec<_>, Vec<_>) =
            all.iter().cloned().partition(|line| is_of(line, starts));
        assert!(!of.is_empty());
        assert_eq!(lines_of(mask, Options::default()).await, of, "{mask:?}");
        let without = Interest::ALL.without(mask);
        assert_eq!(lines_of(without, Options::default()).await, others);
    }
    assert_eq!(lines_of(Interest::NONE, Options::default()).await, [""; 0]);
    let entries = lines_of(Interest::ENTRIES, Options::default()).await;
    let numbers = 1..=everything().len();
    assert_eq!(
        entries,
        numbers
            .map(|seq| format!("entry {seq}"))
            .collect::<Vec<_>>()
    );
}

#[tokio::test]
async fn an_observer_of_some_spans_sees_nothing_of_others() {
    let models = |span: &Span| span.kind == SpanKind::ChatModel;
    let lines = lines_of(Interest::ALL, Options::default().only(models)).await;
    assert!(lines.iter().any(|line| line.starts_with("token ")));
    assert!(lines.iter().any(|line| line.starts_with("failed openai/x")));
    for line in &lines {
        let other = [
            "chain ",
            "tool started",
            "tool output",
            "retriever ",
            "custom ",
        ];
        assert!(!other.iter().any(|start| line.starts_with(start)), "{line}");
    }
    // The call of a tool is in its model's span, with all that it contains.
    let below = lines_of(
        Interest::ALL,
        Options::default().only(|span| span.is_within(7)),
    )
    .await;
    let golden = [
        "run started chain/research",
        "model started openai/x [\"tag-1\", \"tag-7\"] {\"fact-1\":1,\"fact-7\":7,\"last\":7} Some(6)",
        "token Reasoning Hm. ",
        "token Text Let me ",
        "token Text look. ",
        "token ToolInput {\"q\":",
        "token ToolInput 1}",
        "tool called search {\"q\":1}",
        "model finished openai/x Ok ",
        "tool started search",
        "tool output found",
        "tool finished search Ok ",
        "tool started search",
        "tool finished search Error The tool broke.",
        "failed search The tool broke.",
        "run finished Error Let me look. Done.",
        "failed run The run failed.",
    ];
    assert_eq!(below, golden);
}

/// Fails or panics at tokens.
struct Failing {
    panics: bool,
    seen: Arc<AtomicU64>,
}

impl Observer for Failing {
    async fn token(&self, _: &At<'_>, token: &Token<'_>) -> Observed {
        self.seen.fetch_add(1, Ordering::SeqCst);
        assert!(!self.panics, "as a test wants it");
        Err(format!("no {:?}", token.kind).into())
    }
}

#[tokio::test]
async fn errors_and_panics_of_an_observer_are_counted_and_it_goes_on() {
    for panics in [false, true] {
        let seen = Arc::new(AtomicU64::new(0));
        let failing = Failing {
            panics,
            seen: seen.clone(),
        };
        let summary = see(failing, Options::default(), &everything()).await;
        assert_eq!(seen.load(Ordering::SeqCst), 7);
        assert_eq!(summary.failed, 7);
        let why = if panics {
            "it panicked: as a test wants it"
        } else {
            "no Text"
        };
        assert_eq!(summary.error.as_deref(), Some(why));
    }
}

/// An engine with scripted models, and a folder that lives as long.
fn engine(
    observe: impl FnOnce(crate::Builder) -> crate::Builder,
) -> (Arc<Engine>, tempfile::TempDir) {
    const SCRIPT: &str = r#"
        [[scenario]]
        name = "words"
        steps = [{ words = 200 }, { end = "stop" }]

        [[scenario]]
        name = "slow"
        pace = 1000
        steps = [{ words = 200 }, { end = "stop" }]

        [[scenario]]
        name = "stall"
        steps = [{ text = "Half." }, { stall = true }]
    "#;
    let folder = tempfile::tempdir().unwrap();
    let mut config = Config::new(folder.path());
    config.script = Some(Script::Text(SCRIPT.into()));
    config.recovery.attempts = 1;
    config.recovery.max_recoveries = 0;
    (observe(Engine::builder(config)).open().unwrap(), folder)
}

async fn start(engine: &Arc<Engine>, model: &str) -> RunId {
    let question = StartRun {
        text: "Question".into(),
        model: Some(format!("scripted/{model}")),
        ..StartRun::default()
    };
    engine.start(question).await.unwrap().run
}

async fn end(engine: &Engine, run: RunId) -> headwater_protocol::chat::Answer {
    let source = engine.log.source(run).await.unwrap();
    if let Source::Live(live) = &source {
        soon(live.finished()).await;
    }
    source.answer()
}

#[tokio::test]
async fn an_observer_of_all_runs_and_one_that_comes_late_are_told_the_same() {
    let early = Recording::default();
    let (engine, _folder) = engine(|builder| builder.observer(early.clone()));
    let run = start(&engine, "words").await;
    end(&engine, run).await;
    soon(engine.observed()).await;
    let late = Recording::default();
    let observation = engine
        .observe(run, late.clone(), Options::default())
        .await
        .unwrap();
    assert_eq!(soon(observation.finished()).await, Summary::default());
    assert_eq!(early.lines(), late.lines());
    let tokens = |line: &&String| line.starts_with("token Text");
    assert_eq!(early.lines().iter().filter(tokens).count(), 200);
    let unknown = RunId(uuid::Uuid::from_u128(9));
    let refused = engine
        .observe(unknown, late, Options::default())
        .await
        .map(drop);
    assert_eq!(refused.unwrap_err().code, ErrorCode::NotFound);
}

#[tokio::test]
async fn an_observer_that_fails_runs_ends_them_with_its_error() {
    for panics in [false, true] {
        let failing = || Failing {
            panics,
            seen: Arc::default(),
        };
        let options = || Options::default().on_error(OnError::FailRun);
        let (engine, _folder) = engine(|builder| builder.observer_with(failing(), options()));
        for model in ["words", "slow", "stall"] {
            let run = start(&engine, model).await;
            let answer = end(&engine, run).await;
            assert_eq!(answer.status, Some(Status::Error), "{model}");
            let why = answer.error.unwrap();
            let said = if panics { "it panicked" } else { "no Text" };
            assert!(why.message.contains("Failing"), "{}", why.message);
            assert!(why.message.contains(said), "{}", why.message);
        }
        soon(engine.observed()).await;
    }
}

/// Blocks its thread at tokens, and notes how far it was behind the run.
struct Slow {
    /// What it waits for at its first token.
    held: Mutex<Option<std::sync::mpsc::Receiver<()>>>,
    pause: Duration,
    engine: Arc<std::sync::OnceLock<std::sync::Weak<Engine>>>,
    behind: Arc<AtomicU64>,
    recording: Recording,
}

impl Observer for Slow {
    fn interest(&self) -> Interest {
        Interest::TOKENS | Interest::RUNS
    }

    async fn token(&self, at: &At<'_>, token: &Token<'_>) -> Observed {
        let held = self.held.lock().take();
        if let Some(held) = held {
            let _ = held.recv_timeout(PATIENCE);
        }
        std::thread::sleep(self.pause);
        let engine = self.engine.get().and_then(std::sync::Weak::upgrade);
        if let Some(live) = engine.and_then(|engine| engine.log.live(at.run.run)) {
            let behind = live.head().seq.saturating_sub(at.seq);
            self.behind.fetch_max(behind, Ordering::SeqCst);
        }
        self.recording.token(at, token).await
    }

    async fn run_finished(&self, run: &Run, end: &RunFinished<'_>) -> Observed {
        self.recording.run_finished(run, end).await
    }

    async fn overflowed(&self, run: &Run, missed: Missed) -> Observed {
        self.recording.overflowed(run, missed).await
    }
}

/// Runs 200 tokens past an observer that takes its time for each, or that stands still at its first one
/// until the run has ended. Returns what it was told, how far it was behind, and the text.
async fn run_past(options: Options) -> (Vec<String>, u64, String) {
    let (cell, behind) = (Arc::default(), Arc::<AtomicU64>::default());
    let recording = Recording::default();
    let (release, held) = std::sync::mpsc::channel();
    let blocks = options.overflow == Overflow::Block;
    let slow = Slow {
        held: Mutex::new((!blocks).then_some(held)),
        pause: Duration::from_millis(u64::from(blocks)),
        engine: Arc::clone(&cell),
        behind: behind.clone(),
        recording: recording.clone(),
    };
    let (engine, _folder) = engine(|builder| builder.observer_with(slow, options));
    let _ = cell.set(Arc::downgrade(&engine));
    let run = start(&engine, "words").await;
    let answer = end(&engine, run).await;
    assert_eq!(answer.status, Some(Status::Ok));
    let _ = release.send(());
    soon(engine.observed()).await;
    let behind = behind.load(Ordering::SeqCst);
    (recording.lines(), behind, answer.visible_text())
}

fn text_of(lines: &[String]) -> String {
    let tokens = lines
        .iter()
        .filter_map(|line| line.strip_prefix("token Text "));
    tokens.collect()
}

#[tokio::test]
async fn a_slow_observer_gets_larger_pieces_and_all_of_the_text() {
    let (lines, _, text) = run_past(Options::default().overflow(Overflow::Coalesce, 16)).await;
    assert_eq!(text_of(&lines), text);
    let tokens = lines
        .iter()
        .filter(|line| line.starts_with("token "))
        .count();
    assert!(tokens < 150, "{tokens} pieces");
    let merged = lines.iter().filter(|line| line.starts_with("overflowed"));
    assert_eq!(merged.count(), 1);
    assert!(lines.last().unwrap().starts_with("overflowed"));
}

#[tokio::test]
async fn a_slow_observer_leaves_a_run_if_that_was_chosen_and_is_told() {
    let (lines, _, text) = run_past(Options::default().overflow(Overflow::Detach, 16)).await;
    let seen = text_of(&lines);
    assert!(text.starts_with(&seen) && seen.len() < text.len());
    let last = lines.last().unwrap();
    assert!(
        last.starts_with("overflowed Missed { merged: 0, lost: "),
        "{last}"
    );
}

#[tokio::test]
async fn a_run_waits_for_an_observer_if_that_was_chosen() {
    let (lines, behind, text) = run_past(Options::default().overflow(Overflow::Block, 16)).await;
    assert_eq!(text_of(&lines), text);
    assert!(lines.last().unwrap().starts_with("run finished Ok"));
    // A burst of events is one append.
    assert!(behind <= 16 + 64 + 2, "{behind}");
}

#[tokio::test]
async fn a_stop_does_not_wait_for_an_observer() {
    struct Stuck(Arc<tokio::sync::Notify>);
    impl Observer for Stuck {
        async fn token(&self, _: &At<'_>, _: &Token<'_>) -> Observed {
            self.0.notified().await;
            Ok(())
        }
    }
    let free = Arc::new(tokio::sync::Notify::new());
    let stuck = Stuck(free.clone());
    let options = Options::default()
        .overflow(Overflow::Block, 8)
        .on_error(OnError::FailRun);
    let (engine, _folder) = engine(|builder| builder.observer_with(stuck, options));
    let run = start(&engine, "words").await;
    let live = engine.log.live(run).unwrap();
    // It stands still with more to come.
    drop(soon(live.watch().wait_for(|head| head.seq > 8)).await);
    soon(engine.stop(run, None)).await.unwrap();
    assert_eq!(end(&engine, run).await.status, Some(Status::Cancelled));
    let done = soon(async {
        let observed = engine.observed();
        tokio::pin!(observed);
        loop {
            free.notify_one();
            let pause = tokio::time::sleep(Duration::from_millis(1));
            tokio::select! {
                () = &mut observed => break,
                () = pause => {}
            }
        }
    });
    done.await;
}

/// Stands still at the beginning of each run until it may go on.
#[derive(Clone)]
struct Stuck {
    free: Arc<tokio::sync::Semaphore>,
    runs: Arc<AtomicU64>,
}

impl Default for Stuck {
    fn default() -> Self {
        Self {
            free: Arc::new(tokio::sync::Semaphore::new(0)),
            runs: Arc::default(),
        }
    }
}

impl Observer for Stuck {
    async fn run_started(&self, _: &Run) -> Observed {
        self.runs.fetch_add(1, Ordering::SeqCst);
        let _ = self.free.acquire().await?;
        Ok(())
    }
}

#[tokio::test]
async fn a_run_does_not_wait_for_ever_for_an_observer_that_may_fail_it() {
    let stuck = Stuck::default();
    let options = Options::default().on_error(OnError::FailRun);
    let (engine, _folder) = engine(|builder| builder.observer_with(stuck.clone(), options));
    let run = start(&engine, "words").await;
    let answer = end(&engine, run).await;
    assert_eq!(answer.status, Some(Status::Error));
    assert!(
        answer
            .error
            .unwrap()
            .message
            .contains("did not come to its end")
    );
    stuck.free.add_permits(1);
    soon(engine.observed()).await;
}

#[tokio::test]
async fn an_observer_that_stands_still_keeps_so_many_runs_and_no_more() {
    let stuck = Stuck::default();
    let (engine, _folder) = engine(|builder| builder.observer(stuck.clone()));
    for _ in 0..6 {
        let run = start(&engine, "words").await;
        assert_eq!(end(&engine, run).await.status, Some(Status::Ok));
    }
    stuck.free.add_permits(6);
    soon(engine.observed()).await;
    assert_eq!(stuck.runs.load(Ordering::SeqCst), 4);
    let run = start(&engine, "words").await;
    end(&engine, run).await;
    soon(engine.observed()).await;
    assert_eq!(stuck.runs.load(Ordering::SeqCst), 5);
}

#[tokio::test]
async fn an_observer_without_interest_in_text_is_not_too_slow_for_text() {
    let recording = Recording::of(Interest::MODELS);
    let options = Options::default().overflow(Overflow::Detach, 190);
    let (engine, _folder) = engine(|builder| builder.observer_with(recording.clone(), options));
    let run = start(&engine, "slow").await;
    end(&engine, run).await;
    soon(engine.observed()).await;
    let lines = recording.lines();
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert!(lines[1].starts_with("model finished"));
}

#[tokio::test]
async fn nothing_of_an_observer_can_end_more_than_itself() {
    struct Uninteresting;
    impl Observer for Uninteresting {
        fn interest(&self) -> Interest {
            panic!("as a test wants it")
        }
    }
    let (engine, _folder) = engine(|builder| builder.observer(Uninteresting));
    let run = start(&engine, "words").await;
    assert_eq!(end(&engine, run).await.status, Some(Status::Ok));
    let summary = see(Uninteresting, Options::default(), &everything()).await;
    assert_eq!(summary.failed, 1);

    let choosy = Options::default().only(|_| panic!("as a test wants it"));
    let summary = see(Recording::default(), choosy, &everything()).await;
    assert_eq!(summary.failed, 1);
    let why = summary.error.unwrap();
    assert!(why.contains("as a test wants it"), "{why}");
}
