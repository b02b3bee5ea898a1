//! Remembers what servers took, so that a refusal costs one request and not one for each answer.

use parking_lot::Mutex;
use std::collections::HashMap;

/// How many shapes are remembered.
const MOST: usize = 256;

/// The shapes that were taken last, by what they depend on: the model and the like.
#[derive(Debug)]
pub(in crate::provider) struct Memory<S>(Mutex<HashMap<String, S>>);

impl<S> Default for Memory<S> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<S: Copy + PartialEq> Memory<S> {
    /// The shape that was taken last.
    pub(in crate::provider) fn get(&self, key: &str) -> Option<S> {
        let known = self.0.lock();
        known.get(key).copied()
    }

    /// Remembers a shape, unless it is the one that would be tried first anyway.
    pub(in crate::provider) fn keep(&self, key: String, shape: S, likely: S) {
        let mut known = self.0.lock();
        if shape == likely {
            known.remove(&key);
        } else {
            insert(&mut known, key, shape);
        }
    }

    /// Remembers a shape.
    pub(in crate::provider) fn set(&self, key: String, shape: S) {
        let mut known = self.0.lock();
        insert(&mut known, key, shape);
    }
}

/// Names of models are whatever is asked for. What there is no room for is found out again.
fn insert<S>(known: &mut HashMap<String, S>, key: String, shape: S) {
    if known.len() < MOST || known.contains_key(&key) {
        known.insert(key, shape);
    }
}
