//! Other web sites and rebound host names get nothing.

use crate::harness::InProcess;

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
    let list = server
        .api
        .get("/api/conversations/list")
        .await
        .text()
        .await
        .expect("list");
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
