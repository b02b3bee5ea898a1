//! Remembers what servers accepted, so that a refusal costs one request and not one per answer.

use parking_lot::Mutex;
use std::collections::HashMap;

/// The most keys that are remembered.
const MAX_KEYS: usize = 256;

/// The last accepted values, by a key such as the model.
#[derive(Debug)]
pub(in crate::provider) struct Memory<S>(Mutex<HashMap<String, S>>);

impl<S> Default for Memory<S> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<S: Copy + PartialEq> Memory<S> {
    /// The last accepted value.
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

/// Inserts a value if there is room. Anybody can ask for any model name, so the number of keys is
/// limited. A value that finds no room is determined again for the next request.
fn insert<S>(known: &mut HashMap<String, S>, key: String, value: S) {
    if known.len() < MAX_KEYS || known.contains_key(&key) {
        known.insert(key, value);
    }
}
