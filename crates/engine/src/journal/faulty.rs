//! Files that keep what was written apart from what was synced, and that fail as a disk does.

use super::{File, Files};
use parking_lot::Mutex;
use std::{
    collections::BTreeMap,
    io::{self, Cursor, ErrorKind, Read},
    sync::Arc,
};

/// How a call fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// `EIO`.
    Io,
    /// `ENOSPC`.
    Full,
    /// A write takes half of the bytes, and the next one fails with `ENOSPC`.
    Short,
    /// The same, and what is half written cannot be cut off either.
    Torn,
}

/// A disk in memory. Clones share it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Faulty(Arc<Mutex<Disk>>);

#[derive(Debug, Default)]
struct Disk {
    files: BTreeMap<u64, Content>,
    /// The names that a power cut leaves.
    synced_names: Vec<u64>,
    calls: usize,
    /// Which call fails, and how.
    fault: Option<(usize, Fault)>,
    /// How many of the next calls fail.
    failing: usize,
    /// Whether every write and every new file fails, until it is set back.
    full: bool,
    /// Bytes that were written, all in all.
    written: u64,
}

#[derive(Clone, Debug, Default)]
struct Content {
    written: Vec<u8>,
    synced: Vec<u8>,
}

impl Disk {
    /// Counts a call, and says how it fails.
    fn call(&mut self) -> io::Result<bool> {
        self.calls += 1;
        if let Some(failing) = self.failing.checked_sub(1) {
            self.failing = failing;
            return Err(ErrorKind::StorageFull.into());
        }
        match self.fault {
            Some((call, fault)) if call == self.calls => match fault {
                Fault::Io => Err(io::Error::other("input/output error")),
                Fault::Full => Err(ErrorKind::StorageFull.into()),
                Fault::Short | Fault::Torn => {
                    self.failing = if fault == Fault::Torn { 2 } else { 1 };
                    Ok(true)
                }
            },
            _ => Ok(false),
        }
    }
}

impl Faulty {
    /// How many calls there were.
    pub(crate) fn calls(&self) -> usize {
        self.0.lock().calls
    }

    /// Lets a call fail, counted from the first one.
    pub(crate) fn fail(&self, call: usize, fault: Fault) {
        self.0.lock().fault = Some((call, fault));
    }

    /// Fills the disk, or makes room.
    pub(crate) fn set_full(&self, full: bool) {
        self.0.lock().full = full;
    }

    /// Bytes that were written so far.
    pub(crate) fn written(&self) -> u64 {
        self.0.lock().written
    }

    /// The disk as the death of the process leaves it.
    pub(crate) fn after_death(&self) -> Self {
        let disk = self.0.lock();
        let files = disk.files.clone();
        Self::of(files)
    }

    /// The disk as a power cut leaves it: of what was not synced, the first `kept` bytes, and zeros for
    /// the rest where the length was written before the bytes.
    pub(crate) fn after_power_cut(&self, kept: usize, zeros: bool) -> Self {
        let disk = self.0.lock();
        let mut files = BTreeMap::new();
        for number in &disk.synced_names {
            let Some(content) = disk.files.get(number) else {
                continue;
            };
            let mut left = content.synced.clone();
            if let Some(more) = content.written.get(left.len()..) {
                left.extend_from_slice(&more[..kept.min(more.len())]);
                if zeros {
                    left.resize(content.written.len(), 0);
                }
            }
            let content = Content {
                synced: left.clone(),
                written: left,
            };
            files.insert(*number, content);
        }
        Self::of(files)
    }

    fn of(files: BTreeMap<u64, Content>) -> Self {
        let synced_names = files.keys().copied().collect();
        Self(Arc::new(Mutex::new(Disk {
            files,
            synced_names,
            ..Disk::default()
        })))
    }

    /// Whether any file has these bytes.
    pub(crate) fn has(&self, bytes: &[u8]) -> bool {
        let disk = self.0.lock();
        let mut files = disk.files.values();
        files.any(|file| file.written.windows(bytes.len()).any(|part| part == bytes))
    }

    /// Changes a byte.
    pub(crate) fn damage(&self, number: u64, place: usize) {
        if let Some(content) = self.0.lock().files.get_mut(&number) {
            content.written[place] ^= 0x55;
        }
    }

    /// The length of a file.
    pub(crate) fn len(&self, number: u64) -> usize {
        let disk = self.0.lock();
        disk.files.get(&number).map_or(0, |file| file.written.len())
    }
}

#[derive(Debug)]
struct FaultyFile(Faulty, u64);

impl Files for Faulty {
    fn list(&self) -> io::Result<Vec<u64>> {
        Ok(self.0.lock().files.keys().copied().collect())
    }

    fn open(&self, number: u64) -> io::Result<(Box<dyn Read>, u64)> {
        let disk = self.0.lock();
        let file = disk.files.get(&number).ok_or(ErrorKind::NotFound)?;
        let bytes = file.written.clone();
        let len = bytes.len() as u64;
        Ok((Box::new(Cursor::new(bytes)), len))
    }

    fn create(&self, number: u64) -> io::Result<Arc<dyn File>> {
        let mut disk = self.0.lock();
        disk.call()?;
        if disk.full {
            return Err(ErrorKind::StorageFull.into());
        }
        disk.files.insert(number, Content::default());
        Ok(Arc::new(FaultyFile(self.clone(), number)))
    }

    fn remove(&self, number: u64, _: bool) -> io::Result<()> {
        let mut disk = self.0.lock();
        disk.call()?;
        disk.files.remove(&number);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let mut disk = self.0.lock();
        disk.call()?;
        disk.synced_names = disk.files.keys().copied().collect();
        Ok(())
    }
}

impl File for FaultyFile {
    fn append(&self, bytes: &[u8]) -> io::Result<usize> {
        let mut disk = self.0.0.lock();
        let short = disk.call()?;
        if disk.full {
            return Err(ErrorKind::StorageFull.into());
        }
        let length = if short { bytes.len() / 2 } else { bytes.len() };
        disk.written += length as u64;
        let file = disk.files.get_mut(&self.1).ok_or(ErrorKind::NotFound)?;
        file.written.extend_from_slice(&bytes[..length]);
        Ok(length)
    }

    fn truncate(&self, len: u64) -> io::Result<()> {
        let mut disk = self.0.0.lock();
        disk.call()?;
        let file = disk.files.get_mut(&self.1).ok_or(ErrorKind::NotFound)?;
        file.written.truncate(len as usize);
        let synced = file.synced.len().min(len as usize);
        file.synced.truncate(synced);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let mut disk = self.0.0.lock();
        // As Linux does: a sync that failed is not made up for by the next one.
        let failed = disk.call();
        let file = disk.files.get_mut(&self.1).ok_or(ErrorKind::NotFound)?;
        if let Err(why) = failed {
            let lost = file.synced.len();
            file.written[lost..].fill(0);
            return Err(why);
        }
        file.synced = file.written.clone();
        Ok(())
    }
}
