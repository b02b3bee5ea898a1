//! The observers that come with the engine.

use super::*;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

/// A place to write to that a test can read.
#[derive(Clone, Default)]
struct Page(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Page {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Page {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().clone()).unwrap()
    }
}

#[tokio::test]
async fn tokens_are_the_text_of_the_models() {
    let page = Page::default();
    see(Tokens::new(page.clone()), Options::default(), &everything()).await;
    assert_eq!(page.text(), "Half Let me look. Done.\n");
}

#[tokio::test]
async fn a_trace_shows_the_tree_and_its_times() {
    let page = Page::default();
    see(Trace::new(page.clone()), Options::default(), &everything()).await;
    let golden = "     0 ms  chain/research
    10 ms  ▸ chain research
    20 ms    note {\"n\":1}
    30 ms    ▸ retriever books
    40 ms    ◂ retriever books: ok after 10 ms, 10 tokens in, 5 out
";
    let text = page.text();
    assert!(text.starts_with(golden), "{text}");
    for line in [
        "   150 ms    ◂ model openai/x: failed after 40 ms, 10 tokens in, 5 out: The provider is busy.",
        "   160 ms      attempt 2 in 3.0 s: The provider is busy.",
        "   170 ms    ▸ model openai/x, in place of span 6",
        "   280 ms      model openai/x calls search {\"q\":1}",
        "   300 ms      ▸ tool search",
        "     0 ms  failed after 0 ms, 0 tokens in, 0 out: The run failed.",
    ] {
        assert!(text.lines().any(|one| one == line), "{line}\n{text}");
    }
}

#[tokio::test]
async fn lines_of_json_are_the_log() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("events.jsonl");
    for _ in 0..2 {
        let lines = JsonLines::file(&path).unwrap();
        see(lines, Options::default(), &everything()).await;
    }
    let text = std::fs::read_to_string(&path).unwrap();
    let entries = text.lines().map(serde_json::from_str::<Entry>);
    let entries: Vec<Entry> = entries.collect::<Result<_, _>>().unwrap();
    let events: Vec<Event> = entries.into_iter().map(|entry| entry.event).collect();
    assert_eq!(events, [everything(), everything()].concat());
}

fn broken_and_continued() -> Vec<Event> {
    vec![
        run_started(),
        span(1, 0, SpanKind::ChatModel, "openai/x"),
        block(1, 1, BlockKind::Text),
        delta(1, 1, "Half "),
        finished(1, Some("The connection broke.")),
        span(2, 0, SpanKind::ChatModel, "openai/x"),
        block(2, 2, BlockKind::Text),
        delta(2, 2, "and half."),
        finished(2, None),
    ]
}

#[tokio::test]
async fn the_final_answer_is_that_of_the_last_model_without_a_call() {
    let cases = [
        (everything(), Status::Error, None),
        (everything(), Status::Ok, Some("Done.")),
        // The last model calls a tool, and nobody answers.
        (everything()[..37].to_vec(), Status::Ok, None),
        // No model at all.
        (everything()[..3].to_vec(), Status::Ok, None),
        // An answer that broke off and went on.
        (broken_and_continued(), Status::Ok, Some("Half and half.")),
    ];
    for (mut events, status, answer) in cases {
        events.retain(|event| !event.is_terminal());
        events.push(run_finished(status));
        let heard = Arc::new(Mutex::new(Vec::new()));
        let ear = heard.clone();
        let observer = FinalAnswer::new(move |run, answer| {
            ear.lock().push((run.run, answer.map(str::to_owned)));
        });
        see(observer, Options::default(), &events).await;
        let run = RunId(uuid::Uuid::from_u128(1));
        assert_eq!(*heard.lock(), [(run, answer.map(str::to_owned))]);
    }
}

#[tokio::test]
async fn usage_is_added_up_for_each_model_and_runs_are_kept() {
    let usage = UsageByModel::default();
    see(usage.clone(), Options::default(), &everything()).await;
    let totals = usage.totals();
    assert_eq!(totals.len(), 1);
    assert_eq!(
        (totals["openai/x"].input, totals["openai/x"].output),
        (30, 15)
    );

    let collector = RunCollector::new(2);
    for _ in 0..3 {
        see(collector.clone(), Options::default(), &everything()).await;
    }
    let runs = collector.runs();
    assert_eq!(runs.len(), 2);
    assert_eq!(runs[0].1.visible_text(), "Let me look. Done.");
}

#[tokio::test]
async fn listeners_hear_of_the_start_the_end_and_every_error() {
    let heard = Arc::new(Mutex::new(Vec::new()));
    let ears = [heard.clone(), heard.clone(), heard.clone()];
    let [start, end, error] = ears;
    let listeners = Listeners::default()
        .on_start(move |run| start.lock().push(format!("start {}", run.model)))
        .on_end(move |_, run| end.lock().push(format!("end {:?}", run.status)))
        .on_error(move |failed| error.lock().push(failed.error.message.clone()));
    see(listeners, Options::default(), &everything()).await;
    let golden = [
        "start chain/research",
        "The library is closed.",
        "That is no list.",
        "The provider is busy.",
        "The tool broke.",
        "The chain broke.",
        "end Error",
        "The run failed.",
    ];
    assert_eq!(*heard.lock(), golden);
}

/// A server that answers each request with the next status, and returns what it was sent.
async fn serve(listener: TcpListener, statuses: &[u16]) -> Vec<String> {
    let mut sent = Vec::new();
    for status in statuses {
        let (mut socket, _) = listener.accept().await.unwrap();
        let mut bytes = Vec::new();
        loop {
            let text = String::from_utf8_lossy(&bytes).to_lowercase();
            if let Some((head, body)) = text.split_once("\r\n\r\n") {
                let length = head.split("content-length: ").nth(1).unwrap();
                let length: usize = length.lines().next().unwrap().trim().parse().unwrap();
                if body.len() >= length {
                    break;
                }
            }
            socket.read_buf(&mut bytes).await.unwrap();
        }
        sent.push(String::from_utf8(bytes).unwrap());
        let answer =
            format!("HTTP/1.1 {status} X\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
        socket.write_all(answer.as_bytes()).await.unwrap();
    }
    sent
}

#[tokio::test]
async fn a_webhook_is_called_until_its_server_takes_it() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}/hook", listener.local_addr().unwrap());
    let webhook = Webhook::new(&address).unwrap();
    let server = tokio::spawn(serve(listener, &[503, 200]));
    let summary = see(webhook, Options::default(), &everything()).await;
    assert_eq!(summary, Summary::default());
    let sent = soon(server).await.unwrap();
    for request in &sent {
        assert!(request.starts_with("POST /hook HTTP/1.1\r\n"), "{request}");
        let key = "idempotency-key: 00000000-0000-0000-0000-000000000001";
        assert!(request.contains(key), "{request}");
        let body = request.split("\r\n\r\n").nth(1).unwrap();
        let body: Value = serde_json::from_str(body).unwrap();
        assert_eq!(
            (&body["status"], &body["model"]),
            (&"error".into(), &"chain/research".into())
        );
        assert!(body.get("text").is_none());
    }

    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}/", listener.local_addr().unwrap());
    let webhook = Webhook::new(&address).unwrap().with_text();
    let server = tokio::spawn(serve(listener, &[404]));
    let summary = see(webhook, Options::default(), &everything()).await;
    assert_eq!(
        summary.failed, 1,
        "what a server refuses is not tried again"
    );
    assert!(soon(server).await.unwrap()[0].contains("Let me look. Done."));
    assert!(Webhook::new("file:///etc/passwd").is_err());
    assert!(Webhook::new("nonsense").is_err());
}

#[tokio::test]
async fn metrics_are_histograms_with_the_names_of_opentelemetry() {
    let metrics = Metrics::default();
    for _ in 0..2 {
        see(metrics.clone(), Options::default(), &everything()).await;
    }
    let text = metrics.text();
    let model =
        "gen_ai_operation_name=\"chat\",gen_ai_provider_name=\"openai\",gen_ai_request_model=\"x\"";
    let tool = "gen_ai_operation_name=\"execute_tool\",gen_ai_tool_name=\"search\"";
    for line in [
        format!("gen_ai_client_token_usage_sum{{{model},gen_ai_token_type=\"input\"}} 60.0"),
        format!("gen_ai_client_token_usage_count{{{model},gen_ai_token_type=\"output\"}} 6"),
        format!("gen_ai_client_operation_duration_seconds_count{{{model}}} 4"),
        format!(
            "gen_ai_client_operation_duration_seconds_count{{{model},error_type=\"overloaded\"}} 2"
        ),
        format!("gen_ai_client_operation_duration_seconds_count{{{tool}}} 2"),
        format!(
            "gen_ai_client_operation_duration_seconds_count{{{tool},error_type=\"overloaded\"}} 2"
        ),
        "headwater_runs_total{status=\"error\"} 2".to_owned(),
        "# TYPE gen_ai_client_token_usage histogram".to_owned(),
    ] {
        assert!(text.lines().any(|one| one == line), "{line}\n{text}");
    }
    assert!(!text.contains("EOF"), "others may follow");
}

#[tokio::test]
async fn metrics_have_labels_for_so_many_names_and_no_more() {
    let metrics = Metrics::default();
    let mut events = vec![run_started()];
    for number in 1..=300 {
        events.push(span(number, 0, SpanKind::Tool, &format!("tool-{number}")));
        events.push(finished(number, None));
    }
    events.push(run_finished(Status::Ok));
    see(metrics.clone(), Options::default(), &events).await;
    let text = metrics.text();
    let counts = text
        .lines()
        .filter(|line| line.contains("duration_seconds_count"));
    assert_eq!(counts.count(), 257);
    assert!(text.contains("gen_ai_tool_name=\"other\"} 44"), "{text}");
}
