//! What a collector of OpenTelemetry gets of the runs of a real engine.

use super::*;
use crate::{
    chain::{Context, Question, answer, model, parallel, parser, prompt, retriever},
    provider::ToolDefinition,
    tool::{Output, Tool},
};
use futures::{
    StreamExt,
    stream::{self, BoxStream},
};
use opentelemetry_proto::tonic::{
    collector::trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse},
    common::v1::{KeyValue, any_value::Value as Any},
    trace::v1::{Span as Sent, span::SpanKind as Side, status::StatusCode},
};
use prost::Message;
use std::{
    collections::{BTreeMap, HashMap},
    time::Instant,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

const SCRIPT: &str = r#"
    [[scenario]]
    name = "one"
    steps = [{ text = "First opinion." }]

    [[scenario]]
    name = "two"
    steps = [
        { error = { code = "overloaded", message = "Busy with secrets.", status = 529 }, times = 1 },
        { usage = { input = 10, output = 5, reasoning = 2 } },
        { text = "Second opinion." },
    ]

    [[scenario]]
    name = "calls"
    steps = [
        { reasoning = "Let me see." },
        { tool = "search", id = "call_7", arguments = '{"q":"pearls"}' },
        { end = "tool_calls" },
    ]
"#;

/// A collector in this process: what it was sent.
#[derive(Clone, Default)]
struct Receiver {
    requests: Arc<Mutex<Vec<(String, ExportTraceServiceRequest)>>>,
}

impl Receiver {
    /// Listens, and returns its address.
    async fn listen(&self) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}/v1/traces", listener.local_addr().unwrap());
        let requests = self.requests.clone();
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                tokio::spawn(serve(socket, requests.clone()));
            }
        });
        address
    }

    fn spans(&self) -> Vec<Sent> {
        let requests = self.requests.lock();
        let resources = requests.iter().flat_map(|(_, body)| &body.resource_spans);
        let scopes = resources.flat_map(|resource| &resource.scope_spans);
        scopes.flat_map(|scope| scope.spans.clone()).collect()
    }

    /// All that came, as text in which a word can be looked for.
    fn all(&self) -> String {
        format!("{:?}", self.requests.lock())
    }
}

/// Answers every request on a connection with success.
async fn serve(
    mut socket: TcpStream,
    requests: Arc<Mutex<Vec<(String, ExportTraceServiceRequest)>>>,
) {
    let mut bytes = Vec::new();
    loop {
        let head = bytes.windows(4).position(|four| four == b"\r\n\r\n");
        if let Some(head) = head {
            let text = String::from_utf8(bytes[..head].to_vec()).unwrap();
            let text = text.to_lowercase();
            let length = text.split("content-length: ").nth(1).unwrap();
            let length: usize = length.lines().next().unwrap().parse().unwrap();
            let end = head + 4 + length;
            if bytes.len() >= end {
                let body = ExportTraceServiceRequest::decode(&bytes[head + 4..end]).unwrap();
                requests.lock().push((text, body));
                bytes.drain(..end);
                let answer = ExportTraceServiceResponse::default().encode_to_vec();
                let head = format!(
                    "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n",
                    answer.len()
                );
                socket.write_all(head.as_bytes()).await.unwrap();
                socket.write_all(&answer).await.unwrap();
                continue;
            }
        }
        match socket.read_buf(&mut bytes).await {
            Ok(read) if read > 0 => {}
            _ => return,
        }
    }
}

/// A tool that fails with a sentence.
struct Search(ToolDefinition);

impl Tool for Search {
    fn definition(&self) -> &ToolDefinition {
        &self.0
    }

    fn call(&self, _: Value) -> BoxStream<'static, Result<Output, Error>> {
        let found = Ok("Half a shell. ".into());
        let broken = Err(Error::new(
            ErrorCode::ToolFailed,
            "The secret sea is closed.",
        ));
        Box::pin(stream::iter([found, broken]))
    }
}

fn search_tool() -> Search {
    Search(ToolDefinition {
        name: "search".into(),
        description: String::new(),
        parameters: json!({ "type": "object" }),
    })
}

async fn pages(cx: Context, question: Question) -> Result<Vec<String>, Error> {
    cx.custom("searched", &question.text).await?;
    Ok(vec!["A page.".into()])
}

/// An engine that sends its runs to a collector.
fn observed(collector: &Collector) -> (Arc<Engine>, OpenTelemetry, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let mut config = Config::new(folder.path());
    config.script = Some(Script::Text(SCRIPT.into()));
    config.recovery.pause = Duration::from_millis(20);
    let telemetry = OpenTelemetry::new(collector).unwrap();
    let chain = retriever("library", pages)
        .then(prompt("ask", |pages: Vec<String>| pages.join("\n")))
        .then(parallel(model("scripted/one"), model("scripted/two")).hidden())
        .then(parser("longer", |(_, two): (String, String)| Ok(two)))
        .then(answer());
    let engine = Engine::builder(config)
        .chain("research", chain)
        .tool(search_tool())
        .observer(telemetry.clone())
        .open()
        .unwrap();
    (engine, telemetry, folder)
}

/// Asks a model, and waits until the answer has ended and all observers have seen it.
async fn ask(engine: &Arc<Engine>, model: &str) -> RunId {
    let question = StartRun {
        text: "Where is the oyster?".into(),
        model: Some(model.into()),
        ..StartRun::default()
    };
    let run = engine.start(question).await.unwrap().run;
    end(engine, run).await;
    soon(engine.observed()).await;
    run
}

fn attributes(of: &[KeyValue]) -> BTreeMap<String, String> {
    let text = |pair: &KeyValue| {
        let value = pair.value.clone().and_then(|value| value.value);
        let text = match value.expect("a value") {
            Any::StringValue(text) => text,
            Any::IntValue(number) => number.to_string(),
            Any::DoubleValue(number) => number.to_string(),
            Any::BoolValue(is) => is.to_string(),
            other => format!("{other:?}"),
        };
        (pair.key.clone(), text)
    };
    of.iter().map(text).collect()
}

fn code(span: &Sent) -> StatusCode {
    span.status
        .as_ref()
        .map_or(StatusCode::Unset, |status| status.code())
}

/// The spans as `parent > name status`, where the names of parents are the last word only.
fn tree(spans: &[Sent]) -> Vec<String> {
    let names: HashMap<_, _> = spans
        .iter()
        .map(|span| (&span.span_id, &span.name))
        .collect();
    let line = |span: &Sent| {
        let parent = names.get(&span.parent_span_id).map_or("", |name| name);
        let parent = parent.split(' ').next_back().unwrap();
        let status = &attributes(&span.attributes)["headwater.status"];
        format!("{parent} > {} {status} {:?}", span.name, code(span))
    };
    spans.iter().map(line).collect()
}

#[tokio::test]
async fn every_span_of_a_chain_arrives_with_its_parent_its_times_and_its_names() {
    let receiver = Receiver::default();
    let mut collector = Collector::new(receiver.listen().await);
    collector
        .headers
        .insert("x-key".into(), "opensesame".into());
    collector.service = Some("library".into());
    let (engine, telemetry, _folder) = observed(&collector);
    let run = ask(&engine, "chain/research").await;
    assert!(soon(telemetry.shutdown(PATIENCE)).await);

    let spans = receiver.spans();
    assert_eq!(
        tree(&spans),
        [
            " > invoke_agent chain/research ok Unset",
            "chain/research > invoke_workflow chain/research ok Unset",
            "chain/research > retrieval library ok Unset",
            "chain/research > prompt ask ok Unset",
            "chain/research > invoke_workflow parallel ok Unset",
            "parallel > chat one ok Unset",
            "parallel > chat two superseded Error",
            "parallel > chat two ok Unset",
            "chain/research > parser longer ok Unset",
        ]
    );

    // The numbers and the times are those of the log.
    let (mut began, mut ended, mut accepted) = (HashMap::new(), HashMap::new(), 0);
    let mut log = Box::pin(engine.follow(run, 0).await.unwrap());
    while let Some(entry) = log.next().await {
        match entry.event {
            Event::RunStarted { at, .. } => accepted = at,
            Event::SpanStarted { span, .. } => drop(began.insert(span, entry.at)),
            Event::SpanFinished { span, .. } => drop(ended.insert(span, entry.at)),
            _ => {}
        }
    }
    let nanos = |ms: u64| (accepted + ms) * 1_000_000;
    for (number, span) in (1..).zip(&spans[1..]) {
        assert_eq!(span.trace_id, run.0.as_bytes(), "the trace is the run");
        assert_eq!(
            span.start_time_unix_nano,
            nanos(began[&number]),
            "{}",
            span.name
        );
        assert_eq!(
            span.end_time_unix_nano,
            nanos(ended[&number]),
            "{}",
            span.name
        );
    }
    let finished = end(&engine, run).await.timing.unwrap().finished;
    assert_eq!(spans[0].start_time_unix_nano, nanos(0));
    assert_eq!(spans[0].end_time_unix_nano, nanos(finished));

    let whole = attributes(&spans[0].attributes);
    assert_eq!(whole["gen_ai.operation.name"], "invoke_agent");
    assert_eq!(whole["headwater.run.id"], run.to_string());
    let (failed, second) = (&spans[6], &spans[7]);
    let told = attributes(&failed.attributes);
    assert_eq!(told["error.type"], "overloaded");
    assert_eq!(told["http.response.status_code"], "529");
    let told = attributes(&second.attributes);
    for (key, value) in [
        ("gen_ai.operation.name", "chat"),
        ("gen_ai.provider.name", "scripted"),
        ("gen_ai.request.model", "two"),
        ("gen_ai.usage.input_tokens", "10"),
        ("gen_ai.usage.output_tokens", "5"),
        ("gen_ai.usage.reasoning.output_tokens", "2"),
        ("gen_ai.conversation.id", &whole["gen_ai.conversation.id"]),
    ] {
        assert_eq!(told[key], value, "{key}");
    }
    assert!(told["gen_ai.response.finish_reasons"].contains("stop"));
    assert!(told.keys().all(|key| key != "error.type"));
    assert_eq!(second.kind(), Side::Client);
    assert_eq!(second.links[0].span_id, failed.span_id);

    let retry = &spans[4].events[0];
    assert_eq!(retry.name, "retry");
    assert_eq!(
        attributes(&retry.attributes)["headwater.retry.attempt"],
        "2"
    );
    assert!(retry.time_unix_nano >= failed.end_time_unix_nano);
    assert!(retry.time_unix_nano <= second.start_time_unix_nano);
    assert_eq!(spans[2].events[0].name, "searched");

    let (head, body) = receiver.requests.lock()[0].clone();
    assert!(head.starts_with("post /v1/traces ") && head.contains("x-key: opensesame"));
    let resource = body.resource_spans[0].resource.as_ref().unwrap();
    assert_eq!(attributes(&resource.attributes)["service.name"], "library");
    for content in ["oyster", "A page", "opinion", "secrets"] {
        assert!(!receiver.all().contains(content), "{content}");
    }
}

#[tokio::test]
async fn a_tool_that_fails_is_an_error_and_content_comes_if_it_was_asked_for() {
    for has_content in [false, true] {
        let receiver = Receiver::default();
        let mut collector = Collector::new(receiver.listen().await);
        collector.has_content = has_content;
        let (engine, telemetry, _folder) = observed(&collector);
        ask(&engine, "scripted/calls").await;
        ask(&engine, "chain/research").await;
        assert!(soon(telemetry.shutdown(PATIENCE)).await);

        let spans = receiver.spans();
        let tool = spans.iter().find(|span| span.name == "execute_tool search");
        let tool = tool.expect("the call of the tool");
        let told = attributes(&tool.attributes);
        assert_eq!(code(tool), StatusCode::Error);
        assert_eq!(told["error.type"], "tool_failed");
        assert_eq!(told["gen_ai.tool.call.id"], "call_7");
        let chat = spans
            .iter()
            .find(|span| span.span_id == tool.parent_span_id);
        assert_eq!(chat.unwrap().name, "chat calls");

        let all = receiver.all();
        for content in [
            "oyster",
            "pearls",
            "Let me see",
            "Half a shell",
            "secret sea",
            "A page",
            "opinion",
            "Busy with secrets",
        ] {
            assert_eq!(all.contains(content), has_content, "{content}");
        }
        if has_content {
            let arguments: Value =
                serde_json::from_str(&told["gen_ai.tool.call.arguments"]).unwrap();
            assert_eq!(arguments, json!({ "q": "pearls" }));
            let told = attributes(&chat.unwrap().attributes);
            let messages: Value = serde_json::from_str(&told["gen_ai.output.messages"]).unwrap();
            assert_eq!(messages[0]["parts"][1]["name"], "search");
            assert_eq!(messages[0]["finish_reason"], "tool_calls");
        }
    }
}

#[tokio::test]
async fn a_collector_that_is_gone_or_stands_still_delays_nothing_but_its_own_data() {
    let gone = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let still = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addresses = [&gone, &still].map(|one| one.local_addr().unwrap());
    drop(gone);
    for address in addresses {
        let collector = Collector::new(format!("http://{address}/v1/traces"));
        let (engine, telemetry, _folder) = observed(&collector);
        for _ in 0..3 {
            let run = ask(&engine, "scripted/one").await;
            assert_eq!(end(&engine, run).await.visible_text(), "First opinion.");
        }
        let begun = Instant::now();
        let is_delivered = telemetry.shutdown(Duration::from_millis(500)).await;
        assert!(!is_delivered, "nobody has taken them");
        assert!(begun.elapsed() < Duration::from_secs(3));
        assert_eq!(telemetry.lost(), 6, "three runs with a model each");
        ask(&engine, "scripted/one").await;
    }
}

#[tokio::test]
async fn a_run_that_is_observed_again_is_the_same_trace_again() {
    let receiver = Receiver::default();
    let collector = Collector::new(receiver.listen().await);
    let (engine, telemetry, _folder) = observed(&collector);
    let run = ask(&engine, "scripted/one").await;
    let again = engine.observe(run, telemetry.clone(), Options::default());
    soon(again.await.unwrap().finished()).await;
    assert!(soon(telemetry.shutdown(PATIENCE)).await);
    let spans = receiver.spans();
    assert_eq!(spans.len(), 4);
    assert_eq!(spans[..2], spans[2..]);
}

#[test]
fn a_collector_without_an_address_is_refused_with_a_sentence() {
    let refused = OpenTelemetry::new(&Collector::new("http://[nonsense")).unwrap_err();
    assert_eq!(refused.code, ErrorCode::InvalidRequest);
    assert!(
        refused
            .message
            .starts_with("OpenTelemetry cannot be set up")
    );
}
