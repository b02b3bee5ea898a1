//! The commands of a connection: how they are read, carried out and answered.

use super::{
    Ended,
    rate::{Rate, Verdict},
    subscriptions::{MOST, Opened, Subscriptions},
};
use crate::server::streams::{self, Format, Frames, Wanted};
use futures::{FutureExt, StreamExt, future::BoxFuture, stream::FuturesUnordered};
use headwater_engine::{Engine, StartRun, db::settings, follow::Form};
use headwater_protocol::{
    Error, ErrorCode, RunId, Seq, Started,
    socket::{self as wire, Command, Named, Request, Start, Subscribe, close},
};
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::Arc;
use tokio::time::Instant;

/// A message that is no command.
pub(super) const UNREADABLE: Ended = Ended::Close(
    close::UNREADABLE,
    "A message must be a JSON object with “id”, a number, and “command”, a word.",
);

/// A message that is longer than any command.
pub(super) const TOO_LONG: Ended = Ended::Close(close::TOO_LARGE, "The message is too long.");

const TOO_MANY: Ended = Ended::Close(close::TOO_MANY, "Too many commands.");

/// The most commands that are carried out at once. Further ones wait in the socket.
const AT_ONCE: usize = 64;

/// The commands that are being carried out.
pub(super) struct Commands {
    engine: Arc<Engine>,
    running: FuturesUnordered<BoxFuture<'static, Done>>,
}

/// What came of a command.
pub(super) struct Done {
    /// The reply.
    pub(super) reply: String,
    /// What became of the names that it reserved.
    pub(super) opened: Vec<Opened>,
}

/// The part that all commands have.
#[derive(Deserialize)]
struct Head {
    id: u64,
    command: String,
}

/// The result of a command, and the last entry of its run.
type Outcome = Result<(Value, Option<Seq>), Error>;

impl Commands {
    pub(super) fn new(engine: Arc<Engine>) -> Self {
        Self {
            engine,
            running: FuturesUnordered::new(),
        }
    }

    /// Whether another command may be read.
    pub(super) fn has_room(&self) -> bool {
        self.running.len() < AT_ONCE
    }

    /// The next command that is done. Waits for as long as there is none.
    pub(super) async fn next(&mut self) -> Done {
        match self.running.next().await {
            Some(done) => done,
            None => std::future::pending().await,
        }
    }

    /// Reads a command and begins to carry it out.
    ///
    /// # Errors
    /// The message is no command, or one too many; the connection ends.
    pub(super) fn read(
        &mut self,
        text: &str,
        rate: &mut Rate,
        subscriptions: &mut Subscriptions,
    ) -> Result<(), Ended> {
        let Ok(Head { id, command }) = serde_json::from_str(text) else {
            return Err(UNREADABLE);
        };
        match rate.take(Instant::now()) {
            Verdict::Take => {}
            Verdict::Refuse(pause) => {
                let sentence = "Too many commands at once; please wait a moment.";
                self.refuse(
                    id,
                    Error {
                        retry_after_ms: Some(pause.as_millis() as u64),
                        ..Error::new(ErrorCode::RateLimited, sentence)
                    },
                );
                return Ok(());
            }
            Verdict::Close => return Err(TOO_MANY),
        }
        match serde_json::from_str(text) {
            Ok(Request { id, command }) => self.begin(id, command, subscriptions),
            Err(why) => {
                let sentence = format!("The command “{command}” could not be read: {why}.");
                self.refuse(id, Error::new(ErrorCode::InvalidRequest, sentence));
            }
        }
        Ok(())
    }

    fn begin(&mut self, id: u64, command: Command, subscriptions: &mut Subscriptions) {
        let engine = self.engine.clone();
        match command {
            Command::Ping => self.answer(id, async { Ok((json!({}), None)) }),
            Command::Approve => self.refuse(
                id,
                Error::new(ErrorCode::NotFound, "No tool is waiting for an approval."),
            ),
            Command::Start(start) => self.answer(id, async move {
                let started = engine.start(start_run(*start)?).await?;
                after_start(&engine, started).await
            }),
            Command::Retry(again) => self.answer(id, async move {
                let started = engine.retry(again.run, again.model).await?;
                after_start(&engine, started).await
            }),
            Command::Continue(again) => self.answer(id, async move {
                let started = engine.continue_run(again.run, again.model).await?;
                after_start(&engine, started).await
            }),
            Command::Stop { run, seen } => self.answer(id, async move {
                let stopped = engine.stop(run, seen).await?;
                let seq = last_entry(&engine, run).await;
                Ok((value(&stopped), seq))
            }),
            Command::Unsubscribe { subscription } => {
                let removed = subscriptions.remove(subscription);
                self.answer(id, async move {
                    match removed {
                        true => Ok((json!({}), None)),
                        false => Err(Error::new(
                            ErrorCode::NotFound,
                            "There is no subscription of this name, or it is over.",
                        )),
                    }
                });
            }
            Command::Subscribe(subscribe) => match reserve(id, subscriptions) {
                Ok(()) => self.running.push(
                    async move {
                        let (opened, outcome) = open(&engine, id, subscribe).await;
                        let outcome = outcome.map(|seq| (json!({}), seq));
                        Done {
                            reply: reply(id, outcome),
                            opened: vec![opened],
                        }
                    }
                    .boxed(),
                ),
                Err(why) => self.refuse(id, why),
            },
            Command::Resume { subscriptions: all } => {
                let reserved: Vec<_> = all
                    .into_iter()
                    .map(|named| (reserve(named.id, subscriptions), named))
                    .collect();
                self.running.push(resume(engine, id, reserved).boxed());
            }
        }
    }

    fn answer(&mut self, id: u64, outcome: impl Future<Output = Outcome> + Send + 'static) {
        self.running.push(
            async move {
                Done {
                    reply: reply(id, outcome.await),
                    opened: Vec::new(),
                }
            }
            .boxed(),
        );
    }

    fn refuse(&mut self, id: u64, why: Error) {
        self.answer(id, async { Err(why) });
    }
}

fn reserve(name: u64, subscriptions: &mut Subscriptions) -> Result<(), Error> {
    if !subscriptions.has_room() {
        let sentence = format!("A connection has at most {MOST} subscriptions.");
        return Err(Error::new(ErrorCode::RateLimited, sentence));
    }
    match subscriptions.reserve(name) {
        true => Ok(()),
        false => Err(Error::new(
            ErrorCode::Conflict,
            "There is a subscription of this name already.",
        )),
    }
}

/// Opens several streams, one after the other, so that a client that comes back with many takes its turn.
async fn resume(engine: Arc<Engine>, id: u64, reserved: Vec<(Result<(), Error>, Named)>) -> Done {
    let mut all = Vec::new();
    let mut opened = Vec::new();
    for (reserved, named) in reserved {
        let name = named.id;
        let outcome = match reserved {
            Ok(()) => {
                let (stream, outcome) = open(&engine, name, named.subscribe).await;
                opened.push(stream);
                outcome
            }
            Err(why) => Err(why),
        };
        all.push(match outcome {
            Ok(seq) => json!({ "id": name, "seq": seq }),
            Err(why) => json!({ "id": name, "error": why }),
        });
    }
    let outcome = Ok((json!({ "subscriptions": all }), None));
    Done {
        reply: reply(id, outcome),
        opened,
    }
}

/// Opens a stream. The second part is the last entry of the run.
async fn open(
    engine: &Engine,
    name: u64,
    subscribe: Subscribe,
) -> (Opened, Result<Option<Seq>, Error>) {
    let run = subscribe.run;
    let (frames, outcome) = match stream(engine, subscribe).await {
        Ok(frames) => (Some(frames), Ok(last_entry(engine, run).await)),
        Err(why) => (None, Err(why)),
    };
    (Opened { name, frames }, outcome)
}

async fn stream(engine: &Engine, subscribe: Subscribe) -> Result<Frames, Error> {
    let wanted = Wanted {
        after: Some(subscribe.after.to_string()),
        snapshot: subscribe.snapshot,
        format: Format::Log(match subscribe.format {
            wire::Format::Events => Form::Events,
            wire::Format::Entries => Form::Entries,
        }),
        ..Wanted::default()
    };
    Ok(streams::open(engine, subscribe.run, wanted).await?.frames)
}

fn start_run(start: Start) -> Result<StartRun, Error> {
    let given = start.settings.as_ref().filter(|value| !value.is_null());
    let given = given.map(Value::to_string).unwrap_or_default();
    Ok(StartRun {
        text: start.text,
        conversation: start.conversation,
        parent: start.parent,
        model: start.model,
        client_id: start.client_id,
        branch: start.branch,
        settings: settings::check(&given)?,
        images: start.images,
    })
}

async fn after_start(engine: &Engine, started: Started) -> Outcome {
    let seq = last_entry(engine, started.run).await;
    Ok((value(&started), seq))
}

async fn last_entry(engine: &Engine, run: RunId) -> Option<Seq> {
    let source = engine.log.source(run).await.ok()?;
    Some(source.head().seq)
}

fn value(result: &impl serde::Serialize) -> Value {
    serde_json::to_value(result).unwrap_or_default()
}

fn reply(id: u64, outcome: Outcome) -> String {
    let reply = match outcome {
        Ok((ok, None)) => json!({ "reply": id, "ok": ok }),
        Ok((ok, Some(seq))) => json!({ "reply": id, "ok": ok, "seq": seq }),
        Err(error) => json!({ "reply": id, "error": error }),
    };
    reply.to_string()
}
