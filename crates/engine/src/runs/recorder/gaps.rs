//! The time between tokens.

/// The times between two tokens of one call, in milliseconds.
#[derive(Debug, Default)]
pub(super) struct Gaps {
    gaps: Vec<u32>,
    /// When the last token of the running call came.
    last: Option<u64>,
}

impl Gaps {
    /// Takes the time of a token.
    pub(super) fn token(&mut self, now: u64) {
        if let Some(last) = self.last.replace(now) {
            let gap = u32::try_from(now - last).unwrap_or(u32::MAX);
            self.gaps.push(gap);
        }
    }

    /// Another call begins: the time before its first token is no gap.
    pub(super) fn pause(&mut self) {
        self.last = None;
    }

    /// The 50th and the 99th percentile; `None` before the second token.
    pub(super) fn percentiles(&mut self) -> (Option<u64>, Option<u64>) {
        self.gaps.sort_unstable();
        let at = |percent: usize| {
            let gap = self.gaps.get(self.gaps.len() * percent / 100);
            gap.copied().map(u64::from)
        };
        (at(50), at(99))
    }
}
