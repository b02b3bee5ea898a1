//! What the command line prints is what the page shows.

use crate::harness::{Api, Process, program, read_on};
use headwater_protocol::{
    RunId, Seq, Started,
    chat::{Answer, Summary},
};
use std::{path::Path, process::Output};

/// Runs the program with a script, to its end.
fn run(data: &Path, script: &Path, arguments: &[&str]) -> Output {
    program(data)
        .env("HEADWATER_SCRIPT", script)
        .env("HEADWATER_ON_BREAK", "restart")
        .args(arguments)
        .output()
        .expect("ran")
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

const BREAKS: &str = r#"
    [[scenario]]
    name = "breaks"
    pace = 100
    steps = [
        { text = "Once upon a time. " },
        { wait_ms = 100 },
        { error = { code = "connection", message = "It broke." }, times = 1 },
        { text = "The end." },
    ]
"#;

fn script(data: &Path) -> std::path::PathBuf {
    let path = data.join("script.toml");
    std::fs::write(&path, BREAKS).expect("written");
    path
}

/// Follows an answer until 300 bytes of its text are seen. Returns the number of the entry with which
/// there were more than 20.
async fn see(api: &Api, run: RunId, mut seen: Answer) -> Option<Seq> {
    let mut frames = api.follow(run, seen.seq).await;
    read_on(&mut frames, &mut seen, 21).await;
    let cursor = seen.seq;
    read_on(&mut frames, &mut seen, 300).await;
    Some(cursor)
}

#[tokio::test]
async fn replay_prints_only_what_was_kept_after_a_stop() {
    let data = tempfile::tempdir().expect("folder");
    let server = Process::start(data.path(), &[]);
    let started = server.api.start("long", "Go").await;
    let cursor = see(&server.api, started.run, Answer::default()).await;
    server.api.stop(started.run, cursor).await;
    let kept = server.api.load(&started).await.messages[1].visible_text();
    let run = started.run.to_string();
    let output = program(data.path())
        .args(["replay", &run, "--speed", "1000"])
        .output()
        .expect("ran");
    assert_eq!(stdout(&output), format!("{kept}\n"));
}

#[tokio::test]
async fn replay_leaves_out_an_attempt_that_was_replaced() {
    let data = tempfile::tempdir().expect("folder");
    let path = script(data.path());
    let arguments = [
        "--script",
        path.to_str().expect("UTF-8"),
        "--on-break",
        "restart",
    ];
    let server = Process::start(data.path(), &arguments);
    let started: Started = server.api.start("breaks", "Go").await;
    let answer = server.api.fold(started.run).await;
    assert_eq!(answer.visible_text(), "Once upon a time. The end.");
    let run_id = started.run.to_string();
    let output = run(data.path(), &path, &["replay", &run_id, "--speed", "100"]);
    assert_eq!(stdout(&output), "Once upon a time. The end.\n");
}

#[test]
fn ask_says_that_an_attempt_was_replaced_and_prints_its_replacement_on_a_new_line() {
    let data = tempfile::tempdir().expect("folder");
    let path = script(data.path());
    let output = run(
        data.path(),
        &path,
        &["ask", "--with", "scripted/breaks", "Go"],
    );
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");
    assert_eq!(
        stdout(&output),
        "Once upon a time. \nOnce upon a time. The end.\n"
    );
    assert!(said.contains("begun anew"), "{said}");
}

/// Somebody stops the answer from another place, where less of it was shown.
#[tokio::test]
async fn ask_ends_with_the_text_that_was_kept() {
    let data = tempfile::tempdir().expect("folder");
    let server = Process::start(data.path(), &[]);
    let api = server.api.clone();
    let child = program(data.path())
        .args(["ask", "--with", "scripted/long", "Go"])
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .expect("started");
    // The newest conversation is that of the question.
    let (id, seen) = loop {
        let list = api.get("/api/conversations/list").await;
        let list: Vec<Summary> = list.json().await.expect("a list");
        if let Some(newest) = list.first() {
            let id = newest.id;
            let loaded = api.load_conversation(id).await;
            if let Some(answer) = loaded.messages[1].answers.first() {
                break (id, answer.clone());
            }
        }
    };
    let run_id = seen.run.expect("a run");
    let cursor = see(&api, run_id, seen).await;
    api.stop(run_id, cursor).await;
    let output = tokio::task::spawn_blocking(move || child.wait_with_output().expect("ended"))
        .await
        .expect("joined");
    let loaded = api.load_conversation(id).await;
    let kept = loaded.messages[1].visible_text();
    assert!(!output.status.success());
    let printed = stdout(&output);
    assert!(
        printed.ends_with(&format!("\n{kept}\n")) || printed == format!("{kept}\n"),
        "{printed:?} does not end with {kept:?}"
    );
}

#[test]
fn ask_and_inspect_print_what_a_run_did_and_when() {
    let data = tempfile::tempdir().expect("folder");
    let path = script(data.path());
    let asked = ["ask", "--trace", "--with", "scripted/breaks", "Go"];
    let output = run(data.path(), &path, &asked);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let lines: Vec<&str> = said.lines().filter(|line| line.contains(" ms  ")).collect();
    let ends = [
        "scripted/breaks",
        "▸ model scripted/breaks",
        ": It broke.",
        ": It broke.",
        "▸ model scripted/breaks, in place of span 1",
    ];
    assert_eq!(lines.len(), ends.len() + 2, "{said}");
    for (line, end) in lines.iter().zip(ends) {
        assert!(line.ends_with(end), "{line}");
    }
    assert!(
        lines[5].contains("◂ model scripted/breaks: ok after "),
        "{said}"
    );
    assert!(lines[6].contains("ok after "), "{said}");

    let log = headwater_engine::db::Db::open_to_read(data.path());
    let id: Vec<u8> = log
        .expect("opened")
        .read_now(|db| Ok(db.query_row("SELECT id FROM run", [], |row| row.get(0))?))
        .expect("one run");
    let id = uuid::Uuid::from_slice(&id)
        .expect("an identifier")
        .to_string();
    let inspected = run(data.path(), &path, &["inspect", &id]);
    assert_eq!(stdout(&inspected).lines().collect::<Vec<_>>(), lines);
    let unknown = run(
        data.path(),
        &path,
        &["inspect", "00000000-0000-0000-0000-000000000001"],
    );
    assert!(!unknown.status.success());
}
