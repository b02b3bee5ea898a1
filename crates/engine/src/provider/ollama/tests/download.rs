//! Fetching a model that is not there.

use super::*;
use headwater_protocol::Stage;
use serde_json::json;
use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};
use tokio::{io::AsyncWriteExt, sync::mpsc, time::timeout};

/// What a download tells; half of it is in the layer that comes second.
const PROGRESS: &str = concat!(
    "{\"status\":\"pulling manifest\"}\n",
    "{\"status\":\"pulling 6a0746a1ec1a\",\"digest\":\"sha256:6a\",\"total\":1000}\n",
    "{\"status\":\"pulling 6a0746a1ec1a\",\"digest\":\"sha256:6a\",\"total\":1000,\"completed\":400}\n",
    "{\"status\":\"pulling 6a0746a1ec1a\",\"digest\":\"sha256:6a\",\"total\":1000,\"completed\":404}\n",
    "{\"status\":\"pulling 6a0746a1ec1a\",\"digest\":\"sha256:6a\",\"total\":1000,\"completed\":1000}\n",
    "\n",
    "{\"status\":\"pulling 4fa551d4f938\",\"digest\":\"sha256:4f\",\"total\":1000,\"completed\":10}\n",
    "{\"status\":\"pulling 4fa551d4f938\",\"digest\":\"sha256:4f\",\"total\":1000,\"completed\":1000}\n",
    "{\"status\":\"verifying sha256 digest\"}\n",
    "{\"status\":\"writing manifest\"}\n",
);
const SUCCESS: &str = "{\"status\":\"success\"}\n";

fn not_there() -> String {
    status("404 Not Found", "", "{\"error\":\"model 'm' not found\"}")
}

/// A server that has the model once a download said that it is there.
async fn server(pull: String) -> Server {
    let there = Arc::new(AtomicBool::new(false));
    Server::start(move |request, mut socket| {
        let (there, pull) = (there.clone(), pull.clone());
        async move {
            let answer = if request.starts_with("POST /api/pull") {
                there.fetch_or(pull.contains(SUCCESS), Ordering::SeqCst);
                pull
            } else if there.load(Ordering::SeqCst) {
                whole(&format!("{HELLO}{STOP}"))
            } else {
                not_there()
            };
            for part in answer.as_bytes().chunks(200) {
                socket.write_all(part).await.ok()?;
                tokio::task::yield_now().await;
            }
            None
        }
    })
    .await
}

fn puller(server: &Server) -> HttpProvider<Ollama> {
    Ollama::provider(config(server.url("")), true, http_client().unwrap()).unwrap()
}

fn percents(items: &[Item]) -> Vec<u8> {
    let percent = |item: &Item| match item {
        Ok(ProviderEvent::Stage(Stage::Downloading { percent })) => Some(*percent),
        _ => None,
    };
    items.iter().filter_map(percent).collect()
}

#[tokio::test]
async fn a_model_that_is_missing_is_fetched_and_asked() {
    let server = server(whole(&format!("{PROGRESS}{SUCCESS}"))).await;
    let acme = puller(&server);
    let items = all(&acme).await;
    // It never goes back, although the second layer halves it.
    assert_eq!(percents(&items), [0, 40, 100]);
    let folded = fold(&items);
    assert_eq!(folded.text, "Hello");
    assert_eq!(folded.finish, end(FinishReason::Stop, "stop"));
    assert_eq!(server.count(), 3);
    assert_eq!(server.sent(1), json!({"model": "m", "stream": true}));
    // The stages come before the connection that answers.
    let connected = items
        .iter()
        .position(|item| *item == Ok(ProviderEvent::Connected));
    assert_eq!(connected, Some(3));
    assert!(percents(&all(&acme).await).is_empty());
    assert_eq!(server.count(), 4);
}

#[tokio::test]
async fn nothing_is_fetched_unless_that_is_wanted() {
    let server = server(whole(SUCCESS)).await;
    let error = failure(&provider(&server)).await;
    assert_eq!(error.code, ErrorCode::NotFound);
    assert_eq!(error.status, Some(404));
    assert_eq!(server.count(), 1);
    // And once is enough.
    let server = Server::deciding(|request| match request.starts_with("POST /api/pull") {
        true => whole(SUCCESS),
        false => not_there(),
    })
    .await;
    let error = failure(&puller(&server)).await;
    assert!(error.message.contains("`ollama pull m`"), "{error}");
    assert_eq!(server.count(), 3);
}

#[tokio::test]
async fn a_download_that_fails_is_told() {
    use ErrorCode::*;
    let unknown = "{\"error\":\"pull model manifest: file does not exist\"}\n";
    let full = "{\"error\":\"write /models/blobs/x: no space left on device\"}\n";
    for (pull, code, words) in [
        (whole(unknown), NotFound, "nobody offers one of that name"),
        (
            status("404 Not Found", "", unknown),
            NotFound,
            "nobody offers",
        ),
        (whole(full), ProviderError, "no space left on device"),
        (status("500 No", "", full), ProviderError, "no space left"),
        (status("403 No", "", "{}"), Permission, "may not do this"),
        (whole(PROGRESS), Connection, "broke off the download of m"),
        (whole(""), Connection, "broke off"),
        (whole("no JSON at all\n"), Connection, "broke off"),
        (
            format!("{OK}{}ff\r\nab", chunk(PROGRESS)),
            Connection,
            "broke off",
        ),
    ] {
        let server = server(pull.clone()).await;
        let items = all(&puller(&server)).await;
        let error = items.last().unwrap().as_ref().unwrap_err();
        assert_eq!(error.code, code, "{pull}");
        assert!(error.message.contains(words), "{error}");
        assert_eq!(error.stage, "fetching the model");
        assert_eq!(fold(&items).text, "");
        assert_eq!(server.count(), 2);
    }
}

#[tokio::test]
async fn dropping_the_stream_ends_the_download() {
    for before in ["", OK, "HTTP/1.1 200 OK\r\n\r\n{\"status\":\"pulling"] {
        let (closed, mut wait) = mpsc::channel(1);
        let server = Server::start(move |request, mut socket| {
            let closed = closed.clone();
            async move {
                if !request.starts_with("POST /api/pull") {
                    socket.write_all(not_there().as_bytes()).await.ok()?;
                    return None;
                }
                socket.write_all(before.as_bytes()).await.ok()?;
                until_closed(&mut socket).await;
                closed.send(Instant::now()).await.ok()?;
                None
            }
        })
        .await;
        let mut stream = puller(&server).stream(ask("m"));
        let first = stream.next().await.unwrap().unwrap();
        assert_eq!(
            first,
            ProviderEvent::Stage(Stage::Downloading { percent: 0 })
        );
        let patience = Duration::from_millis(150);
        assert!(timeout(patience, stream.next()).await.is_err());
        let start = Instant::now();
        drop(stream);
        let end = timeout(Duration::from_secs(5), wait.recv()).await.unwrap();
        let took = end.unwrap() - start;
        assert!(took < Duration::from_millis(100), "{took:?}");
    }
}
