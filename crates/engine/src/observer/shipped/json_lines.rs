//! Entries as lines of JSON.

use crate::observer::{Interest, Observed, Observer};
use headwater_protocol::Entry;
use parking_lot::Mutex;
use std::{
    fs::{File, OpenOptions},
    io::{self, Write},
    path::Path,
};

/// Writes every entry as a line of JSON: `{"seq":1,"at":0,"event":{…}}`, as `headwater replay --events`
/// prints it. Deltas that an observer gets as one are one line, whose `from` is the number of the first.
#[derive(Debug)]
pub struct JsonLines<W>(Mutex<W>);

impl JsonLines<File> {
    /// Appends to a file, which is made if it is not there.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn file(path: impl AsRef<Path>) -> io::Result<Self> {
        let file = OpenOptions::new().create(true).append(true).open(path)?;
        Ok(Self::new(file))
    }
}

impl<W: Write + Send + 'static> JsonLines<W> {
    /// Writes to `out`.
    pub fn new(out: W) -> Self {
        Self(Mutex::new(out))
    }
}

impl<W: Write + Send + 'static> Observer for JsonLines<W> {
    fn interest(&self) -> Interest {
        Interest::ENTRIES
    }

    async fn entry(&self, entry: &Entry) -> Observed {
        let mut line = serde_json::to_vec(entry)?;
        line.push(b'\n');
        let mut out = self.0.lock();
        // One write for a line: others may write to the same file.
        out.write_all(&line)?;
        Ok(out.flush()?)
    }
}
