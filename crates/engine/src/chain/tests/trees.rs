//! Laws of logs and of their readers, over random chains with random failures and stops.

use super::*;
use crate::{
    follow::{Cursor, Filter, Form},
    provider::{ToolDefinition, sse::Decoder},
    tool,
};
use futures::future::BoxFuture;
use parking_lot::Mutex;
use proptest::{prelude::*, test_runner::TestRunner};
use std::collections::HashSet;

/// How many chains are run.
const CHAINS: u32 = 96;

const MODELS: &str = r#"
[[scenario]]
name = "says"
steps = [{ reasoning = "Hm." }, { text = "What one says, in pieces." }]
[[scenario]]
name = "busy"
steps = [{ error = { code = "overloaded", message = "Busy.", status = 529 }, times = 1 }, { text = "At last." }]
[[scenario]]
name = "broken"
steps = [{ error = { code = "authentication", message = "No.", status = 401 } }]
[[scenario]]
name = "breaks"
steps = [{ text = "Half" }, { error = { code = "connection", message = "Gone." }, times = 1 }, { text = " and half." }]
[[scenario]]
name = "slow"
steps = [{ text = "It " }, { wait_ms = 3 }, { text = "takes " }, { wait_ms = 3 }, { text = "time." }]
[[scenario]]
name = "calls"
steps = [{ tool = "good", id = "1", arguments = '{}' }, { tool = "bad", id = "2", arguments = '{}' }, { end = "tool_calls" }, { text = "Done." }]
"#;

const NAMES: [&str; 6] = ["says", "busy", "broken", "breaks", "slow", "calls"];

/// A random chain from text to text.
#[derive(Clone, Debug)]
enum Node {
    Model(&'static str),
    Tool(&'static str),
    Retriever { fails: bool },
    Prompt,
    Parser { fails: bool },
    Says,
    Then(Vec<Node>),
    All(Vec<Node>),
    Branch(bool, Box<[Node; 2]>),
    Until(u32, Box<Node>),
    Or(Box<[Node; 2]>),
    Hidden(Box<Node>),
}

fn nodes() -> impl Strategy<Value = Node> {
    let leaf = prop_oneof![
        4 => prop::sample::select(NAMES.to_vec()).prop_map(Node::Model),
        2 => prop::sample::select(vec!["good", "bad"]).prop_map(Node::Tool),
        1 => prop::bool::weighted(0.2).prop_map(|fails| Node::Retriever { fails }),
        1 => Just(Node::Prompt),
        1 => prop::bool::weighted(0.2).prop_map(|fails| Node::Parser { fails }),
        1 => Just(Node::Says),
    ];
    leaf.prop_recursive(4, 16, 3, |inner| {
        let two = [inner.clone(), inner.clone()].prop_map(Box::new);
        prop_oneof![
            2 => prop::collection::vec(inner.clone(), 1..4).prop_map(Node::Then),
            2 => prop::collection::vec(inner.clone(), 1..4).prop_map(Node::All),
            1 => (any::<bool>(), two.clone()).prop_map(|(yes, two)| Node::Branch(yes, two)),
            1 => (1..3_u32, inner.clone()).prop_map(|(n, node)| Node::Until(n, Box::new(node))),
            2 => two.prop_map(Node::Or),
            1 => inner.prop_map(|node| Node::Hidden(Box::new(node))),
        ]
    })
}

impl Step<String> for Node {
    type Out = String;

    async fn run(&self, cx: &Context, input: String) -> Result<String, Error> {
        walk(self, cx, input).await
    }
}

/// The chain that a node stands for, made of what everybody makes chains of. Boxed, because a type cannot contain
/// itself.
fn walk<'a>(
    node: &'a Node,
    cx: &'a Context,
    input: String,
) -> BoxFuture<'a, Result<String, Error>> {
    let failing = |fails: bool, text: String| match fails {
        true => Err(Error::new(ErrorCode::InvalidRequest, "It does not work.")),
        false => Ok(text),
    };
    let of = |node: &Node| Chain(node.clone());
    async move {
        match node {
            Node::Model(name) => {
                let prompt = Prompt {
                    tools: *name == "calls",
                    ..Prompt::from(input)
                };
                let reply = cx.model(&format!("scripted/{name}"), prompt).await?;
                Ok(reply.text)
            }
            Node::Tool(name) => tool(*name).run(cx, json!({ "text": input })).await,
            Node::Retriever { fails } => {
                let fails = *fails;
                let find = move |cx: Context, text: String| async move {
                    cx.custom("searched", &text).await?;
                    failing(fails, text)
                };
                retriever("pages", find).run(cx, input).await
            }
            Node::Prompt => {
                let make = |text: String| format!("{text}?");
                prompt("ask", make).run(cx, input).await
            }
            Node::Parser { fails } => {
                let fails = *fails;
                let read = move |text| failing(fails, text);
                parser("read", read).run(cx, input).await
            }
            Node::Says => answer().run(cx, input).await,
            Node::Then(nodes) => {
                let mut text = input;
                for node in nodes {
                    text = walk(node, cx, text).await?;
                }
                Ok(text)
            }
            Node::All(nodes) => {
                let texts = all(nodes.iter().map(of)).run(cx, input).await?;
                Ok(texts.concat())
            }
            Node::Branch(yes, two) => {
                let yes = *yes;
                let test = move |_: &String| yes;
                branch(test, of(&two[0]), of(&two[1])).run(cx, input).await
            }
            Node::Until(times, node) => {
                let again = of(node).until(*times, |text: &String| text.len() > 1000);
                again.run(cx, input).await
            }
            Node::Or(two) => of(&two[0]).or(of(&two[1])).run(cx, input).await,
            Node::Hidden(node) => of(node).hidden().run(cx, input).await,
        }
    }
    .boxed()
}

/// Which chain is run next.
#[derive(Clone, Debug, Default)]
struct Chosen(Arc<Mutex<Option<Node>>>);

impl Step<Question> for Chosen {
    type Out = String;

    async fn run(&self, cx: &Context, question: Question) -> Result<String, Error> {
        let chosen = self.0.lock().clone();
        let node = chosen.unwrap_or(Node::Says);
        walk(&node, cx, question.text).await
    }
}

struct Works(ToolDefinition);

impl Works {
    fn named(name: &str) -> Self {
        Self(ToolDefinition {
            name: name.into(),
            description: "For the test.".into(),
            parameters: json!({ "type": "object" }),
        })
    }
}

impl tool::Tool for Works {
    fn definition(&self) -> &ToolDefinition {
        &self.0
    }

    fn call(&self, _: Value) -> stream::BoxStream<'static, Result<tool::Output, Error>> {
        let end = match self.0.name.as_str() {
            "good" => Ok("works.".into()),
            _ => Err(Error::new(ErrorCode::ToolFailed, "It does not work.")),
        };
        stream::iter([Ok("It ".into()), end]).boxed()
    }
}

/// An engine whose one chain is the one that was chosen.
fn engine(folder: &std::path::Path) -> (Arc<Engine>, Chosen) {
    let mut config = Config::new(folder);
    config.script = Some(Script::Text(MODELS.into()));
    config.recovery.pause = Duration::from_millis(1);
    let chosen = Chosen::default();
    let engine = Engine::builder(config)
        .tool(Works::named("good"))
        .tool(Works::named("bad"))
        .chain("it", Chain(chosen.clone()));
    (engine.open().unwrap(), chosen)
}

/// A frame: its cursor, its data, and its bytes.
#[derive(Clone, Debug, PartialEq)]
struct Frame {
    id: String,
    data: Value,
    bytes: String,
}

/// The frames of a stream but for pings.
async fn frames(stream: impl futures::Stream<Item = bytes::Bytes>) -> Vec<Frame> {
    let pieces: Vec<bytes::Bytes> = stream.collect().await;
    let text = String::from_utf8(pieces.concat()).unwrap();
    let blocks = text
        .split_inclusive("\n\n")
        .filter(|block| block.contains("id:"));
    let read = |block: &str| {
        let mut decoder = Decoder::new();
        decoder.push(block.as_bytes());
        let frame = decoder.next_event().unwrap().unwrap();
        Frame {
            id: frame.id,
            data: serde_json::from_str(&frame.data).unwrap(),
            bytes: block.to_owned(),
        }
    };
    blocks.map(read).collect()
}

/// All frames after a cursor: no filter names this span, so each entry is a frame of its own.
async fn exact(engine: &Engine, run: RunId, after: u64) -> Vec<Frame> {
    let none = [("exclude_names", "nobody")];
    let filter = Filter::from_query(none).unwrap().unwrap();
    let stream = engine
        .filtered_event_stream(run, after, filter, Form::Events)
        .await;
    frames(stream.unwrap().frames).await
}

async fn langchain(engine: &Engine, run: RunId, after: &str) -> Vec<Frame> {
    let after: Cursor = after.parse().unwrap();
    let stream = engine.langchain_stream(run, after, None).await;
    frames(stream.unwrap().frames).await
}

/// Every state that a reader of frames comes to.
fn folded(frames: &[Frame]) -> Fold {
    let mut fold = Fold::default();
    for frame in frames {
        let event = serde_json::from_value(frame.data.clone()).unwrap();
        fold.apply(frame.id.parse().unwrap(), &event);
    }
    fold
}

/// Runs a chain, with readers beside it and after it, and holds what must hold.
async fn hold(engine: &Arc<Engine>, stop_at: Option<u64>, cut: prop::sample::Index) {
    let question = StartRun {
        text: "Which?".into(),
        model: Some("chain/it".into()),
        ..StartRun::default()
    };
    let run = engine.start(question).await.unwrap().run;
    let plain = async || {
        let stream = engine.event_stream(run, 0, false).await;
        frames(stream.unwrap().frames).await
    };
    let stopping = async {
        let mut entries = Box::pin(engine.follow(run, 0).await.unwrap());
        let mut log = Vec::new();
        while let Some(entry) = entries.next().await {
            if Some(entry.seq) == stop_at {
                engine.stop(run, None).await.unwrap();
            }
            log.push(entry);
        }
        log
    };
    let (entries, one, other, usual, events) = futures::join!(
        stopping,
        exact(engine, run, 0),
        exact(engine, run, 0),
        plain(),
        langchain(engine, run, "0"),
    );
    sound(&entries);
    // Two readers see the same bytes, and these are the log.
    assert_eq!(one, other);
    let ids: Vec<_> = one.iter().map(|frame| frame.id.clone()).collect();
    let numbers: Vec<_> = entries.iter().map(|entry| entry.seq.to_string()).collect();
    assert_eq!(ids, numbers);
    for (frame, entry) in one.iter().zip(&entries) {
        assert_eq!(frame.data, serde_json::to_value(&entry.event).unwrap());
    }
    // One that may have merged deltas comes to the same.
    assert_eq!(folded(&usual), folded(&one));
    // A reader that was cut off goes on.
    let at = cut.index(one.len());
    let rest = exact(engine, run, at as u64).await;
    assert_eq!(rest, one[at..]);
    filtered(engine, run, &one, at as u64).await;
    events_of_langchain(engine, run, &events, cut).await;
}

/// A filtered stream is the stream without some frames, for every kind.
async fn filtered(engine: &Engine, run: RunId, whole: &[Frame], after: u64) {
    let kinds: HashMap<_, _> = whole
        .iter()
        .filter(|frame| frame.data["type"] == "span_started")
        .map(|frame| (frame.data["span"].clone(), frame.data["kind"].clone()))
        .collect();
    for kind in ["chain", "chat_model", "tool", "retriever"] {
        let filter = Filter::from_query([("include_kinds", kind)]).unwrap();
        let stream = engine.filtered_event_stream(run, after, filter.unwrap(), Form::Events);
        let found = frames(stream.await.unwrap().frames).await;
        let of_kind = |frame: &&Frame| kinds.get(&frame.data["span"]).is_none_or(|of| of == kind);
        let kept = whole.iter().skip(after as usize).filter(of_kind);
        assert_eq!(found, kept.cloned().collect::<Vec<_>>(), "{kind}");
    }
}

/// In LangChain's form, what holds for spans holds as well: each begins once and ends once, and what it says of
/// itself never changes.
async fn events_of_langchain(
    engine: &Engine,
    run: RunId,
    live: &[Frame],
    cut: prop::sample::Index,
) {
    let whole = langchain(engine, run, "0").await;
    assert_eq!(live, whole, "while it ran, and after it");
    let at = cut.index(whole.len());
    let rest = langchain(engine, run, &whole[at].id).await;
    assert_eq!(rest, whole[at + 1..]);
    let ids: HashSet<_> = whole.iter().map(|frame| &frame.id).collect();
    assert_eq!(ids.len(), whole.len());
    let (end, events) = whole.split_last().unwrap();
    assert!(end.data["status"].is_string(), "{end:?}");
    let mut open: HashMap<String, [Value; 4]> = HashMap::new();
    for Frame { data, .. } in events {
        let word = data["event"].as_str().unwrap();
        let id = data["run_id"].as_str().unwrap().to_owned();
        let own = ["name", "tags", "metadata", "parent_ids"].map(|field| data[field].clone());
        for around in data["parent_ids"].as_array().unwrap() {
            let around = around.as_str().unwrap();
            assert!(
                open.contains_key(around),
                "{word} outside of what contains it"
            );
        }
        if word.ends_with("_start") {
            assert!(open.insert(id, own).is_none(), "it begins once");
        } else if word.ends_with("_end") || word.ends_with("_error") {
            assert_eq!(open.remove(&id), Some(own), "it ends once");
        } else if word.ends_with("_stream") {
            assert_eq!(open.get(&id), Some(&own), "it says what it said");
        } else {
            assert!(open.contains_key(&id), "{word}");
        }
    }
    assert!(open.is_empty(), "{open:?} are left open");
}

#[test]
fn whatever_a_chain_does_its_log_is_sound_and_all_readers_see_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    let (engine, chosen) = runtime.block_on(async { engine(folder.path()) });
    let mut runner = TestRunner::new(ProptestConfig {
        cases: CHAINS,
        failure_persistence: None,
        ..ProptestConfig::default()
    });
    let stop = prop::option::weighted(0.3, 2..40_u64);
    let cases = (nodes(), stop, any::<prop::sample::Index>());
    let seen = std::cell::RefCell::new(HashSet::new());
    let result = runner.run(&cases, |(node, stop_at, cut)| {
        seen.borrow_mut().insert(std::mem::discriminant(&node));
        *chosen.0.lock() = Some(node);
        runtime.block_on(hold(&engine, stop_at, cut));
        Ok(())
    });
    result.unwrap();
    // It would be worth nothing if all chains were alike.
    assert!(seen.borrow().len() > 6);
}
