//! One reader of one answer.

use crate::{
    clock::now,
    http::{self, Response},
    prompt::Prompt,
    stamp::{self, Scanner},
};
use std::io::{self, ErrorKind};
use tokio::net::TcpStream;

/// What one reader saw of an answer. Times are in nanoseconds.
#[derive(Debug)]
pub(crate) struct Reading {
    /// What was asked for.
    pub(crate) prompt: Prompt,
    /// When the reader began to connect.
    pub(crate) begun: u64,
    /// When the first byte of the body arrived.
    pub(crate) first_byte: Option<u64>,
    /// When the first token arrived.
    pub(crate) first: Option<u64>,
    /// When the last token arrived.
    pub(crate) last: u64,
    /// How old each token was when it arrived.
    pub(crate) ages: Vec<u64>,
    /// Tokens that are missing.
    pub(crate) lost: u32,
    /// Tokens that came again.
    pub(crate) doubled: u32,
    /// Bytes of the body from the piece after the first token to the one with the last.
    pub(crate) bytes: u64,
    /// Bytes of the body since the piece with the latest token.
    unclaimed: u64,
    /// What ended the stream before its time.
    pub(crate) error: Option<io::Error>,
    /// Whether the reader begins in the middle: what is before its first token is not lost.
    pub(crate) from_middle: bool,
    /// Whether the reader leaves at the last token rather than at the end of the stream.
    pub(crate) until_last: bool,
    /// The number of the next token: how many came, where none is missing.
    pub(crate) next: u32,
    scanner: Scanner,
}

impl Reading {
    /// A reader that begins now.
    pub(crate) fn new(prompt: Prompt) -> Self {
        Self {
            prompt,
            begun: now(),
            first_byte: None,
            first: None,
            last: 0,
            ages: Vec::new(),
            lost: 0,
            doubled: 0,
            bytes: 0,
            unclaimed: 0,
            error: None,
            from_middle: false,
            until_last: false,
            next: 0,
            scanner: Scanner::default(),
        }
    }

    /// Sends a request and reads its answer to the end.
    ///
    /// # Errors
    /// Those of the socket; `Other` with the status where it is no success.
    pub(crate) async fn follow(&mut self, socket: &TcpStream, request: &[u8]) -> io::Result<()> {
        http::write(socket, request).await?;
        let mut response = Response::default();
        while !(response.finished || self.until_last && self.next >= self.prompt.tokens) {
            http::read(socket, |bytes| {
                let at = now();
                response.push(bytes, |part| self.take(part, at))
            })
            .await??;
            if !matches!(response.status, 0 | 200) {
                return Err(io::Error::other(format!("status {}", response.status)));
            }
        }
        Ok(())
    }

    fn take(&mut self, part: &[u8], at: u64) {
        self.first_byte.get_or_insert(at);
        if self.first.is_some() {
            self.unclaimed += part.len() as u64;
        }
        let Self {
            scanner,
            first,
            last,
            ages,
            lost,
            doubled,
            next,
            bytes,
            unclaimed,
            from_middle,
            ..
        } = self;
        scanner.scan(part, &mut |seq, written| {
            if first.is_none() && *from_middle {
                *next = seq;
            }
            first.get_or_insert(at);
            *last = at;
            ages.push(at.saturating_sub(written));
            *bytes += std::mem::take(unclaimed);
            if seq < *next {
                *doubled += 1;
                return;
            }
            *lost += seq - *next;
            *next = seq + 1;
        });
    }

    /// Notes how the stream ended. Tokens that are still missing are lost.
    pub(crate) fn end(&mut self, result: io::Result<()>) {
        self.lost += self.prompt.tokens.saturating_sub(self.next);
        self.error = result.err();
        if self.error.is_none() && self.next < self.prompt.tokens {
            self.error = Some(ErrorKind::UnexpectedEof.into());
        }
    }

    /// How much longer than scheduled the tokens took: 1 is on time.
    pub(crate) fn stretch(&self) -> f64 {
        let took = self.last.saturating_sub(self.first.unwrap_or(self.last));
        match self.prompt.ideal() {
            0 => 1.0,
            ideal => took as f64 / ideal as f64,
        }
    }

    /// Bytes on the wire for each token beyond its text.
    pub(crate) fn overhead(&self) -> f64 {
        let tokens = f64::from(self.next.saturating_sub(1).max(1));
        let text = stamp::LENGTH as f64 + f64::from(self.prompt.filler);
        self.bytes as f64 / tokens - text
    }
}
