use super::*;
use crate::{
    packed::Packed,
    provider::{ToolDefinition, scripted::Scripted},
    tool::Tool,
};
use futures::stream::{self, BoxStream};
use headwater_protocol::{BlockKind, ConversationId, Entry, Event, MessageId, RunId, chat::Role};
use recorder::Recorder;
use tempfile::TempDir;
use uuid::Uuid;

/// A log with one run in it, which has begun.
fn begun() -> (TempDir, Arc<Log>, Arc<Live>) {
    let folder = tempfile::tempdir().unwrap();
    let (log, _) = Log::open(folder.path(), 0).unwrap();
    let id = Uuid::from_u128;
    let (run, conversation) = (RunId(id(1)), ConversationId(id(2)));
    let mut first = Packed::default();
    first.push(
        0,
        &Event::RunStarted {
            protocol: 1,
            run,
            conversation,
            message: MessageId(id(3)),
            parent: MessageId(id(4)),
            model: "s/one".into(),
            at: 0,
            continues: None,
        },
    );
    let live = Arc::new(Live::new(run, conversation, 1, 0, first));
    log.begin(live.clone());
    (folder, Arc::new(log), live)
}

/// Panics where nobody expects it.
struct Faulty(ToolDefinition);

impl Tool for Faulty {
    fn definition(&self) -> &ToolDefinition {
        &self.0
    }

    fn limit(&self) -> Duration {
        panic!("a fault in the engine's own code");
    }

    fn call(&self, _: Value) -> BoxStream<'static, Result<String, Error>> {
        Box::pin(stream::empty())
    }
}

#[tokio::test]
async fn a_panic_anywhere_in_a_run_ends_it_with_an_error_and_keeps_its_text() {
    let (_folder, log, live) = begun();
    let script = Scripted::from_toml(
        "[[scenario]]\nname = \"one\"\nsteps = [{ text = \"Let me look.\" }, { tool = \"t\" }, { end = \"tool_calls\" }]\n",
    );
    let mut tools = Tools::default();
    let tool = Faulty(ToolDefinition {
        name: "t".into(),
        description: String::new(),
        parameters: json!({}),
    });
    tools.add(Arc::new(tool)).unwrap();
    let job = Job {
        live: live.clone(),
        model: "s/one".into(),
        candidates: vec![Candidate {
            provider: Arc::new(script.unwrap()),
            name: "s".into(),
            model: "one".into(),
            full: "s/one".into(),
            deadlines: Deadlines::default(),
            tools: true,
        }],
        request: ChatRequest::default(),
        before: vec![Message {
            id: MessageId::new(),
            parent: None,
            role: Role::User,
            created: 0,
            text: "Go".into(),
            images: Vec::new(),
            answers: Vec::new(),
            branches: Vec::new(),
        }],
        images: Images::default(),
        earlier: Vec::new(),
        tools,
        recovery: Recovery::default(),
        health: Arc::default(),
        cut: CancellationToken::new(),
    };
    run(job, log.clone()).await;
    let answer = live.answer();
    assert_eq!(answer.status, Some(Status::Error));
    assert_eq!(
        answer.error.map(|error| error.code),
        Some(ErrorCode::Internal)
    );
    assert_eq!(
        live.with_answer(|answer| answer.visible_text()),
        "Let me look."
    );
    let entries: Vec<Entry> = live.packed().after(0).collect();
    let ends = entries.iter().filter(|entry| entry.event.is_terminal());
    assert_eq!(ends.count(), 1);
    assert!(
        entries
            .last()
            .is_some_and(|entry| entry.event.is_terminal())
    );
    assert!(log.running().is_empty(), "the conversation is free again");
}

#[tokio::test]
async fn a_stop_while_the_log_is_full_logs_all_that_was_counted() {
    let (_folder, log, live) = begun();
    let (enter, entered) = tokio::sync::oneshot::channel();
    let (go, wait) = std::sync::mpsc::channel::<()>();
    let writer = log.writer.clone();
    let blocked = tokio::spawn(async move {
        let work = move |_: &rusqlite::Connection| {
            let _ = enter.send(());
            let _ = wait.recv();
            Ok(())
        };
        writer.write(work).await
    });
    entered.await.unwrap();
    let mut recorder = Recorder::new(live.clone(), log.writer.clone());
    recorder.open(1, 0, BlockKind::Text, None);
    // Whoever waits for room in the queue is dropped by a stop.
    for number in 0.. {
        recorder.text(1, 0, format!("{number} "));
        let flush = tokio::task::unconstrained(recorder.flush());
        if flush.now_or_never().is_none() {
            break;
        }
    }
    recorder.close(1, 0, Value::Null);
    go.send(()).unwrap();
    blocked.await.unwrap().unwrap();
    recorder.finish(Status::Cancelled, None, None).await;
    let (mut came, mut told) = (0, 0);
    for (number, entry) in (1..).zip(live.packed().after(0)) {
        assert_eq!(entry.seq, number);
        match entry.event {
            Event::Delta { text, .. } => came += text.len() as u64,
            Event::BlockFinished { length, .. } => told = length,
            _ => {}
        }
    }
    assert!(came > 0);
    assert_eq!(told, came);
}
