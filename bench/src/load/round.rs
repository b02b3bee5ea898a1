//! Many readers at once, and what they saw together.

use super::{Reading, Target, new_id};
use crate::{
    clock::{ms, now, sleep_until},
    prompt::Prompt,
    stats::percentile,
    upstream::Upstream,
};
use std::time::Duration;

/// A load for one round.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load {
    /// Answers.
    pub(crate) streams: usize,
    /// What each is to be like.
    pub(crate) prompt: Prompt,
    /// The time over which their beginnings are spread at random.
    pub(crate) spread: Duration,
    /// How long after its schedule the round is given up.
    pub(crate) patience: Duration,
}

/// What came of a round. Times are in milliseconds.
#[derive(Debug)]
pub(crate) struct Round {
    /// Half of the tokens were at most this old when they arrived.
    pub p50: f64,
    /// 99 of 100 tokens were at most this old.
    pub p99: f64,
    /// Half of the answers had their first token this long after the question.
    pub first_p50: f64,
    /// 99 of 100 answers had theirs.
    pub first_p99: f64,
    /// How much longer than scheduled 99 of 100 answers took at most.
    pub(crate) stretch: f64,
    /// Tokens that arrived.
    pub(crate) tokens: u64,
    /// Tokens that did not.
    pub(crate) lost: u64,
    /// Tokens that came again.
    pub(crate) doubled: u64,
    /// Bytes on the wire for each token beyond its text.
    pub(crate) overhead: f64,
    /// How late the upstream wrote 99 of 100 tokens at most.
    pub late_p99: f64,
    /// The first failure of a reader.
    pub(crate) error: Option<String>,
}

impl Round {
    /// Whether every token came, once.
    pub(crate) fn exact(&self) -> bool {
        self.lost == 0 && self.doubled == 0 && self.error.is_none()
    }
}

impl Load {
    /// Puts the load on a peer.
    pub(crate) async fn run(&self, target: &Target, upstream: &Upstream) -> Round {
        upstream.take_lateness();
        let begin = now();
        let length = self.prompt.ideal()
            + u64::from(self.prompt.wait + self.prompt.hold) * 1_000_000
            + self.spread.as_nanos() as u64;
        let until = begin + length + self.patience.as_nanos() as u64;
        let readers: Vec<_> = (0..self.streams)
            .map(|_| {
                let start = begin + fastrand::u64(0..=self.spread.as_nanos() as u64);
                let (target, mut prompt) = (target.clone(), self.prompt);
                prompt.id = new_id();
                tokio::spawn(async move {
                    sleep_until(start).await;
                    target.ask(prompt, until).await
                })
            })
            .collect();
        let mut readings = Vec::new();
        for reader in readers {
            readings.extend(reader.await);
        }
        summary(&readings, upstream.take_lateness())
    }
}

fn summary(readings: &[Reading], mut lateness: Vec<u64>) -> Round {
    let mut ages: Vec<u64> = readings.iter().flat_map(|one| &one.ages).copied().collect();
    let mut firsts: Vec<u64> = readings
        .iter()
        .filter_map(|one| Some(one.first?.saturating_sub(one.begun)))
        .collect();
    let mut stretches: Vec<u64> = readings
        .iter()
        .map(|one| (one.stretch() * 1e6) as u64)
        .collect();
    let overheads: f64 = readings.iter().map(Reading::overhead).sum();
    Round {
        p50: ms(percentile(&mut ages, 50.0)),
        p99: ms(percentile(&mut ages, 99.0)),
        first_p50: ms(percentile(&mut firsts, 50.0)),
        first_p99: ms(percentile(&mut firsts, 99.0)),
        stretch: percentile(&mut stretches, 99.0) as f64 / 1e6,
        tokens: ages.len() as u64,
        lost: readings.iter().map(|one| u64::from(one.lost)).sum(),
        doubled: readings.iter().map(|one| u64::from(one.doubled)).sum(),
        overhead: overheads / readings.len().max(1) as f64,
        late_p99: ms(percentile(&mut lateness, 99.0)),
        error: readings
            .iter()
            .find_map(|one| one.error.as_ref().map(ToString::to_string)),
    }
}
