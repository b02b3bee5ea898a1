//! Follows runs for observers: the cursor, what is told at each entry, and what becomes of errors.

use super::{
    AnyObserver, Failed, Missed, Observed, Observer, OnError, Options, Overflow, Told,
    facts::{At, Retrying, RunFinished, SpanFinished, Token},
    interest::Interest,
    tree::Tree,
};
use crate::{
    log::{
        Source,
        gate::Gate,
        live::{Head, Live},
    },
    packed::{Item, Packed},
};
use futures::FutureExt;
use headwater_protocol::{
    BlockKind, BlockNo, Entry, Error, ErrorCode, Event, Seq, SpanNo, Stage, ToolCall,
    chat::beginning,
};
use std::{
    any::Any,
    collections::HashMap,
    mem,
    panic::AssertUnwindSafe,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio::{
    sync::{mpsc, oneshot, watch},
    task::JoinSet,
};

/// How many entries are read at once by an observer that keeps up.
const BATCH: usize = 64;

/// How many entries are read at once by one that is too far behind.
const LARGE_BATCH: usize = 4096;

/// The most bytes of text that come as one.
const MERGED: usize = 64 * 1024;

/// The most runs that an observer of all runs follows at once. One that stands still would keep the logs
/// of all that come, so those beyond are not shown to it.
const MOST_RUNS: usize = if cfg!(test) { 4 } else { 1024 };

/// The most bytes of an observer's error that a person is shown.
const MAX_ERROR: usize = 500;

/// What an observer has come to in one run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// How many of its calls failed or panicked.
    pub failed: u64,
    /// The first error.
    pub error: Option<String>,
    /// What it was not told one by one.
    pub missed: Missed,
}

/// An observer at work on one run. Dropping it changes nothing.
#[derive(Debug)]
pub struct Observation(oneshot::Receiver<Summary>);

impl Observation {
    /// Waits until the observer has seen the end of the run, or has left it.
    pub async fn finished(self) -> Summary {
        self.0.await.unwrap_or_default()
    }
}

/// The observers of all runs.
pub(crate) struct Observers {
    all: Vec<Registered>,
    active: Arc<watch::Sender<usize>>,
}

struct Registered {
    observer: Arc<dyn AnyObserver>,
    options: Options,
    thread: mpsc::UnboundedSender<Observing>,
    /// How many runs it follows.
    open: Arc<watch::Sender<usize>>,
    /// Whether it was said that it is not shown all runs.
    is_told: AtomicBool,
}

impl Default for Observers {
    fn default() -> Self {
        Self {
            all: Vec::new(),
            active: Arc::new(watch::Sender::new(0)),
        }
    }
}

impl Observers {
    /// Starts a thread for each observer of all runs that begin from now on.
    pub(crate) fn start(wanted: Vec<(Arc<dyn AnyObserver>, Options)>) -> Result<Self, Error> {
        let registered = wanted.into_iter().map(|(observer, options)| {
            Ok(Registered {
                observer,
                options,
                thread: thread()?,
                open: Arc::new(watch::Sender::new(0)),
                is_told: AtomicBool::new(false),
            })
        });
        Ok(Self {
            all: registered.collect::<Result<_, Error>>()?,
            ..Self::default()
        })
    }

    /// Lets all of them follow a run that begins.
    pub(crate) fn begin(&self, live: &Arc<Live>) {
        for one in &self.all {
            if *one.open.borrow() >= MOST_RUNS {
                if !one.is_told.swap(true, Ordering::Relaxed) {
                    tracing::warn!(
                        runs = MOST_RUNS,
                        "an observer follows too many runs and is not shown the next ones"
                    );
                }
                continue;
            }
            let source = Source::Live(live.clone());
            let (observer, options) = (one.observer.clone(), one.options.clone());
            let active = [&self.active, &one.open].map(Active::new);
            let (observing, _) = Observing::new(observer, options, source, active.into());
            // The thread lives as long as this.
            let _ = one.thread.send(observing);
        }
    }

    /// Waits until no observer follows a run.
    pub(crate) async fn idle(&self) {
        let mut active = self.active.subscribe();
        // The sender lives in `self`, so this cannot fail.
        let _ = active.wait_for(|active| *active == 0).await;
    }
}

/// Lets an observer follow one run, on a thread of its own.
pub(crate) fn watch_alone(
    observer: impl Observer,
    options: Options,
    source: Source,
    observers: &Observers,
) -> Result<Observation, Error> {
    let thread = thread()?;
    let active = vec![Active::new(&observers.active)];
    let (observing, done) = Observing::new(Arc::new(observer), options, source, active);
    let _ = thread.send(observing);
    Ok(Observation(done))
}

/// Lets an observer see a log that has ended, such as one that [`log::read`](crate::log::read) has read.
///
/// # Errors
/// `internal` where no thread can be started.
pub fn replay(
    log: Packed,
    observer: impl Observer,
    options: Options,
) -> Result<Observation, Error> {
    let source = Source::Stored(Arc::new(log));
    watch_alone(observer, options, source, &Observers::default())
}

/// Starts a thread that follows the runs it is sent. It ends when no more can come and all have ended.
fn thread() -> Result<mpsc::UnboundedSender<Observing>, Error> {
    let failed = |why: std::io::Error| {
        let sentence = format!("No thread can be started for an observer: {why}.");
        Error::new(ErrorCode::Internal, sentence)
    };
    let (send, mut more) = mpsc::unbounded_channel::<Observing>();
    let work = async move {
        let mut tasks = JoinSet::new();
        loop {
            tokio::select! {
                next = more.recv() => match next {
                    Some(observing) => drop(tasks.spawn(observing.run())),
                    None => break,
                },
                Some(_) = tasks.join_next() => {}
            }
        }
        while tasks.join_next().await.is_some() {}
    };
    std::thread::Builder::new()
        .name("observer".into())
        .spawn(move || {
            // Here, because a runtime must not be dropped inside of another one.
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build();
            match runtime {
                Ok(runtime) => runtime.block_on(work),
                Err(why) => tracing::error!(%why, "an observer cannot work"),
            }
        })
        .map_err(failed)?;
    Ok(send)
}

/// Counts as long as it lives.
struct Active(Arc<watch::Sender<usize>>);

impl Active {
    fn new(active: &Arc<watch::Sender<usize>>) -> Self {
        active.send_modify(|active| *active += 1);
        Self(active.clone())
    }
}

impl Drop for Active {
    fn drop(&mut self) {
        self.0.send_modify(|active| *active -= 1);
    }
}

/// Something that was read and is to be told.
enum Piece {
    Event {
        seq: Seq,
        ms: u64,
        event: Box<Event>,
        /// The block that it ends.
        block: Option<Block>,
    },
    /// Text of one entry, or of several that follow each other.
    Text {
        /// The number of the last of them.
        seq: Seq,
        ms: u64,
        span: SpanNo,
        block: BlockNo,
        kind: BlockKind,
        tool: Option<ToolCall>,
        text: String,
        entries: u32,
    },
}

impl Piece {
    fn seq(&self) -> Seq {
        match self {
            Self::Event { seq, .. } | Self::Text { seq, .. } => *seq,
        }
    }

    /// The piece as an entry of the log.
    fn entry(&self) -> Entry {
        match self {
            Self::Event { seq, ms, event, .. } => Entry {
                seq: *seq,
                at: *ms,
                event: (**event).clone(),
            },
            Self::Text {
                seq,
                ms,
                span,
                block,
                text,
                entries,
                ..
            } => Entry {
                seq: *seq,
                at: *ms,
                event: Event::Delta {
                    span: *span,
                    block: *block,
                    text: text.clone(),
                    from: (*entries > 1).then(|| seq + 1 - u64::from(*entries)),
                },
            },
        }
    }
}

/// An observer and a run.
struct Observing {
    observer: Arc<dyn AnyObserver>,
    options: Options,
    interest: Interest,
    source: Source,
    cursor: Seq,
    /// The end of the log when the observer came. What was there before does not count as too slow.
    came_at: Seq,
    /// The blocks of the entries that were read.
    blocks: HashMap<BlockNo, Block>,
    /// The spans of the entries that were told.
    tree: Tree,
    /// Tells the run how far the observer is, where the run waits for it.
    gate: Option<watch::Sender<Seq>>,
    summary: Summary,
    /// What was merged since the observer was told of it.
    merged: u64,
    done: Option<oneshot::Sender<Summary>>,
    /// The observer's name, as it has told it.
    name: String,
    _active: Vec<Active>,
}

impl Observing {
    fn new(
        observer: Arc<dyn AnyObserver>,
        options: Options,
        source: Source,
        active: Vec<Active>,
    ) -> (Self, oneshot::Receiver<Summary>) {
        let (done, finished) = oneshot::channel();
        let mut gate = None;
        let (blocks, fails) = (
            options.overflow == Overflow::Block,
            options.on_error == OnError::FailRun,
        );
        if let Source::Live(live) = &source
            && (blocks || fails)
        {
            let sender = watch::Sender::new(0);
            live.add_gate(Gate {
                seen: sender.subscribe(),
                queue: blocks.then(|| options.queue()),
                sees_all: fails,
            });
            gate = Some(sender);
        }
        let observing = Self {
            interest: Interest::NONE,
            name: String::new(),
            observer,
            options,
            cursor: 0,
            came_at: source.head().seq,
            source,
            blocks: HashMap::new(),
            tree: Tree::default(),
            gate,
            summary: Summary::default(),
            merged: 0,
            done: Some(done),
            _active: active,
        };
        (observing, finished)
    }

    /// Follows the run and tells what came of it. All code of the observer is called from here, so none of
    /// it can end anything else.
    async fn run(mut self) {
        let followed = AssertUnwindSafe(self.follow()).catch_unwind().await;
        if let Err(panic) = followed {
            self.note(Err(panicked(&*panic)));
        }
        if self.summary.failed > 1 {
            let (observer, failed) = (&self.name, self.summary.failed);
            tracing::warn!(
                observer,
                failed,
                "an observer failed several times in a run"
            );
        }
        if let Some(done) = self.done.take() {
            // Perhaps nobody asked.
            let _ = done.send(mem::take(&mut self.summary));
        }
    }

    /// Follows the run to its end, or until the observer leaves it.
    async fn follow(&mut self) {
        self.name = self.observer.name().to_owned();
        self.interest = self.observer.interest();
        let mut watch = self.watch();
        loop {
            let head = self.source.head();
            if self.cursor >= head.seq {
                self.tell_missed(0).await;
                match &mut watch {
                    Some(watch) if !head.finished => wait(watch, self.cursor).await,
                    _ => break,
                }
                continue;
            }
            let behind = head.seq.saturating_sub(self.cursor.max(self.came_at));
            let is_behind = behind > self.options.queue();
            if is_behind && self.options.overflow == Overflow::Detach {
                let lost = head.seq - self.cursor;
                let observer = &self.name;
                tracing::warn!(observer, lost, "an observer is too slow and leaves its run");
                self.learn_run();
                self.tell_missed(lost).await;
                break;
            }
            let merges = is_behind && self.options.overflow == Overflow::Coalesce;
            let (pieces, last) = self.read(merges);
            for piece in pieces {
                let seq = piece.seq();
                self.tell(piece).await;
                self.reached(seq);
            }
            self.reached(last);
        }
    }

    /// What tells of more. Whoever wants no text is not woken by every token, unless it matters how far
    /// behind it is.
    fn watch(&self) -> Option<watch::Receiver<Head>> {
        let text = [Interest::TOKENS, Interest::TOOL_OUTPUT, Interest::ENTRIES];
        let Source::Live(live) = &self.source else {
            return None;
        };
        let wants_text = text.into_iter().any(|one| self.interest.has(one));
        let may_leave = self.options.overflow == Overflow::Detach;
        Some(match wants_text || may_leave || self.gate.is_some() {
            true => live.watch(),
            false => live.watch_events(),
        })
    }

    fn reached(&mut self, seq: Seq) {
        self.cursor = seq;
        if let Some(gate) = &self.gate {
            gate.send_replace(seq);
        }
    }

    /// Reads the next entries. What the observer does not want is not copied.
    fn read(&mut self, merges: bool) -> (Vec<Piece>, Seq) {
        let most = if merges { LARGE_BATCH } else { BATCH };
        let mut pieces: Vec<Piece> = Vec::new();
        let (blocks, interest, merged) = (&mut self.blocks, self.interest, &mut self.merged);
        let last = self.source.look_after(self.cursor, most, |seq, ms, item| {
            let (span, block, text) = match item {
                Item::Delta { span, block, text } => (span, block, text),
                Item::Json(_) => {
                    let event = item.into_event();
                    let block = note_block(blocks, &event);
                    pieces.push(Piece::Event {
                        seq,
                        ms,
                        event: Box::new(event),
                        block,
                    });
                    return;
                }
            };
            let known = blocks.get(&block);
            let kind = known.map_or(BlockKind::Text, |known| known.kind);
            let wanted = match kind {
                BlockKind::ToolOutput => Interest::TOOL_OUTPUT,
                _ => Interest::TOKENS,
            };
            if !interest.has(wanted) && !interest.has(Interest::ENTRIES) {
                return;
            }
            if let Some(Piece::Text {
                seq: end,
                ms: at,
                block: same,
                text: whole,
                entries,
                ..
            }) = pieces.last_mut()
                && merges
                && *same == block
                && *end + 1 == seq
                && whole.len() + text.len() <= MERGED
            {
                (*end, *at) = (seq, ms);
                whole.push_str(text);
                *entries += 1;
                *merged += 1;
                return;
            }
            pieces.push(Piece::Text {
                seq,
                ms,
                span,
                block,
                kind,
                tool: known.and_then(|known| known.tool.clone()),
                text: text.to_owned(),
                entries: 1,
            });
        });
        (pieces, last)
    }

    async fn tell(&mut self, piece: Piece) {
        if self.interest.has(Interest::ENTRIES) {
            let entry = piece.entry();
            let told = call(&*self.observer, Told::Entry(&entry)).await;
            self.note(told);
        }
        match piece {
            Piece::Event {
                seq,
                ms,
                event,
                block,
            } => {
                self.tree.apply(&event, ms);
                let all = self.tell_event(seq, ms, &event, block.as_ref()).await;
                for told in all {
                    self.note(told);
                }
            }
            Piece::Text {
                seq,
                ms,
                span,
                block,
                kind,
                tool,
                text,
                entries,
            } => {
                let token = Token {
                    block,
                    kind,
                    tool: tool.as_ref(),
                    text: &text,
                    entries,
                };
                let told = match self.at(span, seq, ms) {
                    Some(at) if kind == BlockKind::ToolOutput => {
                        let told = Told::ToolOutput(at, token);
                        self.say(Interest::TOOL_OUTPUT, at, told).await
                    }
                    Some(at) => self.say(Interest::TOKENS, at, Told::Token(at, token)).await,
                    None => Ok(()),
                };
                self.note(told);
            }
        }
    }

    /// Tells all that an event means.
    async fn tell_event(
        &self,
        seq: Seq,
        ms: u64,
        event: &Event,
        block: Option<&Block>,
    ) -> Vec<Observed> {
        let mut all = Vec::new();
        match event {
            Event::RunStarted { .. } => {
                if let Some(run) = &self.tree.run
                    && self.interest.has(Interest::RUNS)
                {
                    all.push(call(&*self.observer, Told::RunStarted(run)).await);
                }
            }
            Event::SpanStarted { span, kind, .. } => {
                if let Some(at) = self.at(*span, seq, ms) {
                    let told = Told::SpanStarted(at);
                    all.push(self.say(Interest::of(*kind), at, told).await);
                }
            }
            Event::BlockFinished { span, value, .. } => {
                let asks = block.filter(|block| block.kind == BlockKind::ToolInput);
                let call = asks.and_then(|block| block.tool.as_ref());
                if let (Some(at), Some(call)) = (self.at(*span, seq, ms), call) {
                    let told = Told::ToolCalled(at, call, value);
                    all.push(self.say(Interest::TOOLS, at, told).await);
                }
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
                if let Some(at) = self.at(*span, seq, ms) {
                    let retry = Retrying {
                        attempt: *attempt,
                        pause: Duration::from_millis(*in_ms),
                        error,
                    };
                    let told = Told::Retrying(at, retry);
                    all.push(self.say(Interest::RETRIES, at, told).await);
                }
            }
            Event::Custom { span, name, data } => {
                if let Some(at) = self.at(*span, seq, ms) {
                    let told = Told::Custom(at, name, data);
                    all.push(self.say(Interest::CUSTOM, at, told).await);
                }
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
                if let Some(at) = self.at(*span, seq, ms) {
                    let end = SpanFinished {
                        status: *status,
                        output,
                        finish: finish.as_ref(),
                        usage: *usage,
                        timing: *timing,
                        error: error.as_ref(),
                        took: Duration::from_millis(ms.saturating_sub(at.span.started)),
                    };
                    let told = Told::SpanFinished(at, end);
                    all.push(self.say(Interest::of(at.span.kind), at, told).await);
                    if let Some(error) = error {
                        let failed = Failed {
                            run: at.run,
                            span: Some(at.span),
                            error,
                        };
                        all.push(self.say(Interest::ERRORS, at, Told::Failed(failed)).await);
                    }
                }
            }
            Event::RunFinished {
                status,
                usage,
                timing,
                error,
                ..
            } => {
                let Some(run) = &self.tree.run else {
                    return all;
                };
                let error = error.as_ref();
                if self.interest.has(Interest::RUNS) {
                    let end = RunFinished {
                        status: *status,
                        usage: *usage,
                        timing: *timing,
                        error,
                        source: &self.source,
                    };
                    all.push(call(&*self.observer, Told::RunFinished(run, end)).await);
                }
                if let Some(error) = error.filter(|_| self.interest.has(Interest::ERRORS)) {
                    let failed = Failed {
                        run,
                        span: None,
                        error,
                    };
                    all.push(call(&*self.observer, Told::Failed(failed)).await);
                }
            }
            _ => {}
        }
        all
    }

    /// Tells something about a span, if the observer wants that.
    async fn say(&self, interest: Interest, at: At<'_>, told: Told<'_>) -> Observed {
        let wanted = self.options.only.as_ref();
        if self.interest.has(interest) && wanted.is_none_or(|wanted| wanted(at.span)) {
            return call(&*self.observer, told).await;
        }
        Ok(())
    }

    fn at(&self, span: SpanNo, seq: Seq, ms: u64) -> Option<At<'_>> {
        let (run, span) = (self.tree.run.as_ref()?, self.tree.spans.get(&span)?);
        Some(At { run, span, seq, ms })
    }

    /// Reads which run it is, if nothing was told of it yet.
    fn learn_run(&mut self) {
        let (cursor, tree) = (self.cursor, &mut self.tree);
        self.source
            .look_after(0, usize::from(cursor == 0), |_, ms, item| {
                tree.apply(&item.into_event(), ms);
            });
    }

    /// Tells what the observer was not told one by one since the last time, and that `lost` entries will
    /// not come.
    async fn tell_missed(&mut self, lost: u64) {
        let missed = Missed {
            merged: mem::take(&mut self.merged),
            lost,
        };
        if missed == Missed::default() {
            return;
        }
        self.summary.missed.merged += missed.merged;
        self.summary.missed.lost += lost;
        let told = match &self.tree.run {
            Some(run) => call(&*self.observer, Told::Overflowed(run, missed)).await,
            None => Ok(()),
        };
        self.note(told);
    }

    /// Notes what an observer's method returned.
    fn note(&mut self, told: Observed) {
        let Err(why) = told else { return };
        let observer = &self.name;
        let said = std::panic::catch_unwind(AssertUnwindSafe(|| why.to_string()));
        let said = said.unwrap_or_else(|_| "an error that cannot be told".to_owned());
        let sentence = beginning(&said, MAX_ERROR).to_owned();
        self.summary.failed += 1;
        if self.summary.error.is_none() {
            tracing::warn!(observer, why = sentence, "an observer failed");
            self.summary.error = Some(sentence.clone());
        }
        if let (OnError::FailRun, Source::Live(live)) = (self.options.on_error, &self.source) {
            let sentence = format!("The observer “{observer}” ended this answer: {sentence}");
            live.control
                .fail(Error::new(ErrorCode::Internal, sentence).at("observing"));
        }
    }
}

/// What is known of a block.
struct Block {
    kind: BlockKind,
    tool: Option<ToolCall>,
}

/// Keeps what is known of the blocks that are being written. Returns the one that ends.
fn note_block(blocks: &mut HashMap<BlockNo, Block>, event: &Event) -> Option<Block> {
    match event {
        Event::BlockStarted {
            block, kind, tool, ..
        } => {
            let (kind, tool) = (*kind, tool.clone());
            blocks.insert(*block, Block { kind, tool });
        }
        Event::BlockRelabelled { block, kind, .. } => {
            if let Some(known) = blocks.get_mut(block) {
                known.kind = *kind;
            }
        }
        Event::BlockFinished { block, .. } => return blocks.remove(block),
        _ => {}
    }
    None
}

/// Calls the observer. A panic is an error like any other.
async fn call(observer: &dyn AnyObserver, told: Told<'_>) -> Observed {
    let called = AssertUnwindSafe(async { observer.tell(told).await });
    match called.catch_unwind().await {
        Ok(result) => result,
        Err(panic) => Err(panicked(&*panic)),
    }
}

fn panicked(panic: &(dyn Any + Send)) -> Box<dyn std::error::Error + Send + Sync> {
    let said = panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("without a word");
    format!("it panicked: {said}").into()
}

/// Waits for more than `cursor` entries, or for the end of the run.
async fn wait(watch: &mut watch::Receiver<Head>, cursor: Seq) {
    // The sender lives in the source.
    let _ = watch
        .wait_for(|head| head.seq > cursor || head.finished)
        .await;
}
