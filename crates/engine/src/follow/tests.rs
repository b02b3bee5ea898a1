use super::*;
use crate::{Config, StartRun, config::Script};

#[tokio::test]
async fn a_reader_is_quiet_when_nothing_more_is_heard_of_the_disk() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = Config::new(folder.path());
    config.script = Some(Script::Builtin);
    config.delivery.ping = Duration::from_secs(3600);
    let app = Engine::open(&config).unwrap();
    let start = StartRun {
        text: "Hello".into(),
        model: Some("scripted/stall".into()),
        ..StartRun::default()
    };
    let run = app.start(start).await.unwrap().run;
    let source = app.log.source(run).await.unwrap();
    let mut notices = Notices::of(&app);
    // Its other end is gone, as when the log is not written any more.
    notices.trouble = watch::channel(None).1;
    let mut reader = Reader::new(&app, source, 0, VecDeque::new());
    reader.notices = Box::pin(notices.next());
    let mut heard = 0;
    let quiet = Duration::from_millis(300);
    while let Ok(Some(_)) = tokio::time::timeout(quiet, reader.next()).await {
        heard += 1;
        assert!(heard < 1000, "it says the same again and again");
    }
}

#[tokio::test]
async fn a_reader_that_saw_more_than_a_power_cut_left_is_led_back_and_told() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = Config::new(folder.path());
    config.script = Some(Script::Builtin);
    let engine = Engine::open(&config).unwrap();
    let start = StartRun {
        text: "Hello".into(),
        model: Some("scripted/stall".into()),
        ..StartRun::default()
    };
    let run = engine.start(start).await.unwrap().run;
    let live = engine.log.live(run).unwrap();
    let mut heads = live.watch();
    while live.with_answer(|answer| answer.visible_length() == 0) {
        heads.changed().await.unwrap();
    }
    let mut seen = live.answer();
    let shown = seen.visible_text();
    // What a power cut leaves: all but the last of the journal.
    let copy = tempfile::tempdir().unwrap();
    for name in ["headwater.db", "headwater.db-wal"] {
        std::fs::copy(folder.path().join(name), copy.path().join(name)).unwrap();
    }
    let journal = copy.path().join(crate::log::JOURNAL);
    std::fs::create_dir(&journal).unwrap();
    for file in std::fs::read_dir(folder.path().join(crate::log::JOURNAL)).unwrap() {
        let file = file.unwrap();
        let bytes = std::fs::read(file.path()).unwrap();
        std::fs::write(journal.join(file.file_name()), &bytes[..bytes.len() - 5]).unwrap();
    }
    config.data = copy.path().into();
    let next = Engine::open(&config).unwrap();
    // One that has seen less than is left reads on as always, and a strange cursor is refused.
    let left = next.log.source(run).await.unwrap().head().seq;
    assert!(left < seen.seq + 3);
    let beyond = next.event_stream(run, seen.seq + 100, false).await;
    let mut stream = Box::pin(beyond.unwrap().frames);
    let mut decoder = crate::provider::sse::Decoder::new();
    let mut kinds = Vec::new();
    while let Some(bytes) = stream.next().await {
        decoder.push(&bytes);
        while let Some(frame) = decoder.next_event().unwrap() {
            let event: Event = serde_json::from_str(&frame.data).unwrap();
            seen.apply(frame.id.parse().unwrap_or(0), &event);
            kinds.push(match event {
                Event::Ping { .. } => "ping",
                Event::Snapshot { .. } => "snapshot",
                Event::RunFinished { .. } => "end",
                _ => "other",
            });
        }
    }
    assert_eq!(kinds, ["ping", "snapshot", "end"]);
    assert!(seen.rewound);
    assert_eq!(seen.status, Some(Status::Interrupted));
    let kept = seen.visible_text();
    assert!(
        kept.len() < shown.len() && shown.starts_with(&kept),
        "{kept:?}"
    );
    let refused = next.follow(run, seen.seq + 100).await;
    assert_eq!(refused.err().unwrap().code, ErrorCode::Conflict);
}

#[tokio::test]
async fn the_tokens_of_a_run_end_with_its_error_if_it_has_one() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = Config::new(folder.path());
    config.script = Some(Script::Builtin);
    config.recovery.attempts = 1;
    config.recovery.max_recoveries = 0;
    let engine = Engine::open(&config).unwrap();
    for (model, ends_well) in [("hello", true), ("reasoning", true), ("error-after", false)] {
        let start = StartRun {
            text: "Hello".into(),
            model: Some(format!("scripted/{model}")),
            ..StartRun::default()
        };
        let run = engine.start(start).await.unwrap().run;
        let tokens = engine.tokens(run).await.unwrap();
        let tokens: Vec<_> = tokens.collect().await;
        let text: String = tokens
            .iter()
            .filter_map(|token| Some(token.as_ref().ok()?.text.as_str()))
            .collect();
        let source = engine.log.source(run).await.unwrap();
        assert_eq!(text, source.answer().visible_text(), "{model}");
        let errors: Vec<_> = tokens
            .iter()
            .filter_map(|token| token.as_ref().err())
            .collect();
        assert_eq!(errors.is_empty(), ends_well, "{model}");
        assert_eq!(tokens.last().unwrap().is_ok(), ends_well, "{model}");
    }
}
