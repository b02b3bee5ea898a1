//! What the program says through `tracing`.

use parking_lot::Mutex;
use std::{
    io,
    sync::{Arc, LazyLock},
};
use tracing::{Dispatch, Level, Subscriber, subscriber::NoSubscriber};

/// As long as there is but one dispatcher, `tracing` asks the thread that comes to an event first
/// whether anybody wants it, and remembers that. The thread of another test would say no.
static OTHERS: LazyLock<[Dispatch; 2]> =
    LazyLock::new(|| [NoSubscriber::new(), NoSubscriber::new()].map(Dispatch::new));

/// Lines of the program's log.
#[derive(Clone, Default)]
pub(crate) struct Captured(Arc<Mutex<Vec<u8>>>);

impl Captured {
    /// Takes what is said at this level, or at a more important one.
    pub(crate) fn subscriber(&self, level: Level) -> impl Subscriber + Send + Sync + use<> {
        LazyLock::force(&OTHERS);
        let copy = self.clone();
        tracing_subscriber::fmt()
            .with_ansi(false)
            .without_time()
            .with_target(false)
            .with_max_level(level)
            .with_writer(move || copy.clone())
            .finish()
    }

    /// The lines so far.
    pub(crate) fn lines(&self) -> Vec<String> {
        let text = String::from_utf8_lossy(&self.0.lock()).into_owned();
        text.lines().map(str::to_owned).collect()
    }

    /// The only line so far that has these words.
    pub(crate) fn only(&self, words: &str) -> String {
        let mut lines = self.lines();
        lines.retain(|line| line.contains(words));
        assert_eq!(lines.len(), 1, "{words}: {:#?}", self.lines());
        lines.remove(0)
    }
}

impl io::Write for Captured {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
