//! What runs used and wrote, to be asked for.

use crate::observer::{At, Interest, Observed, Observer, Run, RunFinished, SpanFinished};
use headwater_protocol::{Usage, chat::Answer};
use parking_lot::Mutex;
use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

/// The most models that are told apart. Their names are whatever clients ask for.
const MOST_MODELS: usize = 1000;

/// Adds up the tokens of each model, attempts that failed and calls that were replaced among them. Beyond
/// 1,000 models, the others are `other`. A clone sees the same counts.
#[derive(Clone, Debug, Default)]
pub struct UsageByModel(Arc<Mutex<BTreeMap<String, Usage>>>);

impl UsageByModel {
    /// The counts so far, by `provider/model`.
    pub fn totals(&self) -> BTreeMap<String, Usage> {
        self.0.lock().clone()
    }
}

impl Observer for UsageByModel {
    fn interest(&self) -> Interest {
        Interest::MODELS
    }

    async fn model_finished(&self, at: &At<'_>, end: &SpanFinished<'_>) -> Observed {
        if let Some(usage) = end.usage {
            let mut totals = self.0.lock();
            let is_known = totals.contains_key(&at.span.name) || totals.len() < MOST_MODELS;
            let name = if is_known { &at.span.name } else { "other" };
            let total = totals.entry(name.to_owned()).or_default();
            *total = total.plus(usage);
        }
        Ok(())
    }
}

/// Keeps the last runs that ended, with all that they wrote. A clone sees the same runs.
#[derive(Clone, Debug)]
pub struct RunCollector {
    most: usize,
    runs: Arc<Mutex<VecDeque<(Run, Answer)>>>,
}

impl RunCollector {
    /// Keeps at most `most` runs; then the oldest one goes.
    pub fn new(most: usize) -> Self {
        Self {
            most,
            runs: Arc::default(),
        }
    }

    /// The runs that are kept, oldest end first.
    pub fn runs(&self) -> Vec<(Run, Answer)> {
        self.runs.lock().iter().cloned().collect()
    }
}

impl Observer for RunCollector {
    fn interest(&self) -> Interest {
        Interest::RUNS
    }

    async fn run_finished(&self, run: &Run, end: &RunFinished<'_>) -> Observed {
        let kept = (run.clone(), end.answer());
        let mut runs = self.runs.lock();
        runs.push_back(kept);
        while runs.len() > self.most {
            runs.pop_front();
        }
        Ok(())
    }
}
