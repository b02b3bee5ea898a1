//! Tokens as they come.

use crate::observer::{At, Interest, Observed, Observer, Run, RunFinished, Token};
use headwater_protocol::BlockKind;
use parking_lot::Mutex;
use std::io::Write;

/// Writes the text of models as it comes, and a line break at the end of a run. Reasoning and arguments
/// of calls are left out. What an attempt wrote that failed later has been written.
#[derive(Debug)]
pub struct Tokens<W>(Mutex<W>);

impl<W: Write + Send + 'static> Tokens<W> {
    /// Writes to `out`, such as [`std::io::stdout`]. It is flushed behind every token.
    pub fn new(out: W) -> Self {
        Self(Mutex::new(out))
    }

    fn write(&self, text: &str) -> Observed {
        let mut out = self.0.lock();
        out.write_all(text.as_bytes())?;
        Ok(out.flush()?)
    }
}

impl<W: Write + Send + 'static> Observer for Tokens<W> {
    fn interest(&self) -> Interest {
        Interest::RUNS | Interest::TOKENS
    }

    async fn token(&self, _: &At<'_>, token: &Token<'_>) -> Observed {
        match token.kind {
            BlockKind::Text | BlockKind::Refusal => self.write(token.text),
            _ => Ok(()),
        }
    }

    async fn run_finished(&self, _: &Run, _: &RunFinished<'_>) -> Observed {
        self.write("\n")
    }
}
