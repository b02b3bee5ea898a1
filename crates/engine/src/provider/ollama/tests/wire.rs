//! The provider against a server that controls every byte.

use super::*;
use serde_json::json;

sockets::all_socket_rules!(make, HELLO, STOP, "");

#[tokio::test]
async fn a_question_is_asked_as_ollama_wants_it() {
    let server = Server::saying(whole(&format!("{HELLO}{STOP}"))).await;
    let folded = fold(&all(&provider(&server)).await);
    assert_eq!(folded.text, "Hello");
    assert_eq!(folded.finish, end(FinishReason::Stop, "stop"));
    assert!(server.request(0).starts_with("POST /api/chat HTTP/1.1"));
    assert_eq!(
        server.sent(0),
        json!({"model": "m", "messages": [{"role": "user", "content": "Hello"}], "stream": true})
    );
}

#[tokio::test]
async fn ollamas_own_errors_become_codes() {
    use ErrorCode::*;
    for (line, said, code, words) in [
        (
            "400 Bad Request",
            "registry.ollama.ai/library/m does not support tools",
            InvalidRequest,
            "does not support tools",
        ),
        (
            "401 Unauthorized",
            "unauthorized",
            Authentication,
            "wants a key",
        ),
        (
            "404 Not Found",
            "model 'm' not found",
            NotFound,
            "Acme does not have the model m. The command `ollama pull m` fetches it.",
        ),
        (
            "404 Not Found",
            "model \"m\" not found, try pulling it first",
            NotFound,
            "`ollama pull m`",
        ),
        (
            "429 Too Many Requests",
            "too many concurrent requests",
            RateLimited,
            "too many",
        ),
        (
            "500 Internal Server Error",
            "model requires more system memory (9 GiB) than is available (4 GiB)",
            ProviderError,
            "more system memory",
        ),
        (
            "503 Service Unavailable",
            "server busy, please try again. maximum pending requests exceeded",
            Overloaded,
            "server busy",
        ),
    ] {
        let body = json!({ "error": said }).to_string();
        let server = Server::saying(status(line, "", &body)).await;
        let error = failure(&provider(&server)).await;
        assert_eq!(error.code, code, "{said}");
        assert!(error.message.contains(words), "{error}");
        assert_eq!(server.count(), 1);
    }
    // An address that is wrong is not a model that is missing.
    let server = Server::saying(status("404 Not Found", "", "404 page not found")).await;
    let error = failure(&provider(&server)).await;
    assert!(error.message.contains("without /v1"), "{error}");
}

#[tokio::test]
async fn a_model_that_does_not_think_is_not_told_to_again() {
    let server = Server::deciding(|request| {
        if request.contains("\"think\":") {
            let said = json!({"error": "registry.ollama.ai/library/m does not support thinking"});
            status("400 Bad Request", "", &said.to_string())
        } else {
            whole(&format!("{HELLO}{STOP}"))
        }
    })
    .await;
    let acme = provider(&server);
    let mut request = ask("gpt-oss:20b");
    request.sampling.effort = Some(Effort::High);
    for requests in [3, 4] {
        let items = answer(&acme, request.clone()).await;
        assert_eq!(fold(&items).text, "Hello");
        assert_eq!(server.count(), requests);
    }
    assert_eq!(server.sent(0)["think"], "high");
    assert_eq!(server.sent(1)["think"], true);
    assert_eq!(server.sent(3).get("think"), None);
    // Another model is asked anew.
    request.model = "other".into();
    answer(&acme, request).await;
    assert_eq!(server.sent(4)["think"], true);
}

#[tokio::test]
async fn a_prefill_is_sent_unless_the_model_thinks() {
    let thought = HELLO.replace("\"content\"", "\"thinking\":\"Hm.\",\"content\"");
    let server = Server::saying(whole(&format!("{thought}{STOP}"))).await;
    let acme = provider(&server);
    let mut request = ask("m");
    request.prefill = Some("Half an".into());
    assert!(acme.can_prefill("m") && !acme.can_prefill("gpt-oss:20b"));
    answer(&acme, request.clone()).await;
    assert_eq!(
        server.sent(0),
        json!({
            "model": "m",
            "messages": [
                {"role": "user", "content": "Hello"},
                {"role": "assistant", "content": "Half an"},
            ],
            "stream": true,
            "think": false,
        })
    );
    assert!(!acme.can_prefill("m"));
    answer(&acme, request).await;
    assert!(!server.request(1).contains("Half an"));
}

#[tokio::test]
async fn models_are_listed_and_remembered() {
    let list = json!({"models": [
        {"name": "qwen3:8b", "model": "qwen3:8b", "details": {"family": "qwen3", "families": ["qwen3"]}},
        {"name": "all-minilm:latest", "details": {"family": "bert", "families": null}},
        {"name": "nomic-embed-text:latest", "details": {"family": "x", "families": ["nomic-bert"]}},
        {"name": "mxbai-embed-large:latest"},
        {"name": "odd", "capabilities": ["embedding"]},
        {"name": "bert-fan", "capabilities": ["completion", "tools", "thinking"]},
        {"model": "namelesss"},
    ]});
    let server = Server::saying(status("200 OK", "", &list.to_string())).await;
    let acme = provider(&server);
    let models = acme.models().await.unwrap();
    let ids: Vec<_> = models.iter().map(|model| model.id.as_str()).collect();
    assert_eq!(ids, ["qwen3:8b", "bert-fan", "namelesss"]);
    assert_eq!(models[0].name, "qwen3:8b");
    assert!(acme.can_prefill("qwen3:8b") && !acme.can_prefill("bert-fan"));
    assert_eq!(models[0].provider, "Acme");
    assert_eq!(acme.models().await.unwrap(), models);
    assert_eq!(server.count(), 1);
    assert!(server.request(0).starts_with("GET /api/tags HTTP/1.1"));

    let mut config = config(server.url(""));
    config.models = Some(vec!["mine".into()]);
    let fixed = Ollama::provider(config, false, http_client().unwrap()).unwrap();
    assert_eq!(fixed.models().await.unwrap()[0].id, "mine");
    for (answer, code) in [
        (
            status("404 No", "", "404 page not found"),
            ErrorCode::NotFound,
        ),
        (
            status("200 OK", "", "Ollama is running"),
            ErrorCode::Malformed,
        ),
        (status("200 OK", "", "{}"), ErrorCode::Malformed),
    ] {
        let server = Server::saying(answer).await;
        let error = provider(&server).models().await.unwrap_err();
        assert_eq!(error.code, code);
    }
    let empty = Server::saying(status("200 OK", "", "{\"models\":[]}")).await;
    assert_eq!(provider(&empty).models().await.unwrap(), []);
}

#[tokio::test]
async fn a_password_in_the_address_reaches_no_error() {
    let server = Server::saying(status("500 No", "", "{\"error\":\"no\"}")).await;
    let url = format!("http://someone:{KEY}@127.0.0.1:{}", server.port);
    let acme = make(url);
    let mut seen = format!("{acme:?} {:?} {:?}", all(&acme).await, acme.models().await);
    drop(server);
    seen += &format!("{:?}", all(&acme).await);
    assert!(
        seen.contains("127.0.0.1") && !seen.contains(&KEY[..8]),
        "{seen}"
    );
}

#[test]
fn settings_are_read_and_wrong_ones_explained() {
    let make = |base_url: &str| Ollama::provider(config(base_url), false, reqwest::Client::new());
    for url in ["ftp://x", "two words", "gpu:1:2"] {
        let error = make(url).unwrap_err();
        assert!(error.message.contains("base URL of Acme"), "{url}");
    }
    let url = |base: &str| {
        make(base)
            .unwrap()
            .backend()
            .client
            .endpoint
            .at(&["api", "tags"])
            .to_string()
    };
    assert_eq!(url(""), "http://127.0.0.1:11434/api/tags");
    assert_eq!(url("0.0.0.0:8080"), "http://127.0.0.1:8080/api/tags");
    assert_eq!(url("https://x/ollama/"), "https://x/ollama/api/tags");
}

#[tokio::test]
async fn a_continuation_without_thinking_says_nothing_about_later_questions() {
    let server = Server::saying(whole(&format!("{HELLO}{STOP}"))).await;
    let acme = provider(&server);
    let question = ask("m");
    let continuation = ChatRequest {
        prefill: Some("Half an".into()),
        ..ask("m")
    };
    for (number, (request, think)) in [
        (&continuation, Some(false)),
        (&question, None),
        (&continuation, Some(false)),
    ]
    .into_iter()
    .enumerate()
    {
        answer(&acme, request.clone()).await;
        let said = server.sent(number)["think"].as_bool();
        assert_eq!(said, think, "{number}");
    }
}
