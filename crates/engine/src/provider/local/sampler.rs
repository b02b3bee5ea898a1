//! Samples the next token from the logits.

use rand::{Rng, SeedableRng, rngs::StdRng};
use std::collections::HashSet;

/// How many of the last tokens the repeat penalty applies to.
const PENALTY_WINDOW: usize = 64;

/// How tokens are sampled, unless a request says otherwise.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SamplingDefaults {
    /// The factor by which recent tokens are made less likely; 1 switches it off. Without it, a
    /// model of this size soon repeats itself.
    pub repeat_penalty: f32,
    /// The temperature; 0 always takes the likeliest token.
    pub temperature: f32,
    /// Nucleus sampling: only the likeliest tokens with this total probability are considered, 0 to
    /// 1.
    pub top_p: f32,
    /// Only this many of the likeliest tokens are considered, at least 1.
    pub top_k: usize,
}

impl Default for SamplingDefaults {
    fn default() -> Self {
        Self {
            repeat_penalty: 1.1,
            temperature: 0.2,
            top_p: 0.9,
            top_k: 50,
        }
    }
}

/// Samples the tokens of one answer.
pub(super) struct Sampler {
    settings: SamplingDefaults,
    random: StdRng,
}

impl Sampler {
    /// A sampler. With the same `seed` it makes the same choices.
    pub(super) fn new(settings: SamplingDefaults, seed: Option<u64>) -> Self {
        Self {
            settings,
            random: seed.map_or_else(StdRng::from_os_rng, StdRng::seed_from_u64),
        }
    }

    /// The next token after `before`. `None` if no logit is a usable number.
    pub(super) fn choose(&mut self, mut logits: Vec<f32>, before: &[u32]) -> Option<u32> {
        let window = before.len().saturating_sub(PENALTY_WINDOW);
        self.penalise(&mut logits, &before[window..]);
        let mut likely: Vec<(u32, f32)> = (0..).zip(logits).filter(|c| c.1.is_finite()).collect();
        let greedy = self.settings.temperature <= 0.0;
        let keep = if greedy {
            1
        } else {
            self.settings.top_k.max(1)
        };
        if keep < likely.len() {
            likely.select_nth_unstable_by(keep, |a, b| b.1.total_cmp(&a.1));
            likely.truncate(keep);
        }
        likely.sort_unstable_by(|a, b| b.1.total_cmp(&a.1));
        let best = *likely.first()?;
        if greedy {
            return Some(best.0);
        }
        for candidate in &mut likely {
            candidate.1 = ((candidate.1 - best.1) / self.settings.temperature).exp();
        }
        self.draw(&likely).or(Some(best.0))
    }

    fn penalise(&self, logits: &mut [f32], recent: &[u32]) {
        let penalty = self.settings.repeat_penalty;
        let recent: HashSet<u32> = recent.iter().copied().collect();
        for id in recent {
            if let Some(logit) = logits.get_mut(id as usize) {
                *logit = if *logit > 0.0 {
                    *logit / penalty
                } else {
                    *logit * penalty
                };
            }
        }
    }

    /// Draws from the likeliest tokens with a total probability of `top_p`.
    fn draw(&mut self, sorted: &[(u32, f32)]) -> Option<u32> {
        let total: f32 = sorted.iter().map(|c| c.1).sum();
        let mut sum = 0.0;
        let kept = sorted
            .iter()
            .position(|c| {
                sum += c.1;
                sum >= self.settings.top_p * total
            })
            .map_or(sorted.len(), |i| i + 1);
        let kept = sorted.get(..kept)?;
        let total: f32 = kept.iter().map(|c| c.1).sum();
        let mut left = self.random.random::<f32>() * total;
        kept.iter()
            .find(|c| {
                left -= c.1;
                left <= 0.0
            })
            .map(|c| c.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sampler(temperature: f32, top_p: f32, repeat_penalty: f32) -> Sampler {
        let settings = SamplingDefaults {
            temperature,
            top_p,
            repeat_penalty,
            top_k: 3,
        };
        Sampler::new(settings, Some(7))
    }

    #[test]
    fn takes_the_likeliest_at_temperature_zero() {
        assert_eq!(
            sampler(0.0, 0.9, 1.0).choose(vec![1.0, 3.0, 2.0], &[]),
            Some(1)
        );
    }

    #[test]
    fn a_repeated_token_becomes_less_likely() {
        let mut sampler = sampler(0.0, 0.9, 2.0);
        assert_eq!(sampler.choose(vec![1.0, 3.0, 2.0], &[1, 1, 99]), Some(2));
        assert_eq!(sampler.choose(vec![-3.0, -1.0, -1.5], &[1]), Some(2));
    }

    #[test]
    fn draws_from_the_top_only() {
        let mut one = sampler(1.0, 0.0, 1.0);
        let mut three = sampler(100.0, 1.0, 1.0);
        let mut seen = HashSet::new();
        for _ in 0..200 {
            assert_eq!(one.choose(vec![0.0, 5.0, 4.9, 4.8], &[]), Some(1));
            seen.extend(three.choose(vec![0.0, 5.0, 4.9, 4.8], &[]));
        }
        assert_eq!(seen, HashSet::from([1, 2, 3]));
    }

    #[test]
    fn unusable_numbers_are_never_chosen() {
        let broken = vec![f32::NAN, f32::INFINITY, 1.0];
        assert_eq!(sampler(0.7, 0.9, 1.1).choose(broken, &[]), Some(2));
        assert_eq!(sampler(0.7, 0.9, 1.1).choose(vec![f32::NAN], &[]), None);
        assert_eq!(sampler(0.7, 0.9, 1.1).choose(vec![], &[]), None);
    }
}
