use super::*;
use crate::{Builder, Config, Engine, StartRun, config::Script, runs::recovery::OnBreak};
use headwater_protocol::{Entry, Event, RunId, SpanNo, Status, chat::Answer as Fold};
use std::{collections::HashMap, time::Duration};

mod golden;
mod streamed;
mod trees;

const SCRIPT: &str = r#"
[[scenario]]
name = "one"
steps = [{ text = "First opinion." }]
[[scenario]]
name = "two"
steps = [
    { error = { code = "overloaded", message = "Busy.", status = 529 }, times = 1 },
    { text = "Second opinion." },
]
[[scenario]]
name = "broken"
steps = [{ error = { code = "authentication", message = "No.", status = 401 } }]
[[scenario]]
name = "stalls"
steps = [{ text = "Begun" }, { stall = true }]
"#;

/// Runs a chain to its end, or stops it once it has written `until`.
async fn log_of<S>(chain: Chain<S>, until: Option<&str>) -> (Vec<Entry>, Fold)
where
    S: Step<Question>,
    S::Out: Serialize,
{
    log_with(SCRIPT, until, |builder| builder.chain("it", chain)).await
}

/// The same of the chain `it` in an engine with more than that.
async fn log_with(
    script: &str,
    until: Option<&str>,
    add: impl FnOnce(Builder) -> Builder,
) -> (Vec<Entry>, Fold) {
    let folder = tempfile::tempdir().unwrap();
    let mut config = Config::new(folder.path());
    config.script = Some(Script::Text(script.into()));
    config.recovery.pause = Duration::from_millis(1);
    config.recovery.on_break = OnBreak::Restart;
    let engine = add(Engine::builder(config)).open().unwrap();
    let question = StartRun {
        text: "Which?".into(),
        model: Some("chain/it".into()),
        ..StartRun::default()
    };
    let started = engine.start(question).await.unwrap();
    let (mut entries, mut fold) = (Vec::new(), Fold::default());
    let mut follow = Box::pin(engine.follow(started.run, 0).await.unwrap());
    while let Some(entry) = follow.next().await {
        fold.apply(entry.seq, &entry.event);
        if let Event::Delta { text, .. } = &entry.event
            && Some(text.as_str()) == until
        {
            engine.stop(started.run, None).await.unwrap();
        }
        entries.push(entry);
    }
    sound(&entries);
    (entries, fold)
}

/// What holds for every log: numbers without a gap, every span closes once, children before parents.
fn sound(entries: &[Entry]) {
    let mut open: Vec<(SpanNo, Option<SpanNo>)> = Vec::new();
    let mut began = 0;
    for (seq, entry) in (1..).zip(entries) {
        assert_eq!(entry.seq, seq);
        match &entry.event {
            Event::SpanStarted { span, parent, .. } => {
                began += 1;
                assert_eq!(*span, began, "spans are numbered as they begin");
                open.push((*span, *parent));
            }
            Event::SpanFinished { span, .. } => {
                let inside = open.iter().any(|(_, parent)| *parent == Some(*span));
                assert!(!inside, "span {span} ends before what is in it");
                let at = open.iter().position(|(known, _)| known == span);
                open.remove(at.expect("it is open"));
            }
            Event::RunFinished { .. } => assert!(open.is_empty(), "{open:?} are left open"),
            _ => {}
        }
    }
    assert!(entries.last().unwrap().event.is_terminal());
}

/// The spans with their parents and how they ended.
fn spans(entries: &[Entry]) -> Vec<String> {
    let mut ends = HashMap::new();
    for entry in entries {
        if let Event::SpanFinished { span, status, .. } = &entry.event {
            ends.insert(*span, *status);
        }
    }
    let began = entries.iter().filter_map(|entry| match &entry.event {
        Event::SpanStarted {
            span,
            parent,
            kind,
            name,
            ..
        } => {
            let parent = parent.unwrap_or_default();
            Some(format!("{parent}/{span} {kind:?} {name} {:?}", ends[span]))
        }
        _ => None,
    });
    began.collect()
}

async fn search(cx: Context, question: Question) -> Result<Vec<String>, Error> {
    cx.custom("searched", &question.text).await?;
    Ok(vec!["A page.".into()])
}

async fn fails(_: Context, _: Question) -> Result<String, Error> {
    tokio::task::yield_now().await;
    Err(Error::new(ErrorCode::ToolFailed, "It does not work."))
}

async fn for_ever(_: Context, _: Question) -> Result<String, Error> {
    futures::future::pending().await
}

#[tokio::test]
async fn every_step_is_a_span_and_hidden_models_are_no_part_of_the_answer() {
    let chain = retriever("pages", search)
        .then(prompt("ask", |pages: Vec<String>| pages.join("\n")))
        .then(parallel(model("scripted/one"), model("scripted/two")).hidden())
        .then(parser("longer", |(one, two): (String, String)| {
            Ok(if one.len() > two.len() { one } else { two })
        }))
        .then(answer());
    let (entries, fold) = log_of(chain, None).await;
    assert_eq!(
        spans(&entries),
        [
            "0/1 Chain chain/it Ok",
            "1/2 Retriever pages Ok",
            "1/3 Prompt ask Ok",
            "1/4 Chain parallel Ok",
            "4/5 ChatModel scripted/one Ok",
            "4/6 ChatModel scripted/two Error",
            "4/7 ChatModel scripted/two Ok",
            "1/8 Parser longer Ok",
        ]
    );
    assert_eq!(fold.status, Some(Status::Ok));
    assert_eq!(fold.visible_text(), "Second opinion.");
    assert!(fold.is_hidden(5) && fold.is_hidden(7) && !fold.is_hidden(8));
    let custom = entries.iter().find_map(|entry| match &entry.event {
        Event::Custom { span, name, data } => Some((*span, name.clone(), data.clone())),
        _ => None,
    });
    assert_eq!(custom, Some((2, "searched".into(), json!("Which?"))));
    let asked = entries.iter().find_map(|entry| match &entry.event {
        Event::SpanStarted { span: 5, input, .. } => Some(input.clone()),
        _ => None,
    });
    assert_eq!(asked, Some(json!({ "text": "A page." })));
    assert!(fold.usage.output > 0, "all models are counted");
    assert!(fold.timing.unwrap().first_token.is_some());
}

#[tokio::test]
async fn a_visible_model_in_the_depth_streams_as_the_answer() {
    let chain = model("scripted/one").named("inner").named("outer");
    let (entries, fold) = log_of(chain, None).await;
    assert_eq!(fold.visible_text(), "First opinion.");
    let deltas = entries.iter();
    let deltas = deltas.filter(|entry| matches!(entry.event, Event::Delta { .. }));
    assert!(deltas.count() > 1, "it comes piece by piece");
}

#[tokio::test]
async fn a_step_that_fails_cancels_what_works_beside_it_and_fails_the_chain() {
    let chain = parallel(retriever("fails", fails), retriever("waits", for_ever));
    let (entries, fold) = log_of(chain, None).await;
    assert_eq!(
        spans(&entries),
        [
            "0/1 Chain chain/it Error",
            "1/2 Chain parallel Error",
            "2/3 Retriever fails Error",
            "2/4 Retriever waits Cancelled",
        ]
    );
    assert_eq!(fold.error.unwrap().message, "It does not work.");
}

#[tokio::test]
async fn another_step_takes_the_place_of_one_that_fails() {
    let chain = model("scripted/broken").or(model("scripted/one"));
    let (_, fold) = log_of(chain, None).await;
    assert_eq!(fold.status, Some(Status::Ok));
    assert_eq!(fold.visible_text(), "First opinion.");
}

#[tokio::test]
async fn a_stop_ends_a_model_in_the_depth_and_all_around_it() {
    let chain = parallel(model("scripted/stalls"), retriever("waits", for_ever));
    let (entries, fold) = log_of(chain, Some("Begun")).await;
    assert_eq!(fold.status, Some(Status::Cancelled));
    let spans = spans(&entries);
    assert_eq!(spans.len(), 4);
    assert!(
        spans.iter().all(|span| span.ends_with("Cancelled")),
        "{spans:?}"
    );
}

#[tokio::test]
async fn each_branch_and_until_do_what_they_say() {
    let double = || prompt("double", |number: u64| number * 2);
    let chain = prompt("numbers", |_: Question| vec![1_u64, 2, 3])
        .then(double().each())
        .then(prompt("sum", |all: Vec<u64>| all.iter().sum::<u64>()))
        .then(branch(
            |sum: &u64| *sum > 10,
            double().until(5, |n| *n > 40),
            double(),
        ))
        .then(prompt("say", |number: u64| number.to_string()))
        .then(answer());
    let (_, fold) = log_of(chain, None).await;
    assert_eq!(fold.visible_text(), "48");
}

#[tokio::test]
async fn what_is_too_large_for_the_log_is_told_by_its_size() {
    let chain = prompt("much", |_: Question| "x".repeat(MAX_FACT + 1));
    let (entries, _) = log_of(chain, None).await;
    let outputs = entries.iter().filter_map(|entry| match &entry.event {
        Event::SpanFinished { output, .. } => Some(output.to_string()),
        _ => None,
    });
    for output in outputs {
        assert_eq!(output, format!("{{\"omitted_bytes\":{}}}", MAX_FACT + 1));
    }
}

#[tokio::test]
async fn a_model_that_does_not_exist_and_a_chain_that_calls_itself_fail_with_a_sentence() {
    let (_, fold) = log_of(model("nobody/x"), None).await;
    assert!(fold.error.unwrap().message.contains("no provider"));
    let (_, fold) = log_of(model("chain/it"), None).await;
    assert_eq!(fold.error.unwrap().code, ErrorCode::TooLarge);
}

#[tokio::test]
async fn an_unknown_chain_is_refused_before_anything_is_stored() {
    let folder = tempfile::tempdir().unwrap();
    let chain = prompt("say", |question: Question| question.text).then(answer());
    let engine = Engine::builder(Config::new(folder.path()))
        .chain("it", chain)
        .open()
        .unwrap();
    let question = StartRun {
        text: "Which?".into(),
        model: Some("chain/other".into()),
        ..StartRun::default()
    };
    let error = engine.start(question).await.unwrap_err();
    assert_eq!(error.code, ErrorCode::NotFound);
    assert!(error.message.contains("“other”"), "{error}");
}
