//! An observer of one's own: how long each call of a model took, and how many tokens it wrote.
//! Run it with `cargo run -p headwater-engine --example custom_observer`.

use headwater_engine::{
    Config, Engine, StartRun,
    config::Script,
    observer::{At, Interest, Observed, Observer, SpanFinished},
};
use headwater_protocol::Error;

struct Pace;

impl Observer for Pace {
    fn interest(&self) -> Interest {
        Interest::MODELS
    }

    async fn model_finished(&self, at: &At<'_>, end: &SpanFinished<'_>) -> Observed {
        let tokens = end.usage.map_or(0, |usage| usage.output);
        println!("{}: {tokens} tokens in {:?}", at.span.name, end.took);
        Ok(())
    }
}

#[tokio::main]
async fn main() -> Result<(), Error> {
    let mut config = Config::new(std::env::temp_dir().join("headwater-example"));
    config.script = Some(Script::Builtin);
    let engine = Engine::builder(config).observer(Pace).open()?;
    let text = "Hello".to_owned();
    engine
        .start(StartRun {
            text,
            ..StartRun::default()
        })
        .await?;
    engine.observed().await;
    Ok(())
}
