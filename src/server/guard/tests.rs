use super::*;
use axum::body::Body;

fn hosts() -> Hosts {
    Hosts::new(&["chat.example.org".into()], [127, 0, 0, 1].into())
}

fn request(path: &str, headers: &[(&str, &str)]) -> Request {
    let mut request = Request::builder().uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(Body::empty()).unwrap()
}

fn allowed(host: &str, origin: Option<&str>) -> bool {
    let mut headers = vec![("host", host)];
    headers.extend(origin.map(|origin| ("origin", origin)));
    check(&hosts(), &request("/api/models/list", &headers)).is_ok()
}

#[test]
fn only_our_hosts_and_origins_are_served() {
    for host in [
        "localhost",
        "localhost:3000",
        "127.0.0.1:3000",
        "127.9.9.9",
        "[::1]:3000",
        "[::ffff:127.0.0.1]",
        "chat.example.org",
        "chat.example.org.",
        "Chat.Example.Org:8443",
    ] {
        assert!(allowed(host, None), "{host}");
        let origin = format!("http://{host}").to_lowercase();
        assert!(allowed(host, Some(&origin)), "{host}");
    }
    for host in [
        "evil.example",
        "localhost.evil.example",
        "10.0.0.1:3000",
        "127.0.0.1.evil.example",
        "0.0.0.0",
        "[::1",
        "[::1]x",
        "localhost:x",
        "a@localhost",
        ".",
        "",
    ] {
        assert!(!allowed(host, None), "{host}");
    }
    for origin in [
        "http://evil.example",
        "null",
        "http://127.0.0.1:4000",
        "http://localhost:3000",
        "http://127.0.0.1",
        "https://127.0.0.1",
        "file://",
        "?",
    ] {
        assert!(!allowed("127.0.0.1:3000", Some(origin)), "{origin}");
    }
    let twice = request("/", &[("host", "localhost"), ("host", "localhost")]);
    assert_eq!(check(&hosts(), &twice), Err(Refusal::NoHost));
}

#[test]
fn every_pair_of_host_and_origin_that_a_proxy_makes_is_served() {
    for (host, origin) in [
        // As the browser sent it.
        ("chat.example.org", "https://chat.example.org"),
        ("chat.example.org:8443", "https://chat.example.org:8443"),
        ("chat.example.org:8080", "http://chat.example.org:8080"),
        // The standard port by its number: that of the scheme, or that of the proxy behind it.
        ("chat.example.org:443", "https://chat.example.org"),
        ("chat.example.org:80", "http://chat.example.org"),
        ("chat.example.org:80", "https://chat.example.org"),
        ("chat.example.org", "https://chat.example.org:443"),
        // Without a port that there is.
        ("chat.example.org", "https://chat.example.org:8443"),
        // Our own address in place of the public one.
        ("127.0.0.1:3000", "https://chat.example.org"),
        ("localhost:3000", "https://chat.example.org:8443"),
        ("[::1]:3000", "http://chat.example.org"),
    ] {
        assert!(allowed(host, Some(origin)), "{host} {origin}");
    }
    for (host, origin) in [
        // Another service under the same name, where the name of ours has its port.
        ("chat.example.org:8443", "https://chat.example.org"),
        ("chat.example.org:8443", "https://chat.example.org:9000"),
        ("chat.example.org", "https://evil.example"),
        ("chat.example.org", "https://chat.example.org.evil.example"),
        ("chat.example.org", "http://localhost:3000"),
        ("chat.example.org", "null"),
    ] {
        assert!(!allowed(host, Some(origin)), "{host} {origin}");
    }
}

#[test]
fn the_address_that_we_listen_on_is_ours() {
    let accepts = |bound: &str, host: &str| {
        let hosts = Hosts::new(&[], bound.parse().unwrap());
        check(&hosts, &request("/", &[("host", host)])).is_ok()
    };
    for bound in ["0.0.0.0", "::"] {
        for host in [
            "0.0.0.0:3000",
            "[::]:3000",
            "192.168.1.5:3000",
            "[fe80::1]:3000",
            "localhost",
        ] {
            assert!(accepts(bound, host), "{bound} {host}");
        }
        assert!(!accepts(bound, "evil.example:3000"), "{bound}");
    }
    assert!(accepts("192.168.1.5", "192.168.1.5:3000"));
    assert!(!accepts("192.168.1.5", "192.168.1.6:3000"));
    assert!(!accepts("127.0.0.1", "192.168.1.5:3000"));
}

#[test]
fn names_are_allowed_as_people_write_them() {
    for (text, name) in [
        ("chat.example.org", Some("chat.example.org")),
        (" Chat.Example.ORG. ", Some("chat.example.org")),
        ("chat.example.org:8443", Some("chat.example.org")),
        ("https://chat.example.org/", Some("chat.example.org")),
        ("https://chat.example.org:8443/x", Some("chat.example.org")),
        ("192.168.1.5", Some("192.168.1.5")),
        ("fe80::1", Some("fe80::1")),
        ("[fe80::1]:3000", Some("fe80::1")),
        ("", None),
        ("  ", None),
    ] {
        assert_eq!(host_name(text).unwrap().as_deref(), name, "{text}");
    }
    for text in ["*", "*.example.org", "a b", "http://", "a:b", "a,b"] {
        let why = host_name(text).unwrap_err();
        assert!(why.message.contains("allow_hosts"), "{text}: {why}");
    }
}

#[test]
fn foreign_pages_may_lead_to_our_pages_and_to_nothing_else() {
    let check = |method: Method, path: &str, fetch: [&str; 3]| {
        let [site, mode, dest] = fetch;
        let headers = [
            ("host", "127.0.0.1:3000"),
            ("sec-fetch-site", site),
            ("sec-fetch-mode", mode),
            ("sec-fetch-dest", dest),
        ];
        let mut request = request(path, &headers);
        *request.method_mut() = method;
        check(&hosts(), &request).is_ok()
    };
    let pages = ["/", "/c/019aa", "/plain/019aa"];
    let data = [
        "/api/conversations/list?query=x",
        "/api/images/x",
        "/metrics",
        "/pkg/headwater.js",
        "/nowhere",
    ];
    for site in ["cross-site", "same-site", "?"] {
        for path in pages {
            let link = [site, "navigate", "document"];
            assert!(check(Method::GET, path, link), "{site} {path}");
            assert!(!check(Method::POST, path, link), "{site} {path}");
            for dest in ["iframe", "frame", "object", "embed", "empty", "image"] {
                let framed = [site, "navigate", dest];
                assert!(!check(Method::GET, path, framed), "{site} {path} {dest}");
            }
            assert!(!check(Method::GET, path, [site, "no-cors", "document"]));
        }
        for path in data {
            let link = [site, "navigate", "document"];
            assert!(!check(Method::GET, path, link), "{site} {path}");
        }
    }
    for site in ["same-origin", "none"] {
        for path in pages.into_iter().chain(data) {
            assert!(check(Method::GET, path, [site, "cors", "empty"]), "{path}");
        }
    }
}

#[test]
fn a_refusal_says_what_to_set() {
    let said = |host: &str, origin: &str| {
        let headers = [("host", host), ("origin", origin)];
        let refusal = check(&hosts(), &request("/", &headers)).unwrap_err();
        (refusal.sentence(&hosts()), refusal.is_a_setting())
    };
    let (host, is_a_setting) = said("other.example.org:443", "https://other.example.org");
    assert!(host.contains("--allow-host other.example.org"), "{host}");
    assert!(host.contains("HEADWATER_ALLOW_HOSTS=other.example.org"));
    assert!(is_a_setting);
    let (origin, is_a_setting) = said("localhost:3000", "https://other.example.org");
    assert!(
        origin.contains("--allow-host other.example.org"),
        "{origin}"
    );
    assert!(is_a_setting);
    let (port, _) = said("chat.example.org:8080", "https://chat.example.org");
    assert!(port.contains("header Host"), "{port}");
    let (neighbour, _) = said("localhost:3000", "http://localhost:4000");
    assert!(!neighbour.contains("--allow-host"), "{neighbour}");
    let (_, is_a_setting) = said("localhost:3000", "null");
    assert!(!is_a_setting);
}
