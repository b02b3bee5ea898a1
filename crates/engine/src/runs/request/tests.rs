//! Whatever happened in a conversation, its next request is one that every vendor takes.

use super::*;
use crate::{
    db::images::Images,
    provider::{Image, ToolDefinition, testing::bodies},
};
use headwater_protocol::{
    BlockKind, Event, ImageId, MessageId, SpanKind, Status, ToolCall,
    chat::{Answer, Message, Role as Author},
};
use proptest::prelude::*;
use serde_json::{Value, json};

mod rules;

/// The model that is asked.
const MODEL: &str = "p/m";

/// Stands in all that another model gave and this one must not get.
const FOREIGN: &str = "FOREIGN";

/// What a call of a model did.
#[derive(Clone, Debug)]
enum Piece {
    /// Words, or white space alone.
    Text(&'static str),
    /// It declined.
    Refusal,
    /// A thought, whole or broken off, with the value of this number.
    Thought(bool, usize),
    /// A call of a tool: which identifier and name, whether its arguments are whole, what came of it.
    Call(usize, usize, bool, Ran),
    /// This call of the model was replaced by the next one.
    Replaced,
    /// Another call of a model followed, of another model if so.
    Next(bool),
}

#[derive(Clone, Copy, Debug)]
enum Ran {
    /// It never began.
    Not,
    Done,
    Silent,
    Failed,
    Stopped,
    /// The server was killed meanwhile.
    Killed,
}

/// Identifiers as servers give them: of every vendor's form, too long, too odd, repeated, none.
const IDS: [&str; 7] = [
    "call_abcdef0123456789",
    "toolu_01A",
    "a1B2c3D4e",
    "functions.search:0",
    "call_x__thought__CiQB/+w==0123456789012345678901234567890123456789012345678901234567890123456789",
    "same",
    "same",
];

const NAMES: [&str; 4] = ["search", "functions.search", "look up", ""];

/// What comes with thoughts, of every vendor.
fn values() -> Vec<Value> {
    vec![
        Value::Null,
        json!({"field": "reasoning_content"}),
        json!({"field": "reasoning", "reasoning_details": [{"type": "reasoning.text", "index": 0, "text": "t"}]}),
        json!({"reasoning_details": [{"type": "reasoning.encrypted", "index": 0, "data": "d"}]}),
        json!({"type": "thinking", "signature": "sig"}),
        json!({"type": "redacted_thinking", "data": "d"}),
        json!({"type": "reasoning", "id": "rs_1", "encrypted_content": "e"}),
        json!({"thoughtSignature": "g", "part": "thought"}),
        json!({"thoughtSignature": "g", "part": "text"}),
        json!({"thoughtSignature": "g", "part": "call"}),
        json!({"field": "thinking"}),
        json!({"call": "same", "extra_content": {"google": {"thought_signature": "s"}}}),
    ]
}

fn piece() -> impl Strategy<Value = Piece> {
    use Piece::*;
    let text = proptest::sample::select(vec!["I look.", " \n", "It is so.\n", "\n\nAnd so on "]);
    let ran = proptest::sample::select(vec![
        Ran::Not,
        Ran::Done,
        Ran::Silent,
        Ran::Failed,
        Ran::Stopped,
        Ran::Killed,
    ]);
    prop_oneof![
        3 => text.prop_map(Text),
        1 => Just(Refusal),
        3 => (any::<bool>(), 0..values().len()).prop_map(|(whole, value)| Thought(whole, value)),
        4 => (0..IDS.len(), 0..NAMES.len(), any::<bool>(), ran)
            .prop_map(|(id, name, whole, ran)| Call(id, name, whole, ran)),
        1 => Just(Replaced),
        3 => any::<bool>().prop_map(Next),
    ]
}

/// A log of what models did, in short.
#[derive(Default)]
struct Log {
    events: Vec<Event>,
    span: SpanNo,
    block: u32,
    /// The span of the model that writes now.
    writes: SpanNo,
}

impl Log {
    fn begin(&mut self, kind: SpanKind, name: &str, replaces: Option<SpanNo>) -> SpanNo {
        self.span += 1;
        self.events.push(Event::SpanStarted {
            span: self.span,
            parent: None,
            kind,
            name: name.into(),
            tags: Vec::new(),
            metadata: Value::Null,
            input: Value::Null,
            replaces,
        });
        self.span
    }

    fn end(&mut self, span: SpanNo, status: Status) {
        self.events.push(Event::SpanFinished {
            span,
            status,
            output: Value::Null,
            finish: None,
            usage: None,
            timing: None,
            error: None,
        });
    }

    fn block(&mut self, span: SpanNo, kind: BlockKind, tool: Option<ToolCall>, text: &str) {
        self.block += 1;
        let block = self.block;
        self.events.push(Event::BlockStarted {
            span,
            block,
            kind,
            tool,
        });
        if !text.is_empty() {
            self.events.push(Event::Delta {
                span,
                block,
                text: text.into(),
                from: None,
            });
        }
    }

    fn close(&mut self, span: SpanNo, value: Value) {
        self.events.push(Event::BlockFinished {
            span,
            block: self.block,
            length: 0,
            value,
        });
    }

    /// Runs the calls, and asks a model again.
    fn round(&mut self, calls: &mut Vec<(ToolCall, Ran)>, model: &str, replaces: bool) {
        let old = self.writes;
        self.end(old, if replaces { Status::Error } else { Status::Ok });
        for (call, ran) in calls.drain(..) {
            if replaces || matches!(ran, Ran::Not) {
                continue;
            }
            let span = self.begin(SpanKind::Tool, &call.name, None);
            let text = if matches!(ran, Ran::Silent) {
                ""
            } else {
                "A result."
            };
            self.block(span, BlockKind::ToolOutput, Some(call), text);
            match ran {
                Ran::Not | Ran::Killed => {}
                Ran::Done | Ran::Silent => self.end(span, Status::Ok),
                Ran::Failed => self.end(span, Status::Error),
                Ran::Stopped => self.end(span, Status::Cancelled),
            }
        }
        self.writes = self.begin(SpanKind::ChatModel, model, replaces.then_some(old));
    }
}

/// What a run told that went like this.
fn ran(pieces: &[Piece], first_is_other: bool) -> Answer {
    let other = format!("q/{FOREIGN}");
    let mut log = Log::default();
    let mut foreign = first_is_other;
    let name = |foreign: bool| if foreign { other.as_str() } else { MODEL };
    log.writes = log.begin(SpanKind::ChatModel, name(foreign), None);
    let mut calls = Vec::new();
    for piece in pieces {
        let span = log.writes;
        let marked = |text: &str| match foreign {
            true => format!("{text}{FOREIGN}"),
            false => text.to_owned(),
        };
        match piece {
            Piece::Text(text) => {
                log.block(span, BlockKind::Text, None, text);
                log.close(span, Value::Null);
            }
            Piece::Refusal => {
                log.block(span, BlockKind::Refusal, None, "I may not.");
                log.close(span, Value::Null);
            }
            Piece::Thought(whole, value) => {
                log.block(span, BlockKind::Reasoning, None, &marked("Hm."));
                if *whole {
                    let mut value = values()[*value].clone();
                    if foreign && value.is_object() {
                        value["mark"] = FOREIGN.into();
                        for name in ["signature", "data", "encrypted_content", "thoughtSignature"] {
                            if value.get(name).is_some() {
                                value[name] = FOREIGN.into();
                            }
                        }
                    }
                    log.close(span, value);
                }
            }
            Piece::Call(id, name, whole, ran) => {
                let call = ToolCall {
                    id: marked(IDS[*id]),
                    name: NAMES[*name].into(),
                };
                let text = if *whole { r#"{"q": 1}"# } else { r#"{"q": "# };
                log.block(span, BlockKind::ToolInput, Some(call.clone()), text);
                if *whole {
                    log.close(span, json!({"q": 1}));
                }
                calls.push((call, *ran));
            }
            Piece::Replaced => log.round(&mut calls, name(foreign), true),
            Piece::Next(to_other) => {
                foreign = *to_other;
                log.round(&mut calls, name(foreign), false);
            }
        }
    }
    Answer::fold((1..).zip(&log.events))
}

fn message(role: Author, text: &str, images: Vec<ImageId>, answers: Vec<Answer>) -> Message {
    Message {
        id: MessageId::new(),
        parent: None,
        role,
        created: 0,
        text: text.into(),
        images,
        answers,
        branches: Vec::new(),
    }
}

fn image() -> (ImageId, Image) {
    let image = Image {
        media_type: "image/png".into(),
        data: bytes::Bytes::from_static(b"png"),
    };
    (ImageId("a".into()), image)
}

/// The runs of an answer: more than one if it was continued.
fn runs() -> impl Strategy<Value = Vec<Answer>> {
    let run = (proptest::collection::vec(piece(), 0..7), any::<bool>());
    let run = run.prop_map(|(pieces, other)| ran(&pieces, other));
    proptest::collection::vec(run, 1..3)
}

/// The person's words; how many images go with them, and whether those are still there.
fn question() -> impl Strategy<Value = Message> {
    (
        proptest::sample::select(vec!["?", "Why?\n", ""]),
        0..3_usize,
    )
        .prop_map(|(text, images)| {
            let images = match images {
                0 if !text.is_empty() => Vec::new(),
                2 => vec![ImageId("gone".into())],
                _ => vec![image().0],
            };
            message(Author::User, text, images, Vec::new())
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    #[test]
    fn every_vendor_takes_what_it_is_told_after_whatever_happened(
        before in proptest::collection::vec((question(), runs()), 0..4),
        asked in question(),
        now in runs(),
        fresh in any::<bool>(),
        tools in any::<bool>(),
        prefill in any::<bool>(),
    ) {
        let mut messages = Vec::new();
        for (question, answers) in before {
            messages.push(question);
            messages.push(message(Author::Assistant, "", Vec::new(), answers));
        }
        messages.push(asked);
        let images = Images::from([image()]);
        let mut request = ChatRequest {
            // What each vendor knows of a model is by its name.
            model: "claude-sonnet-4-5".into(),
            system: Some("Be kind.".into()),
            messages: prompt::turns(&messages, &images, MODEL),
            ..ChatRequest::default()
        };
        request.sampling.effort = Some(headwater_protocol::chat::Effort::High);
        request.sampling.max_tokens = Some(30_000);
        if tools {
            request.tools = vec![ToolDefinition {
                name: "search".into(),
                description: "Looks.".into(),
                parameters: json!({"type": "object"}),
            }];
        }
        let mut said = TurnBuilder::new(MODEL);
        for answer in now.iter().filter(|_| !fresh) {
            said.add(answer, |_| true);
        }
        go_on(&mut request, said, prefill);
        let checked = rules::turns(&request);
        prop_assert!(checked.is_ok(), "{:?}\n{:#?}", checked, request.messages);
        for (vendor, body) in bodies(&request, prefill) {
            let checked = rules::of(vendor, &body);
            prop_assert!(checked.is_ok(), "{vendor}: {:?}\n{body:#}", checked);
            prop_assert!(!body.to_string().contains(FOREIGN), "{vendor}: {body:#}");
        }
    }
}
