//! Other web sites and rebound host names get nothing.

use crate::harness::{InProcess, Process};
use headwater_protocol::{Error, ErrorCode};

#[tokio::test]
async fn foreign_hosts_and_origins_are_refused_on_every_route() {
    let server = InProcess::start().await;
    let get = [
        "/",
        "/api/conversations/list",
        "/api/models/list",
        "/health",
        "/metrics",
        "/pkg/headwater.js",
    ];
    for path in get {
        for (name, value) in [
            ("host", "evil.example"),
            ("host", "127.0.0.1.evil.example:80"),
            ("origin", "http://evil.example"),
            ("origin", "null"),
            ("sec-fetch-site", "cross-site"),
        ] {
            let url = format!("{}{path}", server.api.base);
            let response = server
                .api
                .http
                .get(url)
                .header(name, value)
                .send()
                .await
                .expect("answer");
            assert_eq!(response.status(), 403, "{path} with {name}: {value}");
            let headers = response.headers();
            for name in [
                "content-security-policy",
                "x-content-type-options",
                "referrer-policy",
                "cross-origin-opener-policy",
                "cross-origin-resource-policy",
            ] {
                assert!(headers.contains_key(name), "{path}: {name}");
            }
            assert_eq!(headers["cache-control"], "no-store", "{path}");
            let error: Error = response.json().await.expect("an error");
            assert_eq!(error.code, ErrorCode::Permission, "{path}");
        }
    }
    let url = format!("{}/api/runs/start", server.api.base);
    for origin in ["http://evil.example", "http://localhost:1"] {
        let request = server
            .api
            .http
            .post(&url)
            .form(&[("text", "hi")])
            .header("origin", origin);
        assert_eq!(request.send().await.expect("answer").status(), 403);
    }
    let list = server.api.text("/api/conversations/list").await;
    assert_eq!(list, "[]", "nothing was stored");
}

#[tokio::test]
async fn every_answer_has_a_policy() {
    let server = InProcess::start().await;
    for path in ["/", "/health", "/api/models/list", "/nowhere"] {
        let response = server.api.get(path).await;
        let headers = response.headers();
        assert!(headers.contains_key("content-security-policy"), "{path}");
        assert_eq!(headers["x-content-type-options"], "nosniff", "{path}");
    }
    let page = server.api.get("/").await;
    let policy = page.headers()["content-security-policy"]
        .to_str()
        .expect("text")
        .to_owned();
    assert!(policy.contains("script-src 'nonce-"), "{policy}");
    assert!(!policy.contains("unsafe-inline"), "{policy}");
    assert!(!policy.contains("'unsafe-eval'"), "{policy}");
}

#[tokio::test]
async fn a_person_whose_host_name_is_not_allowed_reads_what_to_set() {
    let data = tempfile::tempdir().expect("folder");
    let server = Process::start(
        data.path(),
        &["--allow-host", "https://chat.example.org:8443/"],
    );
    let ask = |host: &'static str, accept: &'static str| {
        let request = server.api.http.get(format!("{}/", server.api.base));
        let request = request.header("host", host).header("accept", accept);
        async move { request.send().await.expect("answer") }
    };
    for host in ["chat.example.org", "chat.example.org:443", "localhost:1"] {
        assert_eq!(ask(host, "text/html").await.status(), 200, "{host}");
    }
    let set = "--allow-host other.example.org";
    for _ in 0..3 {
        let refused = ask("other.example.org:443", "text/html,*/*;q=0.8").await;
        assert_eq!(refused.status(), 403);
        assert_eq!(
            refused.headers()["content-type"],
            "text/html; charset=utf-8"
        );
        let page = refused.text().await.expect("page");
        assert!(
            page.contains(set) && page.contains("HEADWATER_ALLOW_HOSTS="),
            "{page}"
        );
        let refused = ask("other.example.org:443", "*/*").await;
        let error: Error = refused.json().await.expect("an error");
        assert!(error.message.contains(set), "{error}");
    }
    // What is in no way a host is not said again.
    let refused = ask("<script>", "text/html").await;
    assert!(!refused.text().await.expect("page").contains("<script>"));
    let said = server.has_said(set).await;
    assert_eq!(said.matches(set).count(), 1, "{said}");
}

#[tokio::test]
async fn a_page_behind_a_proxy_may_send() {
    let data = tempfile::tempdir().expect("folder");
    let server = Process::start(data.path(), &["--allow-host", "chat.example.org"]);
    let url = format!("{}/api/runs/start", server.api.base);
    for (host, origin, status) in [
        ("chat.example.org:443", "https://chat.example.org", 200),
        ("127.0.0.1:3000", "https://chat.example.org", 200),
        ("chat.example.org:443", "https://evil.example", 403),
    ] {
        let form = [("text", "Hello"), ("model", "scripted/hello")];
        let request = server.api.http.post(&url).form(&form);
        let request = request.header("host", host).header("origin", origin);
        let answer = request.send().await.expect("answer");
        assert_eq!(answer.status(), status, "{host} {origin}");
    }
}

#[tokio::test]
async fn the_address_that_is_printed_can_be_opened() {
    for addr in ["0.0.0.0:0", "[::]:0", "127.0.0.1:0", "[::1]:0"] {
        let data = tempfile::tempdir().expect("folder");
        let server = match Process::try_start(data.path(), &["--addr", addr]) {
            Ok(server) => server,
            // A machine without IPv6.
            Err(why) if addr.starts_with('[') && why.contains("Cannot listen") => continue,
            Err(why) => panic!("{addr}: {why}"),
        };
        assert!(!server.api.base.contains("0.0.0.0"), "{}", server.api.base);
        assert!(!server.api.base.contains("[::]"), "{}", server.api.base);
        assert_eq!(server.api.get("/health").await.status(), 200, "{addr}");
        let port = server.api.base.rsplit(':').next().expect("port");
        let asked = server.api.http.get(format!("{}/health", server.api.base));
        let asked = asked.header("host", format!("0.0.0.0:{port}"));
        let expected = if addr.starts_with("0.0.0.0") || addr.starts_with("[::]") {
            200
        } else {
            403
        };
        let status = asked.send().await.expect("answer").status();
        assert_eq!(status, expected, "{addr}");
    }
}

#[test]
fn a_host_name_that_is_none_is_refused_at_the_start() {
    let data = tempfile::tempdir().expect("folder");
    let error = Process::try_start(data.path(), &["--allow-host", "*.example.org"]).err();
    let error = error.expect("refused");
    assert!(
        error.contains("*.example.org") && error.contains("allow_hosts"),
        "{error}"
    );
    // Nothing is set, as by an empty variable: nothing is allowed.
    let server = Process::start(data.path(), &["--allow-host", ""]);
    drop(server);
}
