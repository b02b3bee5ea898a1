//! Writes the request.

use crate::server::provider::{ChatRequest, Role};
use reqwest::Url;
use serde::Serialize;

/// What servers disagree about in a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shape {
    /// Ask for usage at the end of the stream.
    pub(super) stream_options: bool,
    /// OpenAI's newer name of the limit of tokens.
    pub(super) max_completion_tokens: bool,
}

impl Shape {
    /// The likely shape for an address.
    pub(super) fn for_url(url: &Url) -> Self {
        Self {
            stream_options: true,
            max_completion_tokens: url.host_str() == Some("api.openai.com"),
        }
    }

    /// What to try instead when a server refused the request with these words.
    pub(super) fn after_refusal(self, body: &[u8], limit_was_sent: bool) -> Option<Self> {
        let said = String::from_utf8_lossy(body).to_lowercase();
        if self.stream_options
            && (said.contains("stream_options") || said.contains("include_usage"))
        {
            return Some(Self {
                stream_options: false,
                ..self
            });
        }
        let unknown = [
            "unsupported",
            "unknown",
            "unrecognized",
            "not supported",
            "not permitted",
            "unexpected",
            "instead",
        ];
        // A limit that is merely too high names the parameter as well.
        if limit_was_sent
            && said.contains(self.limit_name())
            && unknown.iter().any(|word| said.contains(word))
        {
            return Some(Self {
                max_completion_tokens: !self.max_completion_tokens,
                ..self
            });
        }
        None
    }

    fn limit_name(self) -> &'static str {
        match self.max_completion_tokens {
            true => "max_completion_tokens",
            false => "max_tokens",
        }
    }
}

#[derive(Serialize)]
struct Body<'a> {
    model: &'a str,
    messages: Vec<Message<'a>>,
    stream: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    stream_options: Option<StreamOptions>,
    #[serde(skip_serializing_if = "Option::is_none")]
    temperature: Option<f32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    top_p: Option<f32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_tokens: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_completion_tokens: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    continue_final_message: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    add_generation_prompt: Option<bool>,
}

#[derive(Serialize)]
struct StreamOptions {
    include_usage: bool,
}

#[derive(Serialize)]
struct Message<'a> {
    role: &'static str,
    content: std::borrow::Cow<'a, str>,
}

/// The body of a request, as JSON.
pub(super) fn body(
    request: &ChatRequest,
    shape: Shape,
    prefill: bool,
) -> serde_json::Result<Vec<u8>> {
    let prefill = request
        .prefill
        .as_deref()
        .filter(|text| prefill && !text.is_empty());
    let system = request.system.as_deref().map(|content| Message {
        role: "system",
        content: content.into(),
    });
    let turns = request.messages.iter().map(|message| Message {
        role: match message.role {
            Role::User => "user",
            Role::Assistant => "assistant",
        },
        content: message.text().into(),
    });
    let half = prefill.map(|content| Message {
        role: "assistant",
        content: content.into(),
    });
    let limit = request.sampling.max_tokens;
    serde_json::to_vec(&Body {
        model: &request.model,
        messages: system.into_iter().chain(turns).chain(half).collect(),
        stream: true,
        stream_options: shape.stream_options.then_some(StreamOptions {
            include_usage: true,
        }),
        temperature: request.sampling.temperature,
        top_p: request.sampling.top_p,
        max_tokens: limit.filter(|_| !shape.max_completion_tokens),
        max_completion_tokens: limit.filter(|_| shape.max_completion_tokens),
        continue_final_message: prefill.map(|_| true),
        add_generation_prompt: prefill.map(|_| false),
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may fail by panic")]
mod tests {
    use super::*;
    use crate::server::provider::{ChatMessage, Sampling};
    use serde_json::{Value, json};

    fn written(request: &ChatRequest, shape: Shape, prefill: bool) -> Value {
        serde_json::from_slice(&body(request, shape, prefill).unwrap()).unwrap()
    }

    fn shape(url: &str) -> Shape {
        Shape::for_url(&url.parse().unwrap())
    }

    #[test]
    fn a_request_holds_what_was_asked_and_no_more() {
        let mut request = ChatRequest {
            model: "m".into(),
            messages: vec![ChatMessage::new(Role::User, "Hi\u{0}\"")],
            prefill: Some("Half".into()),
            ..ChatRequest::default()
        };
        let plain = shape("http://localhost:8080/v1");
        assert_eq!(
            written(&request, plain, false),
            json!({
                "model": "m",
                "messages": [{"role": "user", "content": "Hi\u{0}\""}],
                "stream": true,
                "stream_options": {"include_usage": true},
            })
        );
        request.system = Some("Be kind.".into());
        request.sampling = Sampling {
            temperature: Some(0.2),
            top_p: Some(0.9),
            max_tokens: Some(5),
            effort: None,
        };
        let text = String::from_utf8(body(&request, plain, true).unwrap()).unwrap();
        assert!(text.contains("\"temperature\":0.2,\"top_p\":0.9,\"max_tokens\":5"));
        let value = written(&request, plain, true);
        assert_eq!(value["messages"][0]["role"], "system");
        assert_eq!(
            value["messages"][2],
            json!({"role": "assistant", "content": "Half"})
        );
        assert_eq!(value["continue_final_message"], true);
        assert_eq!(value["add_generation_prompt"], false);
        let value = written(&request, shape("https://api.openai.com/v1"), false);
        assert_eq!(value["max_completion_tokens"], 5);
        assert_eq!(value["max_tokens"], Value::Null);
        assert_eq!(value["messages"].as_array().unwrap().len(), 2);
    }

    #[test]
    fn a_refusal_shows_what_to_leave_out() {
        let plain = shape("http://localhost/v1");
        let next = |shape: Shape, body: &str| shape.after_refusal(body.as_bytes(), true);
        let without = next(plain, "Extra inputs are not permitted: body.stream_options").unwrap();
        assert!(!without.stream_options);
        assert_eq!(next(without, "stream_options again"), None);
        let newer = next(plain, "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead.").unwrap();
        assert!(newer.max_completion_tokens && newer.stream_options);
        assert_eq!(
            next(newer, "unknown field `max_completion_tokens`"),
            Some(plain)
        );
        assert_eq!(next(plain, "max_tokens is too large: 100000"), None);
        assert_eq!(plain.after_refusal(b"unsupported max_tokens", false), None);
        assert_eq!(next(plain, "no such model"), None);
    }
}
