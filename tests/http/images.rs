//! Images: kept once, told to every vendor, gone with the conversation.

use crate::{
    harness::{Api, InProcess, answer, program, provider},
    upstream::{Reply, Upstream},
    vendors::ALL,
};
use headwater_engine::{Listing, config::Kind, db::images::MAX_IMAGES};
use headwater_protocol::{Error, ErrorCode, ImageId, MAX_IMAGE_BYTES, Started, Status};
use reqwest::{Response, StatusCode};

/// The smallest image there is, as far as we look.
const PNG: &[u8] = b"\x89PNG\r\n\x1a\nand the rest of it";
/// The same in base64.
const BASE64: &str = "iVBORw0KGgphbmQgdGhlIHJlc3Qgb2YgaXQ=";

async fn send(api: &Api, image: impl Into<Vec<u8>>) -> Response {
    let request = api.http.post(format!("{}/api/images", api.base));
    let request = request.body(image.into());
    request.send().await.expect("answer")
}

async fn kept(api: &Api, image: &[u8]) -> ImageId {
    answer(send(api, image).await).await.expect("kept")
}

fn refused<T: std::fmt::Debug>(result: Result<T, (StatusCode, Error)>) -> (u16, ErrorCode) {
    let (status, error) = result.expect_err("refused");
    (status.as_u16(), error.code)
}

#[tokio::test]
async fn every_vendor_sees_the_image_also_in_the_next_turn() {
    let ollama = Upstream::start(vec![Reply::stream(fixture!("ollama/text.ndjson"))]);
    let mut servers = vec![(Kind::Ollama, ollama.await)];
    for vendor in ALL {
        let upstream = Upstream::start(vec![Reply::chunked(vendor.text)]).await;
        servers.push((vendor.kind, upstream));
    }
    for (kind, upstream) in servers {
        let server = InProcess::with(|config| {
            config.providers = vec![provider(kind, format!("http://{}", upstream.address))];
        })
        .await;
        let image = kept(&server.api, PNG).await;
        let form = [
            ("text", "What is it?"),
            ("model", "p/m"),
            ("images", &image.0),
        ];
        let started = server.api.try_start(&form).await.expect("started");
        let answer = server.api.fold(started.run).await;
        assert_eq!(answer.status, Some(Status::Ok), "{kind:?}");
        let loaded = server.api.load(&started).await;
        assert_eq!(loaded.messages[0].images, [image], "{kind:?}");
        let form = [
            ("text", "Sure?"),
            ("model", "p/m"),
            ("conversation", &started.conversation.to_string()),
        ];
        let started = server.api.try_start(&form).await.expect("started");
        server.api.fold(started.run).await;
        let requests = upstream.requests();
        let asked: Vec<&String> = requests
            .iter()
            .filter(|text| text.contains("What is it"))
            .collect();
        assert_eq!(asked.len(), 2, "{kind:?}");
        for request in asked {
            assert!(request.contains(BASE64), "{kind:?}: {request}");
        }
    }
}

#[tokio::test]
async fn an_image_is_kept_once_and_shown_as_what_it_is() {
    let server = InProcess::start().await;
    let image = kept(&server.api, PNG).await;
    assert_eq!(kept(&server.api, PNG).await, image);
    let shown = server.api.get(&image.address()).await;
    assert_eq!(shown.headers()["content-type"], "image/png");
    assert_eq!(shown.headers()["x-content-type-options"], "nosniff");
    let policy = &shown.headers()["content-security-policy"];
    assert_eq!(policy, "default-src 'none'; sandbox");
    assert_eq!(shown.bytes().await.expect("bytes"), PNG);
    // A message may be an image alone.
    let form = [
        ("text", ""),
        ("images", &image.0),
        ("model", "scripted/hello"),
    ];
    let started = server.api.try_start(&form).await.expect("started");
    let answer = server.api.fold(started.run).await;
    assert_eq!(answer.status, Some(Status::Ok));
}

#[tokio::test]
async fn what_is_no_image_is_refused_with_a_sentence() {
    let server = InProcess::start().await;
    let api = &server.api;
    for (bytes, status, code) in [
        (
            b"<svg onload=alert(1)>".to_vec(),
            400,
            ErrorCode::InvalidRequest,
        ),
        (Vec::new(), 400, ErrorCode::InvalidRequest),
        (vec![0; MAX_IMAGE_BYTES + 1], 413, ErrorCode::TooLarge),
    ] {
        let result = answer::<ImageId>(send(api, bytes).await).await;
        assert_eq!(refused(result), (status, code));
    }
    let unknown = answer::<ImageId>(api.get("/api/images/0000").await).await;
    assert_eq!(refused(unknown), (404, ErrorCode::NotFound));
    let form = [
        ("text", "x"),
        ("images", "0000"),
        ("model", "scripted/hello"),
    ];
    assert_eq!(
        refused(api.try_start(&form).await),
        (404, ErrorCode::NotFound)
    );
    let image = kept(api, PNG).await;
    let many = vec![image.0; MAX_IMAGES + 1].join(",");
    let form = [
        ("text", "x"),
        ("images", &many),
        ("model", "scripted/hello"),
    ];
    let result = api.try_start(&form).await;
    assert_eq!(refused(result), (400, ErrorCode::InvalidRequest));
    // Nothing of these was stored.
    let list = server
        .engine
        .list(Listing::default())
        .await
        .expect("a list");
    assert!(list.is_empty(), "{list:?}");
}

#[tokio::test]
async fn an_image_goes_with_the_last_conversation_that_shows_it() {
    let server = InProcess::start().await;
    let image = kept(&server.api, PNG).await;
    let mut chats: Vec<Started> = Vec::new();
    for _ in 0..2 {
        let form = [
            ("text", "x"),
            ("images", &image.0),
            ("model", "scripted/hello"),
        ];
        let started = server.api.try_start(&form).await.expect("started");
        server.api.fold(started.run).await;
        chats.push(started);
    }
    for (chat, status) in chats.iter().zip([200, 404]) {
        server
            .engine
            .delete(chat.conversation)
            .await
            .expect("deleted");
        let shown = server.api.get(&image.address()).await;
        assert_eq!(shown.status().as_u16(), status);
    }
}

#[tokio::test]
async fn ask_takes_images_from_files() {
    let folder = tempfile::tempdir().expect("folder");
    let file = folder.path().join("a.png");
    std::fs::write(&file, PNG).expect("written");
    let ask = |file: std::path::PathBuf, model: &str| {
        let mut program = program(folder.path());
        program
            .args(["ask", "--with", model, "--image"])
            .arg(file)
            .arg("What is it?");
        tokio::task::spawn_blocking(move || program.output().expect("runs"))
    };
    let output = ask(file.clone(), "scripted/hello").await.expect("no panic");
    assert!(output.status.success(), "{output:?}");
    let missing = ask(folder.path().join("b.png"), "scripted/hello").await;
    let said = String::from_utf8_lossy(&missing.expect("no panic").stderr).into_owned();
    assert!(said.contains("b.png cannot be read"), "{said}");
}

#[tokio::test]
async fn an_image_that_a_draft_waits_for_survives_the_deletion_of_another_conversation() {
    let server = InProcess::start().await;
    let image = kept(&server.api, PNG).await;
    let form = [
        ("text", "x"),
        ("images", &image.0),
        ("model", "scripted/hello"),
    ];
    let first = server.api.try_start(&form).await.expect("started");
    server.api.fold(first.run).await;
    // Uploaded again for a draft, before the conversation that shows it is deleted.
    assert_eq!(kept(&server.api, PNG).await, image);
    server
        .engine
        .delete(first.conversation)
        .await
        .expect("deleted");
    let sent = server
        .api
        .try_start(&form)
        .await
        .expect("it is still there");
    server.api.fold(sent.run).await;
    server
        .engine
        .delete(sent.conversation)
        .await
        .expect("deleted");
    let shown = server.api.get(&image.address()).await;
    assert_eq!(shown.status().as_u16(), 404);
}
