//! A provider of one's own, in Rust. Deadlines, retries, stops and the log are the engine's.
//! Run it with `cargo run -p headwater-engine --example custom_provider`.

use futures::{StreamExt, future::BoxFuture, stream, stream::BoxStream};
use headwater_engine::{
    Config, Engine, StartRun,
    provider::{ChatRequest, Part, Provider, ProviderEvent},
};
use headwater_protocol::{BlockKind, Error, Event, FinishReason, ModelInfo};

/// Says what it is told, word by word.
struct Echo;

impl Provider for Echo {
    fn models(&self) -> BoxFuture<'_, Result<Vec<ModelInfo>, Error>> {
        Box::pin(async { Ok(vec![ModelInfo::new("parrot")]) })
    }

    fn stream(&self, request: ChatRequest) -> BoxStream<'static, Result<ProviderEvent, Error>> {
        let last = request.messages.last().and_then(|turn| turn.parts.last());
        let said = match last {
            Some(Part::Text(text)) => text.clone(),
            _ => String::new(),
        };
        let (index, kind, tool) = (0, BlockKind::Text, None);
        let mut events = vec![ProviderEvent::BlockStarted { index, kind, tool }];
        for word in said.split_inclusive(' ').map(str::to_owned) {
            events.push(ProviderEvent::Delta { index, text: word });
        }
        let (reason, word) = (FinishReason::Stop, "stop".to_owned());
        events.push(ProviderEvent::Finished { reason, word });
        stream::iter(events).map(Ok).boxed()
    }
}

#[tokio::main]
async fn main() -> Result<(), Error> {
    let folder = std::env::temp_dir().join("headwater-example");
    let engine = Engine::builder(Config::new(folder))
        .provider("echo", Echo)
        .open()?;
    let question = StartRun {
        text: "Polly wants a cracker.".to_owned(),
        model: Some("echo/parrot".to_owned()),
        ..StartRun::default()
    };
    let started = engine.start(question).await?;
    let mut entries = Box::pin(engine.follow(started.run, 0).await?);
    while let Some(entry) = entries.next().await {
        match entry.event {
            Event::Delta { text, .. } => println!("{:>4} ms  {text}", entry.at),
            Event::RunFinished { status, .. } => println!("{:>4} ms  {status:?}", entry.at),
            _ => {}
        }
    }
    Ok(())
}
