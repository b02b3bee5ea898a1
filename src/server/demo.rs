//! A chain for demonstrations. It comes with the built-in script, whose models it asks, and needs no key.

use headwater_engine::chain::{
    Chain, Context, Question, Step, answer, model, parallel, parser, prompt, retriever, tool_step,
};
use headwater_protocol::{Error, ErrorCode};
use serde_json::json;
use std::time::Duration;

/// What a run of a chain may contain: a search, three tools of which one fails, two models at the same time of which
/// one is asked three times, and events of its own.
pub fn demo() -> Chain<impl Step<Question, Out = String>> {
    let weather = tool_step("forecast", forecast).or(tool_step("almanac", almanac));
    // It fails twice, and for ever where several ask it at once.
    let patient = model("scripted/flaky").or(model("scripted/hello"));
    retriever("notes", search)
        .then(parallel(tool_step("calculator", calculate), weather))
        .then(prompt("ask", |(days, weather): (String, String)| {
            format!("{days} {weather} Write a greeting.")
        }))
        .then(parallel(model("scripted/hello"), patient).hidden())
        .then(parser("longer", |(one, other): (String, String)| {
            Ok(if one.len() > other.len() { one } else { other })
        }))
        .then(answer())
        .named("greet")
}

async fn search(cx: Context, question: Question) -> Result<Vec<String>, Error> {
    pause().await;
    cx.custom("searched", json!({ "query": question.text, "found": 2 }))
        .await?;
    Ok(vec![
        "A greeting is short.".to_owned(),
        "It is about the weather.".to_owned(),
    ])
}

async fn calculate(cx: Context, _: Vec<String>) -> Result<String, Error> {
    cx.custom("progress", json!({ "percent": 50 })).await?;
    pause().await;
    said(cx, "There are 7 days in a week.").await
}

async fn forecast(cx: Context, _: Vec<String>) -> Result<String, Error> {
    cx.write("Asking the station …").await?;
    pause().await;
    Err(Error::new(ErrorCode::ToolFailed, "The station does not answer.").at("running a tool"))
}

async fn almanac(cx: Context, _: Vec<String>) -> Result<String, Error> {
    said(cx, "It rains in May.").await
}

async fn said(cx: Context, text: &str) -> Result<String, Error> {
    cx.write(text).await?;
    Ok(text.to_owned())
}

/// Long enough to be seen.
async fn pause() {
    tokio::time::sleep(Duration::from_millis(300)).await;
}
