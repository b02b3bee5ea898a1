//! Reads server-sent events from a provider: bytes in, events out.
//!
//! It follows the [standard](https://html.spec.whatwg.org/multipage/server-sent-events.html) to the
//! letter, wherever the network splits the bytes. It does no I/O, so that every split can be
//! tested.
//!
//! ```
//! # use headwater_engine::provider::sse::Decoder;
//! let mut decoder = Decoder::new();
//! decoder.push(b"data: one\r");
//! decoder.push(b"\ndata: two\n\n");
//! let event = decoder.next_event()?.expect("an event is whole");
//! assert_eq!(event.data, "one\ntwo");
//! # Ok::<(), headwater_protocol::Error>(())
//! ```

use headwater_protocol::{Error, ErrorCode};
use lines::Lines;
use std::time::Duration;

pub mod lines;

/// The longest line and the longest event that are accepted, in bytes. An image of 20 MB in base64
/// fits.
pub const MAX_BYTES: usize = 32 * 1024 * 1024;

/// One event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Event {
    /// The type; empty if the stream gave none, which the standard calls `message`.
    pub event: String,
    /// The `data` lines, joined with a newline.
    pub data: String,
    /// The last identifier that the stream gave, with this event or an earlier one.
    pub id: String,
}

/// What was left when the stream ended without the blank line that ends an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unfinished {
    /// The incomplete event. The standard discards it. A caller can use it if it can tell that the
    /// data is complete.
    pub event: Event,
    /// Whether the last line had no end either.
    pub in_line: bool,
}

/// The decoder of one stream.
#[derive(Debug)]
pub struct Decoder {
    lines: Lines,
    first: bool,
    next: Event,
    has_data: bool,
    has_lines: bool,
    retry: Option<Duration>,
    limit: usize,
    /// See [`Decoder::lenient`].
    lenient: bool,
    stray: String,
}

/// The most bytes that are kept for [`Decoder::stray`].
const MOST_STRAY: usize = 4096;

impl Default for Decoder {
    fn default() -> Self {
        Self::new()
    }
}

impl Decoder {
    /// A decoder at the start of a stream.
    pub fn new() -> Self {
        Self::with_limit(MAX_BYTES)
    }

    /// A decoder for servers that report failures outside events, where the standard says to ignore
    /// them. A field `error` becomes an event of that type, as llama.cpp means it. A line of JSON
    /// without a field name is data. Other lines that are not fields are kept: see
    /// [`Decoder::stray`].
    pub fn lenient() -> Self {
        Self {
            lenient: true,
            ..Self::new()
        }
    }

    /// A decoder that accepts lines and events of up to `limit` bytes.
    pub fn with_limit(limit: usize) -> Self {
        Self {
            lines: Lines::ended_by_any(limit),
            first: true,
            next: Event::default(),
            has_data: false,
            has_lines: false,
            retry: None,
            limit,
            lenient: false,
            stray: String::new(),
        }
    }

    /// The lines that are not part of an event, at most 4 KiB. If a server or a proxy broke off,
    /// this is its error message.
    pub fn stray(&self) -> &str {
        &self.stray
    }

    /// Takes the next bytes of the stream, split anywhere.
    pub fn push(&mut self, bytes: &[u8]) {
        self.lines.push(bytes);
    }

    /// The next complete event, or `None` until there are more bytes.
    ///
    /// # Errors
    /// `malformed` for a line or an event above the limit. The decoder cannot be used any further.
    pub fn next_event(&mut self) -> Result<Option<Event>, Error> {
        loop {
            let Some(line) = self.lines.next_line()? else {
                return Ok(None);
            };
            let line = match self.first {
                true => line.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(line),
                false => line,
            };
            self.first = false;
            if line.is_empty() {
                if let Some(event) = self.dispatch() {
                    return Ok(Some(event));
                }
                continue;
            }
            self.has_lines = true;
            // Decoding UTF-8 line by line is the same as decoding the whole stream, because no byte
            // of a multi-byte character looks like a line end.
            let (mut name, mut value) = field(line);
            if self.lenient && name == b"error" {
                self.next.event = "error".into();
                name = b"data";
            } else if self.lenient && (is_json(line) || line == b"[DONE]") {
                (name, value) = (b"data", line);
            }
            match name {
                b"data" => {
                    if self.next.data.len() + value.len() >= self.limit {
                        return Err(too_long(self.limit));
                    }
                    if self.has_data {
                        self.next.data.push('\n');
                    }
                    self.next.data.push_str(&String::from_utf8_lossy(value));
                    self.has_data = true;
                }
                b"event" => self.next.event = String::from_utf8_lossy(value).into_owned(),
                b"id" if !value.contains(&0) => {
                    self.next.id = String::from_utf8_lossy(value).into_owned();
                }
                b"retry" if !value.is_empty() && value.iter().all(u8::is_ascii_digit) => {
                    self.retry = std::str::from_utf8(value)
                        .ok()
                        .and_then(|text| text.parse().ok())
                        .map(Duration::from_millis)
                        .or(self.retry);
                }
                // Comments have an empty name; other names are for later versions.
                b"" | b"id" | b"retry" => {}
                _ if self.lenient && self.stray.len() + line.len() < MOST_STRAY => {
                    self.stray.push_str(&String::from_utf8_lossy(line));
                    self.stray.push('\n');
                }
                _ => {}
            }
        }
    }

    /// The last reconnection time that the stream gave.
    pub fn retry(&self) -> Option<Duration> {
        self.retry
    }

    /// The incomplete event at the end of the stream. `None` if it ended between two events.
    pub fn finish(mut self) -> Option<Unfinished> {
        self.end()
    }

    /// Like [`Decoder::finish`], for callers that still need the decoder.
    pub(super) fn end(&mut self) -> Option<Unfinished> {
        let in_line = !self.lines.rest().is_empty();
        let fields = ["data:", "event:", "id:", "retry:", "error:", "\u{feff}"];
        let rest = self.lines.rest();
        let rest = match rest.strip_prefix(b"\xEF\xBB\xBF").filter(|_| self.first) {
            Some(rest) => rest,
            None => rest,
        };
        // An incomplete field name means nothing.
        let is_cut = fields
            .iter()
            .any(|field| field.as_bytes().starts_with(rest));
        if in_line && !is_cut {
            // Another line end completes the line. The line is not blank, so this ends no event.
            self.lines.push(b"\n");
            self.next_event().ok()?;
        }
        self.has_lines.then(|| Unfinished {
            event: std::mem::take(&mut self.next),
            in_line,
        })
    }

    fn dispatch(&mut self) -> Option<Event> {
        self.has_lines = false;
        let has_data = std::mem::take(&mut self.has_data);
        // The identifier also applies to later events.
        let event = Event {
            event: std::mem::take(&mut self.next.event),
            data: std::mem::take(&mut self.next.data),
            id: self.next.id.clone(),
        };
        has_data.then_some(event)
    }
}

/// Splits a line at its first colon. One space after it is not part of the value.
fn field(line: &[u8]) -> (&[u8], &[u8]) {
    match line.iter().position(|&byte| byte == b':') {
        Some(colon) => {
            let value = &line[colon + 1..];
            (&line[..colon], value.strip_prefix(b" ").unwrap_or(value))
        }
        None => (line, b""),
    }
}

/// Whether a line is a complete JSON object or array.
fn is_json(line: &[u8]) -> bool {
    matches!(line.first(), Some(b'{' | b'['))
        && serde_json::from_slice::<serde::de::IgnoredAny>(line).is_ok()
}

/// The error for a line or an event longer than `limit` bytes.
fn too_long(limit: usize) -> Error {
    Error::new(
        ErrorCode::Malformed,
        format!(
            "The provider sent a single event of more than {} kB.",
            limit / 1024
        ),
    )
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may fail by panic")]
mod tests;
