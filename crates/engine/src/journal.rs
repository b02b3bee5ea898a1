//! The journal: what is written of running answers before anybody sees it.
//!
//! It is a folder of append-only files, of which the newest is written. One append is one `write` to
//! the end of that file: no lock, no SQL, no page that is written twice. When a run has ended, its log
//! moves into the database; from then on nothing here is needed of it. A file goes when nothing in it
//! is needed, at the latest after a [roll](Journal::roll): the logs of all runs that are still at work
//! are written to a new file in one piece, and the old one is removed.
//!
//! # Format
//!
//! A file is named by its number, in ten digits: `0000000001.journal`. It begins with the eight bytes
//! of [`MAGIC`], the last of which is the version of the format. After them come records:
//!
//! | bytes | meaning |
//! |---|---|
//! | varint | length of what follows the checksum, 1 to 2³⁰ |
//! | 4, little-endian | CRC-32 (IEEE) of what follows |
//! | varint | number of the run in the database; 0 for a record that says nothing |
//! | varint | number of the first entry in the record, from 1 |
//! | the rest | entries in their [packed form](crate::packed) |
//!
//! The records of a run, one behind the other, are its packed log. A record that begins with entry 1
//! has all of the log so far. A file ends where no whole record with a right checksum begins: what
//! follows was being written when the process or the power failed, and nobody has seen it.

mod files;
mod reader;

#[cfg(test)]
pub(crate) mod faulty;

pub use files::{File, Files, Folder};
pub use reader::{Journaled, Left, read};

use crate::packed::varint;
use headwater_protocol::Seq;
use std::{
    io::{self, ErrorKind},
    sync::Arc,
};

/// The first bytes of a file. The last one is the version of the format.
pub const MAGIC: [u8; 8] = *b"hwjourn\x01";

/// The number of no run. Its records are passed over.
pub const NOBODY: i64 = 0;

/// The most bytes of one record, without its length and checksum.
const MAX_RECORD: usize = 1 << 30;

/// What an entry has to survive before anybody sees it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Durability {
    /// The death of the process, at any moment. A power cut may take back tokens of the last seconds,
    /// of which the system decides when they reach the disk; commands and ends of runs survive it.
    #[default]
    Process,
    /// A power cut. Every token waits for the disk.
    Power,
}

/// The newest file of a journal, which is written.
#[derive(Debug)]
pub struct Journal {
    files: Arc<dyn Files>,
    file: Arc<dyn File>,
    number: u64,
    /// The length of the file as far as it counts.
    len: u64,
    /// Whether there may be bytes behind `len`: a write failed half-way.
    torn: bool,
    /// Kept between two appends, because every token is one: what stands before the entries, and the
    /// whole record.
    head: Vec<u8>,
    record: Vec<u8>,
}

impl Journal {
    /// Makes a file with this number.
    ///
    /// # Errors
    /// Those of the file system. No such file is left behind, if it can be removed.
    pub fn create(files: Arc<dyn Files>, number: u64) -> io::Result<Self> {
        let mut journal = Self {
            file: files.create(number)?,
            files,
            number,
            len: 0,
            torn: false,
            head: Vec::new(),
            record: MAGIC.to_vec(),
        };
        match journal.write_record() {
            Ok(()) => Ok(journal),
            Err(why) => {
                journal.discard();
                Err(why)
            }
        }
    }

    /// The number of the file.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// The length of the file in bytes.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether there is no record.
    pub fn is_empty(&self) -> bool {
        self.len <= MAGIC.len() as u64
    }

    /// The file, to be synced without holding the journal.
    pub fn file(&self) -> Arc<dyn File> {
        self.file.clone()
    }

    /// Writes entries of a run, of which the first has the number `first`. When this returns, they
    /// survive the death of the process; a power cut, they survive once the file is synced.
    ///
    /// # Errors
    /// Those of the file system. Nothing of the entries is in the journal then.
    pub fn append(&mut self, run: i64, first: Seq, packed: &[u8]) -> io::Result<()> {
        self.head.clear();
        varint::put(&mut self.head, run.unsigned_abs());
        varint::put(&mut self.head, first);
        let length = self.head.len() + packed.len();
        if length > MAX_RECORD {
            return Err(io::Error::new(ErrorKind::InvalidInput, "too many entries"));
        }
        let mut checksum = crc32fast::Hasher::new();
        checksum.update(&self.head);
        checksum.update(packed);
        self.record.clear();
        varint::put(&mut self.record, length as u64);
        self.record
            .extend_from_slice(&checksum.finalize().to_le_bytes());
        self.record.extend_from_slice(&self.head);
        self.record.extend_from_slice(packed);
        self.write_record()
    }

    /// The journal's next file, in place of this one. `write` has to append to it all that is still
    /// needed.
    ///
    /// # Errors
    /// Those of the file system, and those of `write`. The journal goes on with this file then.
    pub fn roll(&mut self, write: impl FnOnce(&mut Self) -> io::Result<()>) -> io::Result<()> {
        let mut next = Self::create(self.files.clone(), self.number + 1)?;
        if let Err(why) = write(&mut next) {
            next.discard();
            return Err(why);
        }
        *self = next;
        Ok(())
    }

    /// Removes a file that counts for nothing.
    fn discard(self) {
        if let Err(why) = self.files.remove(self.number, false) {
            tracing::debug!(%why, number = self.number, "a new file of the journal is left");
        }
    }

    fn write_record(&mut self) -> io::Result<()> {
        if self.torn {
            self.file.truncate(self.len)?;
            self.torn = false;
        }
        let mut rest = &self.record[..];
        while !rest.is_empty() {
            let failure = match self.file.append(rest) {
                Ok(0) => ErrorKind::WriteZero.into(),
                Ok(written) => {
                    rest = &rest[written..];
                    continue;
                }
                Err(why) if why.kind() == ErrorKind::Interrupted => continue,
                Err(why) => why,
            };
            // What is half written would hide all that comes after it.
            self.torn = self.file.truncate(self.len).is_err();
            return Err(failure);
        }
        self.len += self.record.len() as u64;
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may fail by panic")]
mod tests;
