//! A chain: find notes, let two models draft at the same time, choose, and let a third one write the answer.
//! It needs no key: the models are scripts. The answer is printed as it comes, and then what the run did, and when.
//! Run it with `cargo run -p headwater-engine --example chain`.

use futures::StreamExt;
use headwater_engine::{
    Config, Engine, StartRun,
    chain::{Chain, Context, Question, Step, model, parallel, parser, prompt, retriever},
    config::Script,
    observer::{Options, Trace},
};
use headwater_protocol::{Error, chat::Answer};
use std::io::{Write, stdout};

const MODELS: &str = r#"
[[scenario]]
name = "careful"
pace = 30
steps = [{ text = "Walk along the river to the old mill. Take the train back." }]

[[scenario]]
name = "quick"
steps = [
    { error = { code = "overloaded", message = "Too much to do.", status = 503 }, times = 1 },
    { text = "See the mill." },
]

[[scenario]]
name = "editor"
pace = 15
steps = [{ text = "What a day for a walk! Follow the river to the old mill. A train takes you home." }]
"#;

/// A step is a function. What it may do beside its own work is in its [`Context`].
async fn search(cx: Context, question: Question) -> Result<Vec<String>, Error> {
    cx.custom("searching", &question.text).await?;
    Ok(vec!["There is a mill by the river.".to_owned()])
}

/// Typed from end to end: the question goes in, the sentences of the answer come out.
fn day_trip() -> Chain<impl Step<Question, Out = Vec<String>>> {
    retriever("notes", search)
        .then(prompt("ask", |notes: Vec<String>| {
            format!("Plan a day. {}", notes.join(" "))
        }))
        // Whoever follows the run sees the drafts in their spans; they are no part of the answer.
        .then(parallel(model("scripted/careful"), model("scripted/quick")).hidden())
        .then(parser("choose", |(careful, quick): (String, String)| {
            Ok(if careful.len() > quick.len() {
                careful
            } else {
                quick
            })
        }))
        .then(prompt("edit", |draft: String| {
            format!("Say it in a friendly way: {draft}")
        }))
        .then(model("scripted/editor"))
        .then(parser("sentences", |text: String| {
            Ok(text
                .split_inclusive(['.', '!'])
                .map(str::to_owned)
                .collect())
        }))
}

#[tokio::main]
async fn main() -> Result<(), Error> {
    let mut config = Config::new(std::env::temp_dir().join("headwater-example"));
    config.script = Some(Script::Text(MODELS.into()));
    let engine = Engine::builder(config)
        .chain("day-trip", day_trip())
        .open()?;
    let question = StartRun {
        text: "Where shall I go tomorrow?".into(),
        model: Some("chain/day-trip".into()),
        ..StartRun::default()
    };
    let run = engine.start(question).await?.run;

    let (mut answer, mut printed) = (Answer::default(), 0);
    let mut entries = Box::pin(engine.follow(run, 0).await?);
    while let Some(entry) = entries.next().await {
        answer.apply(entry.seq, &entry.event);
        let text = answer.visible_text();
        print!("{}", text.get(printed..).unwrap_or_default());
        printed = text.len();
        let _ = stdout().flush();
    }
    println!("\n");

    // The log stays, and any observer can be shown it later.
    let trace = engine.observe(run, Trace::new(stdout()), Options::default());
    trace.await?.finished().await;
    Ok(())
}
