//! How many commands a connection may send.

use std::time::Duration;
use tokio::time::Instant;

/// How many commands may come at once.
const BURST: u32 = 200;

/// After what time another one may come.
const REFILL: Duration = Duration::from_millis(20);

/// How many commands are refused in a row before the connection is closed.
const MOST_REFUSED: u32 = 400;

/// A token bucket.
#[derive(Debug)]
pub(super) struct Rate {
    left: u32,
    filled: Instant,
    refused: u32,
}

/// What is done with a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is carried out.
    Take,
    /// It is refused. The next one may come after this time.
    Refuse(Duration),
    /// The client does not listen to refusals.
    Close,
}

impl Rate {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            left: BURST,
            filled: now,
            refused: 0,
        }
    }

    /// Decides on a command that came at `now`.
    pub(super) fn take(&mut self, now: Instant) -> Verdict {
        let refills = (now - self.filled).as_millis() / REFILL.as_millis();
        let refills = u32::try_from(refills).unwrap_or(u32::MAX);
        self.left = self.left.saturating_add(refills).min(BURST);
        self.filled += REFILL * refills.min(BURST);
        if self.left == BURST {
            self.filled = now;
        }
        if self.left > 0 {
            self.left -= 1;
            self.refused = 0;
            return Verdict::Take;
        }
        self.refused += 1;
        match self.refused > MOST_REFUSED {
            true => Verdict::Close,
            false => Verdict::Refuse(REFILL.saturating_sub(now - self.filled)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_passes_and_then_one_command_for_each_refill() {
        let begun = Instant::now();
        let mut rate = Rate::new(begun);
        let all = (0..BURST).all(|_| rate.take(begun) == Verdict::Take);
        assert!(all);
        assert_eq!(rate.take(begun), Verdict::Refuse(REFILL));
        let later = begun + REFILL;
        assert_eq!(rate.take(later), Verdict::Take);
        assert_eq!(rate.take(later), Verdict::Refuse(REFILL));
        let much_later = begun + Duration::from_secs(3_600);
        let all = (0..BURST).all(|_| rate.take(much_later) == Verdict::Take);
        assert!(all, "an hour saves up one burst and no more");
        assert_eq!(rate.take(much_later), Verdict::Refuse(REFILL));
    }

    #[test]
    fn who_does_not_listen_to_refusals_is_closed() {
        let now = Instant::now();
        let mut rate = Rate::new(now);
        let verdicts: Vec<_> = (0..BURST + MOST_REFUSED + 1)
            .map(|_| rate.take(now))
            .collect();
        let closed = verdicts.iter().position(|one| *one == Verdict::Close);
        assert_eq!(closed, Some((BURST + MOST_REFUSED) as usize));
    }
}
