//! Commands on a whole app whose one provider says what the test tells it.

use super::*;
use crate::{
    Listing, StartRun, Window,
    db::writer::tests::hold,
    log::live::Live,
    provider::{ChatRequest, Provider, ProviderEvent},
};
use futures::{
    FutureExt, StreamExt,
    future::{self, BoxFuture},
    stream::{self, BoxStream},
};
use headwater_protocol::{ConversationId, Event, FinishReason, ModelInfo, RunId, Started, Status};
use std::{collections::HashMap, path::Path, sync::Mutex, time::Duration};
use tokio::sync::{Notify, mpsc};

mod full_disk;
mod machine;

/// A provider that writes in each conversation what the test dictates.
#[derive(Clone, Debug, Default)]
struct Dictated(Arc<Dictation>);

#[derive(Debug, Default)]
struct Dictation {
    pens: Mutex<HashMap<String, mpsc::UnboundedSender<ProviderEvent>>>,
    taken: Notify,
}

impl Dictated {
    fn held(&self, conversation: ConversationId) -> Option<mpsc::UnboundedSender<ProviderEvent>> {
        let pens = self.0.pens.lock().unwrap();
        pens.get(&conversation.to_string()).cloned()
    }

    /// The way to the answer that is being written in a conversation, as soon as it is asked for.
    async fn pen(&self, conversation: ConversationId) -> mpsc::UnboundedSender<ProviderEvent> {
        loop {
            let taken = self.0.taken.notified();
            let pen = self.held(conversation);
            match pen.filter(|pen| !pen.is_closed()) {
                Some(pen) => return pen,
                None => taken.await,
            }
        }
    }
}

impl Provider for Dictated {
    fn models(&self) -> BoxFuture<'_, Result<Vec<ModelInfo>, Error>> {
        future::ready(Ok(Vec::new())).boxed()
    }

    fn stream(&self, request: ChatRequest) -> BoxStream<'static, Result<ProviderEvent, Error>> {
        let (pen, said) = mpsc::unbounded_channel();
        let mut pens = self.0.pens.lock().unwrap();
        pens.insert(request.conversation, pen);
        drop(pens);
        self.0.taken.notify_waiters();
        stream::unfold(said, |mut said| async move {
            let event = said.recv().await?;
            Some((Ok(event), said))
        })
        .boxed()
    }

    fn can_prefill(&self, model: &str) -> bool {
        assert_ne!(model, "panics", "as a test wants it");
        true
    }
}

/// An app on a folder, whose default model is the dictated one.
fn engine(data: &Path) -> (Arc<Engine>, Dictated) {
    let mut config = Config::new(data);
    config.default_model = Some("dictated/x".into());
    config.recovery.attempts = 1;
    config.recovery.max_recoveries = 0;
    let dictated = Dictated::default();
    let mut registry = Registry::new(&config).unwrap();
    let provider = Arc::new(dictated.clone());
    registry
        .add("dictated", provider, config.deadlines)
        .unwrap();
    let (log, _) = Log::open(data, 0).unwrap();
    (
        Arc::new(Engine::of(log, registry, Tools::default(), &config)),
        dictated,
    )
}

fn message(text: impl Into<String>) -> StartRun {
    StartRun {
        text: text.into(),
        ..StartRun::default()
    }
}

fn says(text: impl Into<String>) -> ProviderEvent {
    ProviderEvent::Delta {
        index: 0,
        text: text.into(),
    }
}

fn ends() -> ProviderEvent {
    ProviderEvent::Finished {
        reason: FinishReason::Stop,
        word: "stop".into(),
    }
}

/// The longest that anything here may take.
const PATIENCE: Duration = Duration::from_secs(20);

async fn soon<T>(work: impl Future<Output = T>) -> T {
    let done = tokio::time::timeout(PATIENCE, work).await;
    done.expect("it does not take that long")
}

/// Begins a command and gives it up as soon as it waits for the disk, as a client does that leaves.
async fn given_up<T>(engine: &Arc<Engine>, command: impl Future<Output = T>) {
    let release = hold(&engine.log.writer).await;
    let mut command = Box::pin(command);
    // Its looks at the database and its own tasks come first.
    let asked = tokio::time::timeout(Duration::from_millis(300), &mut command).await;
    assert!(asked.is_err(), "it waits for the disk");
    drop(command);
    drop(release);
    engine.log.writer.write(|_| Ok(())).await.unwrap();
}

impl Dictated {
    /// Lets the answer of a conversation say something and end.
    async fn answer(&self, started: &Started, engine: &Engine, text: &str) {
        let pen = soon(self.pen(started.conversation)).await;
        let live = engine.log.live(started.run).unwrap();
        pen.send(says(text)).unwrap();
        pen.send(ends()).unwrap();
        soon(live.finished()).await;
    }
}

/// A conversation with one question and its answer.
async fn answered(engine: &Arc<Engine>, provider: &Dictated) -> Started {
    let started = engine.start(message("Question")).await.unwrap();
    provider.answer(&started, engine, "Answer").await;
    started
}

async fn only_chat(engine: &Engine) -> ConversationId {
    let chats = engine.list(Listing::default()).await.unwrap();
    assert_eq!(chats.len(), 1);
    chats[0].id
}

#[tokio::test]
async fn what_is_stored_is_worked_on_although_its_client_has_left() {
    let folder = tempfile::tempdir().unwrap();
    let (engine, provider) = engine(folder.path());
    // A new conversation.
    given_up(&engine, engine.start(message("Question"))).await;
    let id = only_chat(&engine).await;
    let pen = soon(provider.pen(id)).await;
    let run = engine.log.running()[0].run;
    pen.send(says("Half an answer")).unwrap();
    engine.stop(run, None).await.unwrap();
    // A continuation, and another answer.
    given_up(&engine, engine.continue_run(run, None)).await;
    let pen = soon(provider.pen(id)).await;
    pen.send(says(" and the other half")).unwrap();
    pen.send(ends()).unwrap();
    let more = engine.log.running().pop().unwrap();
    soon(more.finished()).await;
    given_up(&engine, engine.retry(run, None)).await;
    soon(provider.pen(id)).await.send(ends()).unwrap();
    // A deletion.
    given_up(&engine, engine.delete(id)).await;
    soon(async {
        while engine.load(id, Window::default()).await.is_ok() {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_run_whose_task_panics_has_an_end() {
    let folder = tempfile::tempdir().unwrap();
    let (engine, provider) = engine(folder.path());
    let started = engine.start(message("Question")).await.unwrap();
    let pen = soon(provider.pen(started.conversation)).await;
    pen.send(says("Half")).unwrap();
    let live = engine.log.live(started.run).unwrap();
    let shown = |live: &Live| live.with_answer(|answer| answer.visible_length());
    let mut head = live.watch();
    drop(soon(head.wait_for(|_| shown(&live) > 0)).await);
    engine.stop(started.run, None).await.unwrap();
    let panics = engine.continue_run(started.run, Some("dictated/panics".into()));
    let more = panics.await.unwrap();
    soon(async {
        while engine.log.live(more.run).is_some() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let answer = engine.log.source(more.run).await.unwrap().answer();
    assert_eq!(answer.status, Some(Status::Error));
    assert_eq!(answer.error.unwrap().code, ErrorCode::Internal);
    let next = engine
        .continue_run(more.run, Some("dictated/x".into()))
        .await;
    engine.stop(next.unwrap().run, None).await.unwrap();
}

#[tokio::test]
async fn nothing_is_hidden_from_a_branch_that_is_selected_while_an_answer_begins() {
    let folder = tempfile::tempdir().unwrap();
    let (engine, provider) = engine(folder.path());
    let first = answered(&engine, &provider).await;
    let second = engine.retry(first.run, None).await.unwrap();
    provider.answer(&second, &engine, "Another answer").await;
    let id = first.conversation;
    let release = hold(&engine.log.writer).await;
    let mut start = Box::pin(engine.start(StartRun {
        conversation: Some(id),
        model: Some("dictated/x".into()),
        ..message("More")
    }));
    assert!(futures::poll!(&mut start).is_pending());
    tokio::task::yield_now().await;
    let mut select = Box::pin(engine.select(id, first.message));
    assert!(futures::poll!(&mut select).is_pending());
    drop(release);
    let (started, selected) = tokio::join!(start, select);
    let started = started.unwrap();
    // Either came first; what runs is on the current branch.
    let shown = engine.load(id, Window::default()).await.unwrap();
    assert_eq!(shown.messages.last().unwrap().id, started.message);
    assert!(selected.is_err_and(|why| why.code == ErrorCode::Conflict));
}

#[tokio::test]
async fn starts_of_different_conversations_share_a_commit() {
    let folder = tempfile::tempdir().unwrap();
    let (engine, provider) = engine(folder.path());
    let known = answered(&engine, &provider).await;
    let release = hold(&engine.log.writer).await;
    let more = StartRun {
        conversation: Some(known.conversation),
        ..message("More")
    };
    let starts = [more, message("One"), message("Two")].map(|command| {
        let engine = engine.clone();
        tokio::spawn(async move { engine.start(command).await })
    });
    // What waits together is one transaction.
    soon(async {
        while engine.log.writer.waiting() < 3 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    drop(release);
    for start in starts {
        soon(start).await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn a_command_waits_for_nobody_in_another_conversation() {
    let folder = tempfile::tempdir().unwrap();
    let (engine, provider) = engine(folder.path());
    let busy = answered(&engine, &provider).await;
    let other = answered(&engine, &provider).await;
    // As a deletion holds it that waits for the end of an answer.
    let held = engine.conversations.lock(busy.conversation).await;
    let mut start = Box::pin(engine.start(StartRun {
        conversation: Some(busy.conversation),
        ..message("More")
    }));
    let waited = tokio::time::timeout(Duration::from_millis(100), &mut start).await;
    assert!(waited.is_err(), "it waits for its own conversation");
    soon(engine.start(message("New"))).await.unwrap();
    soon(engine.select(other.conversation, other.message))
        .await
        .unwrap();
    soon(engine.retry(other.run, None)).await.unwrap();
    soon(engine.delete(other.conversation)).await.unwrap();
    assert_eq!(soon(engine.close_lost()).await.unwrap(), 0);
    drop(held);
    soon(start).await.unwrap();
}

#[tokio::test]
async fn a_message_that_is_stored_is_known_whatever_the_server_does() {
    let folder = tempfile::tempdir().unwrap();
    let (engine, provider) = engine(folder.path());
    let sent = |text: &str| StartRun {
        client_id: Some("key".into()),
        ..message(text)
    };
    let started = engine.start(sent("Question")).await.unwrap();
    provider.answer(&started, &engine, "Answer").await;
    // Another text, and another conversation, are other messages.
    for other in [
        sent("Another question"),
        StartRun {
            conversation: Some(ConversationId::new()),
            ..sent("Question")
        },
    ] {
        let error = engine.start(other).await.unwrap_err();
        assert_eq!(error.code, ErrorCode::Conflict);
    }
    // Neither an unknown model nor the end of the server keeps it from being known.
    let unknown = StartRun {
        model: Some("nobody/x".into()),
        ..sent("Question")
    };
    assert_eq!(engine.start(unknown).await.unwrap(), started);
    engine.shutdown.draining.cancel();
    assert_eq!(engine.start(sent("Question")).await.unwrap(), started);
    let new = engine.start(message("New")).await.unwrap_err();
    assert_eq!(new.code, ErrorCode::ShuttingDown);
}

#[tokio::test]
async fn an_answer_is_continued_only_where_it_broke_off_and_nothing_follows() {
    let folder = tempfile::tempdir().unwrap();
    let (engine, provider) = engine(folder.path());
    let refused = |run: RunId| {
        let engine = engine.clone();
        async move {
            let error = engine.continue_run(run, None).await.unwrap_err();
            assert_eq!(error.code, ErrorCode::Conflict);
            error.message
        }
    };
    let whole = answered(&engine, &provider).await;
    assert!(refused(whole.run).await.contains("whole"));
    // At the limit of tokens it broke off, although nothing failed.
    let next = |text: &str| StartRun {
        conversation: Some(whole.conversation),
        ..message(text)
    };
    let long = engine.start(next("More")).await.unwrap();
    let pen = soon(provider.pen(long.conversation)).await;
    let live = engine.log.live(long.run).unwrap();
    pen.send(says("Words")).unwrap();
    pen.send(ProviderEvent::Finished {
        reason: FinishReason::Length,
        word: "length".into(),
    })
    .unwrap();
    soon(live.finished()).await;
    let more = engine.continue_run(long.run, None).await.unwrap();
    // In the moment of its end, and with the end in the log alone.
    engine.stop(more.run, None).await.unwrap();
    let more = engine.continue_run(more.run, None).await.unwrap();
    engine.stop(more.run, None).await.unwrap();
    soon(async {
        while engine.log.live(more.run).is_some() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let reopen = |db: &rusqlite::Connection| {
        db.execute("UPDATE run SET status = NULL", [])
            .map_err(crate::db::storage)
    };
    engine.log.writer.write(reopen).await.unwrap();
    let last = engine.continue_run(more.run, None).await.unwrap();
    engine.stop(last.run, None).await.unwrap();
    // What follows an answer is not hidden by going on with it.
    let after = engine.start(next("And then?")).await.unwrap();
    engine.stop(after.run, None).await.unwrap();
    assert!(refused(last.run).await.contains("went on"));
    let shown = engine
        .load(whole.conversation, Window::default())
        .await
        .unwrap();
    assert_eq!(shown.messages.len(), 6);
}

#[tokio::test]
async fn a_log_without_a_writer_is_told_and_floods_no_reader() {
    let folder = tempfile::tempdir().unwrap();
    let (mut engine, provider) = engine(folder.path());
    let started = engine.start(message("Question")).await.unwrap();
    let pen = soon(provider.pen(started.conversation)).await;
    let live = engine.log.live(started.run).unwrap();
    // The same app, whose writer is gone.
    let other = tempfile::tempdir().unwrap();
    let (mut log, _) = Log::open(other.path(), 0).unwrap();
    log.writer = crate::db::writer::Writer::gone();
    log.begin(live);
    let mut config = Config::new(other.path());
    config.delivery.ping = Duration::from_millis(200);
    let registry = Registry::new(&config).unwrap();
    engine = Arc::new(Engine::of(log, registry, Tools::default(), &config));
    assert_eq!(engine.ready().unwrap_err().code, ErrorCode::Storage);
    let frames = engine.event_stream(started.run, 0, false);
    let mut frames = Box::pin(frames.await.unwrap().frames);
    let begun = tokio::time::Instant::now();
    for _ in 0..6 {
        soon(frames.next()).await.unwrap();
    }
    // One at once, the run's first entries, and pings at their pace.
    assert!(begun.elapsed() >= Duration::from_millis(300));
    drop(pen);
}

#[tokio::test]
async fn a_secret_that_is_split_over_two_deltas_is_nowhere() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = Config::new(folder.path());
    config.default_model = Some("dictated/x".into());
    let dictated = Dictated::default();
    let mask = crate::rewrite::Mask::default().keys();
    let engine = Engine::builder(config)
        .provider("dictated", dictated.clone())
        .rewrite(mask)
        .open()
        .unwrap();
    let started = engine.start(message("Question")).await.unwrap();
    let pen = soon(dictated.pen(started.conversation)).await;
    let live = engine.log.live(started.run).unwrap();
    let shown = |live: &Live| live.with_answer(|answer| answer.visible_text());
    for piece in ["The key is sk-abc", "defghij", "klmnopq. Keep it"] {
        pen.send(says(piece)).unwrap();
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let mut head = live.watch();
    let whole = "The key is [hidden]. Keep it";
    drop(soon(head.wait_for(|_| shown(&live) == whole)).await);
    // What may be the beginning of another one waits for its end.
    pen.send(says(" s")).unwrap();
    pen.send(ends()).unwrap();
    soon(live.finished()).await;
    assert_eq!(shown(&live), format!("{whole} s"));
    let packed = live.packed();
    let bytes = String::from_utf8_lossy(packed.as_bytes()).into_owned();
    assert!(
        !bytes.contains("sk-") && !bytes.contains("klmnop"),
        "{bytes}"
    );
    let answer = crate::packed::fold(&packed);
    assert_eq!(answer.hash, crate::packed::hash(&answer.visible_text()));
}
