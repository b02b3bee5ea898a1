//! Bad input: a sentence, the right status, nothing lost.

use crate::harness::{InProcess, Process, answer, config, program};
use headwater_engine::provider::{ChatRequest, Provider, ProviderEvent};
use headwater_protocol::{ErrorCode, Event, RunId, Status};

#[tokio::test]
async fn bad_messages_are_refused_with_a_sentence() {
    let server = InProcess::start().await;
    let megabyte = "x".repeat(1024 * 1024);
    let unknown = RunId::new().to_string();
    for (form, status, code) in [
        (vec![("text", "")], 400, ErrorCode::InvalidRequest),
        (vec![("text", " \n\t ")], 400, ErrorCode::InvalidRequest),
        (vec![("text", megabyte.as_str())], 413, ErrorCode::TooLarge),
        (vec![], 400, ErrorCode::InvalidRequest),
        (
            vec![("text", "x"), ("model", "nobody/x")],
            404,
            ErrorCode::NotFound,
        ),
        (
            vec![("text", "x"), ("conversation", "7")],
            400,
            ErrorCode::InvalidRequest,
        ),
        (
            vec![("text", "x"), ("conversation", &unknown)],
            404,
            ErrorCode::NotFound,
        ),
    ] {
        let (got, error) = server.api.try_start(&form).await.expect_err("refused");
        assert_eq!((got.as_u16(), error.code), (status, code), "{error}");
        assert!(!error.message.is_empty());
    }
    let url = format!("{}/api/runs/start", server.api.base);
    let request = server
        .api
        .http
        .post(url)
        .header("content-type", "application/x-www-form-urlencoded");
    let response = request
        .body(&b"text=%ff%fe"[..])
        .send()
        .await
        .expect("answer");
    let status = response.status().as_u16();
    assert!(status == 400, "invalid UTF-8: {status}");
    let (_, error) = answer::<()>(response).await.expect_err("refused");
    assert_eq!(error.code, ErrorCode::InvalidRequest);
    let list = server.api.text("/api/conversations/list").await;
    assert_eq!(list, "[]", "nothing was stored");
}

#[tokio::test]
async fn unknown_runs_and_cursors_from_the_future_are_refused() {
    let server = InProcess::start().await;
    let unknown = RunId::new();
    for path in ["stop", "continue", "retry"] {
        let (status, error) = server.api.again(path, unknown).await.expect_err("unknown");
        assert_eq!(
            (status.as_u16(), error.code),
            (404, ErrorCode::NotFound),
            "{path}"
        );
    }
    let events = |query: String| {
        let api = server.api.clone();
        async move { answer::<()>(api.get(&format!("/api/runs/events?{query}")).await).await }
    };
    let (status, error) = events(format!("run={unknown}")).await.expect_err("unknown");
    assert_eq!((status.as_u16(), error.code), (404, ErrorCode::NotFound));
    let (status, _) = events("run=7".into()).await.expect_err("no identifier");
    assert_eq!(status.as_u16(), 400);
    let started = server.api.start("hello", "Hello").await;
    let whole = server.api.fold(started.run).await;
    let future = format!("run={}&after={}", started.run, whole.seq + 1);
    let (status, error) = events(future).await.expect_err("from the future");
    assert_eq!((status.as_u16(), error.code), (409, ErrorCode::Conflict));
    let url = format!("{}/api/runs/events?run={}", server.api.base, started.run);
    let request = server.api.http.get(url).header("last-event-id", "x");
    assert_eq!(request.send().await.expect("answer").status(), 400);
}

#[test]
fn a_port_in_use_is_a_sentence() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("port");
    let address = taken.local_addr().expect("address").to_string();
    let data = tempfile::tempdir().expect("folder");
    let output = program(data.path())
        .args(["--addr", &address, "serve"])
        .output()
        .expect("ran");
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success());
    assert!(
        error.contains("is in use") && error.contains("--addr"),
        "{error}"
    );
}

#[test]
fn a_data_folder_that_cannot_be_written_is_a_sentence() {
    let data = tempfile::tempdir().expect("folder");
    let file = data.path().join("file");
    std::fs::write(&file, "not a folder").expect("written");
    let error = Process::try_start(&file, &[]).err().expect("refused");
    assert!(
        error.contains("data folder") && error.contains("--data"),
        "{error}"
    );
    let broken = data.path().join("broken");
    std::fs::create_dir(&broken).expect("made");
    std::fs::write(
        broken.join("headwater.db"),
        "this is no database, not at all",
    )
    .expect("written");
    let error = Process::try_start(&broken, &[]).err().expect("refused");
    assert!(error.contains("database"), "{error}");
}

#[cfg(unix)]
#[test]
fn doctor_tells_of_a_data_folder_that_others_can_read() {
    use std::os::unix::fs::PermissionsExt;
    let data = tempfile::tempdir().expect("folder");
    let doctor = || {
        let output = program(data.path())
            .args(["--addr", "127.0.0.1:0", "doctor"])
            .output()
            .expect("ran");
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let set = |mode| {
        let mode = PermissionsExt::from_mode(mode);
        std::fs::set_permissions(data.path(), mode).expect("set");
    };
    set(0o700);
    let said = doctor();
    assert!(!said.contains("others"), "{said}");
    set(0o755);
    let said = doctor();
    let line = said.lines().find(|line| line.starts_with("BAD "));
    assert!(line.is_some_and(|line| line.contains("chmod")), "{said}");
}

#[test]
fn a_second_server_on_the_same_folder_is_refused() {
    let data = tempfile::tempdir().expect("folder");
    let first = Process::start(data.path(), &[]);
    let error = Process::try_start(data.path(), &[]).err().expect("refused");
    assert!(
        error.contains("Another Headwater") && error.contains(&first.api.base),
        "{error}"
    );
}

#[tokio::test]
async fn a_dead_provider_url_fails_the_run_with_a_sentence() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").expect("port");
    let dead = format!("http://{}/v1", free.local_addr().expect("address"));
    drop(free);
    let server = InProcess::with(|config| {
        config
            .providers
            .push(headwater_engine::config::ProviderConfig {
                name: "dead".into(),
                url: Some(dead),
                models: Some(vec!["m".into()]),
                ..Default::default()
            });
    })
    .await;
    let started = server
        .api
        .try_start(&[("text", "x"), ("model", "dead/m")])
        .await
        .expect("accepted");
    let answer = server.api.fold(started.run).await;
    let error = answer.error.expect("an error");
    assert_eq!(
        (answer.status, error.code),
        (Some(Status::Error), ErrorCode::Connection)
    );
    assert!(error.message.contains("127.0.0.1"), "{error}");
}

#[tokio::test]
async fn a_missing_or_broken_model_file_is_a_sentence_and_the_server_serves() {
    let data = tempfile::tempdir().expect("folder");
    let broken = data.path().join("broken.gguf");
    std::fs::write(&broken, "GGUF, or so it says").expect("written");
    for path in [data.path().join("missing.gguf"), broken] {
        let server = InProcess::with(|config| config.model = Some(path.clone())).await;
        let started = server
            .api
            .try_start(&[("text", "x"), ("model", "local/")])
            .await
            .expect("accepted");
        let error = server.api.fold(started.run).await.error.expect("an error");
        assert!(error.message.contains(".gguf"), "{error}");
        assert_eq!(server.api.get("/health").await.status(), 200);
    }
}

/// Writes more than a small disk takes.
struct Flood;

impl Provider for Flood {
    fn models(
        &self,
    ) -> futures::future::BoxFuture<
        '_,
        Result<Vec<headwater_protocol::ModelInfo>, headwater_protocol::Error>,
    > {
        Box::pin(async { Ok(Vec::new()) })
    }

    fn stream(
        &self,
        _: ChatRequest,
    ) -> futures::stream::BoxStream<'static, Result<ProviderEvent, headwater_protocol::Error>> {
        let line = "All work and no play makes a full disk. ".repeat(20);
        Box::pin(futures::stream::unfold(line, |line| async {
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
            Some((
                Ok(ProviderEvent::Delta {
                    index: 0,
                    text: line.clone(),
                }),
                line,
            ))
        }))
    }
}

#[tokio::test]
async fn a_full_disk_is_said_and_loses_nothing_that_was_seen() {
    use futures::StreamExt;
    use headwater_engine::{Engine, log::Log};
    use headwater_protocol::chat::Answer;
    let data = tempfile::tempdir().expect("folder");
    let mut small = config(data.path());
    small.data_limit_mb = 1;
    small.delivery.ping = std::time::Duration::from_millis(100);
    let app = Engine::builder(small)
        .provider("flood", Flood)
        .open()
        .expect("opens");
    let started = app
        .start(headwater_engine::StartRun {
            text: "Go".into(),
            model: Some("flood/x".into()),
            ..Default::default()
        })
        .await
        .expect("there is room to start");
    let stream = app
        .event_stream(started.run, 0, false)
        .await
        .expect("follows");
    let mut stream = Box::pin(stream.frames);
    let mut decoder = headwater_engine::provider::sse::Decoder::new();
    let mut seen = Answer::default();
    let notice = tokio::time::timeout(crate::harness::PATIENCE, async {
        loop {
            decoder.push(&stream.next().await.expect("goes on"));
            while let Some(frame) = decoder.next_event().expect("well-formed") {
                let event: Event = serde_json::from_str(&frame.data).expect("an event");
                if let Event::Ping {
                    notice: Some(notice),
                } = &event
                {
                    return notice.clone();
                }
                seen.apply(frame.id.parse().unwrap_or(0), &event);
            }
        }
    })
    .await
    .expect("the reader is told");
    assert!(notice.contains("disk is full"), "{notice}");
    let refused = app
        .start(headwater_engine::StartRun {
            text: "More".repeat(10_000),
            model: Some("scripted/hello".into()),
            ..Default::default()
        })
        .await
        .expect_err("no room");
    assert_eq!(
        (refused.code, refused.code.http_status()),
        (ErrorCode::Storage, 507)
    );
    drop((stream, app));
    // As after `kill -9`: what was seen is there.
    let (log, closed) = Log::open(data.path(), 0).expect("opens again");
    assert_eq!(closed, 1);
    let kept = log.source(started.run).await.expect("there").answer();
    assert_eq!(kept.status, Some(Status::Interrupted));
    assert!(kept.visible_text().starts_with(&seen.visible_text()));
}

#[test]
fn a_time_beyond_the_end_of_all_clocks_is_refused_at_the_start() {
    let data = tempfile::tempdir().expect("folder");
    for flag in [
        "--first-token",
        "--between-tokens",
        "--grace",
        "--ping",
        "--stream-lifetime",
    ] {
        let why = Process::try_start(data.path(), &[flag, "1e19"]).err();
        let why = why.unwrap_or_else(|| panic!("{flag} was taken"));
        assert!(why.contains("must be a number of seconds"), "{flag}: {why}");
    }
}
