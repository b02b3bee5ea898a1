//! A conversation in a terminal: each line is a question, and its answer is printed as it comes.
//!
//! `OPENAI_API_KEY`, `ANTHROPIC_API_KEY`, `GEMINI_API_KEY` or `OLLAMA_HOST` connects a provider; without
//! any of them the answers are scripted.
//!
//! ```text
//! cargo run -p headwater-engine --example chat
//! ```

use futures::StreamExt;
use headwater_engine::{
    Config, Engine, StartRun,
    config::{Script, from_environment},
};
use headwater_protocol::{Error, Event, chat::Answer};
use std::io::{BufRead, Write, stdin, stdout};

#[tokio::main]
async fn main() -> Result<(), Error> {
    let mut config = Config::new(std::env::temp_dir().join("headwater-example"));
    config.providers = from_environment(None, |name| std::env::var(name).ok());
    if config.providers.is_empty() {
        config.script = Some(Script::Builtin);
    }
    let engine = Engine::open(&config)?;
    let mut conversation = None;
    for line in stdin().lock().lines().map_while(Result::ok) {
        let question = StartRun {
            text: line,
            conversation,
            ..StartRun::default()
        };
        // From here on the answer is written, whether anybody follows it or not.
        let started = engine.start(question).await?;
        conversation = Some(started.conversation);

        let mut answer = Answer::default();
        let mut entries = Box::pin(engine.follow(started.run, 0).await?);
        while let Some(entry) = entries.next().await {
            answer.apply(entry.seq, &entry.event);
            if let Event::Delta { text, .. } = &entry.event {
                print!("{text}");
                let _ = stdout().flush();
            }
        }
        match &answer.error {
            Some(why) => println!("\n[{why} What was written is kept.]"),
            None => println!("\n[{} tokens]", answer.usage.output),
        }
    }
    Ok(())
}
