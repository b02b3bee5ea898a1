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
    let mut reader = Reader::new(&app, source, 0, VecDeque::new());
    // Its other end is gone, as when the thread that writes has died.
    reader.trouble = watch::channel(None).1;
    let mut heard = 0;
    let quiet = Duration::from_millis(300);
    while let Ok(Some(_)) = tokio::time::timeout(quiet, reader.next()).await {
        heard += 1;
        assert!(heard < 1000, "it says the same again and again");
    }
}
