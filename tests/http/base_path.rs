//! A server that is reached under a path.

use crate::{
    harness::{InProcess, Outside},
    socket::client::Client,
};
use headwater::server::base_path::BasePath;
use headwater_protocol::Status;
use reqwest::header::HeaderMap;
use serde_json::json;

async fn under(path: &str, trusts: bool) -> InProcess {
    let path = BasePath::new(path, trusts).expect("a path");
    InProcess::reached(Outside {
        path,
        ..Outside::default()
    })
    .await
}

/// All addresses of this server in a page, by the attributes and scripts that have them.
fn addresses(page: &str) -> Vec<String> {
    let marks = [
        "href=\"",
        "src=\"",
        "action=\"",
        "url=",
        "fetch('",
        "replace('",
        "import('",
    ];
    let found = marks.iter().flat_map(|mark| {
        page.split(mark).skip(1).map(|rest| {
            let end = rest.find(['"', '\'']).unwrap_or(rest.len());
            rest[..end].trim().to_owned()
        })
    });
    found.filter(|address| address.starts_with('/')).collect()
}

#[tokio::test]
async fn every_address_of_every_page_is_below_the_path() {
    let server = under("/chat", false).await;
    let api = &server.api;
    let started = api.start("markdown", "Go").await;
    assert_eq!(api.fold(started.run).await.status, Some(Status::Ok));
    let failed = api.start("cut", "Go").await;
    api.fold(failed.run).await;
    let (conversation, run) = (started.conversation, started.run);
    for path in [
        "/".to_owned(),
        format!("/c/{conversation}"),
        format!("/runs/{run}"),
        format!("/plain/{conversation}"),
        format!("/plain/{}", failed.conversation),
        "/plain/conversations".to_owned(),
        "/c/nowhere".to_owned(),
        "/plain/nowhere".to_owned(),
    ] {
        // A proxy may have taken the path off, or not.
        let whole = api.text(&format!("/chat{path}")).await;
        let stripped = api.text(&path).await;
        for page in [whole, stripped] {
            let all = addresses(&page);
            assert!(!all.is_empty(), "{path}: {page}");
            for address in all {
                assert!(address.starts_with("/chat/"), "{path}: {address}");
            }
        }
    }
    let root = api.get("/chat").await;
    assert_eq!(root.status(), 200);
    let page = root.text().await.expect("a page");
    assert!(page.contains("data-base=\"/chat\""), "{page}");
    assert!(
        page.contains("aria-label=\"Message\""),
        "the page itself, and no other one"
    );
    assert_eq!(api.get("/chatter").await.status(), 404);
}

#[tokio::test]
async fn a_running_answer_streams_into_a_page_with_the_right_addresses() {
    let server = under("/a/b", false).await;
    let started = server.api.start("cut", "Go").await;
    let path = format!("/a/b/plain/{}", started.conversation);
    let page = server.api.text(&path).await;
    let forms: Vec<_> = addresses(&page)
        .into_iter()
        .filter(|one| one.contains("/api/"))
        .collect();
    assert!(forms.len() > 1, "{page}");
    assert!(
        forms.iter().all(|one| one.starts_with("/a/b/api/")),
        "{forms:?}"
    );
}

#[tokio::test]
async fn commands_streams_polls_and_sockets_work_below_the_path() {
    let server = under("/chat", false).await;
    let mut api = server.api.clone();
    let plain = api
        .http
        .post(format!("{}/chat/api/runs/start", api.base))
        .header("accept", "text/html")
        .form(&[("text", "Go"), ("model", "scripted/hello")])
        .send()
        .await
        .expect("an answer");
    assert_eq!(plain.status(), 303);
    let to = plain.headers()["location"].to_str().expect("text");
    assert!(to.starts_with("/chat/plain/"), "{to}");
    let root = api.base.clone();
    api.base = format!("{root}/chat");
    let started = api.start("hello", "Go").await;
    let answer = api.fold(started.run).await;
    assert_eq!(answer.status, Some(Status::Ok));
    let polled = api
        .text(&format!("/api/runs/poll?run={}", started.run))
        .await;
    assert!(polled.contains("run_finished"));
    let mut client = Client::connect(&api).await;
    let name = client
        .send(json!({"command": "subscribe", "run": started.run}))
        .await;
    assert!(client.rest_of(name).await.len() > 3);
}

#[tokio::test]
async fn the_proxy_says_the_path_only_if_it_is_trusted() {
    async fn page(server: &InProcess, prefix: &str) -> (u16, String) {
        let mut headers = HeaderMap::new();
        headers.insert("x-forwarded-prefix", prefix.parse().expect("a value"));
        let request = server.api.http.get(format!("{}/", server.api.base));
        let response = request.headers(headers).send().await.expect("an answer");
        let status = response.status().as_u16();
        (status, response.text().await.expect("text"))
    }
    let careful = under("", false).await;
    let (status, text) = page(&careful, "/evil").await;
    assert!(status == 200 && !text.contains("/evil"));
    let trusting = under("/own", true).await;
    let (status, text) = page(&trusting, "/chat/").await;
    assert!(
        status == 200 && text.contains("data-base=\"/chat\""),
        "{text}"
    );
    assert!(!text.contains("\"/own"));
    for wrong in [
        "chat",
        "//evil.example",
        "/a\"onload=",
        "/../x",
        "https://evil.example",
    ] {
        let (status, text) = page(&trusting, wrong).await;
        assert_eq!(status, 400, "{wrong}: {text}");
    }
    let own = trusting.api.text("/own/").await;
    assert!(own.contains("data-base=\"/own\""));
}
