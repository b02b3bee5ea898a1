//! Reads the body of an answer: bytes in, events out, and no socket in between.

use super::{Decode, Flow, Ready};
use crate::{
    protocol::{Error, ErrorCode},
    server::provider::{
        http,
        sse::{self, lines::Lines},
        who::Who,
    },
};

/// The body of one answer.
#[derive(Debug)]
pub(in crate::server::provider) struct Reader<D> {
    who: Who,
    form: Form,
    decoder: D,
}

/// What the body is. Its first character tells more reliably than its content type.
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
    pub(in crate::server::provider) fn new(who: Who, decoder: D) -> Self {
        Self {
            who,
            form: Form::Unknown(Vec::new()),
            decoder,
        }
    }

    /// Whether all but the usage is there.
    pub(super) fn has_finish(&self) -> bool {
        self.decoder.has_finish()
    }

    /// Takes the next bytes, cut anywhere. After an error or [`Flow::Done`] there is nothing more
    /// to do.
    pub(in crate::server::provider) fn push(
        &mut self,
        bytes: &[u8],
        out: &mut Ready,
    ) -> Result<Flow, Error> {
        match self.take(bytes, out) {
            Ok(Flow::More) => Ok(Flow::More),
            Ok(Flow::Done) => {
                self.decoder.end(out);
                Ok(Flow::Done)
            }
            Err(error) => self.fail(error, out).map(|()| Flow::Done),
        }
    }

    /// Takes the end of the body.
    pub(in crate::server::provider) fn end(&mut self, out: &mut Ready) -> Result<(), Error> {
        let result = match std::mem::replace(&mut self.form, Form::Unknown(Vec::new())) {
            Form::Unknown(_) => Ok(()),
            Form::Whole(body) => self.decoder.whole(&body, out),
            Form::Events(events) => self.leftover(*events, out),
            Form::Lines(lines) => match std::str::from_utf8(lines.rest()) {
                Ok(line) if is_json(line) => take_line(&mut self.decoder, line, out).map(|_| ()),
                _ => Ok(()),
            },
        };
        match result {
            Ok(()) => {
                self.decoder.end(out);
                Ok(())
            }
            Err(error) => self.fail(error, out),
        }
    }

    /// Takes a failure. Once the provider said why it ended, the answer is whole all the same.
    pub(super) fn fail(&mut self, error: Error, out: &mut Ready) -> Result<(), Error> {
        if self.has_finish() {
            self.decoder.end(out);
            return Ok(());
        }
        self.decoder.break_off(out);
        Err(error)
    }

    fn take(&mut self, bytes: &[u8], out: &mut Ready) -> Result<Flow, Error> {
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
                _ => Form::Events(Box::default()),
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
                        format!("The answer of {} is too large.", self.who.name),
                    ));
                }
                body.extend_from_slice(bytes);
            }
            Form::Events(events) => {
                events.push(bytes);
                while let Some(event) = events.next_event()? {
                    if self.decoder.event(&event, out)? == Flow::Done {
                        return Ok(Flow::Done);
                    }
                }
            }
            Form::Lines(lines) => {
                lines.push(bytes);
                while let Some(line) = lines.next_line()? {
                    let data = String::from_utf8_lossy(line);
                    if take_line(&mut self.decoder, &data, out)? == Flow::Done {
                        return Ok(Flow::Done);
                    }
                }
            }
        }
        Ok(Flow::More)
    }

    /// Servers that end without the last blank line have sent a whole event if its JSON is whole.
    fn leftover(&mut self, events: sse::Decoder, out: &mut Ready) -> Result<(), Error> {
        if let Some(left) = events.finish() {
            let data = left.event.data.trim();
            if data == "[DONE]" || is_json(data) {
                self.decoder.event(&left.event, out)?;
            }
        }
        Ok(())
    }

    fn page(&self) -> Error {
        let mut error = Error::new(
            ErrorCode::Malformed,
            format!(
                "The provider at {} answered with a web page. Is its base URL right? {}",
                http::place(&self.who.url),
                self.who.hint
            ),
        );
        error.retryable = false;
        error.at("reading the answer")
    }
}

/// Gives a line to the decoder as an event; a blank one is nothing.
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
