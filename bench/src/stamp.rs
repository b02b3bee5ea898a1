//! Stamps: the text of a token is its number and the time at which the upstream wrote it, so that
//! every reader on this machine can tell how old a token is, whatever format a peer wraps it in and
//! however it joins tokens.

/// Bytes of a stamp.
pub(crate) const LENGTH: usize = 24;

/// The token `seq`, written at `at` nanoseconds: `~00012.0012345678901234 `. None of its bytes is
/// escaped in JSON, in a form or in HTML.
pub(crate) fn text(seq: u32, at: u64) -> String {
    format!("~{seq:05}.{at:016} ")
}

/// The number and the time of a whole stamp.
fn parse(bytes: &[u8; LENGTH]) -> Option<(u32, u64)> {
    let number = |digits: &[u8]| {
        digits.iter().try_fold(0u64, |number, digit| {
            let digit = digit.wrapping_sub(b'0');
            (digit < 10).then(|| number * 10 + u64::from(digit))
        })
    };
    let form = bytes[0] == b'~' && bytes[6] == b'.' && bytes[LENGTH - 1] == b' ';
    let (seq, at) = (number(&bytes[1..6])?, number(&bytes[7..LENGTH - 1])?);
    form.then_some((seq as u32, at))
}

/// Finds stamps in the bytes of a stream, which may be cut anywhere.
#[derive(Debug, Default)]
pub(crate) struct Scanner {
    /// The beginning of a stamp that the last bytes ended in.
    open: Vec<u8>,
}

impl Scanner {
    /// Calls `found` with the number and the time of each stamp that `bytes` complete.
    pub(crate) fn scan(&mut self, mut bytes: &[u8], found: &mut dyn FnMut(u32, u64)) {
        if !self.open.is_empty() {
            let missing = (LENGTH - self.open.len()).min(bytes.len());
            self.open.extend_from_slice(&bytes[..missing]);
            bytes = &bytes[missing..];
            let Ok(whole) = <[u8; LENGTH]>::try_from(&self.open[..]) else {
                return;
            };
            self.open.clear();
            match parse(&whole) {
                Some((seq, at)) => found(seq, at),
                // What looked like a stamp may have the beginning of one within.
                None => {
                    self.scan(&whole[1..], found);
                    return self.scan(bytes, found);
                }
            }
        }
        while let Some(start) = memchr::memchr(b'~', bytes) {
            bytes = &bytes[start..];
            match bytes.first_chunk() {
                None => {
                    self.open.extend_from_slice(bytes);
                    return;
                }
                Some(whole) => match parse(whole) {
                    Some((seq, at)) => {
                        found(seq, at);
                        bytes = &bytes[LENGTH..];
                    }
                    None => bytes = &bytes[1..],
                },
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stamps_are_found_however_the_bytes_are_cut() {
        let stream = format!(
            "data: {{\"a\":\"{}{}\"}}\n~ data ~12 {}",
            text(0, 17),
            text(1, 1_234_567_890),
            text(2, u64::from(u32::MAX) * 1000)
        );
        assert_eq!(text(0, 17).len(), LENGTH);
        for size in 1..stream.len() {
            let (mut scanner, mut seen) = (Scanner::default(), Vec::new());
            for piece in stream.as_bytes().chunks(size) {
                scanner.scan(piece, &mut |seq, at| seen.push((seq, at)));
            }
            assert_eq!(
                seen,
                [(0, 17), (1, 1_234_567_890), (2, 4_294_967_295_000)],
                "in pieces of {size}"
            );
        }
    }
}
