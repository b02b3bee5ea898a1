//! What an answer is to be like. It is told in the question, which every peer passes on.

/// An answer that the upstream is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Prompt {
    /// Tells answers apart, for the times at which the upstream's sockets close.
    pub(crate) id: u32,
    /// Tokens of the answer.
    pub(crate) tokens: u32,
    /// Tokens a second; 0 is as fast as the peer reads.
    pub(crate) rate: u32,
    /// Milliseconds before the first token.
    pub(crate) wait: u32,
    /// Milliseconds between the last token and the end.
    pub(crate) hold: u32,
    /// Bytes that follow each stamp, to make tokens larger.
    pub(crate) filler: u32,
}

impl Prompt {
    /// An answer of `tokens` at `rate` a second, without pauses.
    pub(crate) fn new(tokens: u32, rate: u32) -> Self {
        Self {
            id: 0,
            tokens,
            rate,
            wait: 0,
            hold: 0,
            filler: 0,
        }
    }

    /// The question: letters, digits and dots only, so that no format escapes anything in it.
    pub(crate) fn question(&self) -> String {
        let Self {
            id,
            tokens,
            rate,
            wait,
            hold,
            filler,
        } = self;
        format!("bench.{id}.{tokens}.{rate}.{wait}.{hold}.{filler}.end")
    }

    /// Reads the last question in a request.
    pub(crate) fn find(request: &[u8]) -> Option<Self> {
        let start = memchr::memmem::rfind(request, b"bench.")?;
        let end = start + memchr::memmem::find(&request[start..], b".end")?;
        let words = std::str::from_utf8(&request[start..end]).ok()?;
        let mut numbers = words.split('.').skip(1).map(|word| word.parse().ok());
        let mut next = || numbers.next().flatten();
        Some(Self {
            id: next()?,
            tokens: next()?,
            rate: next()?,
            wait: next()?,
            hold: next()?,
            filler: next()?,
        })
    }

    /// Nanoseconds between two tokens.
    pub(crate) fn interval(&self) -> u64 {
        1_000_000_000_u64
            .checked_div(u64::from(self.rate))
            .unwrap_or(0)
    }

    /// Nanoseconds from the first token to the last, on schedule.
    pub(crate) fn ideal(&self) -> u64 {
        self.interval() * u64::from(self.tokens.saturating_sub(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_question_of_a_request_is_read() {
        let prompt = Prompt {
            id: 7,
            wait: 5,
            ..Prompt::new(300, 50)
        };
        let body = format!(
            "{{\"messages\":[{{\"content\":\"{}\"}},{{\"content\":\"{}\"}}]}}",
            Prompt::new(1, 1).question(),
            prompt.question()
        );
        assert_eq!(Prompt::find(body.as_bytes()), Some(prompt));
        assert_eq!(Prompt::find(b"bench.1.2.end"), None);
    }
}
