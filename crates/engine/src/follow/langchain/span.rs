//! What is known of one span, and what v2 says of its beginning, its pieces and its end.

use super::{
    block::{Block, beside, is_text},
    json_of, message,
};
use crate::provider::PARAGRAPH;
use headwater_protocol::{
    BlockKind, BlockNo, Error, Event, Finish, SpanKind, SpanNo, Status, ToolCall, Usage,
};
use serde_json::{Map, Value, json};
use std::{collections::BTreeMap, mem};

/// A span.
pub(super) struct Span {
    pub(super) kind: SpanKind,
    pub(super) name: String,
    /// The span that contains it in LangChain's sense.
    pub(super) parent: Option<SpanNo>,
    number: SpanNo,
    id: String,
    /// The identifiers of the spans that contain it, the outermost first.
    path: Vec<String>,
    tags: Vec<String>,
    metadata: Map<String, Value>,
    /// The fields of all its events before the name and behind it, encoded once.
    encoded: (String, String),
    /// The input in the form of v2; null if none is known.
    input: Value,
    blocks: Vec<Block>,
}

/// What there is to say at the end of a span.
pub(super) struct End {
    /// The last part of the event's name.
    pub(super) word: &'static str,
    /// What comes before it as one more chunk.
    pub(super) chunk: Option<Value>,
    /// What the next model of the run reads of it.
    pub(super) said: Option<Value>,
    pub(super) data: Value,
}

impl End {
    fn with(output: Value) -> Self {
        Self {
            word: "end",
            chunk: None,
            said: None,
            data: json!({ "output": output }),
        }
    }
}

impl Span {
    /// The span of an [`Event::SpanStarted`]. `id` makes the identifiers of spans; `told` is what a model has read
    /// that has no input of its own.
    pub(super) fn new(
        event: Event,
        around: Option<&Self>,
        id: impl Fn(SpanNo) -> String,
        told: &[Value],
    ) -> Self {
        let mut made = Self {
            kind: SpanKind::Unknown,
            name: String::new(),
            parent: around.map(|around| around.number),
            number: 0,
            id: String::new(),
            path: around.map_or_else(Vec::new, |around| around.path.clone()),
            tags: around.map_or_else(Vec::new, |around| around.tags.clone()),
            metadata: around.map_or_else(Map::new, |around| around.metadata.clone()),
            encoded: Default::default(),
            input: Value::Null,
            blocks: Vec::new(),
        };
        made.path.extend(around.map(|around| around.id.clone()));
        if let Event::SpanStarted {
            span,
            kind,
            name,
            tags,
            metadata,
            input,
            replaces,
            ..
        } = event
        {
            let own = tags.into_iter();
            let new: Vec<_> = own.filter(|tag| !made.tags.contains(tag)).collect();
            made.tags.extend(new);
            made.metadata.extend(own_metadata(kind, &name, metadata));
            if let Some(earlier) = replaces {
                made.metadata.insert("replaces".into(), id(earlier).into());
            }
            (made.number, made.kind, made.name, made.id) = (span, kind, name, id(span));
            made.input = made.input_of(input, told);
        }
        let (path, tags) = (json!(made.path), json!(made.tags));
        let metadata = Value::Object(made.metadata.clone());
        made.encoded = (
            format!("\"run_id\":\"{}\",\"parent_ids\":{path}", made.id),
            format!("\"tags\":{tags},\"metadata\":{metadata}"),
        );
        made
    }

    /// What v2 gives as the input of such a span.
    fn input_of(&self, input: Value, told: &[Value]) -> Value {
        match self.kind {
            SpanKind::ChatModel => {
                let messages = match message::messages(&input) {
                    Some(own) => own,
                    None if input.is_null() => told.to_vec(),
                    // All that the log says of one that is too large for it.
                    None => vec![message::human(input.to_string())],
                };
                match self.is_first() {
                    true => messages.into(),
                    false => json!({ "messages": [messages] }),
                }
            }
            SpanKind::Retriever => {
                let query = input.get("text").filter(|text| text.is_string());
                json!({ "query": query.cloned().unwrap_or(input) })
            }
            SpanKind::Tool if input.is_null() => json!({}),
            _ => input,
        }
    }

    /// Whether it is the first one of the run, whose input v2 treats in another way.
    fn is_first(&self) -> bool {
        self.number == 1
    }

    /// The identifier of the call, if a model called this tool.
    fn call(&self) -> Option<&str> {
        let calls = self.blocks.iter().filter_map(|block| block.tool.as_ref());
        let mut ids = calls.map(|call| call.id.as_str());
        ids.find(|id| self.kind == SpanKind::Tool && !id.is_empty())
    }

    /// An event of this span as JSON.
    pub(super) fn event(&self, event: &str, name: &str, data: &Value) -> Vec<u8> {
        let (place, labels) = &self.encoded;
        let (event, name) = (Value::from(event), Value::from(name));
        let mut json =
            format!("{{\"event\":{event},{place},\"name\":{name},{labels},\"data\":").into_bytes();
        json.append(&mut json_of(data));
        json.push(b'}');
        json
    }

    /// The data of its beginning.
    pub(super) fn started(&self) -> Value {
        match &self.input {
            Value::Null => json!({}),
            input => json!({ "input": input }),
        }
    }

    /// Begins a block. Returns a chunk, if v2 has one for that.
    pub(super) fn open(
        &mut self,
        number: BlockNo,
        kind: BlockKind,
        tool: Option<ToolCall>,
    ) -> Option<Value> {
        let index = self.blocks.iter().filter_map(Block::call).count();
        let begun = Block {
            number,
            kind,
            text: String::new(),
            tool,
            index,
            value: Value::Null,
        };
        self.blocks.push(begun);
        let (call, _) = self.blocks.last()?.call()?;
        let call = message::call_chunk(Some(&call.name), "", Some(&call.id), index);
        self.chunk(json!({ "tool_call_chunks": [call] }))
    }

    /// Takes text at the end of a block. Returns the chunk. `spoke` says whether there was text before in the run:
    /// the first text of a span begins a paragraph of the answer then, and that is no part of what a model said.
    pub(super) fn write(&mut self, number: BlockNo, text: &str, spoke: &mut bool) -> Option<Value> {
        let (kind, index) = self.block(number).map(|block| (block.kind, block.index))?;
        let mut text = text;
        if is_text(kind) && mem::replace(spoke, true) && !self.blocks.iter().any(Block::has_text) {
            text = text.strip_prefix(PARAGRAPH).unwrap_or(text);
        }
        self.block(number)?.text.push_str(text);
        match (self.kind, kind) {
            (SpanKind::Chain | SpanKind::Agent, kind) => is_text(kind).then(|| text.into()),
            (_, BlockKind::Text) => self.chunk(json!({ "content": text })),
            (_, BlockKind::ToolInput) => {
                let call = message::call_chunk(None, text, None, index);
                self.chunk(json!({ "tool_call_chunks": [call] }))
            }
            (_, kind) => {
                let field = beside(kind)?;
                self.chunk(json!({ "additional_kwargs": { field: text } }))
            }
        }
    }

    /// Ends a block. Returns a chunk, if the block has something that came at once.
    pub(super) fn close(&mut self, number: BlockNo, value: Value) -> Option<Value> {
        let block = self.block(number)?;
        block.value = value;
        let image = block.image()?;
        self.chunk(json!({ "content": [image] }))
    }

    /// Text turned out to be something else. What was sent is sent; the end has it right.
    pub(super) fn relabel(&mut self, number: BlockNo, kind: BlockKind) {
        if let Some(block) = self.block(number) {
            block.kind = kind;
        }
    }

    fn block(&mut self, number: BlockNo) -> Option<&mut Block> {
        let mut blocks = self.blocks.iter_mut();
        blocks.rfind(|block| block.number == number)
    }

    /// A piece of this model's message. Others have none.
    fn chunk(&self, own: Value) -> Option<Value> {
        let id = self.message_id();
        (self.kind == SpanKind::ChatModel).then(|| message::chunk(&id, own))
    }

    /// LangChain makes the identifier of a message of that of the run.
    fn message_id(&self) -> String {
        format!("lc_run--{}", self.id)
    }

    /// The end, from an [`Event::SpanFinished`].
    pub(super) fn finish(&mut self, event: Event) -> Option<End> {
        let Event::SpanFinished {
            status,
            output,
            finish,
            usage,
            error,
            ..
        } = event
        else {
            return None;
        };
        let mut end = match (status, self.kind) {
            (Status::Ok, SpanKind::ChatModel) => self.end_model(finish.as_ref(), usage),
            (Status::Ok, SpanKind::Tool) => self.end_tool(output),
            (Status::Ok, _) => self.end_step(output),
            _ => self.fail(status, error, usage),
        };
        let input = mem::take(&mut self.input);
        // The first event has the input of the whole, and where all went well v2 does not say it again.
        if end.word == "error" || !self.is_first() {
            end.data["input"] = match input {
                Value::Null => json!({}),
                input => input,
            };
        }
        self.blocks = Vec::new();
        Some(end)
    }

    fn end_model(&self, finish: Option<&Finish>, usage: Option<Usage>) -> End {
        let mut written = self.written(finish, usage);
        written["chunk_position"] = "last".into();
        let chunk = self.chunk(json!({
            "response_metadata": written["response_metadata"],
            "usage_metadata": written["usage_metadata"],
            "chunk_position": "last",
        }));
        let whole = message::chunk(&self.message_id(), written);
        let said = self.parent.is_none().then(|| message::whole(&whole));
        End {
            chunk,
            said,
            ..End::with(whole)
        }
    }

    fn end_tool(&self, output: Value) -> End {
        let result = self.result("success");
        let output = match (&result, output) {
            (Some(result), _) => result.clone(),
            (None, Value::Null) => self.text().into(),
            (None, output) => output,
        };
        End {
            said: result,
            ..End::with(output)
        }
    }

    fn end_step(&self, output: Value) -> End {
        match self.kind {
            SpanKind::Retriever => End::with(message::documents(&output)),
            SpanKind::Prompt => {
                let messages = message::messages(&output);
                let messages = messages.map(|messages| json!({ "messages": messages }));
                End::with(messages.unwrap_or(output))
            }
            SpanKind::Parser => End::with(output),
            // What has not said it piece by piece says it in one.
            _ => {
                let wrote = self.blocks.iter().any(Block::has_text);
                let chunk = (!wrote && !output.is_null()).then(|| output.clone());
                End {
                    chunk,
                    ..End::with(output)
                }
            }
        }
    }

    /// v2 has such an event for tools; the others have the same form. What a model had written is in it.
    fn fail(&self, status: Status, error: Option<Error>, usage: Option<Usage>) -> End {
        let error = match error {
            Some(error) => json!({ "error": error.code, "message": error.message }),
            None => json!({ "error": status, "message": sentence(status) }),
        };
        let mut data = json!({ "error": error });
        if self.kind == SpanKind::Tool {
            data["tool_call_id"] = self.call().into();
        }
        if self.kind == SpanKind::ChatModel {
            data["output"] = message::chunk(&self.message_id(), self.written(None, usage));
        }
        End {
            word: "error",
            chunk: None,
            said: self.result("error"),
            data,
        }
    }

    /// The output of a tool, piece by piece.
    fn text(&self) -> String {
        self.blocks.iter().map(|block| &*block.text).collect()
    }

    /// What the model reads that called this tool. `None` if no model did.
    fn result(&self, status: &str) -> Option<Value> {
        let call = self.call()?;
        Some(message::tool_result(&self.text(), &self.name, call, status))
    }

    /// The fields of a model's whole message.
    fn written(&self, finish: Option<&Finish>, usage: Option<Usage>) -> Value {
        let calls = || self.blocks.iter().filter_map(Block::call);
        let readable = calls().filter_map(|(call, block)| {
            let args = block.arguments()?;
            Some(json!({ "name": call.name, "args": args, "id": call.id, "type": "tool_call" }))
        });
        let invalid = calls().filter(|(_, block)| block.arguments().is_none());
        let invalid = invalid.map(|(call, block)| {
            json!({
                "name": call.name,
                "args": block.text,
                "id": call.id,
                "error": null,
                "type": "invalid_tool_call",
            })
        });
        let chunks = calls().map(|(call, block)| {
            message::call_chunk(Some(&call.name), &block.text, Some(&call.id), block.index)
        });
        json!({
            "content": self.content(),
            "additional_kwargs": self.beside_content(),
            "response_metadata": match finish {
                Some(finish) => json!({ "finish_reason": finish.word }),
                None => json!({}),
            },
            "tool_calls": readable.collect::<Vec<_>>(),
            "invalid_tool_calls": invalid.collect::<Vec<_>>(),
            "usage_metadata": usage.map(message::usage),
            "tool_call_chunks": chunks.collect::<Vec<_>>(),
        })
    }

    fn beside_content(&self) -> Map<String, Value> {
        let mut texts: BTreeMap<&str, String> = BTreeMap::new();
        for block in &self.blocks {
            if let Some(field) = beside(block.kind) {
                texts.entry(field).or_default().push_str(&block.text);
            }
        }
        let texts = texts.into_iter();
        texts
            .map(|(field, text)| (field.to_owned(), text.into()))
            .collect()
    }

    /// The text of a model, or a list of texts and images where it has some.
    fn content(&self) -> Value {
        let mut parts: Vec<Value> = Vec::new();
        for block in &self.blocks {
            match (block.image(), parts.last_mut()) {
                (Some(image), _) => parts.push(image),
                (None, _) if !block.has_text() => {}
                (None, Some(Value::String(text))) => text.push_str(&block.text),
                (None, _) => parts.push(block.text.clone().into()),
            }
        }
        match parts.as_slice() {
            [] => "".into(),
            [text @ Value::String(_)] => text.clone(),
            _ => parts.into(),
        }
    }
}

/// The span's own facts, and those that LangChain names.
fn own_metadata(kind: SpanKind, name: &str, metadata: Value) -> Map<String, Value> {
    let mut facts = match metadata {
        Value::Object(facts) => facts,
        Value::Null => Map::new(),
        other => Map::from_iter([("metadata".to_owned(), other)]),
    };
    match kind {
        SpanKind::ChatModel => {
            let (provider, model) = name.split_once('/').unwrap_or(("", name));
            facts.insert("ls_provider".into(), provider.into());
            facts.insert("ls_model_name".into(), model.into());
            facts.insert("ls_model_type".into(), "chat".into());
        }
        SpanKind::Retriever => {
            facts.insert("ls_retriever_name".into(), name.into());
        }
        _ => {}
    }
    facts
}

fn sentence(status: Status) -> &'static str {
    match status {
        Status::Cancelled => "It was stopped.",
        Status::Superseded => "Another attempt took its place.",
        Status::Interrupted => "The server went away.",
        Status::Ok | Status::Error => "It failed.",
    }
}
