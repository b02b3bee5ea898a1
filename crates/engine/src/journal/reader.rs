//! Reads what a process left behind.

use super::{Files, MAGIC, MAX_RECORD, NOBODY};
use crate::packed::{self, Packed, varint};
use headwater_protocol::{Error, Seq};
use std::{
    collections::{HashMap, HashSet},
    io::{self, ErrorKind, Read},
};

/// What a journal has of a run.
#[derive(Clone, Debug, Default)]
pub struct Journaled {
    /// The entries of all records.
    bytes: Vec<u8>,
    /// The records: the number of the first entry, and where it begins in `bytes`.
    records: Vec<(Seq, usize)>,
}

impl Journaled {
    /// Adds to a log what the journal has beyond it. Returns what is wrong behind the entries that
    /// could be added.
    pub fn extend(&self, log: &mut Packed) -> Option<Error> {
        let ends = self.records.iter().skip(1).map(|(_, begin)| *begin);
        let ends = ends.chain([self.bytes.len()]);
        for ((first, begin), end) in self.records.iter().zip(ends) {
            let entries = &self.bytes[*begin..end];
            let mut why = None;
            if *first == 1 {
                let (whole, end) = Packed::readable(entries);
                if whole.len() > log.len() {
                    *log = whole;
                }
                why = end;
            } else if *first == log.len() + 1 {
                why = log.extend(entries);
            } else if *first > log.len() {
                why = Some(packed::damaged());
            }
            if why.is_some() {
                return why;
            }
        }
        None
    }

    fn add(&mut self, first: Seq, entries: &[u8]) {
        if first == 1 {
            // All that came before is in it.
            self.bytes.clear();
            self.records.clear();
        }
        self.records.push((first, self.bytes.len()));
        self.bytes.extend_from_slice(entries);
    }
}

/// What a journal has.
#[derive(Debug, Default)]
pub struct Left {
    /// The runs that were wanted, by their numbers.
    pub runs: HashMap<i64, Journaled>,
    /// The numbers of all other runs.
    pub others: HashSet<i64>,
}

/// Reads the files from the number `oldest` on. `wanted` says of a run's number whether its entries
/// are. A file ends where no whole record begins.
///
/// # Errors
/// A file cannot be read, or has a format that is not known.
pub fn read(files: &dyn Files, oldest: u64, wanted: impl Fn(i64) -> bool) -> io::Result<Left> {
    let mut left = Left::default();
    for number in files.list()? {
        if number < oldest {
            continue;
        }
        let (file, len) = match files.open(number) {
            // The process that writes has removed it meanwhile, because nothing in it is needed.
            Err(why) if why.kind() == ErrorKind::NotFound => continue,
            opened => opened?,
        };
        let mut reader = Reader { file, rest: len };
        if !reader.begins()? {
            continue;
        }
        while let Some(record) = reader.record()? {
            if wanted(record.run) {
                let entries = &record.bytes[record.offset..];
                let run = left.runs.entry(record.run).or_default();
                run.add(record.first, entries);
            } else if record.run != NOBODY {
                left.others.insert(record.run);
            }
        }
        if reader.rest > 0 {
            tracing::info!(
                number,
                bytes = reader.rest,
                "a file of the journal ends in the middle of a write"
            );
        }
    }
    Ok(left)
}

struct Reader {
    file: Box<dyn Read>,
    /// How many bytes of the file do not belong to a whole record that was read.
    rest: u64,
}

struct Record {
    run: i64,
    first: Seq,
    bytes: Vec<u8>,
    /// Where the entries begin.
    offset: usize,
}

impl Reader {
    /// Reads the beginning of the file. `false` if it was not written whole.
    fn begins(&mut self) -> io::Result<bool> {
        let mut magic = [0; MAGIC.len()];
        if self.rest < MAGIC.len() as u64 {
            return Ok(false);
        }
        self.file.read_exact(&mut magic)?;
        if magic != MAGIC {
            // After a power cut, the length may be there before the bytes.
            let written = magic
                .iter()
                .zip(MAGIC)
                .take_while(|(is, is_to)| *is == is_to);
            if magic[written.count()..].iter().all(|byte| *byte == 0) {
                return Ok(false);
            }
            let why = "a file is of another version, or no file of a journal";
            return Err(io::Error::new(ErrorKind::InvalidData, why));
        }
        self.rest -= MAGIC.len() as u64;
        Ok(true)
    }

    /// The next record; `None` where no whole one begins.
    fn record(&mut self) -> io::Result<Option<Record>> {
        let Some((length, prefix)) = self.length()? else {
            return Ok(None);
        };
        let whole = prefix + 4 + length;
        if length == 0 || length > MAX_RECORD as u64 || whole > self.rest {
            return Ok(None);
        }
        let mut checksum = [0; 4];
        self.file.read_exact(&mut checksum)?;
        let mut bytes = vec![0; length as usize];
        self.file.read_exact(&mut bytes)?;
        if crc32fast::hash(&bytes) != u32::from_le_bytes(checksum) {
            return Ok(None);
        }
        let mut offset = 0;
        let (Some(run), Some(first)) = (
            varint::take(&bytes, &mut offset).and_then(|run| i64::try_from(run).ok()),
            varint::take(&bytes, &mut offset),
        ) else {
            return Ok(None);
        };
        self.rest -= whole;
        Ok(Some(Record {
            run,
            first,
            bytes,
            offset,
        }))
    }

    /// The length of the next record, and how many bytes it took itself.
    fn length(&mut self) -> io::Result<Option<(u64, u64)>> {
        let mut bytes = [0; 5];
        for place in 0..bytes.len() {
            if place as u64 >= self.rest {
                return Ok(None);
            }
            self.file.read_exact(&mut bytes[place..=place])?;
            if bytes[place] & 0x80 == 0 {
                let length = varint::take(&bytes, &mut 0);
                return Ok(length.map(|length| (length, place as u64 + 1)));
            }
        }
        Ok(None)
    }
}
