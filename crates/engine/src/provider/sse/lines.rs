//! Splits a stream of bytes into lines, wherever the network splits the bytes.
//!
//! Server-sent events and newline-delimited JSON are both read with this. It works on bytes,
//! because the network can split a character as well.

use super::too_long;
use headwater_protocol::Error;

/// Collects bytes and returns complete lines without their ends.
///
/// The cost is linear: no byte is searched twice, and each is moved a few times at most.
#[derive(Debug)]
pub struct Lines {
    buffer: Vec<u8>,
    /// The start of the next line.
    start: usize,
    /// The end of the bytes that were searched for a line end.
    scanned: usize,
    /// Whether the last line ended with CR, so that an LF directly after it belongs to that end.
    after_cr: bool,
    /// Whether CR alone also ends a line.
    any: bool,
    limit: usize,
}

impl Lines {
    /// Lines that end with CR, LF or CRLF, as in server-sent events.
    pub fn ended_by_any(limit: usize) -> Self {
        Self {
            buffer: Vec::new(),
            start: 0,
            scanned: 0,
            after_cr: false,
            any: true,
            limit,
        }
    }

    /// Lines that end with LF or CRLF, as in newline-delimited JSON.
    pub fn ended_by_lf(limit: usize) -> Self {
        Self {
            any: false,
            ..Self::ended_by_any(limit)
        }
    }

    /// Takes the next bytes, split anywhere.
    pub fn push(&mut self, bytes: &[u8]) {
        // The cost stays linear, because the rest is moved only when it is the smaller part.
        if self.start > 0 && self.start >= self.buffer.len() / 2 {
            self.buffer.drain(..self.start);
            self.scanned -= self.start;
            self.start = 0;
        }
        self.buffer.extend_from_slice(bytes);
    }

    /// The next complete line, or `None` until there are more bytes.
    ///
    /// # Errors
    /// `malformed` for a line above the limit, and for every later call.
    pub fn next_line(&mut self) -> Result<Option<&[u8]>, Error> {
        if self.after_cr && self.start < self.buffer.len() {
            self.after_cr = false;
            if self.buffer[self.start] == b'\n' {
                self.start += 1;
                self.scanned = self.start;
            }
        }
        let any = self.any;
        let found = self.buffer[self.scanned..]
            .iter()
            .position(|&byte| byte == b'\n' || (any && byte == b'\r'));
        let end = found.map_or(self.buffer.len(), |at| self.scanned + at);
        self.scanned = end;
        if end - self.start > self.limit {
            return Err(too_long(self.limit));
        }
        if found.is_none() {
            return Ok(None);
        }
        let line = self.start..end;
        // A CR at the end of the bytes ends its line at once: the event must not wait for bytes
        // that may arrive a minute later.
        self.after_cr = any && self.buffer[end] == b'\r';
        self.start = end + 1;
        self.scanned = self.start;
        let line = &self.buffer[line];
        Ok(Some(if any {
            line
        } else {
            line.strip_suffix(b"\r").unwrap_or(line)
        }))
    }

    /// The bytes of the incomplete line.
    pub fn rest(&self) -> &[u8] {
        match &self.buffer[self.start..] {
            [b'\n', rest @ ..] if self.after_cr => rest,
            rest => rest,
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may fail by panic")]
mod tests {
    use super::*;

    fn all(mut lines: Lines, chunks: &[&[u8]]) -> (Vec<String>, String) {
        let mut out = Vec::new();
        for chunk in chunks {
            lines.push(chunk);
            while let Some(line) = lines.next_line().unwrap() {
                out.push(String::from_utf8(line.to_vec()).unwrap());
            }
        }
        (out, String::from_utf8(lines.rest().to_vec()).unwrap())
    }

    #[test]
    fn json_lines_end_with_lf_or_crlf_but_not_with_cr() {
        let text = b"{\"a\":1}\r\n\n{\"b\":\"x\ry\"}\nrest";
        for cut in 0..text.len() {
            let (lines, rest) = all(Lines::ended_by_lf(99), &[&text[..cut], &text[cut..]]);
            assert_eq!(lines, ["{\"a\":1}", "", "{\"b\":\"x\ry\"}"]);
            assert_eq!(rest, "rest");
        }
    }

    #[test]
    fn a_cr_ends_its_line_at_once() {
        let mut lines = Lines::ended_by_any(99);
        lines.push(b"a\r");
        assert_eq!(lines.next_line().unwrap(), Some(&b"a"[..]));
        assert_eq!(lines.next_line().unwrap(), None);
        lines.push(b"\n");
        assert_eq!(lines.rest(), b"");
        assert_eq!(lines.next_line().unwrap(), None);
        lines.push(b"b\n\r\r\n");
        let (rest, _) = all(lines, &[b""]);
        assert_eq!(rest, ["b", "", ""]);
    }

    #[test]
    fn a_line_above_the_limit_is_an_error_wherever_it_is_cut() {
        for chunk in [1, 3, 100] {
            let mut lines = Lines::ended_by_any(4);
            let mut failed = false;
            for bytes in b"1234\n12345\n".chunks(chunk) {
                lines.push(bytes);
                failed |= loop {
                    match lines.next_line() {
                        Ok(Some(line)) => assert_eq!(line, b"1234"),
                        Ok(None) => break false,
                        Err(_) => break true,
                    }
                };
            }
            assert!(failed);
            assert!(lines.next_line().is_err());
        }
    }

    #[test]
    fn a_caller_that_reads_one_line_per_push_pays_no_square() {
        let mut lines = Lines::ended_by_any(1024);
        let start = std::time::Instant::now();
        for _ in 0..200_000 {
            lines.push(b"a\nb\n");
            assert!(lines.next_line().unwrap().is_some());
        }
        assert!(start.elapsed().as_secs() < 5);
    }
}
