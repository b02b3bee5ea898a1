//! Reads the body of an answer: bytes in, events out, without I/O.
//!
//! The decoder's events pass through here: reasoning is separated from text, and an empty answer
//! becomes a failure.

use super::{Decode, Flow, Ready, thoughts::Thoughts};
use crate::provider::{
    ProviderEvent,
    endpoint::Endpoint,
    fault, http,
    sse::{self, lines::Lines},
};
use headwater_protocol::{BlockKind, Error, ErrorCode, FinishReason};

/// The body of one answer.
#[derive(Debug)]
pub(in crate::provider) struct Reader<D> {
    endpoint: Endpoint,
    form: Form,
    decoder: D,
    /// The last events of the decoder.
    raw: Ready,
    thoughts: Thoughts,
    /// Whether the answer has any content.
    told: bool,
}

/// Everything that comes of a body that arrives in these chunks, split anywhere.
pub(in crate::provider) fn read_all<'a, D: Decode>(
    endpoint: Endpoint,
    decoder: D,
    chunks: impl IntoIterator<Item = &'a [u8]>,
) -> Vec<Result<ProviderEvent, Error>> {
    let mut reader = Reader::new(endpoint, decoder);
    let mut out = Ready::new();
    let mut result = Ok(Flow::More);
    for chunk in chunks {
        result = reader.push(chunk, &mut out);
        if result != Ok(Flow::More) {
            break;
        }
    }
    if result == Ok(Flow::More) {
        result = reader.end(&mut out).map(|()| Flow::Done);
    }
    let events = out.into_iter().map(Ok);
    events.chain(result.err().map(Err)).collect()
}

/// The format of the body. The first character is more reliable than the content type.
#[derive(Debug)]
enum Form {
    /// Nothing but white space so far.
    Unknown(Vec<u8>),
    Events(Box<sse::Decoder>),
    /// Newline-delimited JSON.
    Lines(Box<Lines>),
    /// One JSON document, from a server that does not stream.
    Whole(Vec<u8>),
}

impl<D: Decode> Reader<D> {
    pub(in crate::provider) fn new(endpoint: Endpoint, decoder: D) -> Self {
        Self {
            endpoint,
            form: Form::Unknown(Vec::new()),
            decoder,
            raw: Ready::new(),
            thoughts: Thoughts::default(),
            told: false,
        }
    }

    /// Whether only the usage may still follow.
    pub(super) fn has_finish(&self) -> bool {
        self.decoder.has_finish()
    }

    /// Takes the next bytes, split anywhere. After an error or [`Flow::Done`] there is nothing more
    /// to do.
    pub(in crate::provider) fn push(
        &mut self,
        bytes: &[u8],
        out: &mut Ready,
    ) -> Result<Flow, Error> {
        let result = self.take(bytes);
        self.pass(out)?;
        match result {
            Ok(Flow::More) => Ok(Flow::More),
            Ok(Flow::Done) => self.finish(out).map(|()| Flow::Done),
            Err(error) => self.fail(error, out).map(|()| Flow::Done),
        }
    }

    /// Takes the end of the body.
    pub(in crate::provider) fn end(&mut self, out: &mut Ready) -> Result<(), Error> {
        let raw = &mut self.raw;
        let result = match &mut self.form {
            Form::Unknown(_) => Ok(()),
            Form::Whole(body) => self.decoder.whole(body, raw),
            Form::Events(events) => leftover(events, &mut self.decoder, raw),
            Form::Lines(lines) => match std::str::from_utf8(lines.rest()) {
                Ok(line) if is_json(line) => take_line(&mut self.decoder, line, raw).map(|_| ()),
                _ => Ok(()),
            },
        };
        self.pass(out)?;
        match result {
            Ok(()) => self.finish(out),
            Err(error) => self.fail(error, out),
        }
    }

    /// Takes a failure of the connection. After the finish reason, the answer is complete all the
    /// same.
    pub(super) fn fail(&mut self, error: Error, out: &mut Ready) -> Result<(), Error> {
        if self.has_finish() {
            return self.finish(out);
        }
        self.decoder.break_off(&mut self.raw);
        self.pass(out)?;
        Err(error)
    }

    /// Ends the answer. Without a finish reason, the rest of the body may be an error message.
    fn finish(&mut self, out: &mut Ready) -> Result<(), Error> {
        let has_finish = self.has_finish();
        self.decoder.end(&mut self.raw);
        self.pass(out)?;
        let stray = match &self.form {
            Form::Events(events) if !has_finish => events.stray().trim(),
            _ => "",
        };
        // Incomplete JSON is a truncated answer, not an error message.
        if stray.is_empty() || stray.starts_with(['{', '[']) && !is_json(stray) {
            return Ok(());
        }
        Err(fault::from_text(&self.endpoint, stray))
    }

    /// Passes on the decoder's events.
    fn pass(&mut self, out: &mut Ready) -> Result<(), Error> {
        while let Some(event) = self.raw.pop_front() {
            match &event {
                ProviderEvent::Delta { text, .. } => self.told |= !text.trim().is_empty(),
                ProviderEvent::Image(_)
                | ProviderEvent::BlockStarted {
                    kind: BlockKind::ToolInput,
                    ..
                } => self.told = true,
                ProviderEvent::Finished { reason, word } if !self.told => {
                    self.raw.clear();
                    // The engine has its own sentence for content filters.
                    if *reason != FinishReason::ContentFilter {
                        return Err(self.without_a_word(*reason, word));
                    }
                }
                _ => {}
            }
            let found = self.thoughts.found;
            self.thoughts.take(event, out);
            if self.thoughts.found && !found {
                self.decoder.thinks();
            }
        }
        Ok(())
    }

    /// The error for an answer that is complete and empty.
    fn without_a_word(&self, reason: FinishReason, word: &str) -> Error {
        let name = &self.endpoint.name;
        let (code, sentence) = match reason {
            FinishReason::Length => (
                ErrorCode::Truncated,
                format!("The model at {name} used up its limit of tokens before its first word."),
            ),
            FinishReason::Refusal => (
                ErrorCode::Refused,
                format!("The model at {name} declined to answer, without a word."),
            ),
            FinishReason::Other => (
                ErrorCode::ProviderError,
                format!(
                    "{name} ended the answer without a word. Its reason: {}.",
                    http::quote(word, self.endpoint.key.as_ref())
                ),
            ),
            FinishReason::Stop | FinishReason::ToolCalls => (
                ErrorCode::ProviderError,
                format!("{name} ended the answer without a word."),
            ),
            FinishReason::ContentFilter => (
                ErrorCode::ContentFiltered,
                format!("A content filter of {name} stopped the answer."),
            ),
        };
        let mut error = Error::new(code, sentence);
        // Another attempt would reach the same limit.
        error.retryable &= reason != FinishReason::Length;
        error.at("reading the answer")
    }

    fn take(&mut self, bytes: &[u8]) -> Result<Flow, Error> {
        let held;
        let mut bytes = bytes;
        if let Form::Unknown(space) = &mut self.form {
            space.extend_from_slice(bytes);
            let first = space.iter().find(|byte| !byte.is_ascii_whitespace());
            let form = match first {
                None if space.len() < 64 * 1024 => return Ok(Flow::More),
                Some(b'{') if D::LINES => Form::Lines(Box::new(Lines::ended_by_lf(sse::MAX_BYTES))),
                Some(b'{' | b'[') => Form::Whole(Vec::new()),
                Some(b'<') => return Err(self.page()),
                _ => Form::Events(Box::new(sse::Decoder::lenient())),
            };
            held = std::mem::take(space);
            bytes = &held;
            self.form = form;
        }
        match &mut self.form {
            Form::Unknown(_) => {}
            Form::Whole(body) => {
                if body.len() + bytes.len() > sse::MAX_BYTES {
                    return Err(Error::new(
                        ErrorCode::Malformed,
                        format!("The answer of {} is too large.", self.endpoint.name),
                    ));
                }
                body.extend_from_slice(bytes);
            }
            Form::Events(events) => {
                events.push(bytes);
                while let Some(event) = events.next_event()? {
                    if self.decoder.event(&event, &mut self.raw)? == Flow::Done {
                        return Ok(Flow::Done);
                    }
                }
            }
            Form::Lines(lines) => {
                lines.push(bytes);
                while let Some(line) = lines.next_line()? {
                    let data = String::from_utf8_lossy(line);
                    if take_line(&mut self.decoder, &data, &mut self.raw)? == Flow::Done {
                        return Ok(Flow::Done);
                    }
                }
            }
        }
        Ok(Flow::More)
    }

    fn page(&self) -> Error {
        let mut error = Error::new(
            ErrorCode::Malformed,
            format!(
                "The provider at {} answered with a web page. Is its base URL right? {}",
                http::place(&self.endpoint.url),
                self.endpoint.hint
            ),
        );
        error.retryable = false;
        error.at("reading the answer")
    }
}

/// Takes the event of a stream that ended without the last blank line, if its JSON is complete.
fn leftover<D: Decode>(
    events: &mut sse::Decoder,
    decoder: &mut D,
    out: &mut Ready,
) -> Result<(), Error> {
    if let Some(left) = events.end() {
        let data = left.event.data.trim();
        if data == "[DONE]" || is_json(data) {
            decoder.event(&left.event, out)?;
        }
    }
    Ok(())
}

/// Passes a line to the decoder as an event. Blank lines are ignored.
fn take_line<D: Decode>(decoder: &mut D, line: &str, out: &mut Ready) -> Result<Flow, Error> {
    let data = line.trim();
    if data.is_empty() {
        return Ok(Flow::More);
    }
    let event = sse::Event {
        data: data.into(),
        ..sse::Event::default()
    };
    decoder.event(&event, out)
}

fn is_json(text: &str) -> bool {
    serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok()
}
