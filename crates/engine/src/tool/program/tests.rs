use super::*;
use std::time::Instant;

fn shell(script: &str) -> Program {
    Program::new(&ToolConfig {
        name: "t".into(),
        command: ["sh", "-c", script].map(str::to_owned).to_vec(),
        ..ToolConfig::default()
    })
    .unwrap()
}

fn text_of(output: Output) -> String {
    match output {
        Output::Text(text) => text,
        Output::Custom { name, .. } => panic!("a program has no events, such as {name}"),
    }
}

/// All that a call gives, and how it ends.
async fn call(program: &Program, arguments: Value) -> (String, Option<String>) {
    let (mut text, mut failure) = (String::new(), None);
    let mut pieces = program.call(arguments);
    while let Some(piece) = pieces.next().await {
        match piece {
            Ok(piece) => text.push_str(&text_of(piece)),
            Err(why) => {
                assert_eq!(why.code, ErrorCode::ToolFailed);
                failure = Some(why.message);
            }
        }
    }
    (text, failure)
}

fn is_alive(pid: &str) -> bool {
    // A process that has ended and was not yet waited for is a zombie, and does no work.
    std::fs::read_to_string(format!("/proc/{pid}/stat"))
        .is_ok_and(|stat| !stat.rsplit(')').next().unwrap_or("").starts_with(" Z"))
}

#[tokio::test]
async fn arguments_go_in_and_the_output_comes_out() {
    let arguments = json!({ "city": "Zürich" });
    let (text, failure) = call(&shell("cat; printf ' ☂'"), arguments.clone()).await;
    assert_eq!((text, failure), (format!("{arguments} ☂"), None));
    // More than any pipe holds, both ways at once, and a program that reads nothing.
    let long = json!({ "text": "x".repeat(400_000) });
    let (text, failure) = call(&shell("cat"), long.clone()).await;
    assert_eq!((text, failure), (long.to_string(), None));
    let (text, failure) = call(&shell("echo no"), long).await;
    assert_eq!((text.as_str(), failure), ("no\n", None));
}

#[tokio::test]
async fn output_comes_as_it_is_written_and_characters_stay_whole() {
    let program =
        shell(r"printf 'a\342'; sleep 0.2; printf '\230'; sleep 0.2; printf '\202\377b\342'");
    let mut pieces = program.call(json!({}));
    let mut heard = Vec::new();
    while let Some(piece) = pieces.next().await {
        heard.push(text_of(piece.unwrap()));
    }
    assert_eq!(heard, ["a", "☂\u{fffd}b", "\u{fffd}"]);
}

#[tokio::test]
async fn a_failure_says_what_the_program_said() {
    let (text, failure) = call(
        &shell("echo half; echo 'no such city' >&2; exit 3"),
        json!({}),
    )
    .await;
    assert_eq!(text, "half\n");
    assert_eq!(
        failure.unwrap(),
        "The program ended with exit status: 3: no such city"
    );
    let (_, failure) = call(&shell("kill -9 $$"), json!({})).await;
    assert!(failure.unwrap().contains("signal: 9"));
    let missing = Program::new(&ToolConfig {
        command: vec!["/nowhere/at-all".into()],
        ..ToolConfig::default()
    });
    let (_, failure) = call(&missing.unwrap(), json!({})).await;
    assert!(
        failure
            .unwrap()
            .contains("/nowhere/at-all cannot be started")
    );
}

#[tokio::test]
async fn a_call_that_is_dropped_ends_the_program_and_its_children() {
    let program = shell("sleep 60 & echo $$ $!; wait");
    let mut pieces = program.call(json!({}));
    let first = text_of(pieces.next().await.unwrap().unwrap());
    let pids: Vec<&str> = first.split_whitespace().collect();
    assert!(pids.len() == 2 && pids.iter().all(|pid| is_alive(pid)));
    drop(pieces);
    let since = Instant::now();
    while pids.iter().any(|pid| is_alive(pid)) {
        assert!(since.elapsed() < Duration::from_secs(5), "{pids:?}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

#[tokio::test]
async fn what_a_program_leaves_behind_is_ended_with_it() {
    for (ending, failed) in [("exit 0", false), ("echo no >&2; exit 1", true)] {
        // It holds standard error open, which must not delay the end.
        let script = format!("sleep 60 >/dev/null & echo $!; {ending}");
        let since = Instant::now();
        let (text, failure) = call(&shell(&script), json!({})).await;
        assert_eq!(failure.is_some(), failed, "{failure:?}");
        while is_alive(text.trim()) {
            assert!(since.elapsed() < Duration::from_secs(20), "{text}");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
}

#[tokio::test]
async fn a_call_ends_with_its_program_whoever_holds_its_output() {
    for leave in ["sleep 60 &", "setsid sleep 60 &"] {
        let since = Instant::now();
        // More than the pipe holds: all of it was written before the end.
        let script = format!("{leave} head -c 200000 /dev/zero | tr '\\0' x; echo end");
        let (text, failure) = call(&shell(&script), json!({})).await;
        assert_eq!(failure, None, "{leave}");
        assert!(text.len() == 200_004 && text.ends_with("end\n"), "{leave}");
        assert!(since.elapsed() < Duration::from_secs(20), "{leave}");
    }
    let (_, failure) = call(&shell("setsid sleep 60 & echo no >&2; exit 1"), json!({})).await;
    assert!(failure.unwrap().contains("exit status: 1"));
}

/// Also one that has left the process group, and one whose parent has ended.
#[tokio::test]
async fn a_stop_reaches_children_in_sessions_of_their_own() {
    let program = shell("setsid sh -c 'echo $$; setsid sleep 60 & echo $!; wait' & wait");
    let mut pieces = program.call(json!({}));
    let mut text = String::new();
    while text.lines().count() < 2 || !text.ends_with('\n') {
        text.push_str(&text_of(pieces.next().await.unwrap().unwrap()));
    }
    assert!(text.lines().all(is_alive), "{text}");
    drop(pieces);
    let since = Instant::now();
    while text.lines().any(is_alive) {
        assert!(since.elapsed() < Duration::from_secs(5), "{text}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

#[tokio::test]
async fn a_program_gets_the_variables_it_is_given_and_no_other() {
    // Cargo sets both for its tests.
    let script = "printf '%s|%s|%s' \"$PATH\" \"$CARGO_PKG_NAME\" \"$CARGO_MANIFEST_DIR\"";
    let path = std::env::var("PATH").unwrap();
    assert_eq!(call(&shell(script), json!({})).await.0, format!("{path}||"));
    let mut told = shell(script);
    told.env = vec!["CARGO_PKG_NAME".into()];
    assert_eq!(
        call(&told, json!({})).await.0,
        format!("{path}|headwater-engine|")
    );
}

#[test]
fn a_tool_of_the_file_is_checked() {
    let config: ToolConfig = toml::from_str(
        r#"
        name = "weather"
        description = "The weather of a city."
        command = ["weather", "--json"]
        env = ["WEATHER_KEY"]
        timeout = 2.5
        [parameters]
        type = "object"
        properties.city.type = "string"
        "#,
    )
    .unwrap();
    let program = Program::new(&config).unwrap();
    assert_eq!(program.limit(), Duration::from_millis(2500));
    assert_eq!(
        program.definition().parameters,
        json!({"type": "object", "properties": {"city": {"type": "string"}}})
    );
    for wrong in [
        ToolConfig {
            command: Vec::new(),
            ..config.clone()
        },
        ToolConfig {
            timeout: Some(-1.0),
            ..config.clone()
        },
        // No clock goes that far.
        ToolConfig {
            timeout: Some(1e19),
            ..config.clone()
        },
    ] {
        let why = Program::new(&wrong).unwrap_err();
        assert!(why.message.contains("“weather”"), "{why}");
    }
    let mut tools = super::super::Tools::default();
    tools.add(std::sync::Arc::new(program.clone())).unwrap();
    let again = tools.add(std::sync::Arc::new(program)).unwrap_err();
    assert!(again.message.contains("another tool has its name"));
}
