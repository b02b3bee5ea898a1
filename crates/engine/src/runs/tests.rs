use super::*;
use crate::{
    log::tests::captured::Captured,
    packed::Packed,
    provider::{ToolDefinition, scripted::Scripted},
    tool::{Output, Tool},
};
use futures::{
    StreamExt,
    stream::{self, BoxStream},
};
use headwater_protocol::{
    BlockKind, ConversationId, Entry, Event, MessageId, RunId,
    chat::{Block, Role},
};
use recorder::Recorder;
use tempfile::TempDir;
use tracing::{Level, instrument::WithSubscriber};
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

    fn call(&self, _: Value) -> BoxStream<'static, Result<Output, Error>> {
        Box::pin(stream::empty())
    }
}

/// A job for the scenarios of a script, asked in this order. They are models of the provider `s`.
fn job(live: &Arc<Live>, script: &str, models: &[&str]) -> Job {
    let provider: Arc<dyn Provider> = Arc::new(Scripted::from_toml(script).unwrap());
    let candidate = |model: &&str| Candidate {
        chain: None,
        provider: provider.clone(),
        name: "s".into(),
        model: (*model).into(),
        full: format!("s/{model}"),
        deadlines: Deadlines::default(),
        tools: true,
    };
    Job {
        rewrite: None,
        live: live.clone(),
        candidates: models.iter().map(candidate).collect(),
        request: ChatRequest::default(),
        before: vec![Message {
            id: MessageId::new(),
            parent: None,
            role: Role::User,
            created: 0,
            text: "My private question".into(),
            images: Vec::new(),
            answers: Vec::new(),
            branches: Vec::new(),
        }],
        images: Images::default(),
        input: Value::Null,
        earlier: Vec::new(),
        tools: Tools::default(),
        recovery: Recovery {
            pause: Duration::from_millis(1),
            ..Recovery::default()
        },
        health: Arc::default(),
        cut: CancellationToken::new(),
        models: Arc::new(|_| Ok(Vec::new())),
    }
}

#[tokio::test]
async fn a_panic_anywhere_in_a_run_ends_it_with_an_error_and_keeps_its_text() {
    let (_folder, log, live) = begun();
    let script = "[[scenario]]\nname = \"one\"\nsteps = [{ text = \"Let me look.\" }, { tool = \"t\" }, { end = \"tool_calls\" }]\n";
    let mut job = job(&live, script, &["one"]);
    let tool = Faulty(ToolDefinition {
        name: "t".into(),
        description: String::new(),
        parameters: json!({}),
    });
    job.tools.add(Arc::new(tool)).unwrap();
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
    let mut recorder = Recorder::new(live.clone(), &log, None);
    recorder.open(1, 0, BlockKind::Text, None);
    // Whoever waits for the disk is dropped by a stop.
    for number in 0.. {
        recorder.text(1, 0, format!("{number} "));
        if number == 10 {
            log.appender.set_limit(1);
        }
        let flush = tokio::task::unconstrained(recorder.flush());
        if flush.now_or_never().is_none() {
            break;
        }
    }
    recorder.close(1, 0, Value::Null);
    log.appender.set_limit(0);
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

#[tokio::test]
async fn a_rival_that_has_been_asked_answers_where_the_first_call_breaks_off() {
    for end in [
        "{ end = \"silent\" }",
        "{ error = { code = \"overloaded\" } }",
    ] {
        let (_folder, log, live) = begun();
        let script = format!(
            "[[scenario]]\nname = \"one\"\nsteps = [{{ connected = true }}, {{ wait_ms = 150 }}, {end}]\n\
             [[scenario]]\nname = \"two\"\nsteps = [{{ wait_ms = 400 }}, {{ text = \"Two.\" }}]\n"
        );
        let mut job = job(&live, &script, &["one", "two"]);
        job.recovery.hedge = true;
        for _ in 0..20 {
            job.health.waited("s/one", Duration::from_millis(5));
        }
        run(job, log).await;
        let answer = live.answer();
        assert_eq!(answer.status, Some(Status::Ok), "{:?}", answer.error);
        assert_eq!(answer.visible_text(), "Two.");
        let spans: Vec<_> = answer.spans.iter().map(|span| span.status).collect();
        assert_eq!(spans, [Some(Status::Error), Some(Status::Ok)], "{end}");
    }
}

#[tokio::test]
async fn a_stop_does_not_wait_for_a_full_disk_and_asks_no_provider() {
    let (_folder, log, live) = begun();
    log.appender.set_limit(1);
    let job = job(&live, FLAKY, &["one"]);
    let mut recorder = Recorder::new(live.clone(), &log, None);
    let attempt = attempt::run(&job, 0, None, &mut recorder);
    let stop = async { live.control.stop(None) };
    let (attempted, ()) = tokio::join!(attempt, stop);
    assert!(matches!(attempted.outcome, Outcome::Stopped));
    assert!(live.control.closed_after().is_some());
    log.appender.set_limit(0);
    recorder.finish(Status::Cancelled, None, None).await;
    let entries: Vec<Entry> = live.packed().after(0).collect();
    assert!((1..).zip(&entries).all(|(seq, entry)| entry.seq == seq));
    assert!(live.answer().blocks.is_empty());
    assert_eq!(live.answer().spans[0].status, Some(Status::Cancelled));
}

/// Runs a job, and returns what the program's log says meanwhile.
async fn heard(job: Job, log: Arc<Log>, level: Level) -> Captured {
    let captured = Captured::default();
    let subscriber = captured.subscriber(level);
    let work = run(job, log).with_subscriber(subscriber);
    tokio::time::timeout(Duration::from_secs(20), work)
        .await
        .unwrap();
    let all = captured.lines().concat();
    for text in ["private", "secret"] {
        assert!(!all.contains(text), "no text of a conversation: {all}");
    }
    captured
}

const FLAKY: &str = r#"
[[scenario]]
name = "one"
steps = [
    { error = { code = "overloaded", message = "secret", status = 529 }, times = 1 },
    { text = "A secret answer." },
]
[[scenario]]
name = "broken"
steps = [{ error = { code = "authentication", message = "secret", status = 401 } }]
"#;

#[tokio::test]
async fn the_log_has_one_line_for_an_attempt_that_failed_and_none_for_a_run_that_ended_well() {
    let (_folder, log, live) = begun();
    let job = job(&live, FLAKY, &["one"]);
    let captured = heard(job, log, Level::INFO).await;
    assert_eq!(live.answer().status, Some(Status::Ok));
    let line = captured.only("an attempt failed");
    for part in [
        &format!("run={}", live.run),
        &format!("conversation={}", live.conversation),
        "attempt=1",
        "model=\"s/one\"",
        "code=Overloaded",
        "http_status=529",
        "next=Again(",
    ] {
        assert!(line.contains(part), "{part}: {line}");
    }
    assert_eq!(captured.lines().len(), 1, "{:#?}", captured.lines());
}

#[tokio::test]
async fn the_log_says_which_model_comes_next_and_that_a_run_failed() {
    let (_folder, log, live) = begun();
    let job = job(&live, FLAKY, &["broken", "broken"]);
    let captured = heard(job, log, Level::INFO).await;
    let line = captured.only("next=NextModel");
    assert!(line.contains("code=Authentication"), "{line}");
    captured.only("next=GiveUp");
    let end = captured.only("the run failed");
    assert!(
        end.contains("status=Error") && end.contains("code=Authentication"),
        "{end}"
    );
    assert_eq!(captured.lines().len(), 3);
}

#[tokio::test]
async fn a_stop_is_said_to_whoever_debugs() {
    let (_folder, log, live) = begun();
    let script =
        "[[scenario]]\nname = \"one\"\nsteps = [{ text = \"A secret.\" }, { stall = true }]\n";
    let job = job(&live, script, &["one"]);
    let stopped = live.clone();
    let stop = async move {
        let mut head = stopped.watch();
        let shown = |_: &_| stopped.with_answer(|answer| answer.visible_length() > 0);
        drop(head.wait_for(shown).await);
        stopped.control.stop(None);
    };
    let (captured, ()) = tokio::join!(heard(job, log, Level::DEBUG), stop);
    let line = captured.only("the attempt ended");
    for part in [
        "attempt{span=1",
        "provider=\"s\"",
        "status=Cancelled",
        "provider_closed_ms=",
    ] {
        assert!(line.contains(part), "{part}: {line}");
    }
    captured.only("the run ended");
    assert!(live.answer().provider_closed_ms.is_some());
}

/// Says a word, and goes on for ever.
struct Slow(ToolDefinition);

impl Tool for Slow {
    fn definition(&self) -> &ToolDefinition {
        &self.0
    }

    fn limit(&self) -> Duration {
        Duration::from_secs(60)
    }

    fn call(&self, _: Value) -> BoxStream<'static, Result<Output, Error>> {
        let word = stream::once(async { Ok("A secret word".into()) });
        Box::pin(word.chain(stream::pending()))
    }
}

#[tokio::test]
async fn a_stop_of_a_tool_is_in_the_answer_and_a_tool_is_named_in_the_log() {
    let (_folder, log, live) = begun();
    let script =
        "[[scenario]]\nname = \"one\"\nsteps = [{ tool = \"t\" }, { end = \"tool_calls\" }]\n";
    let mut job = job(&live, script, &["one"]);
    let tool = Slow(ToolDefinition {
        name: "t".into(),
        description: String::new(),
        parameters: json!({}),
    });
    job.tools.add(Arc::new(tool)).unwrap();
    let stopped = live.clone();
    let stop = async move {
        let mut head = stopped.watch();
        let said = |_: &_| {
            stopped.with_answer(|answer| {
                let output = |block: &Block| block.kind == BlockKind::ToolOutput;
                let output = answer.blocks.iter().find(|block| output(block));
                output.is_some_and(|block| !block.text.is_empty())
            })
        };
        drop(head.wait_for(said).await);
        stopped.control.stop(None);
    };
    let (captured, ()) = tokio::join!(heard(job, log, Level::DEBUG), stop);
    captured.only("the run ended");
    let answer = live.answer();
    assert_eq!(answer.status, Some(Status::Cancelled));
    assert!(answer.provider_closed_ms.is_some());
}

#[tokio::test]
async fn the_last_entry_is_rewritten_like_all_others() {
    let (_folder, log, live) = begun();
    let script = "[[scenario]]\nname = \"one\"\nsteps = [{ error = { code = \"authentication\", \
                  message = \"The key sk-abcdefghijklmnopq is wrong.\", status = 401 } }]\n";
    let mut job = job(&live, script, &["one"]);
    job.rewrite = Some(Arc::new(crate::rewrite::Mask::default().keys()));
    run(job, log).await;
    let error = live.answer().error.unwrap();
    assert_eq!(error.message, "The key [hidden] is wrong.");
    let packed = live.packed();
    let bytes = String::from_utf8_lossy(packed.as_bytes());
    assert!(!bytes.contains("sk-"), "{bytes}");
}
