//! Methods, and how failures of every address are answered: to programs and to people.

use crate::harness::{Api, InProcess, answer, frames};
use futures::StreamExt;
use headwater_protocol::{Error, ErrorCode};
use reqwest::{Method, Response};

async fn ask(api: &Api, method: Method, path: &str, accept: &str) -> Response {
    let url = format!("{}{path}", api.base);
    let request = api.http.request(method, url).header("accept", accept);
    request.send().await.expect("answer")
}

async fn head(api: &Api, path: &str) -> Response {
    ask(api, Method::HEAD, path, "*/*").await
}

#[tokio::test]
async fn a_question_by_head_is_answered_like_one_by_get_without_a_body() {
    let server = InProcess::start().await;
    let api = &server.api;
    let started = api.start("hello", "Hello").await;
    api.fold(started.run).await;
    let image = b"\x89PNG\r\n\x1a\n and so on".to_vec();
    let url = format!("{}/api/images", api.base);
    let sent = api.http.post(url).body(image).send().await;
    let id: String = answer(sent.expect("answer")).await.expect("stored");
    for path in [
        "/".to_owned(),
        format!("/c/{}", started.conversation),
        format!("/plain/{}", started.conversation),
        "/health".to_owned(),
        "/ready".to_owned(),
        "/metrics".to_owned(),
        "/nowhere".to_owned(),
        "/api/nowhere".to_owned(),
        format!("/api/images/{id}"),
        "/api/models/list".to_owned(),
        "/api/conversations/list?query=hello".to_owned(),
        format!("/api/conversations/load?id={}", started.conversation),
        format!("/api/conversations/load?id={}", started.run),
        "/api/conversations/load".to_owned(),
        format!("/api/runs/events?run={}", started.run),
        format!("/api/runs/events?run={}&after=99999", started.run),
        format!("/api/runs/events?run={}", started.conversation),
        "/api/runs/events?run=x".to_owned(),
    ] {
        let (get, head) = (api.get(&path).await, head(api, &path).await);
        assert_eq!(head.status(), get.status(), "{path}");
        for name in [
            "content-type",
            "cache-control",
            "x-accel-buffering",
            "x-content-type-options",
        ] {
            assert_eq!(
                head.headers().get(name),
                get.headers().get(name),
                "{path} {name}"
            );
        }
        let body = head.bytes().await.expect("no body");
        assert!(body.is_empty(), "{path}: {body:?}");
    }
}

#[tokio::test]
async fn head_on_a_running_stream_ends_at_once_and_changes_nothing() {
    let server = InProcess::start().await;
    let api = &server.api;
    let started = api.start("slow", "Slowly").await;
    let path = format!("/api/runs/events?run={}", started.run);
    let response = head(api, &path).await;
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    assert_eq!(
        response.headers()["cache-control"],
        "no-store, no-transform"
    );
    assert_eq!(response.headers()["x-accel-buffering"], "no");
    assert!(!response.headers().contains_key("content-length"));
    assert!(response.bytes().await.expect("ends").is_empty());
    assert_eq!(server.engine.log.running().len(), 1, "it runs on");
    let mut frames = frames(api.get(&path).await);
    frames.next().await.expect("and can be followed");
    api.stop(started.run, None).await;
    // A command is no question.
    let response = head(api, "/api/runs/start?text=x").await;
    assert_eq!(response.status(), 405);
}

#[tokio::test]
async fn a_wrong_method_is_told_the_right_one() {
    let server = InProcess::start().await;
    for (path, wrong, allowed) in [
        ("/", &["POST", "DELETE", "OPTIONS"][..], "GET,HEAD"),
        ("/c/019aa", &["POST", "PUT"], "GET,HEAD"),
        ("/plain/019aa", &["POST"], "GET,HEAD"),
        ("/health", &["POST", "OPTIONS"], "GET,HEAD"),
        ("/favicon.svg", &["POST", "DELETE"], "GET,HEAD"),
        ("/nowhere", &["POST"], "GET,HEAD"),
        ("/api/models/list", &["POST", "OPTIONS"], "GET,HEAD"),
        ("/api/runs/events", &["PUT", "DELETE"], "POST,GET,HEAD"),
        ("/api/runs/poll", &["POST"], "GET,HEAD"),
        (
            "/api/runs/start",
            &["GET", "PUT", "HEAD", "OPTIONS"],
            "POST",
        ),
        ("/api/images", &["GET"], "POST"),
    ] {
        for method in wrong {
            let method: Method = method.parse().expect("method");
            let is_head = method == Method::HEAD;
            let response = ask(&server.api, method.clone(), path, "*/*").await;
            assert_eq!(response.status(), 405, "{method} {path}");
            assert_eq!(response.headers()["allow"], allowed, "{method} {path}");
            if !is_head {
                let error: Error = response.json().await.expect("an error");
                assert_eq!(error.code, ErrorCode::InvalidRequest, "{method} {path}");
            }
        }
    }
}

#[tokio::test]
async fn every_failure_is_json_for_programs_and_a_page_for_people() {
    let server = InProcess::start().await;
    let api = &server.api;
    let unknown = headwater_protocol::RunId::new();
    for (method, path, status, code) in [
        ("GET", "/api/nowhere".to_owned(), 404, ErrorCode::NotFound),
        ("POST", "/api/nowhere".to_owned(), 404, ErrorCode::NotFound),
        (
            "GET",
            format!("/api/conversations/load?id={unknown}"),
            404,
            ErrorCode::NotFound,
        ),
        (
            "GET",
            "/api/conversations/load?id=x".to_owned(),
            400,
            ErrorCode::InvalidRequest,
        ),
        (
            "GET",
            format!("/api/runs/events?run={unknown}"),
            404,
            ErrorCode::NotFound,
        ),
        ("GET", "/api/images/x".to_owned(), 404, ErrorCode::NotFound),
        (
            "POST",
            "/api/runs/start".to_owned(),
            400,
            ErrorCode::InvalidRequest,
        ),
        (
            "POST",
            "/api/conversations/rename".to_owned(),
            400,
            ErrorCode::InvalidRequest,
        ),
        ("POST", "/".to_owned(), 405, ErrorCode::InvalidRequest),
    ] {
        let method: Method = method.parse().expect("method");
        for accept in ["*/*", "application/json", "text/event-stream"] {
            let response = ask(api, method.clone(), &path, accept).await;
            assert_eq!(response.status(), status, "{method} {path}");
            assert_eq!(
                response.headers()["content-type"],
                "application/problem+json"
            );
            let error: Error = response.json().await.expect("an error");
            assert_eq!(error.code, code, "{method} {path}");
            assert!(!error.message.is_empty(), "{method} {path}");
        }
        let page = ask(api, method.clone(), &path, "text/html,*/*;q=0.8").await;
        assert_eq!(page.status(), status, "{method} {path}");
        let page = page.text().await.expect("page");
        assert!(page.contains("role=\"alert\""), "{method} {path}: {page}");
        assert!(page.ends_with("</html>"), "{method} {path}: {page}");
    }
    server.engine.shutdown.draining.cancel();
    let (status, error) = answer::<()>(api.get("/ready").await)
        .await
        .expect_err("ending");
    assert_eq!(
        (status.as_u16(), error.code),
        (503, ErrorCode::ShuttingDown)
    );
}

#[tokio::test]
async fn nobody_is_led_back_to_where_they_come_from() {
    let server = InProcess::start().await;
    for path in ["/api/conversations/list?query=x", "/api/models/list"] {
        let url = format!("{}{path}", server.api.base);
        let request = server.api.http.get(url);
        let request = request.header("accept", "text/html");
        let request = request.header("referer", "https://evil.example/");
        let response = request.send().await.expect("answer");
        assert_eq!(response.status(), 200, "{path}");
        assert!(!response.headers().contains_key("location"), "{path}");
    }
}

#[tokio::test]
async fn pages_and_data_stay_in_no_cache() {
    let server = InProcess::start().await;
    let started = server.api.start("hello", "Hello").await;
    server.api.fold(started.run).await;
    for path in [
        "/".to_owned(),
        format!("/c/{}", started.conversation),
        format!("/plain/{}", started.conversation),
        format!("/api/conversations/load?id={}", started.conversation),
        "/api/conversations/list".to_owned(),
        format!("/api/runs/events?run={}", started.run),
        "/api/conversations/load".to_owned(),
        "/nowhere.html".to_owned(),
    ] {
        let response = server.api.get(&path).await;
        let cache = response.headers()["cache-control"].to_str().expect("text");
        assert!(cache.starts_with("no-store"), "{path}: {cache}");
    }
}

#[tokio::test]
async fn no_request_line_makes_the_server_fail() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let server = InProcess::start().await;
    let address = server.api.base.trim_start_matches("http://");
    for line in [
        "OPTIONS *",
        "CONNECT localhost:80",
        "GET http://localhost/",
        "GET http://localhost",
        "GET //",
        "GET //evil.example/x",
        "GET /%",
        "GET /%ff%00",
        "GET /c/%ff",
        "GET /c/",
        "GET /c/../../etc/passwd",
        "GET /pkg/../../Cargo.toml",
        "GET /plain/%2e%2e%2f",
        "GET /?%ff=%zz&&&=",
        "GET /api/",
        "GET /api/runs/events?run=%ff",
        "GET /api/conversations/list?query=%ff",
        "GET /api/images/%ff",
        "HEAD /api/images/..",
        "POST /api/runs/start?text=x",
        "BREW /",
    ] {
        let mut socket = tokio::net::TcpStream::connect(address)
            .await
            .expect("connected");
        let request = format!("{line} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
        socket.write_all(request.as_bytes()).await.expect("sent");
        let mut heard = Vec::new();
        socket.read_to_end(&mut heard).await.expect("answered");
        let heard = String::from_utf8_lossy(&heard);
        let status = heard
            .strip_prefix("HTTP/1.1 ")
            .and_then(|rest| rest.get(..3));
        let status: u16 = status.and_then(|status| status.parse().ok()).unwrap_or(0);
        assert!((200..500).contains(&status), "{line}: {heard}");
        assert!(!heard.contains("root:"), "{line}: {heard}");
        assert!(!heard.contains("[package]"), "{line}: {heard}");
    }
}
