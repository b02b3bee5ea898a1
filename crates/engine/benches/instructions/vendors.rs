//! The answer as each vendor streams it. The events have the form of those in `tests/fixtures`.

use super::answer::tokens;
use headwater_engine::provider::{
    ChatRequest, HttpProviderConfig, ProviderEvent, anthropic::Anthropic, gemini::Gemini,
    http::http_client, ollama::Ollama, openai::OpenAi, responses::Responses,
};
use headwater_protocol::Error;

/// What a decoder yields.
type Events = Vec<Result<ProviderEvent, Error>>;

/// Decodes a whole answer.
pub(crate) type Decoding = Box<dyn Fn() -> Events>;

/// Chat Completions.
pub(crate) fn openai() -> Decoding {
    let provider = OpenAi::provider(config(), false, client()).expect("a provider");
    let chunk = |delta: &str, finish: &str| {
        format!(
            r#"data: {{"id":"chatcmpl-1","object":"chat.completion.chunk","created":1,"model":"m","choices":[{{"index":0,"delta":{delta},"logprobs":null,"finish_reason":{finish}}}],"usage":null}}"#
        ) + "\n\n"
    };
    let first = chunk(
        r#"{"role":"assistant","content":"","refusal":null}"#,
        "null",
    );
    let last = chunk("{}", "\"stop\"") + "data: [DONE]\n\n";
    let token = |_, text: &str| chunk(&format!(r#"{{"content":{text}}}"#), "null");
    decoding(first, token, last, move |request, chunks| {
        provider.decode(request, chunks)
    })
}

/// OpenAI's Responses.
pub(crate) fn responses() -> Decoding {
    let provider = Responses::provider(config(), client()).expect("a provider");
    let response = |status: &str| {
        format!(
            r#"{{"id":"resp_1","object":"response","created_at":1,"status":"{status}","error":null,"incomplete_details":null,"model":"m","output":[],"usage":null}}"#
        )
    };
    let first = [
        format!(
            r#"{{"type":"response.created","sequence_number":0,"response":{}}}"#,
            response("in_progress")
        ),
        r#"{"type":"response.output_item.added","sequence_number":2,"output_index":0,"item":{"id":"msg_1","type":"message","status":"in_progress","role":"assistant","content":[]}}"#.into(),
        r#"{"type":"response.content_part.added","sequence_number":3,"item_id":"msg_1","output_index":0,"content_index":0,"part":{"type":"output_text","annotations":[],"text":""}}"#.into(),
    ];
    let last = format!(
        r#"{{"type":"response.completed","sequence_number":2000,"response":{}}}"#,
        response("completed")
    );
    let token = |at: usize, text: &str| {
        typed(&format!(
            r#"{{"type":"response.output_text.delta","sequence_number":{},"item_id":"msg_1","output_index":0,"content_index":0,"delta":{text},"logprobs":[]}}"#,
            at + 4
        ))
    };
    let first = first.iter().map(|event| typed(event)).collect();
    decoding(first, token, typed(&last), move |request, chunks| {
        provider.decode(request, chunks)
    })
}

/// Anthropic's Messages.
pub(crate) fn anthropic() -> Decoding {
    let provider = Anthropic::provider(config(), client()).expect("a provider");
    let first = [
        r#"{"type":"message_start","message":{"id":"msg_01","type":"message","role":"assistant","model":"m","content":[],"stop_reason":null,"stop_sequence":null,"usage":{"input_tokens":7,"output_tokens":1}}}"#,
        r#"{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}"#,
    ];
    let last = [
        r#"{"type":"content_block_stop","index":0}"#,
        r#"{"type":"message_delta","delta":{"stop_reason":"end_turn","stop_sequence":null},"usage":{"output_tokens":1000}}"#,
        r#"{"type":"message_stop"}"#,
    ];
    let token = |_, text: &str| {
        typed(&format!(
            r#"{{"type":"content_block_delta","index":0,"delta":{{"type":"text_delta","text":{text}}}}}"#
        ))
    };
    let [first, last] =
        [&first[..], &last[..]].map(|events| events.iter().map(|e| typed(e)).collect());
    decoding(first, token, last, move |request, chunks| {
        provider.decode(request, chunks)
    })
}

/// Gemini.
pub(crate) fn gemini() -> Decoding {
    let provider = Gemini::provider(config(), client()).expect("a provider");
    let chunk = |text: &str, finish: &str, tokens: usize| {
        format!(
            r#"data: {{"candidates":[{{"content":{{"parts":[{{"text":{text}}}],"role":"model"}},{finish}"index":0}}],"usageMetadata":{{"promptTokenCount":9,"candidatesTokenCount":{tokens},"totalTokenCount":{},"promptTokensDetails":[{{"modality":"TEXT","tokenCount":9}}]}},"modelVersion":"m","responseId":"r-1"}}"#,
            tokens + 9
        ) + "\n\n"
    };
    let last = chunk("\"\"", r#""finishReason":"STOP","#, 1_000);
    let token = |at, text: &str| chunk(text, "", at + 1);
    decoding(String::new(), token, last, move |request, chunks| {
        provider.decode(request, chunks)
    })
}

/// Ollama.
pub(crate) fn ollama() -> Decoding {
    let provider = Ollama::provider(config(), false, client()).expect("a provider");
    let line = |text: &str, end: &str| {
        format!(
            r#"{{"model":"m","created_at":"2026-01-02T03:04:05.678901234Z","message":{{"role":"assistant","content":{text}}},{end}}}"#
        ) + "\n"
    };
    let last = line(
        "\"\"",
        r#""done":true,"done_reason":"stop","total_duration":1234567890,"prompt_eval_count":11,"eval_count":1000"#,
    );
    let token = |_, text: &str| line(text, r#""done":false"#);
    decoding(String::new(), token, last, move |request, chunks| {
        provider.decode(request, chunks)
    })
}

/// An event whose type stands in a field of its own as well.
fn typed(json: &str) -> String {
    let kind = json.split('"').nth(3).expect("a type");
    format!("event: {kind}\ndata: {json}\n\n")
}

/// Makes a body of chunks: the first, one for each token, and the last. `token` gets the number of the
/// token, from 0, and its text as JSON.
fn decoding(
    first: String,
    token: impl Fn(usize, &str) -> String,
    last: String,
    decode: impl Fn(&ChatRequest, &mut dyn Iterator<Item = &[u8]>) -> Events + 'static,
) -> Decoding {
    let json = tokens().map(|text| serde_json::Value::from(text).to_string());
    let tokens = json.enumerate().map(|(at, text)| token(at, &text));
    let chunks: Vec<String> = [first].into_iter().chain(tokens).chain([last]).collect();
    let request = ChatRequest {
        model: "m".into(),
        ..ChatRequest::default()
    };
    let decode = move || decode(&request, &mut chunks.iter().map(String::as_bytes));
    check(&decode());
    Box::new(decode)
}

/// Checks that the whole answer was read.
fn check(events: &Events) {
    let mut text = String::new();
    for event in events {
        if let ProviderEvent::Delta { text: more, .. } = event.as_ref().expect("no failure") {
            text.push_str(more);
        }
    }
    assert_eq!(text, tokens().collect::<String>());
    let last = events.last();
    assert!(
        matches!(last, Some(Ok(ProviderEvent::Finished { .. }))),
        "{last:?}"
    );
}

fn config() -> HttpProviderConfig {
    HttpProviderConfig {
        name: "Vendor".into(),
        base_url: Some("http://vendor.example".into()),
        ..HttpProviderConfig::default()
    }
}

fn client() -> reqwest::Client {
    http_client().expect("a client")
}
