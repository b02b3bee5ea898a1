//! What the vendors say, for the tests that break it.

use headwater_engine::config::Kind;
use headwater_protocol::ErrorCode;

/// A vendor and its recorded streams.
#[derive(Clone, Copy, Debug)]
pub struct Vendor {
    pub name: &'static str,
    pub kind: Kind,
    /// A whole answer, [`TEXT`].
    pub text: &'static str,
    /// How many of its events are the first half: some text, but not all of it.
    pub half: usize,
    /// An answer that calls tools.
    pub tools: &'static str,
    /// The tools' names and arguments in it.
    pub calls: &'static [(&'static str, &'static str)],
    /// An error in the middle of a stream, and what it means.
    pub error: (&'static str, ErrorCode),
}

/// What every vendor's recorded answer says.
pub const TEXT: &str = "Grüße 👩‍👩‍👧 日本!\n";

pub const OPENAI: Vendor = Vendor {
    name: "openai",
    kind: Kind::Openai,
    text: fixture!("openai/openai.sse"),
    half: 2,
    tools: fixture!("openai/tools.sse"),
    calls: &[
        ("search", r#"{"query": "a"}"#),
        ("search", r#"{"query": "}é"}"#),
        ("clock", ""),
    ],
    error: (
        "data: {\"error\":{\"message\":\"The server is overloaded\",\"type\":\"server_error\",\"code\":503}}\n\n",
        ErrorCode::Overloaded,
    ),
};

pub const RESPONSES: Vendor = Vendor {
    name: "responses",
    kind: Kind::Responses,
    text: fixture!("responses/text.sse"),
    half: 6,
    tools: fixture!("responses/tools.sse"),
    calls: &[
        ("search", r#"{"query": "}é"}"#),
        ("clock", ""),
        ("whole", r#"{"a":1}"#),
    ],
    error: (
        "event: error\ndata: {\"type\":\"error\",\"code\":\"server_error\",\"message\":\"The server had an error\",\"param\":null}\n\n",
        ErrorCode::ProviderError,
    ),
};

pub const ANTHROPIC: Vendor = Vendor {
    name: "anthropic",
    kind: Kind::Anthropic,
    text: fixture!("anthropic/text.sse"),
    half: 5,
    tools: fixture!("anthropic/tools.sse"),
    calls: &[
        ("search", r#"{"query": "}é"}"#),
        ("clock", ""),
        ("whole", r#"{"a":1}"#),
    ],
    error: (
        "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\"message\":\"Overloaded\"}}\n\n",
        ErrorCode::Overloaded,
    ),
};

pub const GEMINI: Vendor = Vendor {
    name: "gemini",
    kind: Kind::Gemini,
    text: fixture!("gemini/text.sse"),
    half: 1,
    tools: fixture!("gemini/calls.sse"),
    calls: &[
        ("weather", r#"{"city":"Zürich","days":2}"#),
        ("weather", r#"{"city":"}\"{"}"#),
        ("clock", "{}"),
    ],
    error: (
        "data: {\"error\":{\"code\":503,\"message\":\"The model is overloaded.\",\"status\":\"UNAVAILABLE\"}}\n\n",
        ErrorCode::Overloaded,
    ),
};

/// All of them.
pub const ALL: [Vendor; 4] = [OPENAI, RESPONSES, ANTHROPIC, GEMINI];

impl Vendor {
    /// Where the first half of the answer ends.
    pub fn half_at(&self) -> usize {
        let mut ends = self.text.match_indices("\n\n").map(|(at, _)| at + 2);
        ends.nth(self.half - 1).expect("as many events")
    }

    /// The first half of the answer.
    pub fn half(&self) -> &'static str {
        &self.text[..self.half_at()]
    }
}
