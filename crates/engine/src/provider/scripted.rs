//! A provider that plays scripts: for tests and demonstrations, never the default.
//!
//! Each scenario is one model of the list. To see a provider fail in the middle of an answer,
//! choose the model `error-after` and send a message.
//!
//! # The file
//!
//! ```toml
//! prefill = true            # optional: whether a half-written answer can be continued
//!
//! [[scenario]]
//! name = "cut"              # the model's name
//! note = "Breaks off."      # optional: one line for people
//! pace = 40                 # optional: tokens per second; without it as fast as possible
//! pieces = "words"          # optional: "words" (3 to 5 characters), "chars" or "whole"
//! steps = [
//!     { stage = "queued", ahead = 2 },
//!     { wait_ms = 500 },
//!     { text = "The first half, " },
//!     { end = "silent" },
//!     { text = "the second half." },
//!     { end = "stop" },
//! ]
//! ```
//!
//! | step | what happens |
//! |---|---|
//! | `{ stage = "queued", ahead = 2 }` | a stage; also `connecting`, `reading_prompt` with `percent`, `waiting`, `context_trimmed` with `messages` |
//! | `{ connected = true }` | the provider answered; comes by itself before the first content |
//! | `{ wait_ms = 500 }` | silence for so long |
//! | `{ pace = 100 }` | another pace from here on; 0 is as fast as possible |
//! | `{ text = "…" }` | text, token by token |
//! | `{ words = 1000 }` | that many tokens of filler text; every tenth is its number |
//! | `{ echo = true }` | the person's own last message as text |
//! | `{ echo_settings = true }` | the system prompt and the sampling of the request as text |
//! | `{ reasoning = "…" }`, `{ refusal = "…" }` | a block of that kind |
//! | `{ tool = "search", id = "call_1", arguments = '{"q":"x"}' }` | a tool call |
//! | `{ usage = { input = 10, output = 5 } }` | counts in place of those that the end reports by itself |
//! | `{ error = { code = "overloaded", message = "…", status = 503, retry_after_ms = 1000 } }` | a failure; all but `code` is optional |
//! | `{ stall = true }` | silence for ever |
//! | `{ panic = true }` | the provider panics |
//! | `{ end = "stop" }` | the end; also `length`, `tool_calls`, `content_filter`, `refusal`, and `silent`: the stream ends without a word |
//! | `{ repeat = 3, steps = [ … ] }` | the steps so many times |
//!
//! A scenario that runs out of steps ends with `stop`.
//!
//! `error`, `stall`, `panic` and `end = "silent"` are *faults*. A fault with `times = 2` happens to
//! two streams and lets the third one through, over and over.
//!
//! # Prefill
//!
//! If the prefill is the beginning of the scenario's text, the answer continues directly after it,
//! and the faults are left out: a continuation after an interruption completes the text exactly. A
//! fault with `again = true` at the end of the prefill or after it happens all the same. Any other
//! prefill is ignored.

use super::{ChatRequest, Provider, ProviderEvent};
use futures::{
    FutureExt, StreamExt,
    future::{self, BoxFuture},
    stream::{self, BoxStream},
};
use headwater_protocol::{Error, ErrorCode, ModelInfo};
use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

mod pieces;
mod play;
mod read;
mod script;

use play::Player;
use script::Script;

/// Plays scripts; see the [module](self) for their format.
#[derive(Clone, Debug)]
pub struct Scripted {
    script: Arc<Script>,
    pace: Option<f64>,
    active: Arc<AtomicUsize>,
}

impl Scripted {
    /// Reads the scenarios of a file. The error is a sentence that names the line or the scenario.
    pub fn from_toml(text: &str) -> Result<Self, Error> {
        let script = Script::parse(text)
            .map_err(|why| Error::new(ErrorCode::InvalidRequest, why).at("reading a script"))?;
        Ok(Self {
            script: Arc::new(script),
            pace: None,
            active: Arc::default(),
        })
    }

    /// The built-in scenarios.
    pub fn builtin() -> Self {
        // A test parses the same bytes, so this cannot fail in a build that passed its tests.
        Self::from_toml(include_str!("scripted/builtin.toml"))
            .unwrap_or_else(|error| panic!("the built-in script is broken: {error}"))
    }

    /// Plays every scenario at this many tokens per second whatever the file says; 0 is as fast as
    /// possible. For tests and measurements.
    pub fn with_pace(mut self, tokens_per_second: f64) -> Self {
        self.pace = Some(tokens_per_second);
        self
    }

    /// The number of open streams.
    pub fn active(&self) -> usize {
        self.active.load(Ordering::SeqCst)
    }

    /// The whole text of a scenario for a request.
    pub fn text(&self, request: &ChatRequest) -> Option<String> {
        self.script
            .find(&request.model)
            .map(|scenario| scenario.text(request))
    }
}

impl Provider for Scripted {
    fn models(&self) -> BoxFuture<'_, Result<Vec<ModelInfo>, Error>> {
        let models = self.script.scenarios.iter().map(|scenario| ModelInfo {
            id: scenario.name.clone(),
            name: scenario.name.clone(),
            provider: "Script".into(),
            context: None,
            note: scenario.note.clone(),
        });
        future::ready(Ok(models.collect())).boxed()
    }

    fn stream(&self, request: ChatRequest) -> BoxStream<'static, Result<ProviderEvent, Error>> {
        let Some(scenario) = self.script.find(&request.model) else {
            let error = Error::new(
                ErrorCode::NotFound,
                format!("There is no scenario named “{}”.", request.model),
            );
            return stream::iter([Err(error)]).boxed();
        };
        let guard = Alive::new(&self.active);
        let player = Player::new(scenario, request, self.pace);
        stream::unfold((player, guard), |(mut player, guard)| async move {
            let event = player.next().await?;
            Some((event, (player, guard)))
        })
        .boxed()
    }

    fn can_prefill(&self, _: &str) -> bool {
        self.script.prefill
    }
}

/// Counts a stream for as long as it lives, however it ends.
struct Alive(Arc<AtomicUsize>);

impl Alive {
    fn new(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::SeqCst);
        Self(count.clone())
    }
}

impl Drop for Alive {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may fail by panic")]
mod tests;
