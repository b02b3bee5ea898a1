//! Behind a real nginx: the connection doctor finds what it does to streams, and with the right settings it does
//! nothing to them.

use crate::harness::{Api, Process, program};
use headwater_protocol::Status;
use std::{
    io::Write,
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};
use tempfile::TempDir;

/// As docs/operating.md has it.
const RIGHT: &str = "
    proxy_http_version 1.1;
    proxy_set_header Upgrade $http_upgrade;
    proxy_set_header Connection $connection_upgrade;
    proxy_set_header Host $host;
    proxy_buffering off;
    proxy_read_timeout 30m;
";

/// nginx, if the set-up found or fetched one.
fn nginx() -> Option<PathBuf> {
    let set = std::env::var_os("HEADWATER_TEST_NGINX").map(PathBuf::from);
    if set.is_none() {
        let _ = writeln!(
            std::io::stderr(),
            "skipped: HEADWATER_TEST_NGINX names no nginx; `make test` gets it"
        );
    }
    set
}

/// An nginx of our own, ended with this value.
struct Nginx {
    child: Child,
    base: String,
    _folder: TempDir,
}

impl Nginx {
    /// Passes on what is below `path` to a server, with these settings.
    fn start(program: &std::path::Path, server: &Api, path: &str, settings: &str) -> Self {
        let folder = tempfile::tempdir().expect("folder");
        let port = std::net::TcpListener::bind("127.0.0.1:0")
            .and_then(|listener| listener.local_addr())
            .expect("a port")
            .port();
        let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
        let temporary = temporary
            .map(|name| format!("{name}_temp_path {name};"))
            .join("\n");
        let target = server.base.clone() + if path == "/" { "" } else { "/" };
        let configuration = format!(
            "daemon off; master_process off; pid nginx.pid; error_log stderr error;
             events {{}}
             http {{
                 access_log off; {temporary}
                 map $http_upgrade $connection_upgrade {{ default upgrade; '' ''; }}
                 server {{
                     listen 127.0.0.1:{port};
                     location {path} {{ proxy_pass {target}; {settings} }}
                 }}
             }}"
        );
        let file = folder.path().join("nginx.conf");
        std::fs::write(&file, configuration).expect("written");
        let mut command = Command::new(program);
        command.arg("-p").arg(folder.path()).arg("-c").arg(&file);
        command.args(["-e", "stderr"]).stdin(Stdio::null());
        let child = command.spawn().expect("nginx starts");
        let until = Instant::now() + Duration::from_secs(20);
        while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(Instant::now() < until, "nginx does not listen");
            std::thread::sleep(Duration::from_millis(20));
        }
        Self {
            child,
            base: format!("http://127.0.0.1:{port}"),
            _folder: folder,
        }
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What the doctor in a terminal says of an address, and whether all was well.
async fn doctor(address: &str, more: &[&str]) -> (bool, String) {
    let data = tempfile::tempdir().expect("folder");
    let mut command = program(data.path());
    command.args(["doctor", address]).args(more);
    let run = tokio::task::spawn_blocking(move || command.output().expect("runs"));
    let output = run.await.expect("ends");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    (output.status.success(), said)
}

/// The lines of trouble.
fn trouble(said: &str) -> Vec<&str> {
    said.lines()
        .filter(|line| line.starts_with("BAD"))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nginx_does_to_streams_is_found_and_the_setting_is_named() {
    let Some(program) = nginx() else { return };
    let data = tempfile::tempdir().expect("folder");
    let server = Process::start(data.path(), &[]);
    // The usual settings: streams pass, because the server asks for it, and WebSockets do not.
    let usual = Nginx::start(&program, &server.api, "/", "");
    let collects = Nginx::start(
        &program,
        &server.api,
        "/",
        "proxy_ignore_headers X-Accel-Buffering;",
    );
    let compresses = Nginx::start(
        &program,
        &server.api,
        "/",
        &format!("{RIGHT} gzip on; gzip_proxied any; gzip_types text/event-stream;"),
    );
    let cuts = RIGHT.replace("30m", "2s");
    let cuts = Nginx::start(&program, &server.api, "/", &cuts);
    let (usual, collects, compresses, cuts) = tokio::join!(
        doctor(&usual.base, &[]),
        doctor(&collects.base, &[]),
        doctor(&compresses.base, &[]),
        doctor(&cuts.base, &["--cuts=6"]),
    );
    for ((well, said), word, setting) in [
        (usual, "WebSockets do not pass", "proxy_set_header Upgrade"),
        (collects, "Events are held back", "proxy_buffering off;"),
        (compresses, "The stream is compressed", "gzip"),
        (cuts, "Silent streams are cut", "proxy_read_timeout"),
    ] {
        assert!(!well, "{said}");
        let found = trouble(&said);
        assert!(
            found
                .iter()
                .any(|line| line.contains(word) && line.contains("nginx")),
            "{word}: {said}"
        );
        assert!(said.contains(setting), "{setting}: {said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn with_the_documented_settings_nothing_is_found_and_every_byte_is_the_same() {
    let Some(program) = nginx() else { return };
    let data = tempfile::tempdir().expect("folder");
    let server = Process::start(data.path(), &["--trust-forwarded-prefix"]);
    let root = Nginx::start(&program, &server.api, "/", RIGHT);
    let prefix = format!("{RIGHT} proxy_set_header X-Forwarded-Prefix /chat;");
    let below = Nginx::start(&program, &server.api, "/chat/", &prefix);
    let below = format!("{}/chat", below.base);
    for base in [&root.base, &below] {
        let (well, said) = doctor(base, &["--cuts=4"]).await;
        assert!(well && trouble(&said).is_empty(), "{said}");
        let api = Api::new(base);
        let started = api.start("markdown", "Go").await;
        assert_eq!(api.fold(started.run).await.status, Some(Status::Ok));
        let path = format!("/api/runs/events?run={}", started.run);
        assert_eq!(api.text(&path).await, server.api.text(&path).await);
    }
    let page = Api::new(&below).text("/").await;
    assert!(page.contains("data-base=\"/chat\""), "{page}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_without_a_server_is_a_sentence() {
    let (well, said) = doctor("http://127.0.0.1:9", &[]).await;
    assert!(!well && said.contains("No connection"), "{said}");
    let data = tempfile::tempdir().expect("folder");
    let server = Process::start(data.path(), &[]);
    let (well, said) = doctor(&format!("{}/elsewhere", server.api.base), &[]).await;
    assert!(!well && said.contains("404"), "{said}");
}
