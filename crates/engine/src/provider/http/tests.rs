use super::*;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

#[test]
fn waits_are_read_in_all_their_forms() {
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_700);
    let wait = |pairs: &[(&'static str, &str)]| {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.insert(*name, value.parse().unwrap());
        }
        retry_after_ms(&headers, now)
    };
    assert_eq!(wait(&[]), None);
    assert_eq!(wait(&[("retry-after", "2")]), Some(2000));
    assert_eq!(wait(&[("retry-after", "0.25")]), Some(250));
    assert_eq!(wait(&[("retry-after", "-1")]), None);
    assert_eq!(wait(&[("retry-after", "soon")]), None);
    assert_eq!(
        wait(&[("retry-after", "9"), ("retry-after-ms", "120")]),
        Some(120)
    );
    assert_eq!(
        wait(&[("retry-after", "Sun, 06 Nov 1994 08:49:37 GMT")]),
        Some(77_000)
    );
    assert_eq!(
        wait(&[("retry-after", "Sun, 06 Nov 1994 08:00:00 GMT")]),
        Some(0)
    );
    for (date, ms) in [
        ("Thu, 01 Jan 1970 00:00:00 GMT", Some(0)),
        ("Thu, 29 Feb 2024 23:59:59 GMT", Some(925_139_499_000)),
        ("Fri, 01 Mar 2024 00:00:00 GMT", Some(925_139_500_000)),
        ("", None),
        ("Sun, 06 Nov 1994", None),
        ("Sun, 06 Now 1994 08:49:37 GMT", None),
    ] {
        assert_eq!(wait(&[("retry-after", date)]), ms, "{date}");
    }
}

#[test]
fn quotes_are_short_and_on_one_line() {
    assert_eq!(quote(" a\n\tb \u{1b}[0m c ", None), "a b [0m c");
    let long = quote(&"é ".repeat(1000), None);
    assert!(long.chars().count() <= 301 && long.ends_with('…'));
}

/// A server that answers every connection with these bytes.
async fn server(answer: &'static str) -> Url {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let mut buffer = [0; 4096];
            let _ = socket.read(&mut buffer).await;
            let _ = socket.write_all(answer.as_bytes()).await;
        }
    });
    format!("http://127.0.0.1:{port}/v1").parse().unwrap()
}

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok";

#[tokio::test]
async fn proxies_serve_remote_hosts_and_never_this_machine() {
    let here = server(OK).await;
    let proxy =
        server("HTTP/1.1 200 OK\r\ncontent-length: 9\r\nconnection: close\r\n\r\nvia proxy").await;
    let env = |name: &str| match name {
        "HTTP_PROXY" => Some(proxy.to_string()),
        "no_proxy" => Some("other.example".into()),
        _ => None,
    };
    let client = build(CONNECT_TIMEOUT, env).unwrap();
    let get = async |url: &str| client.get(url).send().await.unwrap().text().await.unwrap();
    assert_eq!(get(here.as_str()).await, "ok");
    let port = here.port().unwrap();
    assert_eq!(get(&format!("http://localhost:{port}")).await, "ok");
    assert_eq!(get("http://provider.example/v1").await, "via proxy");
    assert!(proxies(|_| Some("::".into())).is_err());
    assert!(proxies(|_| Some(" ".into())).unwrap().is_empty());
}

#[tokio::test]
async fn a_redirect_to_another_place_is_not_followed() {
    let elsewhere = "HTTP/1.1 307 Temporary Redirect\r\nlocation: http://127.0.0.2:1/\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
    let url = server(elsewhere).await;
    let client = build(CONNECT_TIMEOUT, |_| None).unwrap();
    let response = client.post(url).body("x").send().await.unwrap();
    assert_eq!(response.status(), 307);
}

#[tokio::test]
async fn an_unreachable_provider_is_named_in_a_sentence() {
    let client = build(Duration::from_millis(200), |_| None).unwrap();
    let try_to = async |url: &str| {
        let url: Url = url.parse().unwrap();
        let error = client.get(url.clone()).send().await.unwrap_err();
        let error = unreachable(&error, &url);
        assert_eq!(error.code, ErrorCode::Connection);
        assert!(error.retryable);
        error.message
    };
    // A port that was free a moment ago.
    let port = {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        listener.local_addr().unwrap().port()
    };
    assert_eq!(
        try_to(&format!("http://user:pass@127.0.0.1:{port}/v1?key=secret")).await,
        format!(
            "The provider at http://127.0.0.1:{port} cannot be reached: connection refused. Is it running?"
        )
    );
    let message = try_to("http://no-such-host.invalid/v1").await;
    assert!(
        message.contains("no host named no-such-host.invalid"),
        "{message}"
    );
    let plain = server(OK).await;
    let message = try_to(&format!("https://127.0.0.1:{}", plain.port().unwrap())).await;
    assert!(
        message.contains("secure") || message.contains("HTTPS"),
        "{message}"
    );
}

#[tokio::test]
async fn a_body_is_read_up_to_its_limit_and_no_longer_than_patience() {
    let url = server("HTTP/1.1 500 No\r\ncontent-length: 100\r\n\r\n0123456789").await;
    let client = build(CONNECT_TIMEOUT, |_| None).unwrap();
    let get = async || client.get(url.clone()).send().await.unwrap();
    let patience = Duration::from_millis(100);
    assert_eq!(bounded(get().await, 4, patience).await, b"0123");
    assert_eq!(bounded(get().await, 1000, patience).await, b"0123456789");
}
