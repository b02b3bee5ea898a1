//! What goes back with the next request: to servers that refuse a conversation without it, or with
//! what they do not know; through tools, other models and a restart.

use crate::{
    harness::{self, InProcess, Process},
    upstream::{Reply, Upstream},
};
use headwater_engine::{
    config::{Kind, ProviderConfig},
    tool::program::ToolConfig,
};
use headwater_protocol::{BlockKind, Started, Status, chat::Answer};
use serde_json::{Value, json};
use std::path::Path;

/// A stream of Chat Completions with these pieces.
fn stream(deltas: &[Value], finish: &str) -> Reply {
    let mut body = String::new();
    let end = json!({"choices": [{"index": 0, "delta": {}, "finish_reason": finish}]});
    let pieces = deltas
        .iter()
        .map(|delta| json!({"choices": [{"index": 0, "delta": delta, "finish_reason": null}]}));
    for chunk in pieces.chain([end]) {
        body += &format!("data: {chunk}\n\n");
    }
    Reply::chunked(body + "data: [DONE]\n\n")
}

fn refused(why: &str) -> Reply {
    let body = json!({"error": {"message": why, "type": "invalid_request_error"}});
    Reply::status("400 Bad Request", &body.to_string())
}

fn messages(request: &str) -> Vec<Value> {
    let request: Value = serde_json::from_str(request).expect("JSON");
    request["messages"].as_array().expect("a list").clone()
}

fn calls(message: &Value) -> &[Value] {
    message["tool_calls"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default()
}

fn is_blank(value: &Value) -> bool {
    value.as_str().is_none_or(|text| text.trim().is_empty())
}

fn thoughts_and_call(field: &str, id: &str) -> Reply {
    let call = json!([{"index": 0, "id": id, "type": "function",
        "function": {"name": "clock", "arguments": "{\"zone\""}}]);
    let rest = json!([{"index": 0, "function": {"arguments": ": \"utc\"}"}}]);
    stream(
        &[
            json!({"role": "assistant", "content": null, field: ""}),
            json!({"content": null, field: "I do not know the time."}),
            json!({"content": null, field: " A tool does."}),
            json!({"tool_calls": call}),
            json!({"tool_calls": rest}),
        ],
        "tool_calls",
    )
}

const THOUGHTS: &str = "I do not know the time. A tool does.";

/// A server that thinks before each call, and wants to read it again, as DeepSeek and Kimi do.
async fn thinker() -> Upstream {
    Upstream::deciding(|number, request| {
        let messages = messages(request);
        for message in &messages {
            if !calls(message).is_empty() && is_blank(&message["reasoning_content"]) {
                return refused(
                    "The `reasoning_content` in the thinking mode must be passed back to the API.",
                );
            }
        }
        match messages[messages.len() - 1]["role"].as_str() {
            Some("tool") => stream(&[json!({"content": "It is noon."})], "stop"),
            _ => thoughts_and_call("reasoning_content", &format!("call_{number:02}_t0")),
        }
    })
    .await
}

fn provider(name: &str, upstream: &Upstream) -> ProviderConfig {
    ProviderConfig {
        name: name.into(),
        ..harness::provider(Kind::Openai, format!("http://{}/v1", upstream.address))
    }
}

fn clock() -> ToolConfig {
    ToolConfig {
        name: "clock".into(),
        description: "Tells the time.".into(),
        command: ["sh", "-c", "echo noon"].map(str::to_owned).to_vec(),
        ..ToolConfig::default()
    }
}

async fn server(providers: Vec<ProviderConfig>) -> InProcess {
    InProcess::with(|config| {
        config.tools = vec![clock()];
        config.providers = providers;
    })
    .await
}

/// Asks a model, in a conversation that goes on.
async fn ask(
    api: &crate::harness::Api,
    model: &str,
    text: &str,
    before: Option<&Started>,
) -> (Started, Answer) {
    let conversation = before.map(|before| before.conversation.to_string());
    let mut form = vec![("text", text), ("model", model)];
    form.extend(conversation.as_deref().map(|id| ("conversation", id)));
    let started = api.try_start(&form).await.expect("started");
    let answer = api.fold(started.run).await;
    (started, answer)
}

fn runs_of_tools(answer: &Answer) -> usize {
    let blocks = answer.blocks.iter();
    blocks
        .filter(|block| block.kind == BlockKind::ToolOutput && block.text == "noon\n")
        .count()
}

/// The program with one provider `p`, and the tool.
fn program(folder: &Path, upstream: &Upstream) -> Process {
    let file = folder.join("headwater.toml");
    let text = format!(
        "[[provider]]\nname = \"p\"\nkind = \"openai\"\nurl = \"http://{}/v1\"\nmodels = [\"m\"]\n\
         [[tool]]\nname = \"clock\"\ndescription = \"d\"\ncommand = [\"sh\", \"-c\", \"echo noon\"]\n",
        upstream.address
    );
    std::fs::write(&file, text).expect("written");
    Process::start(folder, &["--config", file.to_str().expect("UTF-8")])
}

#[tokio::test]
async fn thoughts_go_back_to_the_server_that_insists_on_them_also_after_a_restart() {
    let upstream = thinker().await;
    let folder = tempfile::tempdir().expect("folder");
    let mut before: Option<Started> = None;
    for turn in 0..3 {
        let program = program(folder.path(), &upstream);
        let (started, answer) = ask(&program.api, "p/m", "What time?", before.as_ref()).await;
        assert_eq!(
            answer.status,
            Some(Status::Ok),
            "{turn}: {:?}",
            answer.error
        );
        assert!(answer.visible_text().ends_with("It is noon."), "{turn}");
        assert_eq!(runs_of_tools(&answer), 1, "{turn}");
        before = Some(started);
        program.kill();
    }
    // Nothing was refused and asked again.
    let requests = upstream.requests();
    assert_eq!(requests.len(), 6);
    let last = messages(&requests[5]);
    let thoughts = last.iter().filter(|message| !calls(message).is_empty());
    let thoughts: Vec<&Value> = thoughts
        .map(|message| &message["reasoning_content"])
        .collect();
    assert_eq!(thoughts, [THOUGHTS; 3]);
}

#[tokio::test]
async fn thoughts_go_back_under_their_own_name_and_to_nobody_else() {
    for field in ["reasoning_content", "reasoning"] {
        let thinks = Upstream::deciding(move |_, request| {
            match messages(request).last().map(|last| last["role"] == "tool") {
                Some(true) => stream(&[json!({"content": "It is noon."})], "stop"),
                _ => thoughts_and_call(field, "functions.clock:0"),
            }
        })
        .await;
        let other = Upstream::start(vec![stream(&[json!({"content": "Fine."})], "stop")]).await;
        let server = server(vec![provider("p", &thinks), provider("q", &other)]).await;
        let (started, answer) = ask(&server.api, "p/m", "One", None).await;
        assert_eq!(answer.status, Some(Status::Ok), "{field}");
        let (_, answer) = ask(&server.api, "q/m", "Two", Some(&started)).await;
        assert_eq!(answer.status, Some(Status::Ok), "{field}");
        let (_, answer) = ask(&server.api, "p/m", "Three", Some(&started)).await;
        assert_eq!(answer.status, Some(Status::Ok), "{field}");
        let own = messages(&thinks.requests()[2]);
        assert_eq!(own[1][field], THOUGHTS);
        assert_eq!(calls(&own[1])[0]["id"], "functions.clock:0");
        let foreign = &other.requests()[0];
        assert!(
            !foreign.contains("reasoning") && !foreign.contains("do not know"),
            "{foreign}"
        );
        // Its identifier is of the form that Mistral takes.
        let foreign = messages(foreign);
        let id = calls(&foreign[1])[0]["id"]
            .as_str()
            .expect("one")
            .to_owned();
        assert!(
            id.len() == 9 && id.bytes().all(|byte| byte.is_ascii_alphanumeric()),
            "{id}"
        );
        assert_eq!(foreign[2]["tool_call_id"], id.as_str());
    }
}

#[tokio::test]
async fn a_model_that_answers_for_another_gets_its_own_thoughts_again() {
    let down = Upstream::start(vec![Reply::status("500 Internal Server Error", "{}")]).await;
    let thinks = thinker().await;
    let server = InProcess::with(|config| {
        config.tools = vec![clock()];
        config.providers = vec![provider("down", &down), provider("p", &thinks)];
        config.fallback = vec!["p/m".into()];
    })
    .await;
    let (started, answer) = ask(&server.api, "down/m", "One", None).await;
    assert_eq!(answer.status, Some(Status::Ok), "{:?}", answer.error);
    let (_, answer) = ask(&server.api, "down/m", "Two", Some(&started)).await;
    assert_eq!(answer.status, Some(Status::Ok), "{:?}", answer.error);
    assert_eq!(answer.answered_by(), "p/m");
    let requests = thinks.requests();
    assert_eq!(requests.len(), 4);
    for message in messages(&requests[3])
        .iter()
        .filter(|it| !calls(it).is_empty())
    {
        assert_eq!(message["reasoning_content"], THOUGHTS);
    }
    for request in down.requests() {
        assert!(!request.contains("reasoning_content"), "{request}");
    }
}

#[tokio::test]
async fn a_server_that_insists_on_thoughts_takes_a_conversation_that_another_began() {
    let call =
        json!([{"index": 0, "id": "call_1", "function": {"name": "clock", "arguments": "{}"}}]);
    let other = Upstream::start(vec![
        stream(&[json!({"tool_calls": call})], "tool_calls"),
        stream(&[json!({"content": "Noon."})], "stop"),
    ])
    .await;
    let thinks = thinker().await;
    let server = server(vec![provider("q", &other), provider("p", &thinks)]).await;
    let (started, answer) = ask(&server.api, "q/m", "One", None).await;
    assert_eq!(answer.status, Some(Status::Ok));
    for text in ["Two", "Three"] {
        let (_, answer) = ask(&server.api, "p/m", text, Some(&started)).await;
        assert_eq!(answer.status, Some(Status::Ok), "{:?}", answer.error);
    }
    // It was refused once, and what it wants is remembered.
    assert_eq!(thinks.requests().len(), 1 + 2 + 2);
}

#[tokio::test]
async fn a_server_that_does_not_take_its_own_thoughts_back_gets_none() {
    let upstream = Upstream::deciding(|_, request| {
        let messages = messages(request);
        if messages.iter().any(|message| message.get("reasoning").is_some()) {
            return refused("'messages.1' : for 'role:assistant' the following must be satisfied[('messages.1' : property 'reasoning' is unsupported)]");
        }
        match messages[messages.len() - 1]["role"].as_str() {
            Some("tool") => stream(&[json!({"content": "It is noon."})], "stop"),
            _ => thoughts_and_call("reasoning", "call_1"),
        }
    })
    .await;
    let server = server(vec![provider("p", &upstream)]).await;
    let (started, answer) = ask(&server.api, "p/m", "One", None).await;
    assert_eq!(answer.status, Some(Status::Ok), "{:?}", answer.error);
    let (_, answer) = ask(&server.api, "p/m", "Two", Some(&started)).await;
    assert_eq!(answer.status, Some(Status::Ok), "{:?}", answer.error);
    assert_eq!(upstream.requests().len(), 2 + 1 + 2);
}

#[tokio::test]
async fn opaque_extras_go_back_as_they_were() {
    let details = json!([
        {"type": "reasoning.text", "id": "r1", "format": "f", "index": 0, "text": "First the ones, then the tens.", "signature": "s1"},
        {"type": "reasoning.encrypted", "id": "r2", "format": "f", "index": 1, "data": "b64+/=="},
    ]);
    let signature = json!({"google": {"thought_signature": "CiQB/+w=="}});
    let piece = |index: u8, more: Value| {
        let mut piece =
            json!({"type": "reasoning.text", "id": "r1", "format": "f", "index": index});
        for (name, value) in more.as_object().expect("an object") {
            piece[name] = value.clone();
        }
        json!({"content": "", "reasoning_details": [piece]})
    };
    let call = json!([{"index": 0, "id": "a", "type": "function", "extra_content": signature,
        "function": {"name": "clock", "arguments": "{}"}},
        {"index": 1, "id": "b", "type": "function", "function": {"name": "clock", "arguments": "{}"}}]);
    let replies = [
        stream(
            &[
                piece(0, json!({"text": "First the ones,"})),
                piece(0, json!({"text": " then the tens."})),
                piece(0, json!({"signature": "s1"})),
                json!({"content": "I look."}),
                json!({"tool_calls": call}),
                json!({"reasoning_details": [details[1]]}),
            ],
            "tool_calls",
        ),
        stream(&[json!({"content": "Noon."})], "stop"),
    ];
    let upstream = Upstream::start(replies.to_vec()).await;
    let server = server(vec![provider("p", &upstream)]).await;
    let (started, answer) = ask(&server.api, "p/m", "One", None).await;
    assert_eq!(answer.status, Some(Status::Ok), "{:?}", answer.error);
    ask(&server.api, "p/m", "Two", Some(&started)).await;
    let requests = upstream.requests();
    for request in &requests[1..] {
        let said = &messages(request)[1];
        assert_eq!(said["content"], "I look.");
        assert_eq!(said["reasoning_details"], details);
        assert_eq!(calls(said)[0]["extra_content"], signature);
        assert_eq!(calls(said)[1]["extra_content"], Value::Null);
        assert!(said.get("field").is_none() && said.get("call").is_none());
    }
}

/// A server whose template insists: no turn of the model without a word or a call, and the speakers
/// take turns. Its first answer is a thought alone.
async fn strict() -> Upstream {
    Upstream::deciding(|_, request| {
        let mut before = "assistant".to_owned();
        for message in messages(request) {
            let role = message["role"].as_str().unwrap_or_default().to_owned();
            if role == "assistant" && calls(&message).is_empty() && is_blank(&message["content"]) {
                return refused("Invalid request: message must not be empty");
            }
            if (role == "user") != (before == "assistant") {
                return refused(
                    "Conversation roles must alternate user/assistant/user/assistant/...",
                );
            }
            before = role;
        }
        if request.contains("Twice") {
            return stream(&[json!({"content": "The conversation goes on."})], "stop");
        }
        let thought = |text: &str| json!({"reasoning_content": text});
        stream(
            &[
                thought("I think"),
                thought(" about it"),
                json!({"content": ""}),
            ],
            "stop",
        )
    })
    .await
}

#[tokio::test]
async fn an_answer_without_a_word_does_not_end_the_conversation_also_after_a_restart() {
    let upstream = strict().await;
    let folder = tempfile::tempdir().expect("folder");
    let first = program(folder.path(), &upstream);
    let (started, answer) = ask(&first.api, "p/m", "Once", None).await;
    assert_eq!(answer.visible_text(), "");
    first.kill();
    let second = program(folder.path(), &upstream);
    for text in ["Twice", "Thrice"] {
        let (_, answer) = ask(&second.api, "p/m", text, Some(&started)).await;
        assert_eq!(answer.status, Some(Status::Ok), "{:?}", answer.error);
        assert_eq!(answer.visible_text(), "The conversation goes on.");
    }
}

#[tokio::test]
async fn an_answer_stopped_before_its_first_word_does_not_end_the_conversation() {
    let upstream = strict().await;
    let server = InProcess::with(|config| config.providers = vec![provider("p", &upstream)]).await;
    let started = server.api.start("slow", "Once").await;
    server.api.stop(started.run, Some(1)).await;
    let answer = server.api.fold(started.run).await;
    assert_eq!(answer.visible_text(), "");
    for text in ["Twice", "Thrice"] {
        let (_, answer) = ask(&server.api, "p/m", text, Some(&started)).await;
        assert_eq!(answer.status, Some(Status::Ok), "{:?}", answer.error);
        assert_eq!(answer.visible_text(), "The conversation goes on.");
    }
}

#[tokio::test]
async fn an_image_does_not_end_the_conversation_with_a_model_that_cannot_see() {
    let upstream = Upstream::deciding(|_, request| match request.contains("image_url") {
        true => Reply::status(
            "500 Internal Server Error",
            "{\"error\":{\"message\":\"image input is not supported\"}}",
        ),
        false => stream(&[json!({"content": "Fine."})], "stop"),
    })
    .await;
    let server = server(vec![provider("p", &upstream)]).await;
    let image = b"\x89PNG\r\n\x1a\nand the rest of it".to_vec();
    let sent = server
        .api
        .http
        .post(format!("{}/api/images", server.api.base));
    let sent = sent.body(image).send().await.expect("sent");
    let image: String = sent.json().await.expect("kept");
    let form = [
        ("text", "What is it?"),
        ("model", "p/m"),
        ("images", &image),
    ];
    let started = server.api.try_start(&form).await.expect("started");
    // Whoever asks about an image is told that it was not seen.
    let answer = server.api.fold(started.run).await;
    assert_eq!(answer.status, Some(Status::Error));
    let (_, answer) = ask(&server.api, "p/m", "Never mind.", Some(&started)).await;
    assert_eq!(answer.status, Some(Status::Ok), "{:?}", answer.error);
    assert_eq!(answer.visible_text(), "Fine.");
}

#[tokio::test]
async fn a_tool_whose_name_the_server_altered_is_run() {
    let call = |name: &str| {
        let call = json!([{"index": 0, "function": {"name": name, "arguments": "{}"}}]);
        stream(&[json!({"tool_calls": call})], "tool_calls")
    };
    let done = stream(&[json!({"content": "Noon."})], "stop");
    let upstream = Upstream::start(vec![call("functions.clock"), call("the clock!"), done]).await;
    let server = server(vec![provider("p", &upstream)]).await;
    let (_, answer) = ask(&server.api, "p/m", "One", None).await;
    assert_eq!(answer.status, Some(Status::Ok), "{:?}", answer.error);
    assert_eq!(runs_of_tools(&answer), 1);
    let told = messages(&upstream.requests()[2]);
    let names: Vec<&Value> = told
        .iter()
        .flat_map(calls)
        .map(|call| &call["function"]["name"])
        .collect();
    assert_eq!(names, ["clock", "the_clock_"]);
    // Neither call had an identifier.
    let mut ids: Vec<&Value> = told
        .iter()
        .flat_map(calls)
        .map(|call| &call["id"])
        .collect();
    ids.dedup();
    assert_eq!(ids.len(), 2);
}
