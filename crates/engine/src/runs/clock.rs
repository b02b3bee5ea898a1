//! The deadlines of one attempt.

use headwater_protocol::{Error, ErrorCode, Stage};
use std::time::Duration;
use tokio::time::Instant;

/// How long a run waits for a provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deadlines {
    /// From the request to the first token, without time in a queue. Every sign of progress, such as
    /// another percent of the prompt, starts it again.
    pub first_token: Duration,
    /// Between two tokens. Bytes that only keep the connection alive are no token.
    pub between_tokens: Duration,
    /// For the whole attempt.
    pub total: Duration,
}

impl Default for Deadlines {
    /// Two minutes to the first token (large models load and read long prompts), one minute of
    /// silence, half an hour in all.
    fn default() -> Self {
        Self {
            first_token: Duration::from_secs(120),
            between_tokens: Duration::from_secs(60),
            total: Duration::from_secs(1800),
        }
    }
}

/// Knows when the next deadline of one attempt is.
#[derive(Debug)]
pub(super) struct Clock {
    deadlines: Deadlines,
    end: Instant,
    silence: Option<Instant>,
    content: bool,
    ending: bool,
}

/// How long the end of an answer may take once the provider has said why it ends. Providers give up
/// waiting for the rest much sooner, so this ends only those that hang.
const ENDING: Duration = Duration::from_secs(30);

impl Clock {
    pub(super) fn new(deadlines: Deadlines) -> Self {
        let now = Instant::now();
        Self {
            deadlines,
            end: now + deadlines.total,
            silence: Some(now + deadlines.first_token),
            content: false,
            ending: false,
        }
    }

    /// When the next deadline is over.
    pub(super) fn next(&self) -> Instant {
        self.silence
            .map_or(self.end, |silence| silence.min(self.end))
    }

    /// Progress before the first token starts its deadline again; a place in a queue suspends it.
    pub(super) fn stage(&mut self, stage: &Stage) {
        if !self.content && !self.ending {
            self.silence = match stage {
                Stage::Queued { .. } => None,
                _ => Some(Instant::now() + self.deadlines.first_token),
            };
        }
    }

    /// Notes a token.
    pub(super) fn content(&mut self) {
        self.content = true;
        if self.ending {
            return;
        }
        self.silence = Some(Instant::now() + self.deadlines.between_tokens);
    }

    /// Notes that the answer is complete and only the counts of tokens are to come. From here on,
    /// silence is no failure.
    pub(super) fn ending(&mut self) {
        self.ending = true;
        self.silence = None;
        self.end = Instant::now() + ENDING;
    }

    /// Whether only the counts of tokens are to come.
    pub(super) fn is_ending(&self) -> bool {
        self.ending
    }

    /// The error for the deadline that is over.
    pub(super) fn error(&self) -> Error {
        let seconds = |duration: Duration| duration.as_secs_f32().ceil() as u64;
        if Instant::now() >= self.end {
            let minutes = seconds(self.deadlines.total).div_ceil(60);
            return Error::new(
                ErrorCode::Stall,
                format!("The answer was not whole after {minutes} minutes, so it was ended."),
            )
            .at("writing");
        }
        if self.content {
            let silence = seconds(self.deadlines.between_tokens);
            Error::new(
                ErrorCode::Stall,
                format!("The provider fell silent for {silence} seconds in mid-answer."),
            )
            .at("writing")
        } else {
            let silence = seconds(self.deadlines.first_token);
            Error::new(
                ErrorCode::FirstTokenTimeout,
                format!("The provider sent no token within {silence} seconds."),
            )
            .at("waiting for the first token")
        }
    }
}
