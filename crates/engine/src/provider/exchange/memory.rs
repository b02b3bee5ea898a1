//! Remembers what servers accepted, so that a refusal costs one request and not one for each answer.

use parking_lot::Mutex;
use std::collections::HashMap;

/// How many keys are remembered.
const MAX_KEYS: usize = 256;

/// What was accepted last, by what it depends on, such as the model.
#[derive(Debug)]
pub(in crate::provider) struct Memory<S>(Mutex<HashMap<String, S>>);

impl<S> Default for Memory<S> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<S: Copy + PartialEq> Memory<S> {
    /// What was accepted last.
    pub(in crate::provider) fn get(&self, key: &str) -> Option<S> {
        let known = self.0.lock();
        known.get(key).copied()
    }

    /// Remembers a value, unless it is the one that would be tried first anyway.
    pub(in crate::provider) fn keep(&self, key: String, value: S, likely: S) {
        let mut known = self.0.lock();
        if value == likely {
            known.remove(&key);
        } else {
            insert(&mut known, key, value);
        }
    }

    /// Remembers a value.
    pub(in crate::provider) fn set(&self, key: String, value: S) {
        let mut known = self.0.lock();
        insert(&mut known, key, value);
    }
}

/// Anybody can ask for any name of a model, so the number of keys is limited. What finds no room is
/// found out again the next time.
fn insert<S>(known: &mut HashMap<String, S>, key: String, value: S) {
    if known.len() < MAX_KEYS || known.contains_key(&key) {
        known.insert(key, value);
    }
}
